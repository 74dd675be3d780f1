//! The items of a batch: a list in the body of one request, or one line of a file. An item's own body is a
//! span of the original bytes, so that it is forwarded as it came. Its fields are checked when it runs,
//! because a bad item fails alone; only its name must be good before the batch begins.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use super::{
    cursor::{Cursor, JsonError},
    field::{integer, unescape},
    index::{self, Member},
    position::TextPosition,
};

/// Bytes of an item's name.
pub const MAX_CUSTOM_ID: usize = 512;

/// One item, by spans of the bytes that it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchItem {
    pub custom_id: Box<str>,
    /// `None`: it has none.
    pub method: Option<Box<str>>,
    pub url: Option<Box<str>>,
    /// Empty: it has none.
    pub body: Range<usize>,
}

/// A list of items in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchList {
    pub items: Vec<BatchItem>,
    /// Items at once, as asked for. `None`: nothing was asked for.
    pub max_concurrency: Option<u32>,
}

/// The mistake of a batch, and the place of it: `requests[3].custom_id`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BatchError {
    /// Empty: it is about the whole text.
    pub path: String,
    pub code: &'static str,
    pub message: Cow<'static, str>,
}

/// Reads `{"requests": [{"custom_id", "body"}], "max_concurrency"}`.
///
/// # Errors
/// No JSON of this form, no item or more than `max_items`, a name that is missing or there twice.
pub fn read_list(body: &[u8], max_items: usize) -> Result<BatchList, BatchError> {
    check_utf8(body)?;
    let (mut requests, mut max_concurrency) = (None, None);
    let mut mistake = None;
    let read = index::members(body, |member: Member| {
        let value = body.get(member.value.clone()).unwrap_or_default();
        let place = |path: &str, message| Some(BatchError::new(path.to_owned(), "invalid_request", message));
        match member.name(body).as_deref() {
            Some(b"requests") if requests.is_none() => requests = Some(member.value),
            Some(b"max_concurrency") if value == b"null" => {}
            Some(b"max_concurrency") if max_concurrency.is_none() => {
                match integer(value).filter(|number| *number > 0) {
                    Some(number) => max_concurrency = Some(u32::try_from(number).unwrap_or(u32::MAX)),
                    None => {
                        mistake = place("max_concurrency", "`max_concurrency` must be a whole number from 1")
                    }
                }
            }
            name => {
                let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
                let message = match name.as_str() {
                    "requests" | "max_concurrency" => "is there twice",
                    _ => "is not known here: these are `requests` and `max_concurrency`",
                };
                let message = format!("`{name}` {message}");
                mistake = Some(BatchError { path: name, code: "invalid_request", message: message.into() });
            }
        }
        Ok(())
    });
    read.map_err(|error| syntax(body, error))?;
    if let Some(mistake) = mistake {
        return Err(mistake);
    }
    let requests = requests.ok_or_else(|| {
        BatchError::new("requests".to_owned(), "missing_required_parameter", "`requests` is missing")
    })?;
    Ok(BatchList { items: read_items(body, requests, max_items)?, max_concurrency })
}

/// Reads one line of a batch file.
///
/// # Errors
/// No JSON object, or a name that is missing.
pub fn read_line(line: &[u8]) -> Result<BatchItem, BatchError> {
    check_utf8(line)?;
    read_item(line, 0..line.len(), "")
}

fn read_items(body: &[u8], list: Range<usize>, max_items: usize) -> Result<Vec<BatchItem>, BatchError> {
    let about_list = |message: String| BatchError {
        path: "requests".into(),
        code: "invalid_request",
        message: message.into(),
    };
    let text = body.get(list.clone()).unwrap_or_default();
    let mut cursor = Cursor::new(text);
    if cursor.peek() != Some(b'[') {
        return Err(about_list("`requests` must be a list".to_owned()));
    }
    let (mut items, mut names) = (Vec::new(), HashMap::new());
    loop {
        // Past the `[` or the comma.
        cursor.advance();
        cursor.skip_whitespace();
        if cursor.peek() == Some(b']') {
            break;
        }
        if items.len() >= max_items {
            return Err(about_list(format!(
                "`requests` has more than {max_items} items (`batch.max_items`)"
            )));
        }
        let start = cursor.at();
        cursor.value().map_err(|error| syntax(text, error))?;
        let number = items.len();
        let span = list.start + start..list.start + cursor.at();
        let item = read_item(body, span, &format!("requests[{number}]"))?;
        if let Some(first) = names.insert(item.custom_id.clone(), number) {
            let path = format!("requests[{number}].custom_id");
            let message = format!("`{path}` is the same as `requests[{first}].custom_id`");
            return Err(BatchError { path, code: "duplicate_custom_id", message: message.into() });
        }
        items.push(item);
        cursor.skip_whitespace();
        if cursor.peek() != Some(b',') {
            break;
        }
    }
    if items.is_empty() {
        return Err(about_list("`requests` must have an item".to_owned()));
    }
    Ok(items)
}

