//! Names of members found in JSON text without reading it. A quote inside a JSON string stands behind a backslash, so
//! `"name"` with both its quotes is a name or a whole value, never part of a text. A name written with escapes is not
//! found; no provider writes one. Every relayed event comes through here and nearly none has anything to find.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

/// What stands in an event's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EventMarks {
    /// A member `usage` that is an object.
    pub(super) usage: bool,
    /// A member `error` that is not `null`, or the word as a value, as in `"type":"error"`.
    pub(super) error: bool,
}

const USAGE: &[u8] = br#""usage""#;
const ERROR: &[u8] = br#""error""#;
static FIND_USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(USAGE));
static FIND_ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(ERROR));

/// One search for each, prepared once; what they find is looked at more closely.
pub(super) fn look(data: &[u8]) -> EventMarks {
    let rest = |at: usize| data.get(at..).unwrap_or_default();
    let usage = FIND_USAGE.find(data).map(rest);
    let error = FIND_ERROR.find(data).map(rest);
    EventMarks {
        usage: usage.is_some_and(|rest| has_member(USAGE, rest, |value| value == Some(b'{'))),
        error: error.is_some_and(|rest| has_member(ERROR, rest, |value| value != Some(b'n'))),
    }
}

/// Whether a member tells why the answer is over.
pub(super) fn is_over(data: &[u8]) -> bool {
    let names = [&br#""finish_reason""#[..], br#""stop_reason""#];
    names.iter().any(|name| {
        memmem::find_iter(data, name).any(|at| {
            let rest = data.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
            let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
            // Some say "" where others say null.
            value.and_then(|value| value.strip_prefix(b"\"")).is_some_and(|word| word.first() != Some(&b'"'))
        })
    })
}

/// Whether a member `choices` is `[]`.
pub(super) fn has_empty_choices(data: &[u8]) -> bool {
    const NAME: &[u8] = br#""choices""#;
    memmem::find_iter(data, NAME).any(|at| {
        let mut rest = data.get(at + NAME.len()..).unwrap_or_default();
        for byte in [b":", b"[", b"]"] {
            let Some(after) = rest.trim_ascii_start().strip_prefix(byte) else { return false };
            rest = after;
        }
        true
    })
}

/// Whether `fits` holds for the first byte of the value of some member of that name (`None`: the name is itself a value).
fn has_member(name: &[u8], data: &[u8], fits: impl Fn(Option<u8>) -> bool) -> bool {
    memmem::find_iter(data, name).any(|at| {
        let rest = data.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
        fits(rest.strip_prefix(b":").and_then(|value| value.trim_ascii_start().first().copied()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_name_at_every_distance_from_either_end() {
        for before in 0..150 {
            for after in (0..150).step_by(7) {
                let text = |member: &str| format!("{}{member}{}", "x".repeat(before), "x".repeat(after));
                assert!(look(text(r#""usage":{"#).as_bytes()).usage);
                assert!(look(text(r#""usage":null,"usage" : {"#).as_bytes()).usage);
                assert!(look(text(r#""error" : {"#).as_bytes()).error);
                assert!(look(text(r#""type":"error"}"#).as_bytes()).error);
                assert!(look(text(r#""type":"error""#).as_bytes()).error);
                assert_eq!(
                    look(text(r#""usage": null,"error":null,"other":{"#).as_bytes()),
                    EventMarks::default()
                );
                assert_eq!(look(text(r#"\"usage\":{,\"error\":{"#).as_bytes()), EventMarks::default());
            }
        }
    }
}
