//! An answer while it passes: its bytes are copied, because a frame shares its memory with a worker's read
//! block. What it holds is counted with all others, and one that grows too large is given up.

use std::time::Instant;

use bytes::Bytes;

use super::{entry::FrameMark, memory::AnswerCache};

#[derive(Debug)]
pub struct AnswerGathering {
    cache: AnswerCache,
    max_size: usize,
    body: Vec<u8>,
    marks: Vec<FrameMark>,
    /// When the first frame came.
    began: Option<Instant>,
    /// Bytes that are counted for it.
    held: usize,
}

impl AnswerGathering {
    /// `max_size`: bytes of the answer.
    #[must_use]
    pub fn new(cache: AnswerCache, max_size: usize) -> Self {
        let max_size = max_size.min(u32::MAX as usize);
        Self { cache, max_size, body: Vec::new(), marks: Vec::new(), began: None, held: 0 }
    }

    /// Takes a frame in. False: the answer is too large, or there is no memory left for it.
    pub fn add(&mut self, frame: &[u8], now: Instant) -> bool {
        let length = self.body.len() + frame.len();
        if length > self.max_size {
            return false;
        }
        if length > self.body.capacity() {
            let capacity = length.max(self.body.capacity() * 2).clamp(1024.min(self.max_size), self.max_size);
            if !self.cache.hold(capacity - self.held) {
                return false;
            }
            self.held = capacity;
            self.body.reserve_exact(capacity - self.body.len());
        }
        self.body.extend_from_slice(frame);
        let began = *self.began.get_or_insert(now);
        let after = u32::try_from((now - began).as_millis()).unwrap_or(u32::MAX);
        let end = u32::try_from(length).unwrap_or(u32::MAX);
        match self.marks.last_mut() {
            // Frames of the same millisecond are given again as one.
            Some(last) if last.after == after => last.end = end,
            Some(_) | None => self.marks.push(FrameMark { end, after }),
        }
        true
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// All that has come.
    #[must_use]
    pub fn take(&mut self) -> (Bytes, Box<[FrameMark]>) {
        let body = std::mem::take(&mut self.body).into_boxed_slice();
        (body.into(), std::mem::take(&mut self.marks).into())
    }
}

impl Drop for AnswerGathering {
    fn drop(&mut self) {
        self.cache.release(self.held);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn frames_of_a_millisecond_are_one_and_the_size_is_bounded() {
        let cache = AnswerCache::new(1 << 20);
        let mut gathering = AnswerGathering::new(cache.clone(), 2000);
        let now = Instant::now();
        assert!(gathering.add(b"ab", now) && gathering.add(b"c", now));
        assert!(gathering.add(b"d", now + Duration::from_millis(7)));
        assert!(gathering.add(&[0; 1996], now + Duration::from_millis(7)));
        assert!(!gathering.add(b"e", now + Duration::from_millis(8)), "too large");
        let (body, marks) = gathering.take();
        assert_eq!((body.len(), &body[..4]), (2000, &b"abcd"[..]));
        assert_eq!(*marks, [FrameMark { end: 3, after: 0 }, FrameMark { end: 2000, after: 7 }]);
        drop(gathering);
        let mut other = AnswerGathering::new(AnswerCache::new(1000), 2000);
        assert!(!other.add(&[0; 1500], now), "no memory");
        assert!(cache.hold(1 << 20), "all of it was given back");
    }
}
