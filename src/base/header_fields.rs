//! The header fields of a head (RFC 9110 section 5), in the order in which they came: all names in one text,
//! in lower case, and all values in one piece of memory. A field is found by the length and two letters of
//! its name, in a pass over a few numbers: heads have some ten fields, and a table of digests costs more to
//! fill than it saves.
//!
//! Invariant: a head that is written from fields ends where they end, because no name and no value holds a
//! byte that it must not. `Debug` shows names alone, because some values are secrets.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header::SET_COOKIE};

/// Bytes of a name and of a value for which there is room where more fields are expected.
const NAME_SIZE: usize = 16;
const VALUE_SIZE: usize = 24;

/// The fields of a head.
#[derive(Clone, Default)]
pub struct HeaderFields {
    names: String,
    values: Vec<u8>,
    spans: Vec<FieldSpan>,
}

/// The place of a field.
#[derive(Clone, Copy)]
struct FieldSpan {
    key: NameKey,
    name: u32,
    value: u32,
    value_length: u32,
}

/// The length of a name, and its first and its last letter: the same for the same name, and mostly another
/// for another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct NameKey(u32);

impl NameKey {
    /// Of a name shorter than 64 KiB.
    #[expect(clippy::cast_possible_truncation, reason = "names of fields are shorter")]
    #[inline]
    const fn of(name: &str) -> Self {
        let length = name.len() as u32;
        match name.as_bytes() {
            [] => Self(0),
            [only] => Self(length | (only.to_ascii_lowercase() as u32) << 16),
            [first, .., last] => {
                let (first, last) = (first.to_ascii_lowercase(), last.to_ascii_lowercase());
                Self(length | (first as u32) << 16 | (last as u32) << 24)
            }
        }
    }

    const fn length(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

/// A name that is known to be one, in lower case.
pub trait FieldName: AsRef<str> {}

/// A literal: a token in lower case.
impl FieldName for &'static str {}
impl FieldName for HeaderName {}
impl FieldName for &HeaderName {}

impl HeaderFields {
    #[must_use]
    pub const fn new() -> Self {
        Self { names: String::new(), values: Vec::new(), spans: Vec::new() }
    }

    /// The fields of a head whose parser has found their names and values good, with room for `more` fields.
    /// `None`: a name is longer than 64 KiB.
    #[must_use]
    pub fn of_parsed(parsed: &[httparse::Header<'_>], more: usize) -> Option<Self> {
        let (mut names, mut values) = (more * NAME_SIZE, more * VALUE_SIZE);
        for field in parsed {
            (names, values) = (names + field.name.len(), values + field.value.len());
        }
        let mut fields = Self {
            names: String::with_capacity(names),
            values: Vec::with_capacity(values),
            spans: Vec::with_capacity(parsed.len() + more),
        };
        let fits = parsed.iter().all(|field| fields.push(field.name, field.value));
        fields.names.make_ascii_lowercase();
        fits.then_some(fields)
    }

    /// The number of fields; repeated ones count each.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The value of the first field of this name, which is in lower case.
    #[inline]
    pub fn get(&self, name: impl AsRef<str>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.find(NameKey::of(name), name).map(|span| self.value(span))
    }

    /// As [`HeaderFields::get`]. `None`, too, for a value with other bytes than visible ASCII, spaces and
    /// tabs.
    #[inline]
    pub fn text(&self, name: impl AsRef<str>) -> Option<&str> {
        self.get(name).and_then(field_text)
    }

    #[inline]
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        let name = name.as_ref();
        self.find(NameKey::of(name), name).is_some()
    }

    /// The values of all fields of this name, which is in lower case.
    #[inline]
    pub fn get_all<N: AsRef<str>>(&self, name: N) -> impl Iterator<Item = &[u8]> + use<'_, N> {
        let key = NameKey::of(name.as_ref());
        let spans = self.spans.iter().filter(move |span| self.is_named(span, key, name.as_ref()));
        spans.map(|span| self.value(span))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.spans.iter().map(|span| (self.name(span), self.value(span)))
    }

    /// Adds a field behind the others. `false`, and nothing is added: its value has a byte that no value may
    /// have.
    pub fn append(&mut self, name: impl FieldName, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        is_value(value) && self.push(name.as_ref(), value)
    }

    /// Adds a field in the place of all fields of its name. `false`, and nothing is changed: its value has a
    /// byte that no value may have.
    pub fn insert(&mut self, name: impl FieldName, value: impl AsRef<[u8]>) -> bool {
        let (name, value) = (name.as_ref(), value.as_ref());
        is_value(value) && {
            self.remove(name);
            self.push(name, value)
        }
    }

    /// Removes all fields of this name, which is in lower case.
    pub fn remove(&mut self, name: impl AsRef<str>) {
        let name = name.as_ref();
        if self.contains(name) {
            self.retain(|other, _| other != name);
        }
    }

    /// Keeps the fields of which `keeps` is true.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str, &[u8]) -> bool) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.retain(|span| keeps(self.name(span), self.value(span)));
        self.spans = spans;
    }

