//! Writes a response: each frame is one write, the first together with the head, and a stream that waits
//! holds no buffer.
//!
//! Invariant: the client receives the head, then the body framed by its length, as chunks with the last chunk
//! (RFC 9112 section 7.1) or, in HTTP/1.0, by the connection's end; or a connection that breaks off before
//! that. Bytes that the client sends meanwhile are dropped, and the connection closes after the response,
//! because requests are not pipelined.

use std::{
    cell::Cell,
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use http::{Method, StatusCode, Version};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::{body::H1ResponseBody, read_readiness::ReadReadiness, wire::SharedWire};
use crate::{
    base::time::{date, since_1970},
    base::{HandlerResponse, HeaderFields, RequestHead, field_number},
    http1::{ChunkWriter, read_block},
    server::{
        conn::{
            discard::MAX_DISCARDED,
            state::{ConnFate, ConnRecord},
        },
        cut::Cuttable,
    },
};

/// What a request's head says about its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseForm {
    is_http_11: bool,
    is_head: bool,
    /// The client lets the connection carry another request.
    pub(super) persists: bool,
    /// The request was read to its end, and nothing came behind it.
    pub(super) is_read: bool,
}

impl ResponseForm {
    pub(super) fn new(head: &RequestHead, persists: bool) -> Self {
        let (is_http_11, is_head) = (head.version == Version::HTTP_11, head.method == Method::HEAD);
        Self { is_http_11, is_head, persists, is_read: false }
    }
}

/// How the connection stands once a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseEnd {
    /// It may carry another request.
    Kept,
    /// It was shut down.
    Closed,
    /// It has to close while its client may still be sending.
    ClientSends,
}

/// How the end of a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Bytes that are missing.
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
pub(super) struct ResponseWriter<B: Body + Cuttable> {
    /// Dropped, and `None`, once its last frame is written: by the drop the body knows that the client has
    /// all of it.
    body: Option<H1ResponseBody<B>>,
    framing: Framing,
    /// Its last frame is in `chunk`.
    is_last_loaded: bool,
    /// The body has failed: the connection ends before the body's end.
    broken: Option<Box<dyn Error + Send + Sync>>,
    chunk: ChunkWriter,
    /// The head did not announce a close.
    persists: bool,
    /// A body of events shows by an event that it breaks off.
    has_events: bool,
    is_read: bool,
    /// `None` until the response has waited once.
    readiness: Option<ReadReadiness>,
    /// Bytes that the client has sent meanwhile, which were dropped.
    client_sent: usize,
}

