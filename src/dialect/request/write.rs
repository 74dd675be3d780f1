//! Parts that the writers share.
//!
//! Objects and arrays with their commas, arguments of calls as JSON, texts in a row, the mark of an error in
//! a tool's result, addresses of pictures.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Arguments, Media, MediaSource, Part, ToolResult},
    nodes::NodeBuffers,
    value::{JsonDocument, JsonValue},
};
use crate::dialect::json::JsonWrite;

/// Begins the text of a tool's result that is an error, where the dialect has no member for it.
pub(super) const ERROR_MARK: &str = "[tool error]\n";

/// Takes the mark off the begin of a result: the gateway itself wrote it in an earlier turn, or a client did.
pub(super) fn take_error_mark(parts: &mut Vec<Part<'_>>) -> bool {
    let Some(Part::Text(Cow::Borrowed(text))) = parts.first_mut() else { return false };
    if let Some(rest) = text.strip_prefix(ERROR_MARK) {
        *text = rest;
        return true;
    }
    let is_mark = *text == ERROR_MARK.trim_end();
    if is_mark {
        parts.remove(0);
    }
    is_mark
}

/// Writes an object's members with the commas between.
#[derive(Debug)]
pub(super) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    document: &'o JsonDocument<'o>,
    is_empty: bool,
}

impl<'o> ObjectWriter<'o> {
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        Self::over(&JsonDocument::NONE, out)
    }

    /// Strings of `document` pass as they are written there.
    pub(super) fn over(document: &'o JsonDocument<'o>, out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, document, is_empty: true }
    }

    /// Writes a member's name; the caller writes its value.
    pub(super) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.raw(if self.is_empty { "" } else { "," }).string(name).raw(":");
        self.is_empty = false;
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.joined(name, &[text], "")
    }

    /// Texts as one, with `between` them.
    pub(super) fn joined(&mut self, name: &str, texts: &[&str], between: &str) -> &mut Self {
        let document = self.document;
        let out = self.key(name).raw("\"");
        for (at, text) in texts.iter().enumerate() {
            out.string_part(if at == 0 { "" } else { between });
            match document.source_of(text) {
                Some(source) => out.raw(source),
                None => out.string_part(text),
            };
        }
        out.raw("\"");
        self
    }

    pub(super) fn maybe_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.key(name).raw(if value { "true" } else { "false" });
        self
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.key(name).number(number);
    }

    pub(super) fn value(&mut self, name: &str, value: JsonValue<'_>) {
        value.write(self.key(name));
    }

    pub(super) fn maybe_value(&mut self, name: &str, value: Option<JsonValue<'_>>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }

    pub(super) fn object(&mut self, name: &str) -> ObjectWriter<'_> {
        let document = self.document;
        ObjectWriter::over(document, self.key(name))
    }

    pub(super) fn array(&mut self, name: &str) -> ArrayWriter<'_> {
        let document = self.document;
        ArrayWriter::over(document, self.key(name))
    }

    /// The bytes so far, of the whole body.
    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes an array's elements with the commas between.
#[derive(Debug)]
pub(super) struct ArrayWriter<'o> {
    out: &'o mut Vec<u8>,
    document: &'o JsonDocument<'o>,
    is_empty: bool,
}

impl<'o> ArrayWriter<'o> {
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        Self::over(&JsonDocument::NONE, out)
    }

    pub(super) fn over(document: &'o JsonDocument<'o>, out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, document, is_empty: true }
    }

    pub(super) fn element(&mut self) -> &mut Vec<u8> {
        self.out.raw(if self.is_empty { "" } else { "," });
        self.is_empty = false;
        self.out
    }

    pub(super) fn object(&mut self) -> ObjectWriter<'_> {
        let document = self.document;
        ObjectWriter::over(document, self.element())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The bytes so far, of the whole body.
    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    pub(super) fn close(self) {
        self.out.push(b']');
    }
}

impl Arguments<'_> {
    /// The arguments as the JSON text of an object.
    pub(super) fn to_json(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) if text.trim().is_empty() => Cow::Borrowed("{}"),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Value(value) => Cow::Borrowed(value.to_text()),
            Self::Input(input) => Cow::Owned(one_member("input", input)),
        }
    }

    /// As above; a text that a model broke becomes the one member `arguments`, so that the conversation goes
    /// on.
    pub(super) fn to_object(&self) -> Cow<'_, str> {
        let json = self.to_json();
        if matches!(self, Self::Text(_)) && !is_object(&json) {
            return Cow::Owned(one_member("arguments", &json));
        }
        json
    }
}

fn one_member(name: &str, text: &str) -> String {
    let mut out = Vec::with_capacity(name.len() + text.len() + 16);
    let mut object = ObjectWriter::open(&mut out);
    object.text(name, text);
    object.close();
    String::from_utf8(out).unwrap_or_default()
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && NodeBuffers::default().read(text).is_ok()
}

impl<'t> ToolResult<'t> {
    /// The texts, with the mark of an error.
    pub(super) fn words(&self) -> Cow<'_, str> {
        let mut texts = self.parts.iter().filter_map(Part::words);
        let mut words = Cow::Borrowed(texts.next().unwrap_or_default());
        for text in texts {
            let words = words.to_mut();
            words.push('\n');
            words.push_str(text);
        }
        if self.is_error { Cow::Owned([ERROR_MARK, &words].concat()) } else { words }
    }

    /// Pictures and files.
    pub(super) fn media(&self) -> impl Iterator<Item = &Part<'t>> {
        self.parts.iter().filter(|part| part.words().is_none())
    }
}

impl Part<'_> {
    pub(super) fn words(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Refusal(text) => Some(text),
            Self::Image(_) | Self::Document(_) | Self::Audio { .. } => None,
            Self::Call(_) | Self::Result(_) | Self::Reasoning(_) | Self::Known => None,
        }
    }
}

/// The text of a part of a system message, which holds nothing else.
pub(super) fn system_words<'a>(part: &'a Part<'_>) -> Result<&'a str, RequestError> {
    let reason = "a system message can hold text only";
    part.words().ok_or_else(|| match part {
        Part::Image(media) | Part::Document(media) => media.unsayable(reason),
        Part::Audio { path, .. } => RequestError::unsayable_member(path, reason),
        Part::Text(_) | Part::Refusal(_) | Part::Call(_) | Part::Result(_) | Part::Reasoning(_) => {
            RequestError::unsayable(reason)
        }
        Part::Known => RequestError::unfit(),
    })
}

/// The texts of parts that are all texts.
pub(super) fn all_words<'a>(parts: &'a [Part<'_>]) -> Option<Vec<&'a str>> {
    parts.iter().map(Part::words).collect()
}

impl Media<'_> {
    /// The address, or the data as an address.
    pub(super) fn write_url(&self, out: &mut Vec<u8>) {
        match &self.source {
            MediaSource::Url(url) => _ = out.string(url),
            MediaSource::Inline { mime, data } => {
                out.push(b'"');
                out.raw("data:").string_part(mime).raw(";base64,").string_part(data);
                out.push(b'"');
            }
        }
    }

    pub(super) fn unsayable(&self, reason: &str) -> RequestError {
        RequestError::unsayable_member(&self.path, reason)
    }
}
