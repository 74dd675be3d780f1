//! Characters that a provider cuts apart between two events.
//!
//! A tokenizer's piece may end inside a character. A few servers send it so: the first bytes of its UTF-8 in
//! one event's string and the rest in the next, or the two escapes of a surrogate pair. Such an event is no
//! JSON. Here it is made so: a piece at a string's end is kept and put before the rest at the start of a
//! later string; a piece that cannot be joined becomes U+FFFD, as browsers do it.

use crate::dialect::string_inside::unit;

/// The piece of a character that waits for its rest.
#[derive(Debug, Default)]
pub(super) struct CutCharacter {
    bytes: Vec<u8>,
    high_surrogate: Option<u32>,
}

impl CutCharacter {
    pub(super) fn is_pending(&self) -> bool {
        !self.bytes.is_empty() || self.high_surrogate.is_some()
    }

    /// Appends `data` to `out` as valid UTF-8 without lone surrogates.
    pub(super) fn mend(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut rest = data;
        while let Some((&byte, after)) = rest.split_first() {
            // Where a string begins: the kept piece's rest may follow.
            let is_string_start = out.last() == Some(&b'"');
            if is_string_start
                && self.is_pending()
                && let Some(taken) = self.join(rest, out)
            {
                rest = rest.get(taken..).unwrap_or_default();
                continue;
            }
            if byte == b'\\' {
                rest = self.mend_escape(rest, out);
            } else if byte.is_ascii() {
                out.push(byte);
                rest = after;
            } else {
                rest = self.mend_bytes(rest, out);
            }
        }
    }

    /// Joins the kept piece with the start of `rest`: the count of bytes taken.
    fn join(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if let Some(high) = self.high_surrogate {
            let low = unit(rest).filter(|low| (0xdc00..0xe000).contains(low))?;
            let joined = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
            self.high_surrogate = None;
            out.extend_from_slice(joined.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(6);
        }
        for taken in 1..=3 {
            let joined = [&self.bytes, rest.get(..taken)?].concat();
            if str::from_utf8(&joined).is_ok() {
                self.bytes.clear();
                out.extend_from_slice(&joined);
                return Some(taken);
            }
        }
        None
    }

    fn mend_escape<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Some(found) = unit(rest) else {
            let length = rest.len().min(2);
            out.extend_from_slice(rest.get(..length).unwrap_or_default());
            return rest.get(length..).unwrap_or_default();
        };
        let after = rest.get(6..).unwrap_or_default();
        let low = unit(after).filter(|low| (0xdc00..0xe000).contains(low));
        match found {
            0xd800..0xdc00 if low.is_some() => {
                out.extend_from_slice(rest.get(..12).unwrap_or_default());
                return rest.get(12..).unwrap_or_default();
            }
            0xd800..0xdc00 if after.first() == Some(&b'"') => {
                self.bytes.clear();
                self.high_surrogate = Some(found);
            }
            0xd800..0xe000 => out.extend_from_slice(b"\\ufffd"),
            _ => out.extend_from_slice(rest.get(..6).unwrap_or_default()),
        }
        after
    }

    fn mend_bytes<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let length = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        for chunk in run.utf8_chunks() {
            out.extend_from_slice(chunk.valid().as_bytes());
            let invalid = chunk.invalid();
            let is_last = run.as_ptr_range().end == invalid.as_ptr_range().end;
            // The start of a character, and the string ends after it.
            let is_start = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if is_last && is_start && after.first() == Some(&b'"') {
                self.high_surrogate = None;
                self.bytes = invalid.to_vec();
            } else if !invalid.is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(events: &[&[u8]]) -> String {
        let mut cut = CutCharacter::default();
        let mut out = Vec::new();
        events.iter().for_each(|event| cut.mend(event, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_are_joined() {
        let smile = "😀".as_bytes();
        for at in 1..4 {
            let first = [b"\"a", &smile[..at], b"\"".as_slice()].concat();
            let second = [b"\"", &smile[at..], b"b\"".as_slice()].concat();
            assert_eq!(mended(&[&first, &second]), "\"a\"\"😀b\"");
        }
        assert_eq!(mended(&[br#""a\ud83d""#, br#""role":"x","c":"\ude00b""#]), r#""a""role":"x","c":"😀b""#);
    }

    #[test]
    fn the_rest_is_replaced() {
        assert_eq!(mended(&[b"\"\xff\xfe\""]), "\"\u{fffd}\u{fffd}\"");
        assert_eq!(mended(&[br#""\ud83d x \udc00\\ud83d""#]), r#""\ufffd x \ufffd\\ud83d""#);
        assert_eq!(mended(&[br#""\ud83d\ude00 \"""#]), r#""\ud83d\ude00 \"""#);
    }
}
