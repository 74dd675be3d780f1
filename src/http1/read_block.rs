//! The memory that all connections of a worker read into. The bytes of each read are split off; once all that
//! were split off have been dropped the block is used again, so a warm worker allocates nothing per read.
//! Invariant: a connection that waits for bytes holds no buffer of its own.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Bytes of the block.
const BLOCK_SIZE: usize = 64 * 1024;
/// Bytes that a read has room for, at least.
const MIN_READ: usize = 16 * 1024;

thread_local! {
    /// A worker is one thread.
    static OF_CLIENTS: ReadBlock = ReadBlock::default();
}

/// One read of a client's connection, into the block that the worker has for these. Empty means the end of
/// the stream.
///
/// # Errors
/// Those of the socket.
pub fn of_worker<R: AsyncRead + Unpin>(io: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
    OF_CLIENTS.with(|block| block.poll_read(io, cx))
}

/// A worker's read block.
#[derive(Debug, Default)]
pub struct ReadBlock(RefCell<BytesMut>);

impl ReadBlock {
    /// One read. Empty means the end of the stream.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_read<R: AsyncRead + Unpin>(
        &self,
        io: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<BytesMut>> {
        let mut block = self.0.borrow_mut();
        if block.capacity() < MIN_READ {
            block.reserve(BLOCK_SIZE);
        }
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut *block))?;
        Poll::Ready(Ok(block.split_to(read)))
    }
}
