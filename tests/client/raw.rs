//! A client of raw bytes, for requests that no library sends and answers that must be seen byte for byte.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::chunked;
use crate::upstream::log::in_time;

pub struct Raw {
    pub stream: TcpStream,
    buffer: BytesMut,
}

/// The head of an answer, as it came.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a gateway that listens");
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new() }
    }

    /// A client whose kernel holds at most about `size` unread bytes.
    pub async fn connect_small(address: SocketAddr, size: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(size).unwrap();
        let stream = socket.connect(address).await.expect("a gateway that listens");
        Self { stream, buffer: BytesMut::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("a connection that takes bytes");
    }

    /// The next answer's head.
    pub async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "the connection ended before a head: {:?}", self.buffer);
        };
        let text = String::from_utf8(self.buffer.split_to(end).to_vec()).expect("a head in ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
        let status = status.split(' ').next().unwrap().parse().unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
        let headers = lines.map(pair).collect();
        Head { status, headers, text }
    }

    /// The chunks that follow a head, as they were cut.
    pub async fn chunks(&mut self) -> Vec<Vec<u8>> {
        loop {
            match chunked::decode(&self.buffer).expect("sound chunks") {
                (chunks, Some(used)) => {
                    let _ = self.buffer.split_to(used);
                    return chunks;
                }
                (chunks, None) => assert!(self.fill().await, "the body broke off after {chunks:?}"),
            }
        }
    }

    /// The body that follows this head.
    pub async fn body(&mut self, head: &Head) -> Bytes {
        if head.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await.concat().into();
        }
        let Some(length) = head.header("content-length") else {
            while self.fill().await {}
            return self.buffer.split().freeze();
        };
        let length = length.parse().unwrap();
        while self.buffer.len() < length {
            assert!(self.fill().await, "the body broke off: {:?}", self.buffer);
        }
        self.buffer.split_to(length).freeze()
    }

    /// Whether the peer closes the connection without another byte.
    pub async fn ended(&mut self) -> bool {
        !self.fill().await && self.buffer.is_empty()
    }

    /// Reads more; `false` when the connection is closed or reset.
    pub async fn fill(&mut self) -> bool {
        let read = in_time(self.stream.read_buf(&mut self.buffer)).await.expect("bytes in time");
        matches!(read, Ok(count) if count > 0)
    }

    /// Bytes read and not yet returned.
    pub fn unread(&self) -> &[u8] {
        &self.buffer
    }
}
