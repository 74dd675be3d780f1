//! Request ids: the client's own if it is safe to show, else 128 bits of the worker's generator in
//! hexadecimal. An id is for correlation alone: it authorises nothing and need not be unique when a client
//! chose it.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::rng::Rng;

/// The longest accepted id of a client, in bytes.
pub const MAX_LEN: usize = 128;

/// An id that is safe in a header and in a log line: 1 to 128 bytes of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's id. `None`: it is empty, too long, or holds other bytes.
    #[must_use]
    pub fn from_client(value: &[u8]) -> Option<Self> {
        let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if value.is_empty() || value.len() > MAX_LEN || !value.iter().all(is_safe) {
            return None;
        }
        std::str::from_utf8(value).ok().map(|value| Self(value.into()))
    }

    /// The id of a request's part: this one, a dot and the part's number, so that all parts are found by it.
    /// A long id is cut.
    #[must_use]
    pub fn part(&self, number: usize) -> Self {
        let number = number.to_string();
        let room = MAX_LEN.saturating_sub(number.len() + 1);
        let own = self.0.get(..room.min(self.0.len())).unwrap_or_default();
        Self(format!("{own}.{number}").into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes ids that do not repeat and cannot be derived from each other: a keyed hash of a counter, and a
/// number that comes once in the generator's period.
#[derive(Debug)]
pub struct IdSource {
    key: RandomState,
    rng: Rng,
    next: u64,
}

impl Default for IdSource {
    fn default() -> Self {
        Self { key: RandomState::new(), rng: Rng::random(), next: 0 }
    }
}

impl IdSource {
    pub fn make(&mut self) -> RequestId {
        self.next += 1;
        let mut text = [0; 36];
        text[..4].copy_from_slice(b"req_");
        let halves = [self.key.hash_one(self.next), self.rng.roll()];
        for (half, digits) in halves.into_iter().zip(text[4..].as_chunks_mut().0) {
            *digits = hexadecimal(half);
        }
        RequestId(std::str::from_utf8(&text).unwrap_or_default().into())
    }
}

/// The digits of a number, all at once: each half of them is one number with a digit in each byte.
fn hexadecimal(number: u64) -> [u8; 16] {
    const fn in_each_byte(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let mut text = [0; 16];
    for (half, digits) in [number >> 32, number & 0xFFFF_FFFF].into_iter().zip(text.as_chunks_mut().0) {
        let spread = (half | half << 16) & 0x0000_FFFF_0000_FFFF;
        let spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
        let spread = (spread | spread << 4) & in_each_byte(0x0F);
        // A sum of 16 or more is a letter's.
        let letters = (spread + in_each_byte(6)) >> 4 & in_each_byte(1);
        let above_digits = u64::from(b'a' - b'0' - 10);
        *digits = (spread + in_each_byte(b'0') + letters * above_digits).to_be_bytes();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_sane_client_id_and_refuses_the_rest() {
        assert_eq!(RequestId::from_client(b"chat-42_a.b").unwrap().as_str(), "chat-42_a.b");
        for bad in [&b""[..], b"a b", b"a\r\nset-cookie: x", "ünïcode".as_bytes(), &[b'a'; MAX_LEN + 1]] {
            assert_eq!(RequestId::from_client(bad), None);
        }
    }

    #[test]
    fn the_id_of_a_part_is_a_valid_id_that_begins_with_the_whole() {
        let whole = RequestId::from_client(b"chat-42").unwrap();
        assert_eq!(whole.part(7).as_str(), "chat-42.7");
        let long = RequestId::from_client(&[b'a'; MAX_LEN]).unwrap();
        let part = long.part(1234);
        assert!(part.as_str().ends_with("aa.1234"));
        assert_eq!(RequestId::from_client(part.as_str().as_bytes()), Some(part));
    }

    #[test]
    fn digits_are_those_of_the_number() {
        let mut number = 1_u64;
        for _ in 0..1000 {
            assert_eq!(hexadecimal(number), *format!("{number:016x}").as_bytes());
            number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7);
        }
        assert_eq!(hexadecimal(0x0123_4567_89AB_CDEF), *b"0123456789abcdef");
    }

    #[test]
    fn makes_ids_that_differ_and_pass_their_own_check() {
        let mut source = IdSource::default();
        let (first, second) = (source.make(), source.make());
        assert_ne!(first, second);
        assert_eq!(first.as_str().len(), 36);
        assert_eq!(RequestId::from_client(first.as_str().as_bytes()), Some(first));
    }
}
