//! The fields of a `multipart/form-data` body (RFC 7578) that the gateway needs, with the span of the model.
//! Everything else is forwarded unchanged.
//!
//! Parsers of forms differ in what they forgive: bare line feeds, escaped names, text before the first part.
//! The gateway must check the same model that the provider serves, so a form that two parsers might read
//! differently is refused.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::field::MAX_MODEL;
use crate::base::ByteList;

/// Bytes of a boundary (RFC 2046 section 5.1.1 allows 70), and parts of a form.
const MAX_BOUNDARY: usize = 200;
const MAX_PARTS: usize = 256;
/// Bytes of a part's headers.
const MAX_PART_HEAD: usize = 4096;

/// The known fields of one form. The span is an offset into the bytes that it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    model: Option<(Box<str>, Range<usize>)>,
    stream: bool,
    /// Bytes of fields that are no files, and the number of files.
    text_bytes: usize,
    files: usize,
}

/// Why a form is refused (400, `invalid_request_error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the content-type has no usable boundary")]
    Boundary,
    #[error("the form is malformed at byte {at}: {reason}")]
    Malformed { at: usize, reason: &'static str },
    #[error("`model` must be one text of 1 to 256 bytes")]
    Model,
    #[error("`model` is missing")]
    NoModel,
}

/// Whether a body of this type is a form.
#[must_use]
pub fn is_form(content_type: &[u8]) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    let (kind, rest) = content_type.split_at_checked(FORM.len()).unwrap_or_default();
    kind.eq_ignore_ascii_case(FORM) && matches!(rest.first(), None | Some(b';' | b' ' | b'\t'))
}

/// Reads a form whose headers say `content_type`.
///
/// # Errors
/// [`FormError`]: the reason, and the position.
pub fn read(content_type: &[u8], body: &[u8]) -> Result<Form, FormError> {
    let mut form = Form::default();
    each_part(content_type, body, |span| form.add(body, span))?;
    Ok(form)
}

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormPart {
    pub name: Box<str>,
    /// `None`: it is no file.
    pub file_name: Option<Box<str>>,
    pub value: Range<usize>,
}

