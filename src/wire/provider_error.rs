//! Finds code, type, status word and message of a provider's error in the first bytes of its body. The body
//! may be cut off anywhere and need not be JSON, so it is searched and not parsed. A quote inside a JSON
//! string is escaped, so a quoted name in front of a colon is a key, even if a message quotes JSON.

use memchr::memmem;
use serde_json::Value;

use super::index;

/// Bytes. A longer response with a success status is not searched for an error, because errors are short.
pub const MAX_ERROR_BODY: usize = 16 * 1024;

/// The members of an error as the provider wrote them, with escapes. `None`: absent, or not in these bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderError<'a> {
    /// `error.code`: a word, or a number from providers that repeat the status here.
    pub code: Option<&'a str>,
    /// `error.type`
    pub kind: Option<&'a str>,
    /// `error.status`, Google's word for the code.
    pub status: Option<&'a str>,
    /// `error.message`, or `detail`, or `error` itself if it is a string.
    pub message: Option<&'a str>,
}

/// Reads the members that `body` has.
#[must_use]
pub fn read(body: &[u8]) -> ProviderError<'_> {
    // Anthropic's outer object has the type "error"; the useful type is in the inner object.
    let inner = memmem::find(body, b"\"error\":").map_or(body, |at| body.get(at..).unwrap_or(body));
    let message =
        member(inner, "message").or_else(|| member(body, "detail")).or_else(|| member(body, "error"));
    ProviderError {
        code: member(inner, "code"),
        kind: member(inner, "type"),
        status: member(inner, "status"),
        message,
    }
}

/// Whether a whole response is valid JSON.
#[must_use]
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Whether a whole response with a success status is an error. The caller skips bodies longer than
/// [`MAX_ERROR_BODY`].
#[must_use]
pub fn is_error(body: &[u8]) -> bool {
    if memmem::find(body, b"\"error\"").is_none() {
        return false;
    }
    let mut found = false;
    let result = index::members(body, |member| {
        let value = body.get(member.value).unwrap_or_default();
        found |= match body.get(member.key) {
            Some(b"error") => may_be_error(value),
            Some(b"type" | b"object") => value == b"\"error\"",
            Some(_) | None => false,
        };
        Ok::<_, super::cursor::JsonError>(())
    });
    result.is_ok() && found
}

/// Whether the value of a member `error` is an error. Some providers write an empty value beside content.
#[must_use]
pub(super) fn is_error_value(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// The same of the JSON text that begins with the value, which may be cut off.
#[must_use]
pub(super) fn may_be_error(text: &[u8]) -> bool {
    match text.split_first() {
        Some((b'n' | b'f', _)) => false,
        Some((b'"', rest)) => rest.first() != Some(&b'"'),
        Some((b'{', rest)) => rest.trim_ascii_start().first() != Some(&b'}'),
        Some((b'[', rest)) => rest.trim_ascii_start().first() != Some(&b']'),
        Some(_) | None => true,
    }
}

/// The first scalar value of `key`, without its quotes.
fn member<'a>(body: &'a [u8], key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    memmem::find_iter(body, &quoted).find_map(|at| {
        let rest = body.get(at + quoted.len()..)?.trim_ascii_start();
        scalar(rest.strip_prefix(b":")?.trim_ascii_start())
    })
}

fn scalar(value: &[u8]) -> Option<&str> {
    let text = match value.strip_prefix(b"\"") {
        Some(text) => text.get(..end_of_string(text))?,
        None => value.get(..value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len()))?,
    };
    std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
}

/// The offset of the closing quote, or of the end if the bytes were cut off.
fn end_of_string(text: &[u8]) -> usize {
    let mut escaped = false;
    let closing = text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    closing.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_providers_say() {
        for (body, code, kind, status, message) in [
            (
                r#"{"error":{"message":"Say \"code\": no","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                Some("insufficient_quota"),
                Some("insufficient_quota"),
                None,
                Some(r#"Say \"code\": no"#),
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                None,
                Some("overloaded_error"),
                None,
                Some("Overloaded"),
            ),
            (r#"{"detail":"Invalid API Key"}"#, None, None, None, Some("Invalid API Key")),
            (r#"{"error":"model 'x' not found"}"#, None, None, None, Some("model 'x' not found")),
            (
                "[{\n \"error\": {\n \"code\": 429,\n \"message\": \"Quota\", \"status\": \"RESOURCE_EXHAUSTED\"",
                Some("429"),
                None,
                Some("RESOURCE_EXHAUSTED"),
                Some("Quota"),
            ),
            ("<html>502</html>", None, None, None, None),
            (r#"{"error":{"code":null,"message":"cut of"#, None, None, None, Some("cut of")),
        ] {
            assert_eq!(read(body.as_bytes()), ProviderError { code, kind, status, message }, "{body}");
        }
    }

    #[test]
    fn an_empty_value_is_no_error() {
        for (value, is) in [
            ("null", false),
            ("false", false),
            ("\"\"", false),
            ("{}", false),
            ("{ }", false),
            ("[]", false),
            ("true", true),
            ("502", true),
            ("\"no\"", true),
            ("{\"message\":\"no\"}", true),
            ("[{}]", true),
        ] {
            assert_eq!(is_error_value(&serde_json::from_str(value).unwrap()), is, "{value}");
            assert_eq!(may_be_error(format!("{value},\"x\":1}}").as_bytes()), is, "{value}");
        }
    }

    #[test]
    fn knows_an_error_under_a_good_status() {
        for (body, is) in [
            (r#"{"error":{"message":"no"}}"#, true),
            (r#"{"type":"error","error":{"type":"api_error"}}"#, true),
            (r#"{"object":"error","message":"no"}"#, true),
            (r#"{"id":"r","error":null,"output":[]}"#, false),
            (r#"{"id":"r","error":{ },"output":[]}"#, false),
            (r#"{"choices":[{"message":{"content":"{\"error\":1}"}}]}"#, false),
            (r#"{"choices":[{"message":{"content":"x"}}],"note":{"error":"inner"}}"#, false),
        ] {
            assert_eq!(is_error(body.as_bytes()), is, "{body}");
        }
    }
}
