//! A streamed response to an HTTP/1.1 client, written without hyper. hyper reads requests and writes short
//! responses; a stream's connection is taken from it once the handler has answered, because between two
//! frames hyper holds 16 KiB of buffers and, for each frame, walks through its queue twice. Here a frame is
//! one vectored write, an idle stream holds no buffer, and the connection goes back to hyper when the stream
//! has ended well.
//!
//! Invariant: the client receives the head, the frames as chunks (RFC 9112 section 7.1) and the last chunk,
//! or a connection that breaks off before the last chunk. Bytes that the client sends during a stream are
//! dropped, and the connection closes after the stream, because requests are not pipelined.

use std::{
    cell::RefCell,
    error::Error,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use tokio::io::{AsyncWrite, ReadBuf};

use super::{read_readiness::ReadReadiness, state::H1ConnState};
use crate::{
    base::{time::date, turn},
    http1::ChunkWriter,
    server::conn::{
        socket::Socket,
        state::{ConnFate, ConnRecord},
    },
};

/// A response that the connection has to write.
#[derive(Debug)]
pub(super) struct Streamed<B> {
    pub(super) response: Response<B>,
    /// The client lets the connection carry another request after it.
    pub(super) persists: bool,
}

/// Where the service puts a streamed response for the connection to take. Cloning shares the place.
#[derive(Debug)]
pub(super) struct Handoff<B>(Rc<RefCell<Option<Streamed<B>>>>);

impl<B> Clone for Handoff<B> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<B> Default for Handoff<B> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<B> Handoff<B> {
    pub(super) fn put(&self, streamed: Streamed<B>) {
        self.0.replace(Some(streamed));
    }

    pub(super) fn is_put(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn take(&self) -> Option<Streamed<B>> {
        self.0.take()
    }
}

/// Whether the connection persists after a streamed response to this request. `None`: hyper has to write the
/// response.
pub(super) fn persistence<B>(request: &Request<B>) -> Option<bool> {
    if request.version() != Version::HTTP_11 || request.method() == Method::HEAD {
        return None;
    }
    let mut values = request.headers().get_all(header::CONNECTION).into_iter();
    Some(!values.any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    }))
}

/// Whether a response is a stream: it has a body of unknown length.
pub(super) fn is_stream<B: Body>(response: &Response<B>) -> bool {
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
    !bodiless
        && response.body().size_hint().exact().is_none()
        && !response.headers().contains_key(header::CONTENT_LENGTH)
}

/// Writes a stream to its end, if there is one. `true`: the connection may carry another request; `false`: it
/// was shut down, or there is none.
// No `async fn`, because its future would keep room for the response beside the writer, for all of the
// stream's life.
pub(super) fn write<'a, B>(
    socket: &'a mut Socket,
    record: &'a ConnRecord,
    streamed: Option<Streamed<B>>,
) -> impl Future<Output = Result<bool, Box<dyn Error + Send + Sync>>> + 'a
where
    B: Body<Data = bytes::Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'a,
{
    let mut writer = streamed.map(|streamed| StreamWriter::new(socket, record, streamed));
    poll_fn(move |cx| writer.as_mut().map_or(Poll::Ready(Ok(false)), |writer| writer.poll(cx)))
}

/// The worker is not draining, and hyper, which had the connection before, has not read beyond the request.
fn may_persist(record: &ConnRecord) -> bool {
    record.fate() == ConnFate::Live && !record.h1().is_some_and(H1ConnState::is_last_request)
}

struct StreamWriter<'a, B> {
    socket: &'a mut Socket,
    record: &'a ConnRecord,
    /// `None` once it has ended and its last frame is written: the drop shows the body that the write is
    /// complete.
    body: Option<B>,
    /// Its last frame is in `chunk`.
    is_last_loaded: bool,
    /// The body has failed: the connection ends before the last chunk.
    broken: Option<Box<dyn Error + Send + Sync>>,
    chunk: ChunkWriter,
    /// The head did not announce a close.
    persists: bool,
    /// `None` until the stream has waited once.
    readiness: Option<ReadReadiness>,
    /// The client has sent bytes, which were dropped.
    has_client_sent: bool,
}

