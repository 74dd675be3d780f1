//! Several `Bytes` in a row as one [`Buf`]: a spliced request body is prefix, replacement and suffix, written
//! with one `writev` instead of being joined. A clone copies no bytes, so a failover sends the same list
//! again.
//!
//! Invariant: no segment is empty, and `remaining` is the sum of their lengths.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Segments that a list has room for when it gets its first: a request's head, and its body with one edit.
const FIRST_CAPACITY: usize = 4;

/// Segments in order.
#[derive(Clone, Debug, Default)]
pub struct ByteList {
    segments: VecDeque<Bytes>,
    remaining: usize,
}

impl ByteList {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            if self.segments.capacity() == 0 {
                self.segments = VecDeque::with_capacity(FIRST_CAPACITY);
            }
            self.remaining += segment.len();
            self.segments.push_back(segment);
        }
    }

    pub fn push_front(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.remaining += segment.len();
            self.segments.push_front(segment);
        }
    }

    /// Bytes left, of all segments together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.remaining
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Removes and returns the first segment. `None`: the list is empty.
    pub fn pop(&mut self) -> Option<Bytes> {
        let segment = self.segments.pop_front()?;
        self.remaining -= segment.len();
        Some(segment)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.segments.iter()
    }

    /// All bytes in one piece. Copies them unless there is only one segment.
    #[must_use]
    pub fn join(&self) -> Bytes {
        match self.segments.len() {
            0 => Bytes::new(),
            1 => self.segments.front().cloned().unwrap_or_default(),
            _ => {
                let mut joined = Vec::with_capacity(self.remaining);
                for segment in &self.segments {
                    joined.extend_from_slice(segment);
                }
                joined.into()
            }
        }
    }
}

impl From<Bytes> for ByteList {
    fn from(segment: Bytes) -> Self {
        let mut list = Self::new();
        list.push(segment);
        list
    }
}

impl Buf for ByteList {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&[], |segment| segment)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end of a ByteList");
        self.remaining -= count;
        while count > 0 {
            let Some(first) = self.segments.front_mut() else { return };
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.segments.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, segment) in slices.iter_mut().zip(&self.segments) {
            *slot = IoSlice::new(segment);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[&'static str]) -> ByteList {
        let mut list = ByteList::new();
        for part in parts {
            list.push(Bytes::from_static(part.as_bytes()));
        }
        list
    }

    #[test]
    fn joins_in_order_and_keeps_no_empty_segment() {
        let list = list(&["ab", "", "cde", "f"]);
        assert_eq!((list.len(), list.iter().count()), (6, 3));
        assert_eq!(list.join(), "abcdef");
    }

    #[test]
    fn advances_across_segments_at_every_offset() {
        for cut in 0..=6 {
            let mut list = list(&["ab", "cde", "f"]);
            list.advance(cut);
            assert_eq!(list.remaining(), 6 - cut);
            assert_eq!(list.join(), &"abcdef"[cut..]);
        }
    }

    #[test]
    fn offers_all_segments_for_one_writev() {
        let list = list(&["ab", "cde", "f"]);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(list.chunks_vectored(&mut slices), 3);
        assert_eq!(&*slices[1], b"cde");
    }
}