impl<B> ResponseWriter<B>
where
    B: Body<Data = bytes::Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Cuttable + Unpin,
{
    pub(super) fn new(form: ResponseForm, response: HandlerResponse<H1ResponseBody<B>>) -> Self {
        let HandlerResponse { status, headers, body } = response;
        let closes = headers.get("connection").is_some_and(|value| value == b"close");
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let announced = headers.get("content-length").and_then(field_number);
        let length = announced.or_else(|| body.size_hint().exact());
        let framing = match length {
            Some(length) => Framing::Length(length),
            None if form.is_http_11 => Framing::Chunked,
            None => Framing::UntilClose,
        };
        let has_body = !(form.is_head || bodiless || framing == Framing::Length(0));
        let persists =
            form.persists && form.is_read && !closes && !(has_body && framing == Framing::UntilClose);
        let shown = (!bodiless).then_some(framing);
        let has_events =
            headers.get("content-type").is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let mut writer = Self {
            framing,
            has_events,
            is_last_loaded: false,
            broken: None,
            chunk: ChunkWriter::new(render_head(status, &headers, (form, shown, persists))),
            persists,
            is_read: form.is_read,
            readiness: None,
            client_sent: 0,
            body: Some(body),
        };
        if !has_body {
            writer.is_last_loaded = true;
        }
        writer
    }

    /// Writes on.
    pub(super) fn poll(
        &mut self,
        wire: &SharedWire,
        record: &ConnRecord,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseEnd, Box<dyn Error + Send + Sync>>> {
        if record.fate() == ConnFate::Cut {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        }
        loop {
            let is_due = self.chunk.is_loaded() || self.is_last_loaded;
            if is_due && self.chunk.poll_write(&mut wire.borrow_mut().socket, cx)?.is_pending() {
                return self.poll_client(wire, cx);
            }
            if self.is_last_loaded {
                self.body = None;
            }
            let Some(body) = &mut self.body else {
                return match self.broken {
                    Some(_) => self.poll_break(wire, cx),
                    None => self.poll_end(wire, record, cx).map_err(Into::into),
                };
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.load(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => self.fail(error.into()),
                Poll::Ready(None) => self.load_end(),
                Poll::Pending => {
                    // The head alone, and bytes that TLS has taken, have to leave before the wait.
                    let socket = &mut wire.borrow_mut().socket;
                    if self.chunk.poll_write(socket, cx)?.is_ready() {
                        let _ = Pin::new(socket).poll_flush(cx)?;
                    }
                    break;
                }
            }
        }
        self.poll_client(wire, cx)
    }

    fn load(&mut self, mut data: bytes::Bytes) {
        let is_last = self.body.as_ref().is_none_or(Body::is_end_stream);
        match &mut self.framing {
            Framing::Chunked => self.chunk.load(data, is_last),
            Framing::UntilClose => self.chunk.load_plain(data),
            Framing::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                self.chunk.load_plain(data);
                self.is_last_loaded = *left == 0;
                return;
            }
        }
        self.is_last_loaded = is_last;
    }

    fn load_end(&mut self) {
        match self.framing {
            Framing::Length(0) | Framing::UntilClose => {}
            Framing::Length(_) => return self.fail("a body shorter than its content-length".into()),
            Framing::Chunked => self.chunk.load_last(),
        }
        self.is_last_loaded = true;
    }

    fn fail(&mut self, error: Box<dyn Error + Send + Sync>) {
        self.broken = Some(error);
        self.body = None;
    }

    /// All is written: flushes, and shuts the connection down unless it persists or the client sends.
    fn poll_end(
        &self,
        wire: &SharedWire,
        record: &ConnRecord,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<ResponseEnd>> {
        let socket = &mut wire.borrow_mut().socket;
        ready!(Pin::new(&mut *socket).poll_flush(cx))?;
        if self.persists && self.client_sent == 0 && record.fate() == ConnFate::Live {
            return Poll::Ready(Ok(ResponseEnd::Kept));
        }
        if !self.is_read || self.client_sent > 0 {
            return Poll::Ready(Ok(ResponseEnd::ClientSends));
        }
        Pin::new(socket).poll_shutdown(cx).map_ok(|()| ResponseEnd::Closed)
    }

    /// All that came before the body's failure is written: flushes, and ends the connection as it is.
    fn poll_break(
        &mut self,
        wire: &SharedWire,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseEnd, Box<dyn Error + Send + Sync>>> {
        let socket = &mut wire.borrow_mut().socket;
        ready!(self.chunk.poll_write(socket, cx))?;
        ready!(Pin::new(&mut *socket).poll_flush(cx))?;
        if self.framing == Framing::UntilClose && !self.has_events {
            // The end of the connection would be the body's (RFC 9112 section 8).
            socket.reset_on_close();
        }
        Poll::Ready(self.broken.take().map_or(Ok(ResponseEnd::Closed), Err))
    }

    /// Waits for the client to leave.
    fn poll_client(
        &mut self,
        wire: &SharedWire,
        cx: &Context<'_>,
    ) -> Poll<Result<ResponseEnd, Box<dyn Error + Send + Sync>>> {
        let readiness = self.readiness.get_or_insert_with(|| ReadReadiness::new(cx.waker()));
        let socket = &mut wire.borrow_mut().socket;
        loop {
            match ready!(readiness.poll_read(|cx| read_block::of_worker(socket, cx))) {
                Ok(bytes) if bytes.is_empty() => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
                Ok(bytes) => self.client_sent += bytes.len(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            if self.client_sent > MAX_DISCARDED {
                return Poll::Ready(Err("the client sends without end".into()));
            }
        }
    }
}

/// The bytes of the response head. `framing`: `None` if the status has no body.
fn render_head(
    status: StatusCode,
    headers: &HeaderFields,
    (form, framing, persists): (ResponseForm, Option<Framing>, bool),
) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    put(&[if form.is_http_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " }, status.as_str().as_bytes(), b" "]);
    put(&[status.canonical_reason().unwrap_or_default().as_bytes(), b"\r\n"]);
    let (mut has_date, mut has_length) = (false, false);
    for (name, value) in headers.iter() {
        match name {
            "connection" | "transfer-encoding" => continue,
            "date" => has_date = true,
            "content-length" => has_length = true,
            _ => {}
        }
        put(&[name.as_bytes(), b": ", value, b"\r\n"]);
    }
    match framing {
        Some(Framing::Length(length)) if !has_length => {
            put(&[b"content-length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"]);
        }
        Some(Framing::Chunked) => put(&[b"transfer-encoding: chunked\r\n"]),
        Some(Framing::Length(_) | Framing::UntilClose) | None => {}
    }
    if !has_date {
        put(&[b"date: ", &date_now(), b"\r\n"]);
    }
    match (persists, form.is_http_11) {
        (false, _) => put(&[b"connection: close\r\n"]),
        (true, false) => put(&[b"connection: keep-alive\r\n"]),
        (true, true) => {}
    }
    put(&[b"\r\n"]);
    head
}

/// Bytes of an HTTP date.
const DATE_SIZE: usize = 29;

/// The time as an HTTP date, written once per second and worker.
fn date_now() -> [u8; DATE_SIZE] {
    thread_local! {
        static WRITTEN: Cell<(u64, [u8; DATE_SIZE])> = const { Cell::new((0, [b' '; DATE_SIZE])) };
    }
    let now = SystemTime::now();
    let second = since_1970(now).as_secs();
    let (written, text) = WRITTEN.get();
    if written == second {
        return text;
    }
    let text = date::http(now).as_bytes().try_into().unwrap_or(text);
    WRITTEN.set((second, text));
    text
}
