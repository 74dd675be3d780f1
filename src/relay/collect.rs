//! A non-streaming body, collected within its limit before any of it leaves, so that a body that breaks off
//! can still become an error, or be replaced by another provider's answer.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};

use super::source::FrameSource;
use crate::base::{ByteList, Fault, FaultKind, Sent, Stage};

/// Frames that are kept as they came. A frame costs memory besides its bytes, so further ones are joined.
const MAX_KEPT_FRAMES: usize = 256;
/// A frame that is never copied.
const LARGE_FRAME: usize = 4 * 1024;

/// Collects `source` behind the bytes that came `before`; at most `limit` bytes are accepted. The frames are
/// kept as they came, but for small ones beyond the first few hundred.
///
/// # Errors
/// The source's own fault, or that it is larger than `limit`.
pub async fn collect<S: FrameSource>(mut source: S, before: ByteList, limit: u64) -> Result<ByteList, Fault> {
    let mut list = CollectedFrames { list: before, kept: 0, small: BytesMut::new() };
    while let Some(frame) = poll_fn(|cx| source.poll_frame(cx)).await {
        list.push(frame?);
        if list.len() as u64 > limit {
            return Err(Fault::provider(Stage::Body, FaultKind::TooLarge { limit }, Sent::Some));
        }
    }
    list.flush();
    Ok(list.list)
}

struct CollectedFrames {
    list: ByteList,
    kept: usize,
    /// Joined frames, behind `list`.
    small: BytesMut,
}

impl CollectedFrames {
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
        self.list.push(self.small.split().freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_frames_are_joined() {
        let mut frames = CollectedFrames { list: ByteList::new(), kept: 0, small: BytesMut::new() };
        for number in 0..100_000_u32 {
            frames.push(Bytes::copy_from_slice(&number.to_be_bytes()));
        }
        frames.push(Bytes::from(vec![1; LARGE_FRAME]));
        frames.push(Bytes::from_static(b"end"));
        assert_eq!(frames.len(), 400_000 + LARGE_FRAME + 3);
        frames.flush();
        assert!(frames.list.iter().count() < MAX_KEPT_FRAMES + 8);
        let bytes = frames.list.join();
        assert!(
            bytes.chunks(4).take(100_000).zip(0_u32..).all(|(chunk, number)| chunk == number.to_be_bytes())
        );
        assert!(bytes.ends_with(b"\x01end"));
    }
}
