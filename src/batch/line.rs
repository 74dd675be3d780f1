//! The answer to one item, as a line of OpenAI's output files: `id`, `custom_id`, `response`, `error`. An
//! item with an answer of any status has a `response`, one without an answer has an `error`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::IgnoredAny;

use crate::{proxy::SingleAnswer, wire::provider_error};

/// One line without its end, and whether the item has a good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerLine {
    pub text: Bytes,
    pub is_good: bool,
}

impl AnswerLine {
    /// The line of an answer.
    #[must_use]
    pub fn of(custom_id: &str, answer: &SingleAnswer) -> Self {
        let id = answer.id.as_str();
        match &answer.body {
            Ok(body) => Self {
                text: answered(id, custom_id, answer.status.as_u16(), body),
                is_good: answer.status.is_success() && is_json(body) && !provider_error::is_error(body),
            },
            Err(fault) => Self::failed(id, custom_id, fault.code(), &fault.to_string()),
        }
    }

    /// The line of an item without an answer.
    #[must_use]
    pub fn failed(id: &str, custom_id: &str, code: &str, message: &str) -> Self {
        let mut text = begin(id, custom_id, 128 + message.len());
        text.put_slice(b"null,\"error\":{\"code\":");
        put_string(&mut text, code);
        text.put_slice(b",\"message\":");
        put_string(&mut text, message);
        text.put_slice(b"}}");
        Self { text: text.freeze(), is_good: false }
    }
}

fn answered(id: &str, custom_id: &str, status: u16, body: &[u8]) -> Bytes {
    let mut text = begin(id, custom_id, 256 + body.len());
    text.put_slice(b"{\"status_code\":");
    text.put_slice(itoa::Buffer::new().format(status).as_bytes());
    text.put_slice(b",\"request_id\":");
    put_string(&mut text, id);
    text.put_slice(b",\"body\":");
    if is_json(body) {
        // Line ends are white space between the values of a JSON text, never a part of one.
        text.extend(body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    } else {
        put_string(&mut text, &String::from_utf8_lossy(body));
    }
    text.put_slice(b"},\"error\":null}");
    text.freeze()
}

/// Strings that are skipped are not checked for UTF-8 by the reader.
fn is_json(body: &[u8]) -> bool {
    str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn begin(id: &str, custom_id: &str, room: usize) -> BytesMut {
    let mut text = BytesMut::with_capacity(room + 2 * id.len() + custom_id.len());
    text.put_slice(b"{\"id\":");
    put_string(&mut text, id);
    text.put_slice(b",\"custom_id\":");
    put_string(&mut text, custom_id);
    text.put_slice(b",\"response\":");
    text
}

fn put_string(text: &mut BytesMut, value: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(text.writer(), value);
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::*;
    use crate::base::{Fault, FaultKind, HeaderFields, RequestId, Stage};

    #[test]
    fn a_good_answer_is_no_error_and_no_page() {
        let is_good = |status: u16, body: &'static str| {
            let id = RequestId::from_client(b"r").unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            AnswerLine::of(
                "a",
                &SingleAnswer { id, status, headers: HeaderFields::new(), body: Ok(body.into()) },
            )
            .is_good
        };
        assert!(is_good(200, r#"{"choices":[]}"#));
        assert!(!is_good(500, r#"{"choices":[]}"#));
        for body in ["", "<p>", r#"{"choices":["#, r#"{"error":{"message":"m"}}"#] {
            assert!(!is_good(200, body), "{body}");
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_the_answer_is() {
        let id = RequestId::from_client(b"r.1").unwrap();
        let line = |body| {
            let answer =
                SingleAnswer { id: id.clone(), status: StatusCode::OK, headers: HeaderFields::new(), body };
            let line = AnswerLine::of("a\"b", &answer);
            assert!(!line.text.contains(&b'\n'));
            serde_json::from_slice::<Value>(&line.text).unwrap()
        };
        let answered = |body: Value| {
            json!({"id": "r.1", "custom_id": "a\"b", "error": null,
                   "response": {"status_code": 200, "request_id": "r.1", "body": body}})
        };
        assert_eq!(line(Ok("{\n \"a\" :\r\n\"b\\n\"}\n".into())), answered(json!({"a": "b\n"})));
        assert_eq!(line(Ok("<p>\n".into())), answered("<p>\n".into()));
        assert_eq!(line(Ok("".into())), answered("".into()));
        let spoilt = line(Ok(b"{\"a\":\"\xff\"}"[..].into()));
        assert_eq!(spoilt["response"]["body"], "{\"a\":\"\u{fffd}\"}");
        let broken = line(Err(Fault::client(Stage::Body, FaultKind::Gone)));
        assert_eq!((&broken["response"], broken["error"]["message"].is_string()), (&Value::Null, true));
    }
}
