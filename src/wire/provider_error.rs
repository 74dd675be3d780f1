//! Finds code, type, status word and message of a provider's error in the first bytes of its body. The body
//! may be cut off anywhere and need not be JSON, so it is searched and not parsed. A quote inside a JSON
//! string is escaped, so a quoted name in front of a colon is a key, even if a message quotes JSON.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde_json::Value;

use super::{dialect::Dialect, index};

/// Bytes. A longer response with a success status is not searched for an error, because errors are short.
pub const MAX_ERROR_BODY: usize = 16 * 1024;

static FIND_ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));

/// Characters of a provider's words that are repeated.
const MAX_WORDS: usize = 300;

/// The members of an error as the provider wrote them, with escapes. `None`: absent, or not in these bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderError<'a> {
    /// `error.code`: a word, or a number from providers that repeat the status here.
    pub code: Option<&'a str>,
    /// `error.type`
    pub kind: Option<&'a str>,
    /// `error.status`, Google's word for the code.
    pub status: Option<&'a str>,
    /// `reason` in Google's details, which names the cause of a general status.
    pub reason: Option<&'a str>,
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
        reason: member(inner, "reason"),
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
    if FIND_ERROR.find(body).is_none() {
        return false;
    }
    if body.trim_ascii_start().starts_with(b"[") {
        return is_error_object(body);
    }
    let mut found = false;
    let result = index::members(body, |member| {
        let value = body.get(member.value).unwrap_or_default();
        found |= match body.get(member.key) {
            Some(b"error") => may_be_error(value),
            // OpenRouter has the error of a provider of its own there.
            Some(b"choices") => has_failed_choice(value),
            Some(b"type" | b"object") => value == b"\"error\"",
            Some(_) | None => false,
        };
        Ok::<_, super::cursor::JsonError>(())
    });
    result.is_ok() && found
}

fn has_failed_choice(choices: &[u8]) -> bool {
    let choices: Option<Vec<Value>> = serde_json::from_slice(choices).ok();
    choices.is_some_and(|choices| choices.iter().any(|choice| is_error_value(&choice["error"])))
}

/// Whether a whole response with a success status, which is no error, has the member that holds an answer in
/// its dialect. The caller skips long bodies: they hold something.
#[must_use]
pub fn has_answer(dialect: Dialect, body: &[u8]) -> bool {
    let holds = |key: &[u8], value: &[u8]| match dialect {
        Dialect::ChatCompletions | Dialect::Completions => key == b"choices" && is_filled(value),
        Dialect::Embeddings => key == b"data" && is_filled(value),
        // An answer may be without content, and one that has not begun is without output.
        Dialect::Messages => key == b"content",
        Dialect::Responses => key == b"output" || key == b"id",
        Dialect::Gemini => matches!(key, b"candidates" | b"promptFeedback"),
    };
    // Gemini's API lists the chunks of a stream.
    let listed = body.trim_ascii().strip_prefix(b"[").filter(|_| dialect == Dialect::Gemini);
    let object = listed.unwrap_or(body);
    let mut found = false;
    let result = index::leading_members(object, |member| {
        found |= holds(part(object, member.key), part(object, member.value));
        Ok::<_, super::cursor::JsonError>(())
    });
    result.is_ok() && found
}

/// Whether a list is not empty.
fn is_filled(list: &[u8]) -> bool {
    list.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().first() != Some(&b']'))
}

/// Whether a whole body is an error as the APIs write it: an object with an object `error`, or Google's list
/// of one such object.
#[must_use]
pub fn is_error_object(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let listed = body.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let (object, mut found) = (listed.unwrap_or(body), false);
    let result = index::members(object, |member| {
        let value = part(object, member.value);
        found |= part(object, member.key) == b"error" && value.starts_with(b"{") && may_be_error(value);
        Ok::<_, super::cursor::JsonError>(())
    });
    result.is_ok() && found
}

/// The provider's words about an error, on one line, cut: the message of a JSON body, the text of a page.
/// Empty: it said nothing.
#[must_use]
pub fn words(body: &[u8]) -> String {
    let body = body.get(..MAX_ERROR_BODY).unwrap_or(body).trim_ascii();
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => message_of(&json),
        Err(_) => text_of(&String::from_utf8_lossy(body)),
    };
    let mut words = String::new();
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if !words.is_empty() && !word.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    if let Some((cut, _)) = words.char_indices().nth(MAX_WORDS) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