/// All parts of a form whose headers say `content_type`.
///
/// # Errors
/// As [`read`].
pub fn parts(content_type: &[u8], body: &[u8]) -> Result<Vec<FormPart>, FormError> {
    let mut parts = Vec::new();
    each_part(content_type, body, |span| {
        let (disposition, value) = part(body, span)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        // Some clients escape a backslash by another one.
        let file_name = disposition.is_file.then(|| text(disposition.file_name).replace(r"\\", r"\").into());
        parts.push(FormPart { name: text(disposition.name), file_name, value });
        Ok(())
    })?;
    Ok(parts)
}

/// Calls `visit` with the span of each part, headers included.
fn each_part(
    content_type: &[u8],
    body: &[u8],
    mut visit: impl FnMut(Range<usize>) -> Result<(), FormError>,
) -> Result<(), FormError> {
    let boundary = boundary(content_type).ok_or(FormError::Boundary)?;
    let delimiter = [b"--", boundary].concat();
    let mut part: Option<usize> = None;
    let mut parts = 0;
    for at in memmem::find_iter(body, &delimiter) {
        let malformed = |reason| Err(FormError::Malformed { at, reason });
        let before = body.get(..at).unwrap_or_default();
        let Some(end) = (if at == 0 { Some(0) } else { before.strip_suffix(b"\r\n").map(<[u8]>::len) })
        else {
            return malformed("a boundary within a line");
        };
        match part {
            Some(start) if start <= end => visit(start..end)?,
            None if end == 0 => {}
            Some(_) | None => return malformed("bytes before the first part"),
        }
        let after = body.get(at + delimiter.len()..).unwrap_or_default();
        if let Some(rest) = after.strip_prefix(b"--") {
            return match rest.trim_ascii() {
                b"" => Ok(()),
                _ => malformed("bytes after the last part"),
            };
        }
        let Some(rest) = after.strip_prefix(b"\r\n") else {
            return malformed("a boundary with bytes behind it");
        };
        parts += 1;
        if parts > MAX_PARTS {
            return malformed("too many parts");
        }
        part = Some(body.len() - rest.len());
    }
    Err(FormError::Malformed { at: body.len(), reason: "no last boundary" })
}

impl Form {
    /// The model's name. `None`: the form names none.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|(name, _)| &**name)
    }

    /// Whether the answer is to be a stream.
    #[must_use]
    pub const fn stream(&self) -> bool {
        self.stream
    }

    /// The estimated tokens of its fields and files.
    #[must_use]
    pub fn prompt_tokens(&self) -> u32 {
        super::estimate::of_parts(self.text_bytes, self.files)
    }

    /// `body` with `model` in place of its own. `body` must be the bytes that the form was read from; one
    /// without a model stays as it is.
    #[must_use]
    pub fn renamed(&self, body: &Bytes, model: &str) -> ByteList {
        let mut list = ByteList::new();
        match &self.model {
            Some((own, span)) if **own != *model && span.end <= body.len() => {
                list.push(body.slice(..span.start));
                list.push(Bytes::copy_from_slice(model.as_bytes()));
                list.push(body.slice(span.end..));
            }
            Some(_) | None => list.push(body.clone()),
        }
        list
    }

    /// Notes the part at `span`: its headers, an empty line, its value.
    fn add(&mut self, body: &[u8], span: Range<usize>) -> Result<(), FormError> {
        let (disposition, span) = part(body, span)?;
        let value = body.get(span.clone()).unwrap_or_default();
        if disposition.is_file {
            self.files += 1;
            return if disposition.name == b"model" { Err(FormError::Model) } else { Ok(()) };
        }
        self.text_bytes += value.len();
        match disposition.name {
            b"model" => {
                let name =
                    std::str::from_utf8(value).ok().filter(|name| (1..=MAX_MODEL).contains(&name.len()));
                let name = name.filter(|_| self.model.is_none()).ok_or(FormError::Model)?;
                self.model = Some((name.into(), span));
            }
            b"stream" => self.stream = value.eq_ignore_ascii_case(b"true") || value == b"1",
            _ => {}
        }
        Ok(())
    }
}

/// The headers of the part at `span`, and the span of its value.
fn part(body: &[u8], span: Range<usize>) -> Result<(Disposition<'_>, Range<usize>), FormError> {
    let at = span.start;
    let malformed = |reason| FormError::Malformed { at, reason };
    let part = body.get(span.clone()).unwrap_or_default();
    let head_end = memmem::find(part.get(..MAX_PART_HEAD).unwrap_or(part), b"\r\n\r\n")
        .ok_or_else(|| malformed("a part without an end of its headers"))?;
    let disposition = disposition(part.get(..head_end).unwrap_or_default()).map_err(malformed)?;
    Ok((disposition, at + head_end + b"\r\n\r\n".len()..span.end))
}

/// The value of `boundary` in a content type.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for (name, value) in parameters(content_type)? {
        if name.eq_ignore_ascii_case(b"boundary") && found.replace(value).is_some() {
            return None;
        }
    }
    found.filter(|value| {
        (1..=MAX_BOUNDARY).contains(&value.len()) && value.iter().all(|byte| matches!(byte, b' '..=b'~'))
    })
}