    /// Puts another value in the place of each one for which `other` has one. A field whose new value has a
    /// byte that no value may have is removed.
    pub fn replace_values<V: AsRef<[u8]>>(&mut self, mut other: impl FnMut(&[u8]) -> Option<V>) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.retain_mut(|span| {
            let Some(other) = other(self.value(span)) else { return true };
            let other = other.as_ref();
            let (Ok(value), Ok(value_length)) =
                (u32::try_from(self.values.len()), u32::try_from(other.len()))
            else {
                return false;
            };
            self.values.extend_from_slice(other);
            (span.value, span.value_length) = (value, value_length);
            is_value(other)
        });
        self.spans = spans;
    }

    /// `name` is in lower case, or will be. `false`: there is no room.
    #[inline]
    fn push(&mut self, name: &str, value: &[u8]) -> bool {
        let (Ok(_), Ok(name_at), Ok(value_at), Ok(value_length)) = (
            u16::try_from(name.len()),
            u32::try_from(self.names.len()),
            u32::try_from(self.values.len()),
            u32::try_from(value.len()),
        ) else {
            return false;
        };
        self.names.push_str(name);
        self.values.extend_from_slice(value);
        self.spans.push(FieldSpan { key: NameKey::of(name), name: name_at, value: value_at, value_length });
        true
    }

    #[inline]
    fn find(&self, key: NameKey, name: &str) -> Option<&FieldSpan> {
        self.spans.iter().find(|span| self.is_named(span, key, name))
    }

    #[inline]
    fn is_named(&self, span: &FieldSpan, key: NameKey, name: &str) -> bool {
        span.key == key && self.name(span) == name
    }

    fn name(&self, span: &FieldSpan) -> &str {
        let start = span.name as usize;
        self.names.get(start..start + span.key.length()).unwrap_or_default()
    }

    fn value(&self, span: &FieldSpan) -> &[u8] {
        let start = span.value as usize;
        self.values.get(start..start + span.value_length as usize).unwrap_or_default()
    }

    /// As the `http` crate has them, for HTTP/2.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let fields = self.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let mut value = HeaderValue::from_bytes(value).ok()?;
            // A secret, which is to enter no table of compression.
            value.set_sensitive(name == SET_COOKIE);
            Some((name, value))
        });
        let mut map = HeaderMap::with_capacity(self.len());
        map.extend(fields);
        map
    }
}

impl From<&HeaderMap> for HeaderFields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::new();
        for (name, value) in map {
            fields.push(name.as_str(), value.as_bytes());
        }
        fields
    }
}

/// Fields whose value has a byte that no value may have are left out.
impl<N: FieldName, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderFields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut fields = Self::new();
        for (name, value) in pairs {
            fields.append(name, value);
        }
        fields
    }
}

impl PartialEq for HeaderFields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HeaderFields {}

impl fmt::Debug for HeaderFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A value as text. `None`: it has other bytes than visible ASCII, spaces and tabs.
#[must_use]
pub fn field_text(value: &[u8]) -> Option<&str> {
    let is_text = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if is_text { std::str::from_utf8(value).ok() } else { None }
}