impl<'a, B> StreamWriter<'a, B>
where
    B: Body<Data = bytes::Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    fn new(socket: &'a mut Socket, record: &'a ConnRecord, streamed: Streamed<B>) -> Self {
        let Streamed { response, persists } = streamed;
        let persists = persists && may_persist(record);
        let (head, body) = response.into_parts();
        Self {
            socket,
            record,
            body: Some(body),
            is_last_loaded: false,
            broken: None,
            chunk: ChunkWriter::new(render_head(head.status, &head.headers, persists)),
            persists,
            readiness: None,
            has_client_sent: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Box<dyn Error + Send + Sync>>> {
        turn::begin();
        if self.record.fate() == ConnFate::Cut {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        }
        loop {
            if self.chunk.is_loaded() && self.chunk.poll_write(self.socket, cx)?.is_pending() {
                return self.poll_client(cx);
            }
            if self.is_last_loaded {
                self.body = None;
            }
            let Some(body) = &mut self.body else {
                return match self.broken {
                    Some(_) => self.poll_break(cx),
                    None => self.poll_end(cx).map_err(Into::into),
                };
            };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.is_last_loaded = body.is_end_stream();
                        self.chunk.load(data, self.is_last_loaded);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.broken = Some(error.into());
                    self.body = None;
                }
                Poll::Ready(None) => {
                    self.chunk.load_last();
                    self.body = None;
                }
                Poll::Pending => {
                    // The head alone, and bytes that TLS has taken, have to leave before the wait.
                    if self.chunk.poll_write(self.socket, cx)?.is_ready() {
                        let _ = Pin::new(&mut *self.socket).poll_flush(cx)?;
                    }
                    return self.poll_client(cx);
                }
            }
        }
    }

    /// All is written: flushes, and shuts the connection down unless it persists.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(Pin::new(&mut *self.socket).poll_flush(cx))?;
        if self.persists && !self.has_client_sent && may_persist(self.record) {
            return Poll::Ready(Ok(true));
        }
        Pin::new(&mut *self.socket).poll_shutdown(cx).map_ok(|()| false)
    }

    /// All that came before the body's failure is written: flushes, and ends the connection as it is.
    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Box<dyn Error + Send + Sync>>> {
        ready!(self.chunk.poll_write(self.socket, cx))?;
        ready!(Pin::new(&mut *self.socket).poll_flush(cx))?;
        Poll::Ready(self.broken.take().map_or(Ok(false), Err))
    }

    /// Waits for the client to leave.
    fn poll_client(&mut self, cx: &Context<'_>) -> Poll<Result<bool, Box<dyn Error + Send + Sync>>> {
        let readiness = self.readiness.get_or_insert_with(|| ReadReadiness::new(cx.waker()));
        loop {
            let mut buffer = [MaybeUninit::uninit(); 256];
            let mut read = ReadBuf::uninit(&mut buffer);
            match ready!(readiness.poll_read(self.socket, &mut read)) {
                Ok(()) if read.filled().is_empty() => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
                Ok(()) => self.has_client_sent = true,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// The bytes of the response head.
fn render_head(status: StatusCode, headers: &HeaderMap, persists: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    put(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" "]);
    put(&[status.canonical_reason().unwrap_or_default().as_bytes(), b"\r\n"]);
    for (name, value) in headers {
        let is_framing = [header::CONNECTION, header::TRANSFER_ENCODING].contains(name);
        if !is_framing {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    if !headers.contains_key(header::DATE) {
        let now = date::http(std::time::SystemTime::now());
        put(&[b"date: ", now.as_bytes(), b"\r\n"]);
    }
    let closes =
        headers.get(header::CONNECTION).is_some_and(|value| value == HeaderValue::from_static("close"));
    if closes || !persists {
        put(&[b"connection: close\r\n"]);
    }
    put(&[b"transfer-encoding: chunked\r\n\r\n"]);
    head
}