/// Reads the item at `span` of `text`; `path`: its place in a list.
fn read_item(text: &[u8], span: Range<usize>, path: &str) -> Result<BatchItem, BatchError> {
    let base = span.start;
    let own = text.get(span).unwrap_or_default();
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let (mut item, mut seen, mut mistake) = (BatchItem::default(), 0u8, None);
    let read = index::members(own, |member: Member| {
        let name = member.name(own);
        let Some(number) =
            FIELDS.iter().position(|field| name.as_deref().is_some_and(|name| *name == *field.as_bytes()))
        else {
            return Ok(());
        };
        let field = FIELDS.get(number).copied().unwrap_or_default();
        let wrong = |message: &str| {
            let path = at(field);
            let message = format!("`{path}` {message}");
            Some(BatchError { path, code: "invalid_request", message: message.into() })
        };
        if seen & 1 << number != 0 {
            mistake = wrong("is there twice");
        }
        seen |= 1 << number;
        if field == "body" {
            item.body = base + member.value.start..base + member.value.end;
            return Ok(());
        }
        let value = own.get(member.value.clone()).unwrap_or_default();
        let string = if value.starts_with(b"\"") { unescape(own, member.value) } else { None };
        match (field, string) {
            ("custom_id", Some(id)) if (1..=MAX_CUSTOM_ID).contains(&id.len()) => item.custom_id = id.into(),
            ("custom_id", _) => mistake = wrong("must be a string of 1 to 512 bytes"),
            ("method", Some(method)) => item.method = Some(method.into()),
            ("url", Some(url)) => item.url = Some(url.into()),
            (_, None) | (_, Some(_)) => mistake = wrong("must be a string"),
        }
        Ok(())
    });
    read.map_err(|JsonError { at, reason }| {
        if path.is_empty() {
            return syntax(own, JsonError { at, reason });
        }
        BatchError {
            path: path.to_owned(),
            code: "invalid_request",
            message: format!("`{path}`: {reason}").into(),
        }
    })?;
    if let Some(mistake) = mistake {
        return Err(mistake);
    }
    if item.custom_id.is_empty() {
        let path = at("custom_id");
        let message = format!("`{path}` is missing");
        return Err(BatchError { path, code: "missing_required_parameter", message: message.into() });
    }
    Ok(item)
}

const FIELDS: [&str; 4] = ["custom_id", "method", "url", "body"];

impl BatchError {
    fn new(path: String, code: &'static str, message: &'static str) -> Self {
        Self { path, code, message: message.into() }
    }
}

fn check_utf8(text: &[u8]) -> Result<(), BatchError> {
    simdutf8::basic::from_utf8(text)
        .map(|_| ())
        .map_err(|_| BatchError::new(String::new(), "invalid_json", "this is not UTF-8"))
}

fn syntax(text: &[u8], JsonError { at, reason }: JsonError) -> BatchError {
    let message = format!("this is not valid JSON: {reason} at {}", TextPosition::of(text, at));
    BatchError { path: String::new(), code: "invalid_json", message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_span_of_the_original() {
        let text = br#" { "requests" : [ {"custom_id":"a","body": {"model" : "m","x":[1,{}]} },{"body":7,"custom_id":"\u0062","url":"/v1/x","method":"POST","other":[]}], "max_concurrency":3}"#;
        let list = read_list(text, 2).unwrap();
        assert_eq!(list.max_concurrency, Some(3));
        let body = |number: usize| std::str::from_utf8(&text[list.items[number].body.clone()]).unwrap();
        assert_eq!((body(0), body(1)), (r#"{"model" : "m","x":[1,{}]}"#, "7"));
        assert_eq!((&*list.items[1].custom_id, list.items[1].url.as_deref()), ("b", Some("/v1/x")));
        let line = read_line(br#"{"custom_id":"a","body":{}}"#).unwrap();
        assert_eq!(line.body, 24..26);
    }

    #[test]
    fn a_mistake_has_its_place() {
        for (text, path) in [
            (r#"{"requests":[]}"#, "requests"),
            (r#"{"requests":{}}"#, "requests"),
            (r#"{}"#, "requests"),
            (r#"{"requests":[{"custom_id":"a"},{"custom_id":"b"},{"custom_id":"c"}]}"#, "requests"),
            (r#"{"requests":[{"custom_id":"a"},{"body":{}}]}"#, "requests[1].custom_id"),
            (r#"{"requests":[{"custom_id":"a"},{"custom_id":"a"}]}"#, "requests[1].custom_id"),
            (r#"{"requests":[{"custom_id":7}]}"#, "requests[0].custom_id"),
            (r#"{"requests":[{"custom_id":""}]}"#, "requests[0].custom_id"),
            (r#"{"requests":[{"custom_id":"a","body":1,"body":2}]}"#, "requests[0].body"),
            (r#"{"requests":[{"custom_id":"a","url":1}]}"#, "requests[0].url"),
            (r#"{"requests":[7]}"#, "requests[0]"),
            (r#"{"requests":[{"custom_id":"a"}],"max_concurrency":0}"#, "max_concurrency"),
            (r#"{"requests":[{"custom_id":"a"}],"max_concurrencies":1}"#, "max_concurrencies"),
            (r#"{"requests":[{"custom_id":"a"},]}"#, ""),
            ("[]", ""),
            ("", ""),
        ] {
            let error = read_list(text.as_bytes(), 2).unwrap_err();
            assert_eq!(error.path, path, "{text}: {error}");
        }
        for (line, path) in [("{}", "custom_id"), ("7", ""), ("{\"custom_id\":\"a\"} x", "")] {
            assert_eq!(read_line(line.as_bytes()).unwrap_err().path, path, "{line}");
        }
    }
}