/// The parameters after the first `;`. `None`: there is one that is not `name=value`, or has an escape, which
/// a file's name alone may have.
fn parameters(field: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut all = Vec::new();
    let mut rest = field.get(field.iter().position(|byte| *byte == b';').unwrap_or(field.len())..)?;
    while let Some(parameter) = rest.strip_prefix(b";") {
        let parameter = parameter.trim_ascii_start();
        if parameter.is_empty() {
            break;
        }
        let equals = parameter.iter().position(|byte| matches!(byte, b'=' | b';' | b'"'))?;
        let (name, value) = parameter.split_at(equals);
        let value = value.strip_prefix(b"=")?;
        // Some readers pass over a blank or a quote, others take it for a part of the name.
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = quoted.iter().position(|byte| *byte == b'"')?;
                let value = quoted.get(..end)?;
                let is_file_name = name.eq_ignore_ascii_case(b"filename");
                (
                    Some(value)
                        .filter(|value| is_file_name && ends_here(value) || !value.contains(&b'\\'))?,
                    quoted.get(end + 1..)?,
                )
            }
            None => {
                let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
                let text = value.get(..end)?.trim_ascii_end();
                (Some(text).filter(|text| text.iter().all(is_plain))?, value.get(end..)?)
            }
        };
        if name.is_empty() || !name.iter().all(is_plain) {
            return None;
        }
        all.push((name, value));
        rest = after.trim_ascii_start();
    }
    rest.is_empty().then_some(all)
}

/// Whether all readers end a quoted text behind `value`: those that take a backslash for itself, and those
/// that take it for the escape of the next byte.
fn ends_here(value: &[u8]) -> bool {
    value.iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2)
}

struct Disposition<'a> {
    name: &'a [u8],
    is_file: bool,
    /// Empty: it has none, or it is coded.
    file_name: &'a [u8],
}

