//! Writes a chunked body (RFC 9112 section 7.1), one chunk at a time: size line, bytes and line end leave in
//! one write; or bytes without chunk framing, for a body whose end is known otherwise. A small chunk is
//! copied into one buffer first, because copying some hundred bytes costs less than the kernel's path for a
//! vectored write costs above a plain one. The response head leaves in the same write as the first chunk.
//!
//! Owns no socket and no timeout. Invariant: bytes leave in order, and a partial write continues where it
//! stopped.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

const END: &[u8] = b"\r\n";
const END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";
const LAST: &[u8] = b"0\r\n\r\n";

/// Up to this many bytes, all parts are copied into one buffer.
const MAX_COPIED: usize = 4096;

thread_local! {
    /// The buffer for small chunks. One per worker suffices, because no chunk stays in it between two polls.
    static COPY_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes that wait to be written to one connection: a head, a chunk, the end of the body.
#[derive(Debug)]
pub struct ChunkWriter {
    /// The response head; empty once it is written.
    head: Vec<u8>,
    /// The size line; `size_length` bytes of it are used.
    size: [u8; 18],
    size_length: u8,
    data: Bytes,
    tail: &'static [u8],
    /// Bytes already written, of all parts together.
    written: usize,
}

impl ChunkWriter {
    /// A writer with a response head to write before the first chunk.
    pub const fn new(head: Vec<u8>) -> Self {
        Self { head, size: [0; 18], size_length: 0, data: Bytes::new(), tail: b"", written: 0 }
    }

    /// Adds a chunk; only the head may wait before it. Empty `data` adds no chunk, because an empty chunk
    /// would end the body. `last` ends the body after it.
    pub fn load(&mut self, data: Bytes, last: bool) {
        if data.is_empty() {
            return if last {
                self.load_last()
            };
        }
        self.size_length = write_size(&mut self.size, data.len());
        self.data = data;
        self.tail = if last { END_AND_LAST } else { END };
    }

    /// Adds bytes without chunk framing; only the head may wait before them.
    pub fn load_plain(&mut self, data: Bytes) {
        self.data = data;
    }

    /// Adds the end of the body.
    pub const fn load_last(&mut self) {
        self.tail = LAST;
    }

    /// Whether a chunk or the end of the body waits; the head alone does not count.
    pub const fn is_loaded(&self) -> bool {
        !self.tail.is_empty() || !self.data.is_empty()
    }

    /// Writes all waiting bytes. Ready when none are left.
    ///
    /// # Errors
    /// Those of the socket; `WriteZero` if it takes no more bytes.
    pub fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.length() {
            match self.poll_write_once(socket, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_write_once<W: AsyncWrite + Unpin>(
        &self,
        socket: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(socket);
        if self.length() > MAX_COPIED {
            return socket.poll_write_vectored(cx, &self.unwritten());
        }
        let mut buffer = COPY_BUFFER.take();
        buffer.clear();
        buffer.reserve(MAX_COPIED);
        if !self.head.is_empty() {
            buffer.extend_from_slice(&self.head);
        }
        buffer.extend_from_slice(self.size.get(..usize::from(self.size_length)).unwrap_or_default());
        buffer.extend_from_slice(&self.data);
        buffer.extend_from_slice(self.tail);
        let polled = socket.poll_write(cx, buffer.get(self.written..).unwrap_or_default());
        COPY_BUFFER.set(buffer);
        polled
    }

    const fn length(&self) -> usize {
        self.head.len() + self.size_length as usize + self.data.len() + self.tail.len()
    }

    /// The parts not yet written, in order; some may be empty.
    fn unwritten(&self) -> [IoSlice<'_>; 4] {
        let mut skip = self.written;
        let size = self.size.get(..usize::from(self.size_length)).unwrap_or_default();
        [&*self.head, size, &*self.data, self.tail].map(|part| {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            IoSlice::new(rest)
        })
    }

    fn clear(&mut self) {
        if !self.head.is_empty() {
            self.head = Vec::new();
        }
        self.data = Bytes::new();
        (self.size_length, self.tail, self.written) = (0, b"", 0);
    }
}

/// Writes the size line of a chunk, in hexadecimal; returns its length. Not by the hex crate, which writes
/// two digits for every byte: a chunk of 200 bytes would carry 14 zeros.
fn write_size(line: &mut [u8; 18], size: usize) -> u8 {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4) as usize;
    for (slot, place) in line.iter_mut().zip((0..digits).rev()) {
        *slot = b"0123456789abcdef"[size >> (place * 4) & 15];
    }
    if let Some(end) = line.get_mut(digits..digits + END.len()) {
        end.copy_from_slice(END);
    }
    (digits + END.len()) as u8
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// The bytes that a reader receives when each write takes at most `room` bytes.
    async fn received(room: usize) -> String {
        let (mut near, mut far) = tokio::io::duplex(room);
        let write = async move {
            let mut chunk = ChunkWriter::new(b"HEAD\r\n".to_vec());
            for (data, last) in [("", false), ("hello", false), ("0123456789abcdefg", false), ("!", true)] {
                poll_fn(|cx| chunk.poll_write(&mut near, cx)).await.unwrap();
                chunk.load(Bytes::from_static(data.as_bytes()), last);
            }
            poll_fn(|cx| chunk.poll_write(&mut near, cx)).await.unwrap();
        };
        let mut text = String::new();
        tokio::join!(write, async { far.read_to_string(&mut text).await.unwrap() });
        text
    }

    #[test]
    fn writes_sizes_in_hexadecimal() {
        for size in [1, 9, 15, 16, 255, 256, 4095, 65_536, usize::MAX] {
            let mut line = [0; 18];
            let length = write_size(&mut line, size);
            assert_eq!(line[..usize::from(length)], *format!("{size:x}\r\n").as_bytes());
        }
    }

    #[tokio::test]
    async fn writes_chunks_however_the_writes_are_cut() {
        for room in 1..60 {
            assert_eq!(
                received(room).await,
                "HEAD\r\n5\r\nhello\r\n11\r\n0123456789abcdefg\r\n1\r\n!\r\n0\r\n\r\n",
                "room for {room}"
            );
        }
    }

    #[tokio::test]
    async fn writes_chunks_of_every_size_around_the_bound() {
        for size in (MAX_COPIED - 20)..(MAX_COPIED + 20) {
            let (mut near, mut far) = tokio::io::duplex(1000);
            let data = vec![b'x'; size];
            let mut chunk = ChunkWriter::new(Vec::new());
            chunk.load(data.clone().into(), true);
            let write = async move { poll_fn(|cx| chunk.poll_write(&mut near, cx)).await.unwrap() };
            let mut seen = Vec::new();
            tokio::join!(write, async { far.read_to_end(&mut seen).await.unwrap() });
            let expected = [format!("{size:x}\r\n").as_bytes(), &data, END_AND_LAST].concat();
            assert!(seen == expected, "{size}");
        }
    }
}
