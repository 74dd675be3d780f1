//! The close of a connection while its client may still be sending. The kernel resets a connection that is
//! closed over unread bytes, and the reset destroys a response that the client has not read yet. So the rest
//! is read and dropped for a while.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::server::conn::{
    discard::{DISCARD_IDLE_TIMEOUT, DISCARD_TIMEOUT, MAX_DISCARDED},
    socket::Socket,
};

const READ_SIZE: usize = 64 * 1024;

/// Ends the server's side, and waits for the client's end.
pub(super) async fn linger(socket: &mut Socket) {
    let _ = socket.shutdown().await;
    let mut buffer = vec![0; READ_SIZE];
    let discarding = async {
        let mut left = MAX_DISCARDED;
        while let Ok(Ok(count @ 1..)) = timeout(DISCARD_IDLE_TIMEOUT, socket.read(&mut buffer)).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(DISCARD_TIMEOUT, discarding).await;
}
