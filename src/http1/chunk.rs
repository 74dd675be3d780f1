//! One chunk of a chunked body on its way out: its size line, its bytes and what follows them, in one write. A small one is
//! put together first: to copy some hundred bytes costs less than the kernel's way through a vectored write does above a
//! plain one. The response head goes before the first one in the same write.

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

/// Chunks up to this size are put together.
const SMALL: usize = 4096;

thread_local! {
    /// Where they are, one after another: a worker writes one at a time.
    static DESK: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[derive(Debug)]
pub struct ChunkWriter {
    /// The response head, with the first chunk only.
    head: Vec<u8>,
    /// The size line, of which so many bytes.
    size: [u8; 18],
    size_length: usize,
    data: Bytes,
    tail: &'static [u8],
    /// Bytes of all that have been written.
    written: usize,
}

impl ChunkWriter {
    /// A response head that waits to be written.
    pub const fn new(head: Vec<u8>) -> Self {
        Self { head, size: [0; 18], size_length: 0, data: Bytes::new(), tail: b"", written: 0 }
    }

    /// Puts `data` behind what waits, which is nothing or the head. An empty chunk would end the body, so it is none.
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

    /// Puts the end of the body behind what waits.
    pub const fn load_last(&mut self) {
        self.tail = LAST;
    }

    /// More than the head waits.
    pub const fn is_loaded(&self) -> bool {
        !self.tail.is_empty()
    }

    /// Writes what waits. Ready when nothing does.
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
        if self.length() > SMALL {
            return socket.poll_write_vectored(cx, &self.waiting());
        }
        let mut desk = DESK.take();
        desk.clear();
        desk.reserve(SMALL);
        if !self.head.is_empty() {
            desk.extend_from_slice(&self.head);
        }
        desk.extend_from_slice(self.size.get(..self.size_length).unwrap_or_default());
        desk.extend_from_slice(&self.data);
        desk.extend_from_slice(self.tail);
        let polled = socket.poll_write(cx, desk.get(self.written..).unwrap_or_default());
        DESK.set(desk);
        polled
    }

    const fn length(&self) -> usize {
        self.head.len() + self.size_length + self.data.len() + self.tail.len()
    }

    /// What has not been written, in order; some of it may be empty.
    fn waiting(&self) -> [IoSlice<'_>; 4] {
        let mut skip = self.written;
        let size = self.size.get(..self.size_length).unwrap_or_default();
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

/// Writes the size line of a chunk, in hexadecimal; returns its length. Not by the hex crate, which writes two digits
/// for every byte: a chunk of 200 bytes would carry 14 zeros.
fn write_size(line: &mut [u8; 18], size: usize) -> usize {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4) as usize;
    for (slot, place) in line.iter_mut().zip((0..digits).rev()) {
        *slot = b"0123456789abcdef"[size >> (place * 4) & 15];
    }
    if let Some(end) = line.get_mut(digits..digits + END.len()) {
        end.copy_from_slice(END);
    }
    digits + END.len()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What a reader sees of a head and some chunks when writes are cut after `room` bytes.
    async fn seen(room: usize) -> String {
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
            assert_eq!(line[..length], *format!("{size:x}\r\n").as_bytes());
        }
    }

    #[tokio::test]
    async fn writes_chunks_however_the_writes_are_cut() {
        for room in 1..60 {
            assert_eq!(
                seen(room).await,
                "HEAD\r\n5\r\nhello\r\n11\r\n0123456789abcdefg\r\n1\r\n!\r\n0\r\n\r\n",
                "room for {room}"
            );
        }
    }

    #[tokio::test]
    async fn writes_chunks_of_every_size_around_the_bound() {
        for size in (SMALL - 20)..(SMALL + 20) {
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
