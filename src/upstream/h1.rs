//! HTTP/1.1 to a provider, on one leased connection: write the request, read the head, then give the body to whoever
//! pulls it. No task, no channel, no buffer while idle.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use memchr::memmem::{self, Finder};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_write_buf;

use super::{
    head::{MAX_HEAD, ResponseHead, parse_response},
    io::{Io, ReadBlock},
    pool::PooledConnection,
};
use crate::{
    base::{ByteList, Fault, FaultKind, Sent, Stage},
    http1::Decoder,
};

static FIND_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Interim (1xx) heads that are skipped before the answer.
const MAX_INTERIM: u8 = 8;

/// Sends one request and waits for the head of its answer. Dropping the future closes the connection.
pub(super) async fn exchange(
    mut lease: PooledConnection,
    block: &Rc<ReadBlock>,
    head: Bytes,
    body: ByteList,
) -> Result<(StatusCode, HeaderMap, super::Body), Fault> {
    let (head, rest, unsent) = H1Exchange::new(&mut lease, block, head, body).run().await?;
    let body = Body::new(lease, &head, (rest, unsent), Rc::clone(block));
    Ok((head.status, head.headers, super::Body::H1(body)))
}

/// One request and the head of its answer. What is left of `out` when the answer comes early is not wanted by a provider
/// that refuses, and waited for by one that answers while it reads.
pub(super) struct H1Exchange<'a> {
    lease: &'a mut PooledConnection,
    block: &'a ReadBlock,
    out: Outgoing,
    input: BytesMut,
    interim: u8,
}

impl<'a> H1Exchange<'a> {
    pub(super) fn new(
        lease: &'a mut PooledConnection,
        block: &'a ReadBlock,
        head: Bytes,
        mut body: ByteList,
    ) -> Self {
        body.push_front(head);
        Self {
            lease,
            block,
            out: Outgoing { bytes: body, owes_flush: true, wrote: false, waits: false, failed: false },
            input: BytesMut::new(),
            interim: 0,
        }
    }

    /// The head, the bytes that came with it, and what is still to be sent. Dropping the future leaves the connection
    /// unusable.
    pub(super) async fn run(mut self) -> Result<(ResponseHead, BytesMut, Option<Box<Outgoing>>), Fault> {
        let (mut head, rest) = poll_fn(|cx| self.poll(cx)).await?;
        let goes_on = head.status.is_success() && !self.out.failed;
        head.keep_alive &= goes_on || self.out.is_done();
        let unsent = (goes_on && !self.out.is_done()).then(|| Box::new(self.out));
        Ok((head, rest, unsent))
    }

    /// Of a request that was begun no more is sent before the answer was looked for.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, BytesMut), Fault>> {
        let begun = self.out.waits;
        if !begun {
            self.out.poll(&mut self.lease.io, cx);
        }
        loop {
            let read = match self.block.poll_read(&mut self.lease.io, cx) {
                Poll::Ready(Ok(read)) if !read.is_empty() => read,
                Poll::Ready(_) => return Poll::Ready(Err(self.fault(FaultKind::Reset))),
                Poll::Pending => {
                    if begun {
                        self.out.poll(&mut self.lease.io, cx);
                    }
                    return Poll::Pending;
                }
            };
            if self.input.is_empty() {
                self.input = read;
            } else {
                self.input.extend_from_slice(&read);
            }
            if let Some(head) = self.take_head()? {
                return Poll::Ready(Ok((head, std::mem::take(&mut self.input))));
            }
        }
    }

    /// The answer's head, once it is complete; interim heads are skipped.
    fn take_head(&mut self) -> Result<Option<ResponseHead>, Fault> {
        loop {
            let seen = self.input.len().min(b"HTTP/1.".len());
            if self.input.get(..seen) != b"HTTP/1.".get(..seen) {
                return Err(self.fault(FaultKind::Garbage("not HTTP/1.1".into())));
            }
            let end = FIND_END.find(&self.input).map(|at| at + 4);
            if end.unwrap_or(self.input.len()) > MAX_HEAD {
                return Err(self.fault(FaultKind::TooLarge { limit: MAX_HEAD as u64 }));
            }
            let Some(end) = end else {
                // Its end would never be seen.
                let bare =
                    [&b"\n\n"[..], b"\n\r\n"].iter().any(|end| memmem::find(&self.input, end).is_some());
                let kind = FaultKind::Garbage("a line feed without a carriage return".into());
                return if bare { Err(self.fault(kind)) } else { Ok(None) };
            };
            let bytes = self.input.split_to(end).freeze();
            let head = match parse_response(&bytes) {
                Ok(Some((head, length))) if length == end => head,
                Ok(_) => return Err(self.fault(FaultKind::Garbage("bad response head".into()))),
                Err(why) => return Err(self.fault(FaultKind::Garbage(why))),
            };
            if !head.status.is_informational() {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(self.fault(FaultKind::Garbage("unexpected interim response".into())));
            }
        }
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        let answered = !self.input.is_empty() || self.interim > 0 || !matches!(kind, FaultKind::Reset);
        let sent = match (answered, self.out.wrote) {
            (true, _) => Sent::Some,
            (false, true) => Sent::Unknown,
            (false, false) => Sent::Nothing,
        };
        Fault::provider(Stage::Head, kind, sent)
    }
}

