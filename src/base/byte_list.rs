//! Several `Bytes` in a row as one [`Buf`]: a spliced request body is prefix, replacement and suffix, written
//! with one `writev` instead of being joined. A clone copies no bytes, so a failover sends the same list
//! again.
//!
//! Invariant: no segment is empty, and `remaining` is the sum of their lengths.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Segments in order. Most lists have one, which is kept in place: such a list allocates nothing, and an idle
/// stream keeps no room for others.
#[derive(Clone, Debug, Default)]
pub struct ByteList {
    /// Empty: the list is.
    first: Bytes,
    /// `None` until the list has had a second segment.
    more: Option<Box<FurtherSegments>>,
    remaining: usize,
}

/// Boxed, because a list keeps room for it for as long as it lives, and few lists need it.
#[derive(Clone, Debug)]
struct FurtherSegments(VecDeque<Bytes>);

/// Further segments that a list has room for when it gets its second: a request's head, and its body with one
/// edit.
const MORE_CAPACITY: usize = 4;

impl ByteList {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, segment: Bytes) {
        if segment.is_empty() {
            return;
        }
        self.remaining += segment.len();
        if self.first.is_empty() {
            self.first = segment;
        } else {
            self.more().push_back(segment);
        }
    }

    pub fn push_front(&mut self, segment: Bytes) {
        if segment.is_empty() {
            return;
        }
        self.remaining += segment.len();
        let second = std::mem::replace(&mut self.first, segment);
        if !second.is_empty() {
            self.more().push_front(second);
        }
    }

    fn more(&mut self) -> &mut VecDeque<Bytes> {
        let segments = || Box::new(FurtherSegments(VecDeque::with_capacity(MORE_CAPACITY)));
        &mut self.more.get_or_insert_with(segments).0
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
        if self.first.is_empty() {
            return None;
        }
        let segment = self.take_first();
        self.remaining -= segment.len();
        Some(segment)
    }

    /// The first segment; the second takes its place.
    fn take_first(&mut self) -> Bytes {
        let second = self.more.as_mut().and_then(|more| more.0.pop_front()).unwrap_or_default();
        std::mem::replace(&mut self.first, second)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        let first = Some(&self.first).filter(|first| !first.is_empty());
        first.into_iter().chain(self.more.iter().flat_map(|more| more.0.iter()))
    }

    /// All bytes in one piece. Copies them unless there is only one segment.
    #[must_use]
    pub fn join(&self) -> Bytes {
        if self.remaining == self.first.len() {
            return self.first.clone();
        }
        let mut joined = Vec::with_capacity(self.remaining);
        for segment in self.iter() {
            joined.extend_from_slice(segment);
        }
        joined.into()
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
        &self.first
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end of a ByteList");
        self.remaining -= count;
        while count > 0 {
            if self.first.len() > count {
                return self.first.advance(count);
            }
            count -= self.take_first().len();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, segment) in slices.iter_mut().zip(self.iter()) {
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

    #[test]
    fn one_segment_after_another_allocates_nothing() {
        let mut list = list(&["ab"]);
        for _ in 0..3 {
            assert_eq!(list.pop().as_deref(), Some(&b"ab"[..]));
            assert!(list.pop().is_none() && list.is_empty());
            list.push(Bytes::from_static(b"ab"));
        }
        assert!(list.more.is_none());
    }

    #[test]
    fn a_segment_in_front_is_first() {
        let mut list = list(&["b", "c"]);
        list.push_front(Bytes::from_static(b"a"));
        list.push_front(Bytes::new());
        assert_eq!((list.join(), list.len()), (Bytes::from_static(b"abc"), 3));
        assert_eq!(list.pop().as_deref(), Some(&b"a"[..]));
        let mut list = ByteList::new();
        list.push_front(Bytes::from_static(b"a"));
        assert_eq!((list.pop().as_deref(), list.pop()), (Some(&b"a"[..]), None));
    }
}
