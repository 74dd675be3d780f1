//! Names of members found in JSON text without reading it. A quote inside a JSON string stands behind a backslash, so
//! `"name"` with both its quotes is a name or a whole value, never part of a text. A name written with escapes is not
//! found; no provider writes one. Every relayed event comes through here and nearly none has anything to find.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

/// What stands in an event's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// A member `usage` that is an object.
    pub(super) usage: bool,
    /// It begins with a member `error`, or with a `type` that says so.
    pub(super) error: bool,
}

const USAGE: &[u8] = br#""usage""#;
static FIND_USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(USAGE));

/// One search for the usage; an error is looked for where providers put it, at the beginning.
pub(super) fn look(data: &[u8]) -> Sight {
    let begins = |start: &[u8]| data.starts_with(start);
    let error = begins(br#"{"error""#) || begins(br#"{"type":"error""#) || begins(br#"{"type": "error""#);
    let usage = FIND_USAGE.find(data).is_some_and(|at| {
        let rest = data.get(at..).unwrap_or_default();
        has_member(USAGE, rest, |value| value == Some(b'{'))
    });
    Sight { usage, error }
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
    fn sees_usage_at_every_distance_from_either_end() {
        for before in 0..150 {
            for after in (0..150).step_by(7) {
                let look = |member: &str| {
                    look(format!("{}{member}{}", "x".repeat(before), "x".repeat(after)).as_bytes())
                };
                assert!(look(r#""usage":{"#).usage);
                assert!(look(r#""usage":null,"usage" : {"#).usage);
                assert!(!look(r#""usage": null,"other":{"#).usage);
                assert!(!look(r#"\"usage\":{"#).usage);
            }
        }
    }

    #[test]
    fn sees_an_error_where_it_begins() {
        assert!(look(br#"{"error":{"message":"x"}}"#).error);
        assert!(look(br#"{"type":"error","error":{}}"#).error);
        assert!(!look(br#"{"id":"x","choices":[],"error":null}"#).error);
    }
}
