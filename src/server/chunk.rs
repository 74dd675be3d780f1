//! One chunk of a chunked body on its way out: its size line, its bytes and what follows them, written with one vectored
//! write. The response head goes before the first one in the same write.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

const END: &[u8] = b"\r\n";
const END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";
const LAST: &[u8] = b"0\r\n\r\n";

#[derive(Debug)]
pub(super) struct Chunk {
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

impl Chunk {
    /// A response head that waits to be written.
    pub(super) const fn new(head: Vec<u8>) -> Self {
        Self { head, size: [0; 18], size_length: 0, data: Bytes::new(), tail: b"", written: 0 }
    }

    /// Puts `data` behind what waits, which is nothing or the head. An empty chunk would end the body, so it is none.
    pub(super) fn load(&mut self, data: Bytes, last: bool) {
        if data.is_empty() {
            return if last {
                self.load_last()
            };
        }
        let mut rest = &mut self.size[..];
        // Cannot fail: a size line has at most 16 digits and its end.
        let _ = write!(rest, "{:x}\r\n", data.len());
        let left = rest.len();
        self.size_length = self.size.len() - left;
        self.data = data;
        self.tail = if last { END_AND_LAST } else { END };
    }

    /// Puts the end of the body behind what waits.
    pub(super) const fn load_last(&mut self) {
        self.tail = LAST;
    }

    /// Writes what waits. Ready when nothing does.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let parts =
                [&*self.head, self.size.get(..self.size_length).unwrap_or_default(), &self.data, self.tail];
            let mut skip = self.written;
            let mut slices = [IoSlice::new(b""); 4];
            let mut count = 0;
            for part in parts {
                let rest = part.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(part.len());
                if let Some(slot) = slices.get_mut(count)
                    && !rest.is_empty()
                {
                    *slot = IoSlice::new(rest);
                    count += 1;
                }
            }
            if count == 0 {
                self.clear();
                return Poll::Ready(Ok(()));
            }
            let waiting = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut *socket).poll_write_vectored(cx, waiting) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn clear(&mut self) {
        if !self.head.is_empty() {
            self.head = Vec::new();
        }
        self.data = Bytes::new();
        (self.size_length, self.tail, self.written) = (0, b"", 0);
    }
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
            let mut chunk = Chunk::new(b"HEAD\r\n".to_vec());
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
}
