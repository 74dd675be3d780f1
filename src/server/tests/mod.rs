//! The server over real loopback sockets, with a handler that does what the path says: raw bytes where it is about
//! framing, h2's client for HTTP/2, certificates made for the run. Bounded waits only; every port is the kernel's.

mod http2;
mod streamed;
mod tls;

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::LocalRuntime,
    time::{sleep, timeout},
};

use super::*;
use crate::base::spawn::Tasks;

const PATIENCE: Duration = Duration::from_secs(5);
const LARGE: usize = 24 * 1024 * 1024;

/// `/echo` answers the body, `/large` more than a kernel takes, `/stream` a first frame and then nothing until released,
/// `/refuse` without reading the body, `/frames` three, `/none` none, `/broken` three and then an error, `/flood` frames without end.
#[derive(Clone, Default)]
struct Demo {
    dropped: Rc<Cell<usize>>,
    released: Rc<Cell<bool>>,
    cut: Rc<Cell<Option<Cause>>>,
}

enum DemoBody {
    Whole(Option<Bytes>),
    Stream { demo: Demo, begun: bool },
    Frames { left: usize, broken: bool },
    Flood(Demo),
}

impl Handler for Demo {
    type Body = DemoBody;

    fn handle(
        &self,
        request: Request<Incoming>,
        _peer: Peer,
    ) -> impl Future<Output = Response<DemoBody>> + 'static {
        let demo = self.clone();
        async move {
            Response::new(match request.uri().path() {
                "/stream" => DemoBody::Stream { demo, begun: false },
                "/upload" => {
                    drop(request.into_body().collect().await);
                    DemoBody::Frames { left: 3, broken: false }
                }
                "/frames" => DemoBody::Frames { left: 3, broken: false },
                "/none" => DemoBody::Frames { left: 0, broken: false },
                "/broken" => DemoBody::Frames { left: 3, broken: true },
                "/flood" => DemoBody::Flood(demo),
                "/refuse" => DemoBody::Whole(Some(Bytes::from_static(b"no"))),
                "/large" => DemoBody::Whole(Some(vec![b'x'; LARGE].into())),
                _ => DemoBody::Whole(request.into_body().collect().await.ok().map(|body| body.to_bytes())),
            })
        }
    }
}

impl Body for DemoBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame =
            |text: &'static str| Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))));
        match self.get_mut() {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::Stream { begun, .. } if !*begun => {
                *begun = true;
                frame("data: 1\n\n")
            }
            Self::Stream { demo, .. } if demo.released.get() => Poll::Ready(None),
            Self::Stream { .. } => {
                let waker = cx.waker().clone();
                Tasks::new().spawn(async move {
                    sleep(Duration::from_millis(5)).await;
                    waker.wake();
                });
                Poll::Pending
            }
            Self::Frames { left: 0, broken: true } => {
                Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())))
            }
            Self::Frames { left: 0, .. } => Poll::Ready(None),
            Self::Frames { left, .. } => {
                *left -= 1;
                frame("data: x\n\n")
            }
            Self::Flood(_) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 65_536]))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream { .. } | Self::Frames { .. } | Self::Flood(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { .. } | Self::Frames { .. } | Self::Flood(_) => SizeHint::default(),
        }
    }
}

impl Cuttable for DemoBody {
    fn cut(&mut self, cause: Cause) {
        if let Self::Flood(demo) | Self::Stream { demo, .. } = self {
            demo.cut.set(Some(cause));
        }
    }
}

impl Drop for DemoBody {
    fn drop(&mut self) {
        if let Self::Stream { demo, .. } = self {
            demo.dropped.set(demo.dropped.get() + 1);
        }
    }
}

struct House {
    address: SocketAddr,
    terms: Terms,
    demo: Demo,
    serving: tokio::task::JoinHandle<()>,
}

/// Runs `scene` beside a server.
fn run<F: Future<Output = ()>>(limits: Limits, scene: impl FnOnce(House) -> F) {
    run_with(limits, None, scene);
}

fn run_with<F: Future<Output = ()>>(limits: Limits, tls: Option<TlsSource>, scene: impl FnOnce(House) -> F) {
    let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    LocalRuntime::new().unwrap().block_on(async {
        let bound = bind(&Listen { host: "127.0.0.1".to_owned(), port: 0, tls: None }, 1).unwrap();
        let terms = Terms { limits, drain: Drain::default(), census: Census::default(), tls };
        let (tasks, demo) = (Tasks::new(), Demo::default());
        let listeners = bound.per_worker.into_iter().next().unwrap();
        let serving = serve(listeners, terms.clone(), demo.clone(), tasks.clone());
        let serving = tasks.spawn(async { serving.await.unwrap() });
        scene(House { address: bound.addresses[0], terms, demo, serving }).await;
    });
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("did not happen in time")
}

