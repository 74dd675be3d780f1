//! The end of a connection whose client may still be sending: closed over unread bytes, the kernel resets it, and the
//! reset destroys an answer that the client has not read yet. So what still comes is read and thrown away for a while.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::socket::Socket;

/// How long a client may go on, and how long it may be silent.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// Bytes that are thrown away before the client has only itself to blame.
pub(super) const MOST: usize = 256 * 1024 * 1024;
const READ: usize = 64 * 1024;

/// Says that nothing more will be said, and waits for the client's end.
pub(super) async fn linger(socket: &mut Socket) {
    let _ = socket.shutdown().await;
    let mut space = vec![0; READ];
    let discarding = async {
        let mut left = MOST;
        while let Ok(Ok(count @ 1..)) = timeout(SILENCE, socket.read(&mut space)).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LONGEST, discarding).await;
}
