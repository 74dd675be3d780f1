//! Finds the bytes of JSON at which something ends, many at a time: as a mask whose bit n is byte n. Strings
//! are most of a request's bytes, so this is most of the cost of reading one.
//!
//! Bytes from 0x80 on are plain: UTF-8 is not checked here.

use wide::u8x16;

/// Bytes of a [`TextBlock`].
pub(super) const BLOCK: usize = 64;

/// The last of the bytes that a string may hold only escaped (RFC 8259 section 7).
const LAST_CONTROL: u8 = 0x1f;

/// 64 bytes to ask for masks.
pub(super) struct TextBlock([u8x16; BLOCK / 16]);

impl TextBlock {
    pub(super) fn new(bytes: &[u8; BLOCK]) -> Self {
        let (quarters, _) = bytes.as_chunks();
        let mut vectors = [u8x16::ZERO; BLOCK / 16];
        for (vector, quarter) in vectors.iter_mut().zip(quarters) {
            *vector = u8x16::new(*quarter);
        }
        Self(vectors)
    }

    /// The bytes that are `byte`.
    pub(super) fn equal(&self, byte: u8) -> u64 {
        let byte = u8x16::splat(byte);
        self.mask(|bytes| bytes.simd_eq(byte))
    }

    pub(super) fn controls(&self) -> u64 {
        self.mask(are_controls)
    }

    pub(super) fn digits(&self) -> u64 {
        self.mask(|bytes| {
            let value = bytes - u8x16::splat(b'0');
            value.min(u8x16::splat(9)).simd_eq(value)
        })
    }

    fn mask(&self, test: impl Fn(u8x16) -> u8x16) -> u64 {
        let quarters = self.0.iter().enumerate();
        quarters.fold(0, |mask, (index, bytes)| mask | u64::from(test(*bytes).to_bitmask()) << (index * 16))
    }
}

/// The bytes that end a run of plain ones: quotes, backslashes and control characters.
pub(super) fn stops(bytes: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*bytes);
    let quoting = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
    (quoting | are_controls(bytes)).to_bitmask()
}

/// The length of the plain bytes at the start of `rest`, in whole chunks of 64. The compiler turns the loop
/// into vector compares.
pub(super) fn plain_chunks(rest: &[u8]) -> usize {
    let (chunks, _) = rest.as_chunks::<BLOCK>();
    let plain = chunks.iter().take_while(|chunk| !chunk.iter().fold(false, |hit, &byte| hit | is_stop(byte)));
    plain.count() * BLOCK
}

/// Whether this byte ends a run of plain ones.
pub(super) const fn is_stop(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte <= LAST_CONTROL)
}

/// The bytes that a backslash before them escapes; the first byte is not one of them. A carry runs through
/// each series of backslashes, so that those at odd places of it escape and the others are escaped.
pub(super) const fn escaped(backslashes: u64) -> u64 {
    const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
    ((backslashes << 1 | ODD).wrapping_sub(backslashes) ^ ODD) ^ backslashes
}

fn are_controls(bytes: u8x16) -> u8x16 {
    bytes.min(u8x16::splat(LAST_CONTROL)).simd_eq(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(bytes: &[u8], test: impl Fn(u8) -> bool) -> u64 {
        bytes.iter().enumerate().fold(0, |mask, (at, &byte)| mask | u64::from(test(byte)) << at)
    }

    fn is_stop(byte: u8) -> bool {
        byte == b'"' || byte == b'\\' || byte < 0x20
    }

    proptest! {
        #[test]
        fn masks_are_those_of_each_byte(bytes in proptest::array::uniform32(any::<[u8; 2]>())) {
            let bytes: [u8; BLOCK] = bytes.as_flattened().try_into().unwrap();
            let block = TextBlock::new(&bytes);
            for byte in [b'"', b'\\', b',', bytes[0], bytes[63]] {
                prop_assert_eq!(block.equal(byte), mask(&bytes, |it| it == byte));
            }
            prop_assert_eq!(block.controls(), mask(&bytes, |it| it < 0x20));
            prop_assert_eq!(block.digits(), mask(&bytes, |it| it.is_ascii_digit()));
            let quarter: [u8; 16] = bytes[..16].try_into().unwrap();
            prop_assert_eq!(u64::from(stops(&quarter)), mask(&quarter, is_stop));
        }

        #[test]
        fn a_backslash_escapes_one_byte(backslashes in any::<u64>()) {
            let mut expected = 0;
            let mut is_escaped = false;
            for at in 0..64 {
                expected |= u64::from(is_escaped) << at;
                is_escaped = !is_escaped && backslashes >> at & 1 == 1;
            }
            prop_assert_eq!(escaped(backslashes), expected);
        }
    }

    #[test]
    fn chunks_end_before_the_first_stop() {
        for stop in 0..=255 {
            for length in 0..200 {
                let mut text = vec![b'a'; length];
                text.push(stop);
                text.extend([b'b'; 200]);
                let plain = if is_stop(stop) { length } else { text.len() };
                assert_eq!(plain_chunks(&text), plain / BLOCK * BLOCK, "{stop} after {length}");
            }
        }
    }
}