async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// What the server answers to `bytes` until it closes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut part = [0; 4096];
        let count = soon(stream.read(&mut part)).await.unwrap();
        assert_ne!(count, 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    text
}

#[test]
fn keeps_a_connection_for_many_requests() {
    run(Limits::default(), |house| async move {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        for turn in 0..3 {
            stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n").await.unwrap();
            stream.write_all(format!("body{turn}").as_bytes()).await.unwrap();
            let text = read_until(&mut stream, &format!("body{turn}")).await;
            assert!(text.starts_with("HTTP/1.1 200") && !text.contains("close"), "{text}");
        }
        assert_eq!(house.terms.census.count(), 1);
    });
}

#[test]
fn refuses_what_could_be_read_in_two_ways() {
    run(Limits::default(), |house| async move {
        for (what, bytes) in [
            (
                "both lengths",
                "POST / HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (
                "both lengths",
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
            ),
            ("differing lengths", "POST / HTTP/1.1\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd"),
            ("equal lengths", "POST / HTTP/1.1\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd"),
            ("a list of lengths", "POST / HTTP/1.1\r\ncontent-length: 4, 4\r\n\r\nabcd"),
            ("a signed length", "POST / HTTP/1.1\r\ncontent-length: +4\r\n\r\nabcd"),
            ("a folded header", "GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n"),
            ("a bare line feed", "GET / HTTP/1.1\nhost: x\r\n\r\n"),
            ("a bare line feed", "GET / HTTP/1.1\r\nhost: x\n\r\n"),
            ("a bare line feed", "GET / HTTP/1.1\r\nhost: x\r\n\n"),
            ("a bare carriage return", "GET / HTTP/1.1\r\nhost: x\ry: z\r\n\r\n"),
            ("a NUL", "GET / HTTP/1.1\r\nhost: x\0\r\n\r\n"),
            ("a space before the colon", "POST / HTTP/1.1\r\ncontent-length : 4\r\n\r\nabcd"),
            ("chunked not last", "POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
            ("an unknown coding", "POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
            ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ] {
            let text = answer(house.address, bytes.as_bytes()).await;
            assert!(
                text.starts_with("HTTP/1.1 400") && text.matches("HTTP/1.1").count() == 1,
                "{what}: {text}"
            );
            assert!(text.ends_with("\"}}") && text.contains("connection: close"), "{what}: {text}");
        }
    });
}

#[test]
fn ends_the_connection_at_a_broken_chunk() {
    run(Limits::default(), |house| async move {
        for chunks in
            ["xyz\r\n", "-1\r\n", "4\nabcd\r\n0\r\n\r\n", "4\r\nabcdef\r\n0\r\n\r\n", "11111111111111111\r\n"]
        {
            let request = format!(
                "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}GET /echo HTTP/1.1\r\n\r\n"
            );
            let text = answer(house.address, request.as_bytes()).await;
            assert!(text.matches("HTTP/1.1").count() <= 1, "{chunks:?}: {text}");
        }
    });
}

#[test]
fn answers_the_first_of_pipelined_requests_and_closes() {
    run(Limits::default(), |house| async move {
        let chunked = "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        for first in
            ["GET /echo HTTP/1.1\r\n\r\n", "POST /echo HTTP/1.1\r\ncontent-length: 2\r\n\r\nab", chunked]
        {
            let text = answer(house.address, format!("{first}GET /echo HTTP/1.1\r\n\r\n").as_bytes()).await;
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
            assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
        }
    });
}

#[test]
fn limits_heads_and_header_counts() {
    let limits = Limits { head_size: 16 * 1024, header_count: 10, ..Limits::default() };
    run(limits, |house| async move {
        let many = "x: y\r\n".repeat(11);
        let long = format!("x: {}\r\n", "y".repeat(17 * 1024));
        for headers in [many, long] {
            let text = answer(house.address, format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
            assert!(text.starts_with("HTTP/1.1 431"), "{text}");
            assert!(text.ends_with(r#""code":"request_header_fields_too_large"}}"#), "{text}");
        }
    });
}

#[test]
fn continues_who_expects_it() {
    run(Limits::default(), |house| async move {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abcd").await.unwrap();
        assert!(read_until(&mut stream, "abcd").await.starts_with("HTTP/1.1 200"));
    });
}

/// A client that reads only when it has sent all must find the answer, not a reset.
#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    run(Limits::default(), |house| async move {
        for (path, end) in [("/refuse", "no"), ("/frames", "0\r\n\r\n")] {
            let mut stream = TcpStream::connect(house.address).await.unwrap();
            let head = format!("POST {path} HTTP/1.1\r\ncontent-length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            soon(stream.write_all(&vec![b'x'; LARGE])).await.unwrap();
            let mut text = String::new();
            soon(stream.read_to_string(&mut text)).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 200") && text.ends_with(end), "{path}: {text}");
            drop(stream);
            until(|| house.terms.census.count() == 0).await;
        }
    });
}

/// An answer without a body is not mistaken for hyper's own.
#[test]
fn empty_answers_pass_as_they_are() {
    run(Limits::default(), |house| async move {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        for request in
            ["GET /echo HTTP/1.1\r\n\r\n", "HEAD /refuse HTTP/1.1\r\n\r\n", "GET /echo HTTP/1.1\r\n\r\n"]
        {
            stream.write_all(request.as_bytes()).await.unwrap();
            let text = read_until(&mut stream, "\r\n\r\n").await;
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        }
        stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let text = read_until(&mut stream, "}}").await;
        assert!(text.starts_with("HTTP/1.1 400") && text.contains(r#""code":"bad_request""#), "{text}");
    });
}

#[test]
fn drops_the_body_when_the_client_leaves() {
    run(Limits::default(), |house| async move {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(b"GET /stream HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut stream, "data: 1").await;
        assert_eq!(house.demo.dropped.get(), 0);
        drop(stream);
        timeout(Duration::from_millis(50), until(|| house.demo.dropped.get() == 1)).await.unwrap();
        assert_eq!(house.demo.cut.get(), None);
        until(|| house.terms.census.count() == 0).await;
    });
}

#[test]
fn cuts_a_client_that_does_not_read() {
    let limits = Limits { write_timeout: Duration::from_millis(100), ..Limits::default() };
    run(limits, |house| async move {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(b"GET /flood HTTP/1.1\r\n\r\n").await.unwrap();
        until(|| house.terms.census.count() == 1).await;
        until(|| house.terms.census.count() == 0).await;
        assert_eq!(house.demo.cut.get(), Some(Cause::Unread(limits.write_timeout)));
    });
}

#[test]
fn cuts_heads_that_do_not_come_and_spares_streams() {
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    run(limits, |house| async move {
        let silent = TcpStream::connect(house.address).await.unwrap();
        let mut slow = TcpStream::connect(house.address).await.unwrap();
        slow.write_all(b"GET / HT").await.unwrap();
        let mut kept = TcpStream::connect(house.address).await.unwrap();
        kept.write_all(b"GET /echo HTTP/1.1\r\n\r\n").await.unwrap();
        let mut streaming = TcpStream::connect(house.address).await.unwrap();
        streaming.write_all(b"GET /stream HTTP/1.1\r\n\r\n").await.unwrap();
        until(|| house.terms.census.count() == 4).await;
        until(|| house.terms.census.count() == 1).await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!((house.terms.census.count(), house.demo.dropped.get()), (1, 0));
        drop(silent);
    });
}

#[test]
fn turns_away_who_comes_beyond_the_limit() {
    let limits = Limits { connections: 1, ..Limits::default() };
    run(limits, |house| async move {
        let first = TcpStream::connect(house.address).await.unwrap();
        until(|| house.terms.census.count() == 1).await;
        let text = answer(house.address, b"").await;
        assert!(text.starts_with("HTTP/1.1 503") && text.ends_with("}}"), "{text}");
        drop(first);
        until(|| house.terms.census.count() == 0).await;
        let text = answer(house.address, b"GET /echo HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    });
}

#[test]
fn drains_idle_connections_at_once_and_active_ones_when_done() {
    run(Limits::default(), |house| async move {
        let mut idle = TcpStream::connect(house.address).await.unwrap();
        idle.write_all(b"GET /echo HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut idle, "\r\n\r\n").await;
        let silent = TcpStream::connect(house.address).await.unwrap();
        let mut active = TcpStream::connect(house.address).await.unwrap();
        active.write_all(b"GET /stream HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut active, "data: 1").await;
        until(|| house.terms.census.count() == 3).await;
        house.terms.drain.advance(Phase::Draining);
        until(|| house.terms.census.count() == 1).await;
        assert!(TcpStream::connect(house.address).await.is_err());
        assert!(!house.serving.is_finished());
        house.demo.released.set(true);
        read_until(&mut active, "0\r\n\r\n").await;
        soon(house.serving).await.unwrap();
        drop(silent);
    });
}

#[test]
fn cuts_what_outlasts_the_drain() {
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    run(limits, |house| async move {
        let mut active = TcpStream::connect(house.address).await.unwrap();
        active.write_all(b"GET /stream HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut active, "data: 1").await;
        house.terms.drain.advance(Phase::Draining);
        soon(house.serving).await.unwrap();
        assert_eq!((house.demo.dropped.get(), house.terms.census.count()), (1, 0));
        assert_eq!(house.demo.cut.get(), Some(Cause::Drain));
    });
}
