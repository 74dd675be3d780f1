//! The connection as its parts share it: the socket, and the reader of the bytes that come from it. The
//! handler reads a request's body through it while the connection waits for the response.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncWrite as _;

use super::{
    head::{ParsedHead, RefusedHead},
    reader::{HeadLimits, RequestReader},
};
use crate::{
    http1::read_block,
    server::conn::{discard::MAX_DISCARDED, socket::Socket},
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: Socket,
    pub(super) reader: RequestReader,
    /// Bytes of a 100 that are to be sent before the body is read.
    interim: &'static [u8],
    /// The number of the request in flight, so that the body of an earlier one reads nothing of it.
    request: u32,
}

/// A wire that a connection shares with the body of its request. Borrowed for a step at a time.
pub(super) type SharedWire = Rc<RefCell<Wire>>;

impl Wire {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, reader: RequestReader::default(), interim: b"", request: 0 }
    }

    /// Reads the next head. `None`: the client has ended the connection.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: impl Fn() -> HeadLimits,
    ) -> Poll<Result<Option<ParsedHead>, RefusedHead>> {
        loop {
            let bytes = match self.socket.take_first() {
                Some(first) => first,
                None => match ready!(read_block::of_worker(&mut self.socket, cx)) {
                    Ok(bytes) if !bytes.is_empty() => bytes,
                    Ok(_) | Err(_) => return Poll::Ready(Ok(None)),
                },
            };
            if let Some(head) = self.reader.read_head(bytes, limits())? {
                // The client does not wait for a 100 once it has begun to send.
                let waits = head.expects_continue && !self.reader.has_arrived() && !self.reader.has_payload();
                self.interim = if waits { CONTINUE } else { b"" };
                return Poll::Ready(Ok(Some(head)));
            }
        }
    }

    /// The body's next payload. `None` at its end. Errors: `UnexpectedEof` if the client has left,
    /// `InvalidData` if its bytes are no body.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match self.reader.take_payload() {
                Ok(payload) if payload.is_empty() => {}
                Ok(payload) => return Poll::Ready(Some(Ok(payload))),
                Err(error) => {
                    let broken = io::Error::new(io::ErrorKind::InvalidData, error.as_str());
                    return Poll::Ready(Some(Err(broken)));
                }
            }
            if self.reader.is_taken() {
                return Poll::Ready(None);
            }
            match ready!(self.poll_body(cx)) {
                Ok(bytes) if !bytes.is_empty() => self.reader.read_body(bytes),
                Ok(_) | Err(_) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim = self.interim.get(written..).unwrap_or_default();
            let _ = Pin::new(&mut self.socket).poll_flush(cx)?;
        }
        read_block::of_worker(&mut self.socket, cx)
    }

    /// The response begins. No body of an earlier request reads from now on. `true`: another request may
    /// follow.
    pub(super) fn end_request(&mut self) -> bool {
        self.request = self.request.wrapping_add(1);
        self.reader.end_request()
    }

    /// Waits for the client to leave, or to send without end, while its request is answered. Bytes behind the
    /// request are dropped. Until the request has arrived its handler reads, or leaves it to the kernel.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.reader.has_arrived() && self.reader.excess() <= MAX_DISCARDED {
            match ready!(read_block::of_worker(&mut self.socket, cx)) {
                Ok(bytes) if !bytes.is_empty() => self.reader.read_body(bytes),
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
        if self.reader.has_arrived() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A request's body.
#[derive(Debug)]
pub(in crate::server) struct H1RequestBody {
    wire: SharedWire,
    request: u32,
}

impl H1RequestBody {
    pub(super) fn new(wire: &SharedWire) -> Self {
        Self { wire: Rc::clone(wire), request: wire.borrow().request }
    }

    pub(in crate::server) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut wire = self.wire.borrow_mut();
        if wire.request != self.request {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        let payload = ready!(wire.poll_payload(cx));
        Poll::Ready(payload.map(|payload| payload.map(Frame::data)))
    }

    pub(in crate::server) fn is_end_stream(&self) -> bool {
        let wire = self.wire.borrow();
        wire.request != self.request || wire.reader.is_taken()
    }

    pub(in crate::server) fn size_hint(&self) -> SizeHint {
        let wire = self.wire.borrow();
        let left = if wire.request == self.request { wire.reader.left() } else { Some(0) };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
