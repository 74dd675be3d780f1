//! The key of an answer: a SHA-256 over all that can change it. A digest against which collisions can be made
//! would let one client choose another one's answers. Each part is written with its length, so that no two
//! lists of parts give the same bytes.

use sha2::{Digest as _, Sha256};

use super::entry::MakerPlace;

/// Changes with the meaning of a key or of an entry, so that versions do not read each other's entries.
const VERSION: &[u8] = b"thalweg-answer-2";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerKey(pub [u8; 32]);

/// Takes the parts of a key, in an order that is always the same.
#[derive(Clone, Debug)]
pub struct AnswerKeyBuilder(Sha256);

impl Default for AnswerKeyBuilder {
    fn default() -> Self {
        let mut parts = Self(Sha256::new());
        parts.add(VERSION);
        parts
    }
}

impl AnswerKeyBuilder {
    pub fn add(&mut self, part: &[u8]) {
        self.add_all(part.len(), [part]);
    }

    /// Adds one part of this length that is in several pieces.
    pub fn add_all<'p>(&mut self, length: usize, pieces: impl IntoIterator<Item = &'p [u8]>) {
        self.0.update((length as u64).to_le_bytes());
        pieces.into_iter().for_each(|piece| self.0.update(piece));
    }

    #[must_use]
    pub fn finish(self) -> AnswerKey {
        AnswerKey(self.0.finalize().into())
    }

    /// The parts are those of a provider.
    #[must_use]
    pub fn finish_place(self) -> MakerPlace {
        let AnswerKey(digest) = self.finish();
        MakerPlace(*digest.first_chunk().unwrap_or(&[0; 16]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> AnswerKey {
        let mut builder = AnswerKeyBuilder::default();
        parts.iter().for_each(|part| builder.add(part.as_bytes()));
        builder.finish()
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        for other in [&["ab"][..], &["a", "", "b"], &["", "ab"], &["b", "a"], &["a"]] {
            assert_ne!(key(&["a", "b"]), key(other), "{other:?}");
        }
        let mut pieces = AnswerKeyBuilder::default();
        pieces.add_all(3, [&b"x"[..], b"yz"]);
        assert_eq!(pieces.finish(), key(&["xyz"]));
    }
}