/// Whether each byte may be in a value (RFC 9110 section 5.5): also those beyond ASCII.
fn is_value(value: &[u8]) -> bool {
    // All bytes are looked at, because a loop without an early end is several bytes wide.
    value.iter().fold(true, |good, byte| good & ((*byte >= b' ') & (*byte != 0x7f) | (*byte == b'\t')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'f>(fields: &'f HeaderFields, name: &'static str) -> Vec<&'f [u8]> {
        fields.get_all(name).collect()
    }

    #[test]
    fn fields_keep_their_order_and_are_found_by_name() {
        let parsed = [
            ("Accept", &b"a"[..]),
            ("X-Empty", b""),
            ("accept", b"b"),
            ("x-other", b"\xe9 \t"),
            ("ACCEPT", b"c"),
        ];
        let parsed = parsed.map(|(name, value)| httparse::Header { name, value });
        let fields = HeaderFields::of_parsed(&parsed, 1).unwrap();
        assert_eq!(values(&fields, "accept"), [b"a", b"b", b"c"]);
        assert_eq!((fields.get("accept"), fields.get("x-empty")), (Some(&b"a"[..]), Some(&b""[..])));
        assert_eq!((fields.text("accept"), fields.text("x-other")), (Some("a"), None));
        // The same length, first and last letter.
        assert_eq!(fields.get("abcdet"), None);
        assert!(!fields.contains("x-unknown") && !fields.contains("") && fields.contains("x-other"));
        let names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["accept", "x-empty", "accept", "x-other", "accept"]);
        assert_eq!((fields.len(), fields.is_empty()), (5, false));
    }

    #[test]
    fn a_field_takes_the_place_of_those_of_its_name() {
        let mut fields: HeaderFields = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")].into_iter().collect();
        assert!(fields.insert("a", "5"));
        assert_eq!((values(&fields, "a"), fields.len()), (vec![&b"5"[..]], 3));
        assert!(fields.append("b", "6"));
        fields.remove("c");
        fields.remove("d");
        assert_eq!(values(&fields, "b"), [b"2", b"6"]);
        fields.retain(|name, value| name != "b" || value == b"6");
        fields.replace_values(|value| (value == b"6").then_some("seven"));
        let left: Vec<_> = fields.iter().collect();
        assert_eq!(left, [("a", &b"5"[..]), ("b", b"seven")]);
    }

    #[test]
    fn a_value_ends_no_field() {
        let mut fields: HeaderFields = [("a", "1")].into_iter().collect();
        for value in [&b"x\r\ny: z"[..], b"x\n", b"x\r", b"\0", b"\x7f", b"\x1f"] {
            assert!(!fields.append("b", value) && !fields.insert("a", value), "{value:?}");
        }
        assert_eq!((fields.len(), fields.get("a")), (1, Some(&b"1"[..])));
        assert!(fields.insert("a", b"\t \xff"));
    }

    /// Names, values, repeated ones and their order.
    #[test]
    fn a_map_and_fields_are_the_same() {
        let mut map = HeaderMap::new();
        for (name, value) in [("set-cookie", &b"a"[..]), ("x-b", b"\xff"), ("set-cookie", b"")] {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        let fields = HeaderFields::from(&map);
        let back = fields.to_map();
        assert!(back["set-cookie"].is_sensitive() && !back["x-b"].is_sensitive());
        assert_eq!((back, fields.len()), (map, 3));
    }

    #[test]
    fn values_are_not_shown() {
        let fields: HeaderFields = [("authorization", "Bearer sk-1")].into_iter().collect();
        assert_eq!(format!("{fields:?}"), "[\"authorization\"]");
    }

    /// What the parser of heads lets pass needs no second check.
    #[test]
    fn parsed_names_and_values_are_good() {
        for byte in 0..=u8::MAX {
            for head in
                [[b"a", &[byte][..], b"a: v\r\n\r\n"].concat(), [b"a: v", &[byte][..], b"v\r\n\r\n"].concat()]
            {
                let mut fields = [httparse::EMPTY_HEADER; 4];
                let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&head, &mut fields)
                else {
                    continue;
                };
                for field in fields {
                    assert!(HeaderName::from_bytes(field.name.as_bytes()).is_ok() && is_value(field.value));
                }
            }
        }
    }
}
