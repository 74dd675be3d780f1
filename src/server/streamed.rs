//! A streamed response to an HTTP/1.1 client, written by ourselves. hyper reads requests and writes the short answers; a
//! stream's connection is taken from it once the handler has answered, because between two frames hyper holds 16 KiB of
//! buffers and, for each frame, walks through its queue twice. Here a frame is one vectored write, an idle stream holds no
//! buffer, and the connection goes back to hyper when the stream has ended well.
//!
//! Invariant: what reaches the client is the head, the frames as chunks (RFC 9112 section 7.1) and the last chunk, or a
//! connection that breaks off before it. Bytes that the client sends in the meantime are dropped, and the connection
//! closes after the stream: requests are not pipelined here.

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

use super::{
    conn_table::{ConnFate, ConnState},
    read_readiness::ReadReadiness,
    socket::Socket,
};
use crate::{
    base::{time::date, turn},
    http1::ChunkWriter,
};

/// A response that the connection is to write, and whether the client wants to go on after it.
#[derive(Debug)]
pub(super) struct Streamed<B> {
    pub(super) response: Response<B>,
    pub(super) persists: bool,
}

/// Where the handler's side lays a streamed response for the connection's side. Cloning shares the place.
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
    pub(super) fn lay(&self, streamed: Streamed<B>) {
        self.0.replace(Some(streamed));
    }

    pub(super) fn is_laid(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn take(&self) -> Option<Streamed<B>> {
        self.0.take()
    }
}

/// What a request says about a streamed answer to it: `None` if it cannot be written here, else whether the connection
/// persists.
pub(super) fn persistence<B>(request: &Request<B>) -> Option<bool> {
    if request.version() != Version::HTTP_11 || request.method() == Method::HEAD {
        return None;
    }
    let mut named = request.headers().get_all(header::CONNECTION).into_iter();
    Some(!named.any(|value| {
        let mut words = value.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    }))
}

/// Whether a response is a stream: it has a body whose length is not known.
pub(super) fn is_stream<B: Body>(response: &Response<B>) -> bool {
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
    !bodiless
        && response.body().size_hint().exact().is_none()
        && !response.headers().contains_key(header::CONTENT_LENGTH)
}

/// Writes a stream to its end; then whether the connection may carry another request. If not, it is shut down.
// No `async fn`: its future would keep room for the response beside the writer, for all of the stream's life.
pub(super) fn write<'a, B>(
    socket: &'a mut Socket,
    vital: &'a ConnState,
    streamed: Streamed<B>,
) -> impl Future<Output = Result<bool, Box<dyn Error + Send + Sync>>> + 'a
where
    B: Body<Data = bytes::Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'a,
{
    let Streamed { response, persists } = streamed;
    let persists = persists && may_persist(vital);
    let (head, body) = response.into_parts();
    let chunk = ChunkWriter::new(render_head(head.status, &head.headers, persists));
    drop(head);
    let mut writer = StreamWriter {
        socket,
        vital,
        body: Some(body),
        over: false,
        chunk,
        persists,
        watch: None,
        spoke: false,
    };
    poll_fn(move |cx| writer.poll(cx))
}

/// Neither is the worker draining nor has hyper, which we take the connection from, read beyond the request.
fn may_persist(vital: &ConnState) -> bool {
    vital.fate() == ConnFate::Live && !vital.framing.borrow().is_last()
}

struct StreamWriter<'a, B> {
    socket: &'a mut Socket,
    vital: &'a ConnState,
    /// `None` once it has ended and its last frame is written: what it knows of that write it knows by being dropped.
    body: Option<B>,
    /// Its last frame is in `chunk`.
    over: bool,
    chunk: ChunkWriter,
    /// What the client was told in the head.
    persists: bool,
    watch: Option<ReadReadiness>,
    /// The client has sent something, which was dropped.
    spoke: bool,
}

impl<B> StreamWriter<'_, B>
where
    B: Body<Data = bytes::Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Box<dyn Error + Send + Sync>>> {
        turn::begin();
        if self.vital.fate() == ConnFate::Cut {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        }
        loop {
            if self.chunk.is_loaded() && self.chunk.poll_write(self.socket, cx)?.is_pending() {
                return self.poll_client(cx);
            }
            if self.over {
                self.body = None;
            }
            let Some(body) = &mut self.body else { return self.poll_end(cx).map_err(Into::into) };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.over = body.is_end_stream();
                        self.chunk.load(data, self.over);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => {
                    self.chunk.load_last();
                    self.body = None;
                }
                Poll::Pending => {
                    // The head alone, and what TLS has taken, must leave before we wait.
                    if self.chunk.poll_write(self.socket, cx)?.is_ready() {
                        let _ = Pin::new(&mut *self.socket).poll_flush(cx)?;
                    }
                    return self.poll_client(cx);
                }
            }
        }
    }

    /// All is written.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(Pin::new(&mut *self.socket).poll_flush(cx))?;
        if self.persists && !self.spoke && may_persist(self.vital) {
            return Poll::Ready(Ok(true));
        }
        Pin::new(&mut *self.socket).poll_shutdown(cx).map_ok(|()| false)
    }

    /// Waits for the client to leave.
    fn poll_client(&mut self, cx: &Context<'_>) -> Poll<Result<bool, Box<dyn Error + Send + Sync>>> {
        let watch = self.watch.get_or_insert_with(|| ReadReadiness::new(cx.waker()));
        loop {
            let mut space = [MaybeUninit::uninit(); 256];
            let mut read = ReadBuf::uninit(&mut space);
            match ready!(watch.poll_read(self.socket, &mut read)) {
                Ok(()) if read.filled().is_empty() => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
                }
                Ok(()) => self.spoke = true,
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
        let ours = [header::CONNECTION, header::TRANSFER_ENCODING].contains(name);
        if !ours {
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
