//! The close of a connection while its client may still be sending. The kernel resets a connection that is
//! closed over unread bytes, and the reset destroys a response that the client has not read yet. So the rest
//! is read and dropped for a while.

use std::{future::poll_fn, pin::Pin};

use tokio::{io::AsyncWrite as _, time::timeout};

use super::wire::SharedWire;
use crate::{
    http1::read_block,
    server::conn::discard::{DISCARD_IDLE_TIMEOUT, DISCARD_TIMEOUT, MAX_DISCARDED},
};

/// Writes `last`, ends the server's side, and waits for the client's end.
pub(super) async fn linger(wire: SharedWire, last: Vec<u8>) {
    let mut written = 0;
    while let Some(rest) = last.get(written..).filter(|rest| !rest.is_empty()) {
        match poll_fn(|cx| Pin::new(&mut wire.borrow_mut().socket).poll_write(cx, rest)).await {
            Ok(count @ 1..) => written += count,
            Ok(_) | Err(_) => return,
        }
    }
    let _ = poll_fn(|cx| Pin::new(&mut wire.borrow_mut().socket).poll_shutdown(cx)).await;
    let read = async || {
        poll_fn(|cx| read_block::of_worker(&mut wire.borrow_mut().socket, cx)).await.map(|bytes| bytes.len())
    };
    let discarding = async {
        let mut left = MAX_DISCARDED;
        while let Ok(Ok(count @ 1..)) = timeout(DISCARD_IDLE_TIMEOUT, read()).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(DISCARD_TIMEOUT, discarding).await;
}
