//! Finds the members of a JSON object in the forwarded bytes. One pass over the body checks its whole grammar
//! and reports each member of one object by span; nothing is copied, unescaped or allocated.
//!
//! Refuses anything but exactly one object, with the offset of the byte. The envelope does not depend on how
//! this is done, so that another scanner can replace it.

use std::{borrow::Cow, ops::Range};

use super::{
    cursor::{Cursor, JsonError},
    field::unescape,
};

/// One `"key": value` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Between the key's quotes, escapes as written.
    pub(super) key: Range<usize>,
    /// The key is written with escapes.
    pub(super) escaped: bool,
    pub(super) value: Range<usize>,
    /// Offsets of the commas on either side. `None`: it is the first or the last member.
    pub(super) before: Option<usize>,
    pub(super) after: Option<usize>,
}

impl Member {
    /// The same member with offsets counted from `base` bytes earlier.
    pub(super) fn shift(self, base: usize) -> Self {
        let Self { key, escaped, value, before, after } = self;
        let moved = |comma: Option<usize>| comma.map(|at| at + base);
        Self {
            key: shift(key, base),
            escaped,
            value: shift(value, base),
            before: moved(before),
            after: moved(after),
        }
    }

    /// The key without escapes. `None`: it holds a lone surrogate.
    #[inline]
    pub(super) fn name<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.escaped { self.unescaped(body) } else { body.get(self.key.clone()).map(Cow::Borrowed) }
    }

    #[cold]
    fn unescaped<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let name = unescape(body, self.key.start - 1..self.key.end + 1)?;
        Some(Cow::Owned(name.into_owned().into_bytes()))
    }

    /// From the key's opening quote to the end of the value.
    pub(super) const fn span(&self) -> Range<usize> {
        self.key.start - 1..self.value.end
    }
}

const fn shift(span: Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}

/// Reads `body` as one object and calls `visit` for each of its members in order. Returns the offset of its
/// `}`.
///
/// # Errors
/// [`JsonError`] if `body` is not exactly one JSON object, and any error of `visit`.
pub(super) fn members<E: From<JsonError>>(
    body: &[u8],
    visit: impl FnMut(Member) -> Result<(), E>,
) -> Result<usize, E> {
    let mut cursor = Cursor::new(body);
    let close = first_object(&mut cursor, visit)?;
    cursor.skip_whitespace();
    match cursor.peek() {
        None => Ok(close),
        Some(_) => Err(cursor.error("expected nothing after the object").into()),
    }
}

/// As [`members`], for the object that `body` begins with, whatever follows it.
///
/// # Errors
/// [`JsonError`] if `body` does not begin with an object, and any error of `visit`.
pub(super) fn leading_members<E: From<JsonError>>(
    body: &[u8],
    visit: impl FnMut(Member) -> Result<(), E>,
) -> Result<usize, E> {
    first_object(&mut Cursor::new(body), visit)
}

fn first_object<E: From<JsonError>>(
    cursor: &mut Cursor<'_>,
    mut visit: impl FnMut(Member) -> Result<(), E>,
) -> Result<usize, E> {
    cursor.skip_whitespace();
    if cursor.peek() != Some(b'{') {
        return Err(cursor.error("expected a JSON object").into());
    }
    cursor.advance();
    object(cursor, &mut visit)
}

/// Reads the members after a `{`. Returns the offset of the `}`.
fn object<E: From<JsonError>>(
    cursor: &mut Cursor<'_>,
    visit: &mut impl FnMut(Member) -> Result<(), E>,
) -> Result<usize, E> {
    cursor.skip_whitespace();
    if cursor.peek() == Some(b'}') {
        cursor.advance();
        return Ok(cursor.at() - 1);
    }
    let mut comma = None;
    loop {
        let start = cursor.at();
        let escaped = cursor.string()?;
        let key = start + 1..cursor.at() - 1;
        cursor.colon()?;
        let value = cursor.at();
        cursor.value()?;
        let value = value..cursor.at();
        cursor.skip_whitespace();
        let end = cursor.at();
        let more = cursor.peek() == Some(b',');
        visit(Member { key, escaped, value, before: comma, after: more.then_some(end) })?;
        if more {
            cursor.advance();
            cursor.skip_whitespace();
            comma = Some(end);
        } else if cursor.peek() == Some(b'}') {
            cursor.advance();
            return Ok(end);
        } else {
            return Err(cursor.error("expected `,` or `}`").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type MemberText<'a> = (&'a str, &'a str, &'a str, [Option<&'a str>; 2]);

    fn spans(body: &str) -> Vec<MemberText<'_>> {
        let mut found = Vec::new();
        let close = members(body.as_bytes(), |member| {
            let commas = [member.before, member.after].map(|comma| comma.map(|at| &body[at..=at]));
            found.push((
                &body[member.key.clone()],
                &body[member.value.clone()],
                &body[member.span()],
                commas,
            ));
            Ok::<_, JsonError>(())
        })
        .unwrap();
        assert_eq!(&body[close..=close], "}");
        found
    }

    #[test]
    fn tells_keys_values_and_commas() {
        assert_eq!(
            spans(r#" {"a" : [1,{"b":2}] , "c":"x,}" } "#),
            [
                ("a", r#"[1,{"b":2}]"#, r#""a" : [1,{"b":2}]"#, [None, Some(",")]),
                ("c", r#""x,}""#, r#""c":"x,}""#, [Some(","), None]),
            ]
        );
        assert_eq!(spans(r#"{"only":-0.5e+9}"#), [("only", "-0.5e+9", r#""only":-0.5e+9"#, [None, None])]);
        assert_eq!(spans("{\n}\t"), []);
    }

    #[test]
    fn refuses_anything_but_one_object() {
        for (body, at) in
            [("", 0), ("[]", 0), ("{} {}", 3), ("{", 1), (r#"{"a":1,}"#, 7), (r#"{"a":1 "b"}"#, 7)]
        {
            let error = members(body.as_bytes(), |_| Ok::<_, JsonError>(())).unwrap_err();
            assert_eq!(error.at, at, "{body}: {}", error.reason);
        }
    }
}
