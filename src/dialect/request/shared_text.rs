//! A text that grows at its end, and that requests hold the beginning of without copying it.

use bytes::Bytes;

/// A piece of this length is sealed: from then on it is shared.
const MIN_PIECE: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct SharedText {
    pieces: Vec<Bytes>,
    /// Of the pieces.
    length: usize,
    /// Behind them: short, so it is copied.
    open: Vec<u8>,
}

impl SharedText {
    pub(super) fn memory(&self) -> usize {
        self.length + self.open.capacity()
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.length + self.open.len()
    }

    pub(super) fn append(&mut self, text: &[u8]) {
        self.open.extend_from_slice(text);
        if self.open.len() >= MIN_PIECE {
            let piece = Bytes::from(std::mem::take(&mut self.open).into_boxed_slice());
            self.length += piece.len();
            self.pieces.push(piece);
        }
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if let Some(open) = length.checked_sub(self.length) {
            return self.open.truncate(open);
        }
        self.open.clear();
        while let Some(piece) = self.pieces.pop() {
            self.length -= piece.len();
            let Some(left) = length.checked_sub(self.length) else { continue };
            // A part of a piece would hold the memory of all of it.
            self.open.extend_from_slice(piece.get(..left).unwrap_or_default());
            return;
        }
    }

    /// The first `length` bytes: whole pieces, and what is left of them.
    pub(super) fn start(&self, length: usize) -> (Vec<Bytes>, &[u8]) {
        let (mut pieces, mut left) = (Vec::with_capacity(self.pieces.len()), length);
        for piece in &self.pieces {
            if left < piece.len() {
                return (pieces, piece.get(..left).unwrap_or_default());
            }
            left -= piece.len();
            pieces.push(piece.clone());
        }
        (pieces, self.open.get(..left).unwrap_or_default())
    }

    pub(super) fn copy_of(&self, length: usize) -> Self {
        let (pieces, rest) = self.start(length);
        let length = pieces.iter().map(Bytes::len).sum();
        Self { pieces, length, open: rest.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_the_same_in_pieces(steps in prop::collection::vec((any::<bool>(), 0_usize..30_000), 1..20)) {
            let (mut text, mut plain, mut next) = (SharedText::default(), Vec::new(), 0_u8);
            for (grows, length) in steps {
                if grows {
                    let more: Vec<u8> = std::iter::repeat_with(|| { next = next.wrapping_add(7); next }).take(length).collect();
                    text.append(&more);
                    plain.extend_from_slice(&more);
                } else {
                    let length = length.min(plain.len());
                    text.truncate(length);
                    plain.truncate(length);
                }
                prop_assert_eq!(text.len(), plain.len());
                for length in [0, plain.len() / 3, plain.len()] {
                    let (pieces, rest) = text.start(length);
                    prop_assert_eq!([pieces.concat(), rest.to_vec()].concat(), &plain[..length]);
                    let copy = text.copy_of(length);
                    prop_assert_eq!((copy.len(), copy.start(length).1), (length, rest));
                }
            }
        }
    }
}
