//! Writes JSON into a byte buffer.
//!
//! Strings are written with the escapes that JSON asks for, and besides U+2028, U+2029 and U+0085 as escapes:
//! clients that split a stream by lines of Unicode would cut an event there.

/// Writes members and values; the caller writes the structure's brackets.
pub trait JsonWrite {
    /// Appends bytes that are JSON already.
    fn raw(&mut self, json: impl AsRef<[u8]>) -> &mut Self;
    /// Appends `text` as a JSON string.
    fn string(&mut self, text: &str) -> &mut Self;
    /// Appends `text` as the inside of a JSON string.
    fn string_part(&mut self, text: &str) -> &mut Self;
    fn number(&mut self, number: u64) -> &mut Self;
}

impl JsonWrite for Vec<u8> {
    fn raw(&mut self, json: impl AsRef<[u8]>) -> &mut Self {
        self.extend_from_slice(json.as_ref());
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.push(b'"');
        self.string_part(text);
        self.push(b'"');
        self
    }

    fn string_part(&mut self, text: &str) -> &mut Self {
        let bytes = text.as_bytes();
        let (mut written, mut from) = (0, 0);
        while let Some((at, byte)) = next_special(bytes, from) {
            from = at + 1;
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0x00..=0x1f => &control(byte),
                // U+0085 is C2 85, U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
                0xc2 if bytes.get(at + 1) == Some(&0x85) => b"\\u0085",
                0xe2 if bytes.get(at + 1..at + 3) == Some(b"\x80\xa8") => b"\\u2028",
                0xe2 if bytes.get(at + 1..at + 3) == Some(b"\x80\xa9") => b"\\u2029",
                _ => continue,
            };
            self.extend_from_slice(bytes.get(written..at).unwrap_or_default());
            self.extend_from_slice(escape);
            written = at
                + match byte {
                    0xc2 => 2,
                    0xe2 => 3,
                    _ => 1,
                };
        }
        self.extend_from_slice(bytes.get(written..).unwrap_or_default());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }
}

/// The length of the run of bytes at the start of `rest` that are no quote, no backslash and no control
/// character.
pub fn plain_length(rest: &[u8]) -> usize {
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        if let Some(at) = stop_in(*word) {
            return 8 * index + at;
        }
    }
    let is_stop = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    8 * words.len() + tail.iter().position(is_stop).unwrap_or(tail.len())
}

/// The first quote, backslash or control character of eight bytes.
pub const fn stop_in(word: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let word = u64::from_le_bytes(word);
    let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    // The lowest bit that is set belongs to the first such byte: a subtraction borrows from those above.
    let marks = (quote | backslash | control) & (ONES << 7);
    if marks == 0 { None } else { Some((marks.trailing_zeros() / 8) as usize) }
}

/// Bytes that begin a character that may need an escape.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[0xc2] = true;
    special[0xe2] = true;
    special
};

/// The first such byte from `from` on.
fn next_special(bytes: &[u8], from: usize) -> Option<(usize, u8)> {
    let (words, rest) = bytes.get(from..)?.as_chunks::<8>();
    let found = words.iter().enumerate().find_map(|(index, word)| {
        let marks = special_marks(u64::from_le_bytes(*word));
        (marks != 0).then(|| from + 8 * index + (marks.trailing_zeros() / 8) as usize)
    });
    let in_rest = || {
        let at = rest.iter().position(|byte| SPECIAL[usize::from(*byte)])?;
        Some(bytes.len() - rest.len() + at)
    };
    let at = found.or_else(in_rest)?;
    Some((at, *bytes.get(at)?))
}

/// The lowest bit that is set belongs to the first special byte of eight. The bits above it mean nothing: a
/// subtraction borrows from them.
const fn special_marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    let quote = zeros(word ^ (b'"' as u64 * ONES));
    let backslash = zeros(word ^ (b'\\' as u64 * ONES));
    // 0xc2 and 0xe2 differ in this bit.
    let wide = zeros((word | (0x20 * ONES)) ^ (0xe2 * ONES));
    (control | quote | backslash | wide) & HIGH
}

const fn control(byte: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [b'\\', b'u', b'0', b'0', HEX[(byte >> 4) as usize & 15], HEX[byte as usize & 15]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_run_ends_at_the_first_stop(
            length in 0_usize..300,
            plain in prop::sample::select(b"az !#[]\x7f\x80\xe2\xff".as_slice()),
            stop in prop::sample::select(b"\"\\\0\n\x1f".as_slice()),
        ) {
            let mut bytes = vec![plain; length];
            prop_assert_eq!(plain_length(&bytes), length);
            bytes.push(stop);
            bytes.extend([plain; 70]);
            prop_assert_eq!(plain_length(&bytes), length);
        }

        #[test]
        fn every_special_byte_is_found(
            bytes in prop::collection::vec(prop::sample::select(b"\x00\x1f !\"#[\\]az\x7f\x80\xa2\xc1\xc2\xc3\xe1\xe2\xff".as_slice()), 0..40),
            from in 0_usize..20,
        ) {
            let tail = bytes.get(from..).unwrap_or_default();
            let at = tail.iter().position(|byte| SPECIAL[usize::from(*byte)]).map(|at| at + from);
            prop_assert_eq!(next_special(&bytes, from).map(|(at, _)| at), at);
        }

        #[test]
        fn strings_are_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            out.string(&text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            let written = String::from_utf8(out).unwrap();
            let is_cut = written.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n', '\r']);
            prop_assert!(!is_cut);
        }
    }
}
