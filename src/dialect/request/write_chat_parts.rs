//! Writes the parts of a user's chat message: texts, pictures, files, sounds.
//!
//! They keep their order. A file by its web address has no place in chat completions and is refused.

use super::{
    RequestError,
    conversation::{Media, MediaSource, Part},
    write::ArrayWriter,
};

pub(super) fn write_part(part: &Part<'_>, content: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    match part {
        Part::Text(_) | Part::Refusal(_) => {
            let words = part.words().unwrap_or_default();
            // An empty part is refused by several providers.
            if !words.is_empty() {
                let mut object = content.object();
                object.text("type", "text").text("text", words);
                object.close();
            }
        }
        Part::Image(media) => {
            let mut object = content.object();
            let mut image = object.text("type", "image_url").object("image_url");
            media.write_url(image.key("url"));
            image.maybe_text("detail", media.detail);
            image.close();
            object.close();
        }
        Part::Document(media) => write_file(media, content)?,
        Part::Audio { data, format, .. } => {
            let mut object = content.object();
            let mut audio = object.text("type", "input_audio").object("input_audio");
            audio.text("data", data).text("format", format);
            audio.close();
            object.close();
        }
        Part::Call(_) | Part::Result(_) | Part::Reasoning(_) => {}
        Part::Known => return Err(RequestError::unfit()),
    }
    Ok(())
}

fn write_file(media: &Media<'_>, content: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    let MediaSource::Inline { mime, .. } = &media.source else {
        return Err(media.unsayable("chat completions takes a file's content, not its address"));
    };
    let fallback = if *mime == "application/pdf" { "document.pdf" } else { "document" };
    let mut object = content.object();
    let mut file = object.text("type", "file").object("file");
    file.text("filename", media.name.unwrap_or(fallback));
    media.write_url(file.key("file_data"));
    file.close();
    object.close();
    Ok(())
}
