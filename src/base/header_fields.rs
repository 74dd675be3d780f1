//! The header fields of a head (RFC 9110 section 5), in the order in which they came: all names in one text,
//! in lower case, and all values in one piece of memory, which begins with the head itself if it was parsed:
//! one copy costs less than one of each value. A field is found by the length and two letters of its name, in
//! a pass over a few numbers: heads have some ten fields, and a table of digests costs more to fill than it
//! saves. Most names that are looked for are absent, which a mask shows without the pass.
//!
//! Invariant: a head that is written from fields ends where they end, because no name and no value holds a
//! byte that it must not. `Debug` shows names alone, because some values are secrets.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header::SET_COOKIE};

/// Bytes of a name and of a value for which there is room where more fields are expected.
const NAME_SIZE: usize = 16;
const VALUE_SIZE: usize = 24;

/// The bit by which the cases of a letter differ.
const CASE: u8 = 0x20;

/// The fields of a head.
#[derive(Clone, Default)]
pub struct HeaderFields {
    names: String,
    values: Vec<u8>,
    spans: Vec<FieldSpan>,
    /// The bits of all keys; those of fields that were removed stay.
    keys: u64,
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
            [only] => Self(length | ((*only | CASE) as u32) << 16),
            [first, .., last] => {
                Self(length | ((*first | CASE) as u32) << 16 | ((*last | CASE) as u32) << 24)
            }
        }
    }

    /// One of 64 bits. The factor gives the names that the gateway looks for other bits than the usual fields
    /// of a head have.
    const fn bit(self) -> u64 {
        1 << (self.0.wrapping_mul(0x2cb9_e2bb) >> 26)
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
        Self { names: String::new(), values: Vec::new(), spans: Vec::new(), keys: 0 }
    }

    /// The fields of a head, `bytes`, whose parser has found their names and values good, with room for
    /// `more` fields. `None`: a name is longer than 64 KiB, the head is longer than 4 GiB, or a value is not
    /// in it.
    #[must_use]
    pub fn of_parsed(bytes: &[u8], parsed: &[httparse::Header<'_>], more: usize) -> Option<Self> {
        let names: usize = parsed.iter().map(|field| field.name.len()).sum();
        let mut fields = Self {
            names: String::with_capacity(names + more * NAME_SIZE),
            values: Vec::with_capacity(bytes.len() + more * VALUE_SIZE),
            spans: Vec::with_capacity(parsed.len() + more),
            keys: 0,
        };
        fields.values.extend_from_slice(bytes);
        for field in parsed {
            let start = field.value.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
            if start + field.value.len() > bytes.len() {
                return None;
            }
            fields.push_name(NameKey::of(field.name), field.name, start, field.value.len()).then_some(())?;
        }
        fields.names.make_ascii_lowercase();
        Some(fields)
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
        let spans = if self.may_have(key) { &*self.spans } else { &[] };
        let spans = spans.iter().filter(move |span| self.is_named(span, key, name.as_ref()));
        spans.map(|span| self.value(span))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.spans.iter().map(|span| (self.name(span), self.value(span)))
    }

    /// Adds a field behind the others. `false`, and nothing is added: its value has a byte that no value may
    /// have.
    pub fn append(&mut self, name: impl FieldName, value: impl AsRef<[u8]>) -> bool {
        let (name, value) = (name.as_ref(), value.as_ref());
        is_value(value) && self.push(NameKey::of(name), name, value)
    }

    /// Adds a field in the place of all fields of its name. `false`, and nothing is changed: its value has a
    /// byte that no value may have.
    #[inline]
    pub fn insert(&mut self, name: impl FieldName, value: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        self.put(NameKey::of(name), name, value.as_ref())
    }

    fn put(&mut self, key: NameKey, name: &str, value: &[u8]) -> bool {
        is_value(value) && {
            self.remove_all(key, name);
            self.push(key, name, value)
        }
    }

    /// Removes all fields of this name, which is in lower case.
    pub fn remove(&mut self, name: impl AsRef<str>) {
        let name = name.as_ref();
        self.remove_all(NameKey::of(name), name);
    }

    #[inline]
    fn remove_all(&mut self, key: NameKey, name: &str) {
        if self.find(key, name).is_some() {
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

    /// `name` is in lower case. `false`: there is no room.
    #[inline]
    fn push(&mut self, key: NameKey, name: &str, value: &[u8]) -> bool {
        self.push_name(key, name, self.values.len(), value.len()) && {
            self.values.extend_from_slice(value);
            true
        }
    }

    /// `name` is in lower case, or will be; its value is at `value`. `false`: there is no room.
    #[inline]
    fn push_name(&mut self, key: NameKey, name: &str, value: usize, value_length: usize) -> bool {
        let (Ok(_), Ok(name_at), Ok(value), Ok(value_length)) = (
            u16::try_from(name.len()),
            u32::try_from(self.names.len()),
            u32::try_from(value),
            u32::try_from(value_length),
        ) else {
            return false;
        };
        self.names.push_str(name);
        self.spans.push(FieldSpan { key, name: name_at, value, value_length });
        self.keys |= key.bit();
        true
    }

    /// `false`: there is no field of this key.
    #[inline]
    const fn may_have(&self, key: NameKey) -> bool {
        self.keys & key.bit() != 0
    }

    #[inline]
    fn find(&self, key: NameKey, name: &str) -> Option<&FieldSpan> {
        if self.may_have(key) { self.search(key, name) } else { None }
    }

    fn search(&self, key: NameKey, name: &str) -> Option<&FieldSpan> {
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
            fields.push(NameKey::of(name.as_str()), name.as_str(), value.as_bytes());
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

/// A value that is a number in decimal digits alone, as a length is. `None`: it is another, or beyond 64
/// bits.
#[must_use]
pub fn field_number(value: &[u8]) -> Option<u64> {
    let add = |number: u64, byte: &u8| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, add) }
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

    fn parsed(head: &[u8], more: usize) -> Option<HeaderFields> {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let (_, fields) = httparse::parse_headers(head, &mut fields).unwrap().unwrap();
        HeaderFields::of_parsed(head, fields, more)
    }

    #[test]
    fn fields_keep_their_order_and_are_found_by_name() {
        let head = b"Accept: a\r\nX-Empty:\r\naccept:b\r\nx-other: \xe9 \t\xe9\r\nACCEPT:  c \r\n\r\n";
        let fields = parsed(head, 1).unwrap();
        assert_eq!(values(&fields, "accept"), [b"a", b"b", b"c"]);
        assert_eq!((fields.get("accept"), fields.get("x-empty")), (Some(&b"a"[..]), Some(&b""[..])));
        assert_eq!((fields.text("accept"), fields.text("x-other")), (Some("a"), None));
        // The same length, first and last letter.
        assert_eq!(fields.get("abcdet"), None);
        assert!(!fields.contains("x-unknown") && !fields.contains("") && fields.contains("x-other"));
        let names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["accept", "x-empty", "accept", "x-other", "accept"]);
        assert_eq!((fields.len(), fields.is_empty()), (5, false));
        assert_eq!(fields.get("x-other"), Some(&b"\xe9 \t\xe9"[..]));
    }

    /// The values of a parsed head are those of the bytes that were copied.
    #[test]
    fn fields_of_other_bytes_are_none() {
        let head = b"a: 1\r\nb: 2\r\n\r\n";
        let mut fields = [httparse::EMPTY_HEADER; 2];
        let (_, fields) = httparse::parse_headers(head, &mut fields).unwrap().unwrap();
        assert!(HeaderFields::of_parsed(head, fields, 0).is_some());
        for part in [&head[..9], &head[..6], &head[4..], &head[10..], b""] {
            assert!(HeaderFields::of_parsed(part, fields, 0).is_none(), "{part:?}");
        }
    }

    /// Fields that are added to those of a head, and fields that were removed and come again.
    #[test]
    fn a_parsed_head_is_changed_as_another() {
        let mut fields = parsed(b"A: 1\r\nb: 2\r\nA: 3\r\n\r\n", 0).unwrap();
        assert!(fields.insert("c", "4") && fields.insert("a", "5") && fields.append("b", "6"));
        fields.remove("c");
        assert!(!fields.contains("c") && fields.get_all("c").next().is_none());
        assert!(fields.insert("c", "7"));
        fields.replace_values(|value| (value == b"2").then_some("eight"));
        let left: Vec<_> = fields.iter().collect();
        assert_eq!(left, [("b", &b"eight"[..]), ("a", b"5"), ("b", b"6"), ("c", b"7")]);
    }

    /// The names of all lengths and letters, each looked for among all others.
    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> =
            (1..40).flat_map(|length| ["a", "_", "z-"].map(|part| part.repeat(length))).collect();
        let head: String = names.iter().map(|name| format!("{}: {name}\r\n", name.to_uppercase())).collect();
        let mut fields = parsed(format!("{head}\r\n").as_bytes(), 0).unwrap();
        for name in &names {
            assert_eq!(fields.text(name), Some(&**name));
            fields.remove(name);
            assert!(!fields.contains(name), "{name}");
        }
        assert!(fields.is_empty());
    }

    #[test]
    fn a_number_has_digits_alone() {
        for (value, number) in [("0", 0), ("007", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(field_number(value.as_bytes()), Some(number));
        }
        for other in ["", "+1", "-1", " 1", "1 ", "1,1", "0x1", "18446744073709551616", "1\u{e9}"] {
            assert_eq!(field_number(other.as_bytes()), None, "{other}");
        }
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
