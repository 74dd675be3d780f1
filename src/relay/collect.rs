//! A non-streaming body, collected within its limit before any of it leaves, so that a body that breaks off
//! can still become an error, or be replaced by another provider's answer.

use std::future::poll_fn;

use super::source::FrameSource;
use crate::base::{ByteList, Fault, FaultKind, Sent, Stage};

/// Collects `source` behind the bytes that came `before`; at most `limit` bytes are accepted. The frames are
/// kept as they came.
///
/// # Errors
/// The source's own fault, or that it is larger than `limit`.
pub async fn collect<S: FrameSource>(mut source: S, before: ByteList, limit: u64) -> Result<ByteList, Fault> {
    let mut list = before;
    while let Some(frame) = poll_fn(|cx| source.poll_frame(cx)).await {
        list.push(frame?);
        if list.len() as u64 > limit {
            return Err(Fault::provider(Stage::Body, FaultKind::TooLarge { limit }, Sent::Some));
        }
    }
    Ok(list)
}
