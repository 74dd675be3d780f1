//! Names of members found in JSON text without reading it. A quote inside a JSON string stands behind a backslash, so
//! `"name"` with both its quotes is a name or a whole value, never part of a text. A name written with escapes is not
//! found; no provider writes one.
//!
//! Every relayed event comes through here and nearly none has anything to find. [`look`] therefore first glances at
//! whole chunks for what `"usage"` and `"error"` have in common, in a loop that compiles to vector compares and takes a
//! third of the instructions of two substring searches.

use memchr::memmem;

/// What stands in an event's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// A member `usage` that is an object.
    pub(super) usage: bool,
    /// A member `error` that is not `null`, or the word as a value, as in `"type":"error"`.
    pub(super) error: bool,
}

pub(super) fn look(data: &[u8]) -> Sight {
    if !glance(data) {
        return Sight::default();
    }
    Sight {
        usage: has_member(br#""usage""#, data, |value| value == Some(b'{')),
        error: has_member(br#""error""#, data, |value| value != Some(b'n')),
    }
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

/// Places tested at once.
const PLACES: usize = 64;
/// Bytes that a test looks at: `"usage":` and one more.
const REACH: usize = 9;
const CHUNK: usize = PLACES + REACH - 1;

/// Whether `"u????"` or `"e????"` stands somewhere with no `n` two bytes further on, where `null` would be.
fn glance(data: &[u8]) -> bool {
    let mut rest = data;
    while !rest.is_empty() {
        let hit = match rest.first_chunk() {
            Some(chunk) => fits_somewhere(chunk),
            None => {
                let mut chunk = [0; CHUNK];
                if let Some(start) = chunk.get_mut(..rest.len()) {
                    start.copy_from_slice(rest);
                }
                fits_somewhere(&chunk)
            }
        };
        if hit {
            return true;
        }
        rest = rest.get(PLACES..).unwrap_or_default();
    }
    false
}

/// All places are tested, without a branch, so that the loop becomes vector compares.
fn fits_somewhere(chunk: &[u8; CHUNK]) -> bool {
    let [open, first, close, value] = [0, 1, 6, 8].map(|reach| chunk[reach..].first_chunk::<PLACES>());
    let (Some(open), Some(first), Some(close), Some(value)) = (open, first, close, value) else {
        return false;
    };
    let mut hit = 0;
    for at in 0..PLACES {
        let named = (first[at] == b'u') | (first[at] == b'e');
        hit |= u8::from((open[at] == b'"') & (close[at] == b'"') & named & (value[at] != b'n'));
    }
    hit != 0
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
                assert!(look(text(r#""error" : {"#).as_bytes()).error);
                assert!(look(text(r#""type":"error"}"#).as_bytes()).error);
                assert!(look(text(r#""type":"error""#).as_bytes()).error);
                assert_eq!(
                    look(text(r#""usage": null,"error":null,"other":{"#).as_bytes()),
                    Sight::default()
                );
                assert_eq!(look(text(r#"\"usage\":{,\"error\":{"#).as_bytes()), Sight::default());
            }
        }
    }
}