/// A request on its way to the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: ByteList,
    /// TLS has taken what the socket has not.
    owes_flush: bool,
    wrote: bool,
    /// The socket took only a part of it: until it has the rest, closing it is a reset.
    waits: bool,
    /// Not told yet: the provider may have answered before it closed.
    failed: bool,
}

impl Outgoing {
    /// The socket has all of it.
    const fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.owes_flush && !self.failed
    }

    /// Writes as much as the socket takes.
    fn poll(&mut self, io: &mut Io, cx: &mut Context<'_>) {
        while !self.bytes.is_empty() && !self.failed {
            match poll_write_buf(Pin::new(io), cx, &mut self.bytes) {
                Poll::Ready(Ok(written)) if written > 0 => self.wrote = true,
                Poll::Ready(_) => self.failed = true,
                Poll::Pending => return self.wait(io, true),
            }
        }
        if self.owes_flush && !self.failed {
            match AsyncWrite::poll_flush(Pin::new(io), cx) {
                Poll::Ready(Ok(())) => self.owes_flush = false,
                Poll::Ready(Err(_)) => self.failed = true,
                Poll::Pending => return self.wait(io, true),
            }
        }
        self.wait(io, false);
    }

    fn wait(&mut self, io: &Io, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            io.reset_on_close(waits);
        }
    }
}

/// A response body, pulled frame by frame. Dropping it before its end closes the connection; at its end the connection
/// goes back to the pool at once.
#[derive(Debug)]
pub struct Body {
    /// `None` once the connection has been given back or closed.
    lease: Option<PooledConnection>,
    keep_alive: bool,
    decoder: Decoder,
    /// Read with the head and not yet decoded.
    pending: BytesMut,
    /// What is left of the request, with a provider that answers before it has read all of it.
    unsent: Option<Box<Outgoing>>,
    block: Rc<ReadBlock>,
}

impl Body {
    pub(super) fn new(
        lease: PooledConnection,
        head: &ResponseHead,
        (pending, unsent): (BytesMut, Option<Box<Outgoing>>),
        block: Rc<ReadBlock>,
    ) -> Self {
        let decoder = Decoder::new(head.framing);
        let keep_alive = head.keep_alive && (pending.is_empty() || !decoder.is_done());
        let mut body = Self { lease: Some(lease), keep_alive, decoder, pending, unsent, block };
        if body.decoder.is_done() {
            body.release();
        }
        body
    }

    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    pub(super) fn acknowledge_late(&self) {
        if let Some(lease) = &self.lease {
            lease.acknowledge_late();
        }
    }

    pub(super) fn acknowledge_at_once(&self) {
        if let Some(lease) = &self.lease {
            lease.acknowledge_at_once();
        }
    }

    /// The payload of the next read. `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if self.unsent.is_some() {
            self.poll_send(cx);
        }
        loop {
            let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
            let mut bytes = if self.pending.is_empty() {
                match ready!(self.block.poll_read(&mut lease.io, cx)) {
                    Ok(bytes) if !bytes.is_empty() => bytes,
                    Ok(_) if self.decoder.may_close() => {
                        self.lease = None;
                        return Poll::Ready(None);
                    }
                    Ok(_) | Err(_) => return self.fail(FaultKind::Reset),
                }
            } else {
                std::mem::take(&mut self.pending)
            };
            let decoded = match self.decoder.decode(&mut bytes) {
                Ok(decoded) => decoded,
                Err(error) => return self.fail(FaultKind::Garbage(error.as_str().into())),
            };
            if self.decoder.is_done() {
                self.keep_alive &= decoded.excess == 0;
                self.release();
            }
            if !decoded.payload.is_empty() {
                bytes.truncate(decoded.payload.end);
                bytes.advance(decoded.payload.start);
                return Poll::Ready(Some(Ok(bytes.freeze())));
            }
        }
    }

    /// Sends on. That it fails is told by the answer, if that matters to it.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        let (Some(lease), Some(out)) = (&mut self.lease, &mut self.unsent) else { return };
        out.poll(&mut lease.io, cx);
        self.keep_alive &= !out.failed;
        if out.failed || out.is_done() {
            self.unsent = None;
        }
    }

    fn fail(&mut self, kind: FaultKind) -> Poll<Option<Result<Bytes, Fault>>> {
        self.lease = None;
        Poll::Ready(Some(Err(Fault::provider(Stage::Body, kind, Sent::Some))))
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.keep_alive
            && self.unsent.is_none()
        {
            lease.keep();
        }
    }
}
