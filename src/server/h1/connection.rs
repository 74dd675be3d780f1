//! An HTTP/1.1 connection from its first request to its close: waits for a head, polls the handler, writes
//! its response, and begins again.

use std::{
    error::Error,
    future::Future,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::task::yield_now;

use super::{
    body::H1ResponseBody,
    head::{ParsedHead, RefusedHead},
    linger::linger,
    reader::HeadLimits,
    response::{ResponseEnd, ResponseForm, ResponseWriter},
    wire::{H1RequestBody, SharedWire, Wire},
};
use crate::{
    base::{HandlerResponse, turn},
    server::{
        conn::{
            RequestBody,
            socket::Socket,
            state::{ConnFate, ConnRecord, InFlight},
        },
        handler::{Handler, PendingResponse},
    },
};

/// Serves the connection until it ends.
pub(in crate::server) fn serve<H: Handler>(
    socket: Socket,
    handler: H,
    record: &Rc<ConnRecord>,
) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> {
    let wire = Rc::new(Wire::new(socket).into());
    Connection { wire, record: Rc::clone(record), handler, phase: ConnPhase::Head, has_looked: false }
}

struct Connection<H: Handler> {
    wire: SharedWire,
    record: Rc<ConnRecord>,
    handler: H,
    phase: ConnPhase<H>,
    /// The connection is to finish, and waits for the runtime's next look at its socket.
    has_looked: bool,
}

enum ConnPhase<H: Handler> {
    Head,
    Answer { answer: PendingResponse<H::Body>, in_flight: InFlight, form: ResponseForm },
    Response(ResponseWriter<H::Body>),
    Close(Pin<Box<dyn Future<Output = ()>>>),
}

impl<H: Handler> Unpin for Connection<H> {}

impl<H: Handler> Future for Connection<H> {
    type Output = Result<(), Box<dyn Error + Send + Sync>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connection = self.get_mut();
        turn::begin();
        connection.record.register_waker(cx.waker());
        loop {
            connection.phase = match &mut connection.phase {
                ConnPhase::Head if connection.record.fate() >= ConnFate::End => return Poll::Ready(Ok(())),
                ConnPhase::Head => match connection.poll_head(cx) {
                    Poll::Ready(Ok(Some(head))) => connection.begin(head),
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(refused)) => connection.refuse(&refused),
                    // A request that has begun is answered.
                    Poll::Pending if connection.is_needed() => return Poll::Pending,
                    Poll::Pending if connection.has_looked => return Poll::Ready(Ok(())),
                    Poll::Pending => {
                        // One may have come that the runtime has not seen yet.
                        connection.has_looked = true;
                        let _ = pin!(yield_now()).poll(cx);
                        return Poll::Pending;
                    }
                },
                ConnPhase::Answer { .. } if connection.record.fate() == ConnFate::Cut => {
                    return Poll::Ready(Ok(()));
                }
                ConnPhase::Answer { answer, .. } => match answer.as_mut().poll(cx) {
                    Poll::Ready(response) => connection.respond(response),
                    Poll::Pending => {
                        ready!(connection.wire.borrow_mut().poll_leave(cx));
                        return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                    }
                },
                ConnPhase::Response(writer) => {
                    match ready!(writer.poll(&connection.wire, &connection.record, cx))? {
                        ResponseEnd::Kept => ConnPhase::Head,
                        ResponseEnd::ClientSends => connection.close(Vec::new()),
                        ResponseEnd::Closed => return Poll::Ready(Ok(())),
                    }
                }
                ConnPhase::Close(_) if connection.record.fate() == ConnFate::Cut => {
                    return Poll::Ready(Ok(()));
                }
                ConnPhase::Close(closing) => return closing.as_mut().poll(cx).map(Ok),
            };
        }
    }
}

impl<H: Handler> Connection<H> {
    fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Option<ParsedHead>, RefusedHead>> {
        self.wire.borrow_mut().poll_head(cx, || {
            let limits = self.record.limits();
            HeadLimits { bytes: limits.head_size, fields: limits.header_count }
        })
    }

    /// Whether another request may come.
    fn is_needed(&self) -> bool {
        self.record.fate() == ConnFate::Live || self.wire.borrow().reader.has_begun()
    }

    fn begin(&self, parsed: ParsedHead) -> ConnPhase<H> {
        let in_flight = self.record.begin_request();
        let form = ResponseForm::new(&parsed.head, parsed.persists);
        let body = RequestBody::h1(H1RequestBody::new(&self.wire));
        let answer = self.handler.handle(parsed.head, body, self.record.peer);
        ConnPhase::Answer { answer, in_flight, form }
    }

    fn respond(&mut self, response: HandlerResponse<H::Body>) -> ConnPhase<H> {
        let ConnPhase::Answer { in_flight, mut form, .. } =
            std::mem::replace(&mut self.phase, ConnPhase::Head)
        else {
            return ConnPhase::Head;
        };
        form.is_read = self.wire.borrow_mut().end_request();
        form.persists &= self.record.fate() == ConnFate::Live;
        let response = response.map(|content| H1ResponseBody { content, in_flight });
        ConnPhase::Response(ResponseWriter::new(form, response))
    }

    fn refuse(&self, refused: &RefusedHead) -> ConnPhase<H> {
        let RefusedHead { reason, target } = refused;
        tracing::debug!(peer = %self.record.peer.address, ?reason, "request refused");
        let body = self.handler.refuse(*reason, target.as_ref().map(http::Uri::path));
        self.close(reason.response(&body))
    }

    /// The client may still be sending.
    fn close(&self, last: Vec<u8>) -> ConnPhase<H> {
        ConnPhase::Close(Box::pin(linger(Rc::clone(&self.wire), last)))
    }
}
