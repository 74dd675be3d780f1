//! A non-streaming body, collected within its limit before any of it leaves, so that a body that breaks off
//! can still become an error, or be replaced by another provider's answer.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};

use super::source::FrameSource;
use crate::base::{ByteList, Fault, FaultKind, Sent, Stage};

/// Frames that are kept as they came. A small one holds the whole block that it was read into, so further
/// ones are joined: a provider may send a few bytes at a time for minutes.
const MAX_KEPT_FRAMES: usize = 1;
/// A frame that is never copied.
const LARGE_FRAME: usize = 4 * 1024;

/// Collects `source` behind the bytes that came `before`; at most `limit` bytes are accepted.
///
/// # Errors
/// The source's own fault, or that it is larger than `limit`.
pub async fn collect<S: FrameSource>(mut source: S, before: ByteList, limit: u64) -> Result<ByteList, Fault> {
    let mut frames = CollectedFrames::behind(before);
    collect_into(&mut source, &mut frames, limit).await?;
    Ok(frames.take())
}

/// Collects `source` behind the bytes in `frames`; at most `limit` bytes are accepted. Dropping the future
/// leaves the bytes that have come in `frames`, as a fault does.
///
/// # Errors
/// The source's own fault, or that it is larger than `limit`.
pub async fn collect_into<S: FrameSource>(
    source: &mut S,
    frames: &mut CollectedFrames,
    limit: u64,
) -> Result<(), Fault> {
    while let Some(frame) = poll_fn(|cx| source.poll_frame(cx)).await {
        frames.push(frame?);
        if frames.len() as u64 > limit {
            return Err(Fault::provider(Stage::Body, FaultKind::TooLarge { limit }, Sent::Some));
        }
    }
    Ok(())
}

/// The bytes of a body as far as it has come. The frames are kept as they came, but for small ones behind the
/// first.
#[derive(Debug, Default)]
pub struct CollectedFrames {
    list: ByteList,
    kept: usize,
    /// Joined frames, behind `list`.
    small: BytesMut,
}

impl CollectedFrames {
    /// A body of which these bytes have come.
    #[must_use]
    pub fn behind(list: ByteList) -> Self {
        Self { list, ..Self::default() }
    }

    /// All bytes, taken out.
    #[must_use]
    pub fn take(&mut self) -> ByteList {
        self.flush();
        std::mem::take(&mut self.list)
    }

    fn len(&self) -> usize {
        self.list.len() + self.small.len()
    }

    fn push(&mut self, frame: Bytes) {
        if self.kept >= MAX_KEPT_FRAMES && frame.len() < LARGE_FRAME {
            return self.small.extend_from_slice(&frame);
        }
        self.kept += 1;
        self.flush();
        self.list.push(frame);
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.list.push(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_frames_are_joined() {
        let mut frames = CollectedFrames::default();
        for number in 0..100_000_u32 {
            frames.push(Bytes::copy_from_slice(&number.to_be_bytes()));
        }
        frames.push(Bytes::from(vec![1; LARGE_FRAME]));
        frames.push(Bytes::from_static(b"end"));
        assert_eq!(frames.len(), 400_000 + LARGE_FRAME + 3);
        let list = frames.take();
        assert!(list.iter().count() < MAX_KEPT_FRAMES + 8);
        let bytes = list.join();
        assert!(
            bytes.chunks(4).take(100_000).zip(0_u32..).all(|(chunk, number)| chunk == number.to_be_bytes())
        );
        assert!(bytes.ends_with(b"\x01end"));
    }
}
