//! HTTP/1.1 to a provider on one pooled connection: writes the request, reads the head, then gives the body
//! as it is polled. Invariants: no task, no channel, and no buffer while idle; a connection goes back to the
//! pool only after a complete response.

use std::{
    future::{Future, poll_fn},
    io::IoSlice,
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use memchr::memmem::{self, Finder};
use tokio::{
    io::AsyncWrite,
    time::{Duration, Instant, Sleep, sleep},
};

use super::{
    deadline::Deadline,
    head::{MAX_HEAD_SIZE, ResponseHead, parse_response},
    io::Io,
    pool::PooledConnection,
};
use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, HeaderFields, Sent, Stage},
    http1::{Decoder, ReadBlock},
};

static FIND_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Parts of a request that are written at once: its head, and nearly always all of its body.
const MAX_SLICES: usize = 8;
/// Interim (1xx) heads that are skipped before the response.
const MAX_INTERIM: u8 = 8;

/// Sends one request and waits for the head of its response. Dropping the future closes the connection.
// No `async fn`, because its future would keep the arguments twice, and copy them.
pub(super) fn exchange(
    mut connection: PooledConnection,
    block: &Rc<ReadBlock>,
    head: Bytes,
    mut body: ByteList,
    (deadline, write_timeout): (Deadline, Duration),
) -> impl Future<Output = Result<(StatusCode, HeaderFields, Body), Fault>> {
    body.push_front(head);
    let mut out = Outgoing { bytes: body, needs_flush: true, wrote: false, waits: false, failed: false };
    async move {
        let (mut head, rest) = {
            let mut exchange = H1Exchange {
                connection: &mut connection,
                block,
                out: &mut out,
                input: BytesMut::new(),
                interim: 0,
                write_timeout,
                write_timer: None,
            };
            poll_fn(|cx| exchange.poll_until(deadline, cx)).await?
        };
        let may_send_on = head.status.is_success() && !out.failed;
        head.keep_alive &= may_send_on || out.is_done();
        let unsent = (may_send_on && !out.is_done()).then(|| Box::new(out));
        let body = Body::new(connection, &head, (rest, unsent), Rc::clone(block));
        Ok((head.status, head.headers, body))
    }
}

