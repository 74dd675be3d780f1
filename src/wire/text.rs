//! Finds the first byte of a JSON string that is not plain: a quote, a backslash or a control character.
//! Strings are most of a request's bytes, so this is most of the cost of reading one.
//!
//! Short runs are tested eight bytes at a time in a `u64`, long runs in chunks, with a loop that the compiler
//! turns into vector compares. Bytes from 0x80 on are plain: UTF-8 is not checked here.

/// Bytes. A vector loop does not pay for runs up to this length.
const SHORT_RUN: usize = 32;
const CHUNK: usize = 64;

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// The length of the run of plain bytes at the start of `rest`.
pub(super) fn plain_length(rest: &[u8]) -> usize {
    let (near, far) = rest.split_at(rest.len().min(SHORT_RUN));
    if let Some(at) = first_stop(near) {
        return at;
    }
    let (chunks, _) = far.as_chunks::<CHUNK>();
    let whole = chunks.iter().take_while(|chunk| !chunk.iter().fold(false, |hit, &byte| hit | is_stop(byte)));
    let at = near.len() + whole.count() * CHUNK;
    let tail = rest.get(at..).unwrap_or_default();
    at + first_stop(tail).unwrap_or(tail.len())
}

const fn is_stop(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

fn first_stop(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return Some(index * 8 + (stops.trailing_zeros() / 8) as usize);
        }
    }
    let at = tail.iter().position(|&byte| is_stop(byte))?;
    Some(words.len() * 8 + at)
}

/// Sets the high bit of each stop byte. A borrow may wrongly mark bytes above the first stop; the first is
/// exact.
const fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let slash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let slash = slash.wrapping_sub(ONES) & !slash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | slash | control) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_stop_at_every_distance() {
        for stop in (0..=255u8).filter(|&byte| is_stop(byte)) {
            for length in 0..300 {
                let mut text = vec![b'a'; length];
                text.push(stop);
                text.extend_from_slice(
                    b"\"\\\0 tail that is long enough for one more chunk of sixty-four bytes",
                );
                assert_eq!(plain_length(&text), length, "{stop}");
            }
        }
    }

    #[test]
    fn takes_every_other_byte_as_plain() {
        let text: Vec<u8> = (0..=255u8).filter(|&byte| !is_stop(byte)).cycle().take(2000).collect();
        for start in 0..64 {
            assert_eq!(plain_length(&text[start..]), text.len() - start);
        }
    }
}
