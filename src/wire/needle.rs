//! Names of members found in JSON text without reading it. A quote inside a JSON string stands behind a backslash, so
//! `"name"` with both its quotes is a name or a whole value, never part of a text. A name written with escapes is not
//! found; no provider writes one.

use std::sync::LazyLock;

use memchr::memmem::Finder;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""error""#));
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""choices""#));

/// Whether a member `usage` is an object.
pub(super) fn has_usage(data: &[u8]) -> bool {
    has_member(&USAGE, data, |value| value == Some(b'{'))
}

/// Whether a member `error` is not `null`, or the word stands as a value, as in `"type":"error"`.
pub(super) fn has_error(data: &[u8]) -> bool {
    has_member(&ERROR, data, |value| value != Some(b'n'))
}

/// Whether a member `choices` is `[]`.
pub(super) fn has_empty_choices(data: &[u8]) -> bool {
    CHOICES.find_iter(data).any(|at| {
        let mut rest = data.get(at + CHOICES.needle().len()..).unwrap_or_default();
        for byte in [b":", b"[", b"]"] {
            let Some(after) = rest.trim_ascii_start().strip_prefix(byte) else { return false };
            rest = after;
        }
        true
    })
}

/// Whether `fits` holds for the first byte of the value of some member of that name (`None`: the name is itself a value).
fn has_member(name: &Finder<'_>, data: &[u8], fits: impl Fn(Option<u8>) -> bool) -> bool {
    name.find_iter(data).any(|at| {
        let rest = data.get(at + name.needle().len()..).unwrap_or_default().trim_ascii_start();
        fits(rest.strip_prefix(b":").and_then(|value| value.trim_ascii_start().first().copied()))
    })
}