/// One request and the head of its response. A response that comes before all of `out` was sent is a refusal,
/// which needs no more of it, or a success of a provider that responds while it reads, which does.
struct H1Exchange<'a> {
    connection: &'a mut PooledConnection,
    block: &'a ReadBlock,
    out: &'a mut Outgoing,
    input: BytesMut,
    interim: u8,
    write_timeout: Duration,
    /// Set while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl H1Exchange<'_> {
    /// As [`H1Exchange::poll`], until the deadline.
    fn poll_until(
        &mut self,
        deadline: Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(ResponseHead, BytesMut), Fault>> {
        let polled = self.poll(cx);
        if polled.is_pending() && self.connection.io.timer.poll(deadline.at, cx).is_ready() {
            return Poll::Ready(Err(deadline.fault(Stage::Head)));
        }
        polled
    }

    /// Once the request has been sent in part, reads before it sends more: the response may have come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, BytesMut), Fault>> {
        let begun = self.out.waits;
        if !begun && self.poll_write(cx).is_ready() {
            return Poll::Ready(Err(self.unread()));
        }
        loop {
            let read = match self.block.poll_read(&mut self.connection.io, cx) {
                Poll::Ready(Ok(read)) if !read.is_empty() => read,
                Poll::Ready(_) => return Poll::Ready(Err(self.fault(FaultKind::Reset))),
                Poll::Pending => {
                    if begun && self.poll_write(cx).is_ready() {
                        return Poll::Ready(Err(self.unread()));
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

    /// Sends on. Ready when the provider has read nothing for `write_timeout`.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.out.bytes.len();
        self.out.poll(&mut self.connection.io, cx);
        if !self.out.waits {
            self.write_timer = None;
            return Poll::Pending;
        }
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        if self.out.bytes.len() < before {
            timer.as_mut().reset(Instant::now() + self.write_timeout);
        }
        timer.as_mut().poll(cx)
    }

    fn unread(&self) -> Fault {
        let kind = FaultKind::Timeout(DeadlineKind::Send, self.write_timeout);
        Fault::provider(Stage::Send, kind, Sent::Unknown)
    }

    /// The response's head, once it is complete; interim heads are skipped.
    fn take_head(&mut self) -> Result<Option<ResponseHead>, Fault> {
        loop {
            let length = self.input.len().min(b"HTTP/1.".len());
            if self.input.get(..length) != b"HTTP/1.".get(..length) {
                return Err(self.fault(FaultKind::Garbage("not HTTP/1.1".into())));
            }
            let end = FIND_END.find(&self.input).map(|at| at + 4);
            if end.unwrap_or(self.input.len()) > MAX_HEAD_SIZE {
                return Err(self.fault(FaultKind::TooLarge { limit: MAX_HEAD_SIZE as u64 }));
            }
            let Some(end) = end else {
                // No CR LF CR LF would ever follow.
                let bare =
                    [&b"\n\n"[..], b"\n\r\n"].iter().any(|end| memmem::find(&self.input, end).is_some());
                let kind = FaultKind::Garbage("a line feed without a carriage return".into());
                return if bare { Err(self.fault(kind)) } else { Ok(None) };
            };
            let parsed = parse_response(self.input.get(..end).unwrap_or_default());
            self.input.advance(end);
            let head = match parsed {
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
    /// TLS may hold bytes that the socket has not taken.
    needs_flush: bool,
    wrote: bool,
    /// The socket took only a part: until it has the rest, a close resets the connection.
    waits: bool,
    /// Writing failed. Not reported before the read side is, because the provider may have responded before
    /// it closed.
    failed: bool,
}

impl Outgoing {
    /// The socket has all of it.
    const fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.needs_flush && !self.failed
    }

    /// Writes as much as the socket takes.
    fn poll(&mut self, io: &mut Io, cx: &mut Context<'_>) {
        while !self.bytes.is_empty() && !self.failed {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.bytes.chunks_vectored(&mut slices);
            match Pin::new(&mut *io).poll_write_vectored(cx, slices.get(..count).unwrap_or_default()) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.bytes.advance(written);
                    self.wrote = true;
                }
                Poll::Ready(_) => self.failed = true,
                Poll::Pending => return self.wait(io, true),
            }
        }
        if self.needs_flush && !self.failed {
            match AsyncWrite::poll_flush(Pin::new(io), cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
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

/// A response body, pulled frame by frame. Dropping it before its end closes the connection; at its end the
/// connection goes back to the pool at once.
#[derive(Debug)]
pub struct Body {
    /// `None` once the connection has been given back or closed.
    connection: Option<PooledConnection>,
    keep_alive: bool,
    decoder: Decoder,
    /// Read with the head and not yet decoded.
    pending: BytesMut,
    /// The rest of the request, with a provider that responds before it has read all of it.
    unsent: Option<Box<Outgoing>>,
    block: Rc<ReadBlock>,
}

impl Body {
    pub(super) fn new(
        connection: PooledConnection,
        head: &ResponseHead,
        (pending, unsent): (BytesMut, Option<Box<Outgoing>>),
        block: Rc<ReadBlock>,
    ) -> Self {
        let decoder = Decoder::new(head.framing);
        let keep_alive = head.keep_alive && (pending.is_empty() || !decoder.is_done());
        let mut body = Self { connection: Some(connection), keep_alive, decoder, pending, unsent, block };
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
        if let Some(connection) = &self.connection {
            connection.acknowledge_late();
        }
    }

    pub(super) fn acknowledge_at_once(&self) {
        if let Some(connection) = &self.connection {
            connection.acknowledge_at_once();
        }
    }

    /// The payload of the next read. `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if self.unsent.is_some() {
            self.poll_send(cx);
        }
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            let mut bytes = if self.pending.is_empty() {
                match ready!(self.block.poll_read(&mut connection.io, cx)) {
                    Ok(bytes) if !bytes.is_empty() => bytes,
                    Ok(_) if self.decoder.may_close() => {
                        self.connection = None;
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

    /// Sends on. A failure only prevents reuse: the response shows whether it mattered to the provider.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        let (Some(connection), Some(out)) = (&mut self.connection, &mut self.unsent) else { return };
        out.poll(&mut connection.io, cx);
        self.keep_alive &= !out.failed;
        if out.failed || out.is_done() {
            self.unsent = None;
        }
    }

    fn fail(&mut self, kind: FaultKind) -> Poll<Option<Result<Bytes, Fault>>> {
        self.connection = None;
        Poll::Ready(Some(Err(Fault::provider(Stage::Body, kind, Sent::Some))))
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keep_alive
            && self.unsent.is_none()
        {
            connection.keep();
        }
    }
}