/// The disposition in a part's headers, which are separated by CRLF.
fn disposition(head: &[u8]) -> Result<Disposition<'_>, &'static str> {
    let mut found = None;
    let mut rest = head;
    while !rest.is_empty() {
        let end = memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 2..).unwrap_or_default();
        // Readers differ in the control bytes that they take for a blank or for an end of the line.
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err("a part's header with a control byte");
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a part's header without a colon")?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-transfer-encoding")
            && ![&b"binary"[..], b"8bit", b"7bit"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            return Err("a part with a transfer encoding");
        }
        if name.eq_ignore_ascii_case(b"content-disposition") && found.replace(value).is_some() {
            return Err("a part with two dispositions");
        }
        if name.first().is_none_or(u8::is_ascii_whitespace) || name.ends_with(b" ") || name.ends_with(b"\t") {
            return Err("a part's header with a blank before its name or its colon");
        }
    }
    let value = found.ok_or("a part without a disposition")?;
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    if !kind.trim_ascii_end().eq_ignore_ascii_case(b"form-data") {
        return Err("a part that is no form data");
    }
    let mut result = Disposition { name: b"", is_file: false, file_name: b"" };
    let mut named = false;
    for (key, value) in parameters(value).ok_or("a part with a disposition that is not understood")? {
        if key.eq_ignore_ascii_case(b"name") {
            if named {
                return Err("a part with two names");
            }
            // A simple reader splits at a semicolon within quotes.
            if value.iter().any(|byte| matches!(byte, b';' | b'=' | b' ' | b'\t')) {
                return Err("a part with a name that is not understood");
            }
            (named, result.name) = (true, value);
        } else if key.eq_ignore_ascii_case(b"filename") || key.eq_ignore_ascii_case(b"filename*") {
            if memmem::find(&value.to_ascii_lowercase(), b"name=").is_some() {
                return Err("a part with a file name that is not understood");
            }
            result.is_file = true;
            if !key.ends_with(b"*") {
                result.file_name = value;
            }
        } else {
            return Err("a part with a disposition that is not understood");
        }
    }
    if named { Ok(result) } else { Err("a part without a name") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &[u8] = b"multipart/form-data; boundary=xYz";

    fn form(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut body = String::new();
        for (head, value) in parts {
            body += &format!("--xYz\r\n{head}\r\n\r\n{value}\r\n");
        }
        (body + "--xYz--\r\n").into_bytes()
    }

    const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";
    const FILE: &str =
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav";

    #[test]
    fn reads_the_model_and_renames_it() {
        let body = form(&[
            (FILE, "RIFF\r\n--x\r\n\0"),
            (MODEL, "whisper-1"),
            ("content-disposition: form-data; name=stream", "true"),
        ]);
        let read = read(TYPE, &body).unwrap();
        assert_eq!((read.model(), read.stream(), read.files), (Some("whisper-1"), true, 1));
        let body = Bytes::from(body);
        assert_eq!(read.renamed(&body, "whisper-1").join(), body);
        let renamed = read.renamed(&body, "w").join();
        assert_eq!(renamed.len(), body.len() - 8);
        assert_eq!(super::read(TYPE, &renamed).unwrap().model(), Some("w"));
        let quoted = b"multipart/form-data; charset=utf-8; boundary=\"xYz\"";
        assert_eq!(super::read(quoted, &body).unwrap(), read);
    }

    /// A backslash is itself or escapes the next byte: both readings end at the same quote.
    #[test]
    fn a_file_name_may_have_backslashes() {
        for (written, name) in [(r"C:\dir\in.jsonl", r"C:\dir\in.jsonl"), (r"a\\b", r"a\b"), (r"a\\", r"a\")]
        {
            let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{written}\"");
            let body = form(&[(&head, "a"), (MODEL, "m")]);
            let parts = parts(TYPE, &body).unwrap();
            assert_eq!(parts[0].file_name.as_deref(), Some(name));
            assert_eq!(read(TYPE, &body).unwrap().model(), Some("m"));
        }
    }

    #[test]
    fn refuses_a_form_that_parsers_read_differently() {
        let twice = form(&[(MODEL, "a"), (MODEL, "b")]);
        assert_eq!(read(TYPE, &twice), Err(FormError::Model));
        for body in [
            form(&[("Content-Disposition: form-data; name=\"mod\\el\"", "a")]),
            form(&[("Content-Disposition: form-data; name=\"f\"; filename=\"a\\\"", "a")]),
            form(&[("Content-Disposition: form-data; name=\"f\"; filename=\"a\\\"; filename=\"b\"", "a")]),
            form(&[("Content-Disposition: form-data; name=\"f\"; filename=\"a\\\\\\\"b\"", "a")]),
            form(&[("Content-Disposition: form-data; name=\"model\"; name=\"x\"", "a")]),
            form(&[("Content-Disposition: form-data; name*=utf-8''model", "a")]),
            form(&[("Content-Disposition: form-data; name = \"model\"", "a")]),
            form(&[("Content-Disposition: form-data; name= model", "a")]),
            form(&[("Content-Disposition: form-data; name=\"model;\"", "a")]),
            form(&[("Content-Disposition: form-data; name=\"f\"; filename=\"a; name=model\"", "a")]),
            form(&[("Content-Disposition: form-data;\n name=\"model\"", "a")]),
            form(&[("Content-Disposition: form-data;\x0cname=\"model\"", "a")]),
            form(&[("Content-Disposition: form-data; name=model\x0b", "a")]),
            form(&[("Content-Disposition: attachment; name=\"model\"", "a")]),
            form(&[("X: y\r\n Content-Disposition: form-data; name=\"model\"", "a")]),
            form(&[("Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=\"x\"", "a")]),
            form(&[(MODEL, "a\n--xYz\n")]),
            form(&[(MODEL, "a\r\n--xYzz")]),
            [b"before\r\n", &form(&[(MODEL, "a")])[..]].concat(),
            [&form(&[(MODEL, "a")])[..], b"after"].concat(),
            form(&[(MODEL, "a")]).split_off(3),
            b"--xYz\r\n".to_vec(),
            Vec::new(),
        ] {
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(matches!(read(TYPE, &body), Err(FormError::Malformed { .. })), "{text}");
        }
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=b",
        ] {
            assert_eq!(read(kind.as_bytes(), b""), Err(FormError::Boundary), "{kind}");
        }
        let file = form(&[("Content-Disposition: form-data; name=\"model\"; filename=\"x\"", "a")]);
        assert_eq!(read(TYPE, &file), Err(FormError::Model));
        assert!(is_form(b"Multipart/Form-Data;boundary=x") && !is_form(b"application/json"));
    }
}
