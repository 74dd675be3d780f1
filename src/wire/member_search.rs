//! Finds names of members in JSON text without parsing it. A quote inside a JSON string is escaped, so
//! `"name"` with both quotes is a name or a whole value, never a part of a longer text. A name written with
//! escapes is not found; no provider writes one.
//!
//! Every relayed event is searched, and nearly none has a match: the search for absent names must be cheap.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::{event_usage::EventUsage, provider_error::may_be_error};

/// The members found in an event's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EventMarks {
    /// A member `usage` that is an object.
    pub(super) usage: bool,
    /// A member `error` that is not empty, or the word as a value, as in `"type":"error"`.
    pub(super) error: bool,
}

impl EventMarks {
    pub(super) const fn unread_usage(self) -> EventUsage {
        if self.usage { EventUsage::Unread } else { EventUsage::None }
    }
}

const USAGE: &[u8] = br#""usage""#;
const GEMINI_USAGE: &[u8] = br#""usageMetadata""#;
const ERROR: &[u8] = br#""error""#;
/// The end of all names of a reason for the end.
const REASON: &[u8] = br#"eason""#;
static FIND_REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(REASON));
static FIND_USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(USAGE));
static FIND_GEMINI_USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(GEMINI_USAGE));
static FIND_ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(ERROR));

/// Searches for each name with a finder that is built once, then checks the values behind the matches.
pub(super) fn find_marks(data: &[u8]) -> EventMarks {
    let rest = |at: usize| data.get(at..).unwrap_or_default();
    let usage = FIND_USAGE.find(data).map(rest);
    let error = FIND_ERROR.find(data).map(rest);
    EventMarks {
        usage: usage.is_some_and(|rest| {
            has_member(USAGE, rest, |value| value.is_some_and(|value| value.starts_with(b"{")))
        }),
        error: error.is_some_and(|rest| has_member(ERROR, rest, |value| value.is_none_or(may_be_error))),
    }
}

/// Whether a `finish_reason`, `stop_reason`, `finishReason` or `blockReason` is a string that is not empty.
pub(super) fn has_finish_reason(data: &[u8]) -> bool {
    const STARTS: [&[u8]; 4] = [br#""finish_r"#, br#""stop_r"#, br#""finishR"#, br#""blockR"#];
    FIND_REASON.find_iter(data).any(|at| {
        let start = data.get(..at).unwrap_or_default();
        let rest = data.get(at + REASON.len()..).unwrap_or_default().trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        let word = value.and_then(|value| value.strip_prefix(b"\""));
        // Some providers write "" where others write null.
        word.is_some_and(|word| word.first() != Some(&b'"'))
            && STARTS.iter().any(|name| start.ends_with(name))
    })
}

/// Whether there is a member `usageMetadata`, in which Gemini counts tokens.
pub(super) fn has_gemini_usage(data: &[u8]) -> bool {
    FIND_GEMINI_USAGE.find(data).is_some()
}

/// Whether a chunk with usage may hold nothing else: a member `choices` is `[]`, a `delta` is `{}` or null,
/// or a `content` is `""` or null.
pub(super) fn may_be_usage_chunk(data: &[u8]) -> bool {
    is_bare(data, br#""choices""#, &[b":", b"[", b"]"])
        || is_bare(data, br#""delta""#, &[b":", b"{", b"}"])
        || is_bare(data, br#""delta""#, &[b":", b"null"])
        || is_bare(data, br#""content""#, &[b":", b"\"\""])
        || is_bare(data, br#""content""#, &[b":", b"null"])
}

/// Whether these bytes, and between them only spaces, follow a `name`.
fn is_bare(data: &[u8], name: &[u8], bytes: &[&[u8]]) -> bool {
    memmem::find_iter(data, name).any(|at| {
        let mut rest = data.get(at + name.len()..).unwrap_or_default();
        for part in bytes {
            let Some(after) = rest.trim_ascii_start().strip_prefix(*part) else { return false };
            rest = after;
        }
        true
    })
}

/// Whether `fits` accepts the text that begins with the value of a member `name` (`None`: the name is itself
/// a value).
fn has_member(name: &[u8], data: &[u8], fits: impl Fn(Option<&[u8]>) -> bool) -> bool {
    memmem::find_iter(data, name).any(|at| {
        let rest = data.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
        fits(rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_known_by_each_name() {
        for name in ["finish_reason", "stop_reason", "finishReason", "blockReason"] {
            for before in ["{", r#"{"reason":"stop","a_reason":"b","#, r#"{"finish_reason":null,"#] {
                assert!(has_finish_reason(format!(r#"{before}"{name}": "stop"}}"#).as_bytes()));
                assert!(!has_finish_reason(format!(r#"{before}"{name}":"","x":"stop"}}"#).as_bytes()));
                assert!(!has_finish_reason(format!(r#"{before}"x{name}":"stop"}}"#).as_bytes()));
            }
        }
    }

    #[test]
    fn sees_a_name_at_every_distance_from_either_end() {
        for before in 0..150 {
            for after in (0..150).step_by(7) {
                let text = |member: &str| format!("{}{member}{}", "x".repeat(before), "x".repeat(after));
                assert!(find_marks(text(r#""usage":{"#).as_bytes()).usage);
                assert!(find_marks(text(r#""usage":null,"usage" : {"#).as_bytes()).usage);
                assert!(find_marks(text(r#""error" : {"#).as_bytes()).error);
                assert!(find_marks(text(r#""type":"error"}"#).as_bytes()).error);
                assert!(find_marks(text(r#""type":"error""#).as_bytes()).error);
                assert_eq!(
                    find_marks(text(r#""usage": null,"error":null,"other":{"#).as_bytes()),
                    EventMarks::default()
                );
                assert_eq!(find_marks(text(r#"\"usage\":{,\"error\":{"#).as_bytes()), EventMarks::default());
            }
        }
    }
}
