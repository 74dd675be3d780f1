//! A token's SHA-256. Nothing else of a token is kept, in memory or in the store, but keyed hashes of recent
//! ones (`digest_memo`).
//!
//! The time of a lookup reveals nothing of a token. Hashing depends on the length of the presented text
//! alone, and is left out for a token that was found valid before; the map spreads digests by a key that is
//! random per process, so no caller can aim at a bucket; digests are compared in constant time. A generated
//! token has 128 random bits and cannot be guessed from its digest.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// A digest of this one.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(&self.0)
    }

    /// Compared by words, because each comparison in constant time has a cost of its own.
    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }

    /// 64 hexadecimal digits, as in the store.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// `None`: not 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Not shown, because the digest of a token that a person chose would allow guessing words.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_store_and_shows_nothing() {
        let digest = Digest::of(b"sk-alice");
        assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
        assert_ne!(Digest::of(b"sk-bob"), digest);
        assert_eq!(format!("{digest:?}"), "Digest(***)");
        for bad in ["", "12", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Digest::from_hex(bad), None, "{bad}");
        }
    }
}