/// The message of an error of any form.
fn message_of(json: &Value) -> String {
    let Value::Object(members) = json else {
        return match json {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.len() == 1 => items.first().map(message_of).unwrap_or_default(),
            Value::Null => String::new(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => json.to_string(),
        };
    };
    let known = ["error", "message", "detail", "error_description", "msg", "title", "errors"];
    let mut said = known.into_iter().filter_map(|key| members.get(key)).filter(|value| is_error_value(value));
    match said.next() {
        Some(value) => message_of(value),
        None if members.is_empty() => String::new(),
        None => json.to_string(),
    }
}

/// The text of a page, or of a body that is no page.
fn text_of(body: &str) -> String {
    if !body.starts_with('<') {
        return body.to_owned();
    }
    let lower = body.to_ascii_lowercase();
    let find =
        |text: &str, from: usize| lower.get(from..).and_then(|rest| rest.find(text)).map(|at| from + at);
    let (mut text, mut at) = (String::new(), 0);
    while let Some(open) = find("<", at) {
        text.push_str(body.get(at..open).unwrap_or_default());
        text.push(' ');
        let tag = lower.get(open..).unwrap_or_default();
        // Neither is for people.
        let hidden = ["style", "script"]
            .into_iter()
            .find(|name| tag.get(1..).is_some_and(|tag| tag.starts_with(name)));
        let close = hidden.map_or(Some(open), |name| find(&format!("</{name}"), open));
        let end = close.and_then(|close| find(">", close));
        at = end.map_or(body.len(), |end| end + 1);
    }
    text.push_str(body.get(at..).unwrap_or_default());
    text
}

fn part(body: &[u8], span: std::ops::Range<usize>) -> &[u8] {
    body.get(span).unwrap_or_default()
}

/// Whether the value of a member `error` is an error. Some providers write a value beside content that is
/// empty, or says that there is none.
#[must_use]
pub(super) fn is_error_value(value: &Value) -> bool {
    const CODES: [&str; 3] = ["code", "status", "status_code"];
    let Value::Object(members) = value else { return says_something(value) };
    let says_success = |(name, value): (&String, &Value)| CODES.contains(&&**name) && is_success(value);
    // The words of a success are no error's.
    let is_word = |name: &str| matches!(name, "message" | "msg");
    let succeeds = members.iter().any(says_success);
    members.iter().any(|(name, value)| {
        let is_good = says_success((name, value)) || succeeds && is_word(name) && is_success(value);
        !is_good && says_something(value)
    })
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

/// Whether a code or a message of an error says that there is none.
fn is_success(value: &Value) -> bool {
    match value {
        Value::Number(number) => matches!(number.as_u64(), Some(0 | 200)),
        Value::String(text) => {
            ["", "0", "200", "ok", "success"].iter().any(|word| text.eq_ignore_ascii_case(word))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The same of the JSON text that begins with the value, which may be cut off.
#[must_use]
pub(super) fn may_be_error(text: &[u8]) -> bool {
    match text.split_first() {
        Some((b'n' | b'f', _)) => false,
        Some((b'"', rest)) => rest.first() != Some(&b'"'),
        Some((b'[', rest)) => rest.trim_ascii_start().first() != Some(&b']'),
        Some((b'{' | b'0'..=b'9' | b'-', _)) => {
            let value = serde_json::Deserializer::from_slice(text).into_iter().next();
            value.and_then(Result::ok).is_none_or(|value| is_error_value(&value))
        }
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
            assert_eq!(
                read(body.as_bytes()),
                ProviderError { code, kind, status, message, reason: None },
                "{body}"
            );
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
            ("-1", true),
            ("0", false),
            ("0.0", false),
            ("\"no\"", true),
            ("{\"code\":0,\"message\":\"\"}", false),
            ("{\"message\":\"\"}", false),
            ("{\"message\":null,\"type\":\"\",\"param\":null,\"code\":null}", false),
            ("{\"code\":200,\"message\":\"success\"}", false),
            ("{\"status_code\":\"0\",\"msg\":\"OK\"}", false),
            ("{\"code\":200,\"message\":\"boom\"}", true),
            ("{\"code\":500,\"message\":\"\"}", true),
            ("{\"message\":\"success\"}", true),
            ("{\"type\":\"x\",\"message\":\"\"}", true),
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
            (r#"[{"error":{"code":503,"message":"no"}}]"#, true),
            (r#"{"choices":[{"error":{"code":502,"message":"no"},"message":{"content":""}}]}"#, true),
            (
                r#"{"choices":[{"error":null,"message":{"content":"x"}}],"error":{"code":0,"message":""}}"#,
                false,
            ),
            (r#"{"id":"r","error":null,"output":[]}"#, false),
            (r#"{"id":"r","error":{ },"output":[]}"#, false),
            (r#"{"choices":[{"message":{"content":"{\"error\":1}"}}]}"#, false),
            (r#"{"choices":[{"message":{"content":"x"}}],"note":{"error":"inner"}}"#, false),
        ] {
            assert_eq!(is_error(body.as_bytes()), is, "{body}");
        }
    }

    #[test]
    fn knows_an_answer_by_the_member_that_holds_it() {
        use Dialect::{ChatCompletions, Embeddings, Gemini, Messages, Responses};
        for (dialect, body, has) in [
            (ChatCompletions, r#"{"choices":[{}]}"#, true),
            (ChatCompletions, r#"{"choices":[ ]}"#, false),
            (ChatCompletions, r#"{"code":50001,"msg":"no"}"#, false),
            (ChatCompletions, r#"{"choices":null,"base_resp":{"status_code":1002}}"#, false),
            (ChatCompletions, r#"{"data":{"choices":[{}]}}"#, false),
            (ChatCompletions, "null", false),
            (ChatCompletions, "[]", false),
            (Embeddings, r#"{"data":[{"embedding":[1]}]}"#, true),
            (Embeddings, r#"{"data":[]}"#, false),
            (Messages, r#"{"type":"message","content":[]}"#, true),
            (Messages, r#"{"detail":"x"}"#, false),
            (Responses, r#"{"id":"r","status":"queued"}"#, true),
            (Responses, "{}", false),
            (Gemini, r#"{"promptFeedback":{"blockReason":"OTHER"}}"#, true),
            (Gemini, "[{\n\"candidates\":[{}]}\n,{}]", true),
            (Gemini, "[]", false),
        ] {
            assert_eq!(has_answer(dialect, body.as_bytes()), has, "{dialect:?} {body}");
        }
    }

    #[test]
    fn knows_the_errors_of_the_apis() {
        for (body, is) in [
            (r#"{"error":{"message":"no"}}"#, true),
            (r#" {"type":"error","error":{"type":"api_error","message":"no"}} "#, true),
            ("[{\n \"error\": {\"code\": 429}\n}\n]\n", true),
            (r#"{"error":"model 'x' not found"}"#, false),
            (r#"{"error":{}}"#, false),
            (r#"{"detail":"Unauthorized"}"#, false),
            (r#"{"object":"error","message":"no","code":400}"#, false),
            (r#"{"a":{"error":{"message":"no"}}}"#, false),
            (r#"{"error":{"message":"no"}"#, false),
            (r#"[{"error":{"message":"no"}},{}]"#, false),
            ("<html>", false),
            ("", false),
        ] {
            assert_eq!(is_error_object(body.as_bytes()), is, "{body}");
        }
    }

    #[test]
    fn repeats_the_words_of_a_provider() {
        let long = "x".repeat(2 * MAX_WORDS);
        for (body, said) in [
            (r#"{"error":{"message":"Incorrect \"key\"","code":1}}"#, r#"Incorrect "key""#),
            (r#"{"error":"model 'x' not found"}"#, "model 'x' not found"),
            (r#"{"error":null,"message":"invalid api token"}"#, "invalid api token"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, "field required"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"[{"error":{"code":400,"message":"API key not valid."}}]"#, "API key not valid."),
            ("upstream connect error\r\n\treset\u{1b}[31m", "upstream connect error reset [31m"),
            (
                "<html><head><title>502 Bad Gateway</title><style>a{b:c}</style><SCRIPT>x < 1</SCRIPT></head>\
                 <body><h1>502</h1>nginx</body></html>",
                "502 Bad Gateway 502 nginx",
            ),
            ("<html><style>never closed", ""),
            ("{}", ""),
            ("", ""),
        ] {
            assert_eq!(words(body.as_bytes()), said, "{body}");
        }
        assert_eq!(words(long.as_bytes()), format!("{}…", &long[..MAX_WORDS]));
        assert_eq!(words(&[0xff, b'a']), "\u{fffd}a");
    }
}
