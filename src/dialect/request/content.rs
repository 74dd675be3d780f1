//! Pictures and files as the dialects give them: data URLs, web addresses, sources by type.
//!
//! Base64 passes as it is. Files of text are read and become texts, because few providers take them; ids of
//! files that a provider stores are refused by the readers.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Media, MediaSource, Part},
    place::MemberPlace,
};

/// The media type and the base64 text of a data URL.
fn split_data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    let mime = head.split(';').next().unwrap_or_default();
    let mime = if mime.is_empty() { "text/plain" } else { mime };
    is_mime(mime).then_some((usual(mime), data))
}

/// The name that providers know a picture's or a document's type by: Anthropic takes four of pictures.
fn usual(mime: &str) -> &str {
    let essence = mime.split(';').next().unwrap_or_default().trim_ascii();
    let names = [
        ("image/jpeg", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("image/webp", "image/webp"),
        ("application/pdf", "application/pdf"),
    ];
    let known = names.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name));
    known.map_or(mime, |(_, usual)| usual)
}

/// A type and a subtype (RFC 6838 section 4.2), with parameters or without. A data URL holds no other bytes.
fn is_mime(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !name.is_empty() && name.bytes().all(is_known)
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_typed = essence.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype));
    is_typed && parameters.bytes().all(|byte| byte != b',' && matches!(byte, b' '..=b'~'))
}

/// The media type of a file.
pub(super) fn mime<'t>(place: &MemberPlace<'_, 't>) -> Result<&'t str, RequestError> {
    let mime = place.string()?;
    if is_mime(mime) { Ok(usual(mime)) } else { Err(place.invalid("expected a media type")) }
}

/// A picture or file by a data URL or a web address.
pub(super) fn by_url<'t>(place: &MemberPlace<'_, 't>) -> Result<Media<'t>, RequestError> {
    let url = place.string()?;
    let is_data = url.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
    let source = match split_data_url(url) {
        Some((mime, data)) => MediaSource::Inline { mime, data: Cow::Borrowed(data) },
        None if is_data => return Err(place.invalid("expected a data URL in base64")),
        None if is_web(url) => MediaSource::Url(url),
        None => return Err(place.invalid("expected a data URL or a web address")),
    };
    Ok(Media { source, name: None, detail: None, path: place.path() })
}

fn is_web(url: &str) -> bool {
    let starts_with = |scheme: &str| url.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    starts_with("https://") || starts_with("http://")
}

/// Standard base64 (RFC 4648 section 4). Protobuf's JSON takes its URL-safe alphabet, too, and without
/// padding; Google's library for Python writes it. <https://protobuf.dev/programming-guides/json/>
pub(super) fn standard_base64(text: &str) -> Cow<'_, str> {
    // Padding, and lines, are the sender's.
    let is_bare = !text.bytes().any(|byte| byte == b'=' || byte.is_ascii_whitespace());
    let padding = if is_bare { text.len().next_multiple_of(4) - text.len() } else { 0 };
    if padding == 0 && memchr::memchr2(b'-', b'_', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let usual = text.chars().map(|letter| match letter {
        '-' => '+',
        '_' => '/',
        letter => letter,
    });
    Cow::Owned(usual.chain(std::iter::repeat_n('=', padding)).collect())
}

pub(super) fn inline<'t>(
    place: &MemberPlace<'_, 't>,
    mime: &'t str,
    data: impl Into<Cow<'t, str>>,
) -> Media<'t> {
    let source = MediaSource::Inline { mime, data: data.into() };
    Media { source, name: None, detail: None, path: place.path() }
}

/// A file whose `file_data` is a data URL, or a web address as OpenRouter takes it; a bare base64 text is
/// taken for a PDF, as OpenAI does.
pub(super) fn file_data<'t>(place: &MemberPlace<'_, 't>) -> Result<Media<'t>, RequestError> {
    let data = place.string()?;
    if data.starts_with("data:") || is_web(data) {
        by_url(place)
    } else {
        Ok(inline(place, "application/pdf", data))
    }
}

/// A media type's part: a picture, a sound or a file; text is read as it is.
pub(super) fn by_mime<'t>(place: &MemberPlace<'_, 't>, media: Media<'t>) -> Result<Part<'t>, RequestError> {
    let (mime, data) = match &media.source {
        MediaSource::Inline { mime, data } => (*mime, data),
        MediaSource::Url(_) => return Ok(Part::Document(media)),
    };
    if mime.starts_with("image/") {
        return Ok(Part::Image(media));
    }
    if mime.starts_with("text/") || mime == "application/json" {
        let bytes = crate::dialect::reasoning::from_base64(data);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        return text
            .map(|text| Part::Text(Cow::Owned(named(media.name, text))))
            .ok_or_else(|| place.invalid("expected base64 text"));
    }
    Ok(Part::Document(media))
}

/// A file's text under its name, which the conversation may speak of.
fn named(name: Option<&str>, text: String) -> String {
    match name {
        Some(name) => format!("{name}:\n{text}"),
        None => text,
    }
}
