//! The server over real loopback sockets, with a handler that selects its behaviour by the path. Raw bytes
//! test framing, h2's client tests HTTP/2, and certificates are made for the run. Bounded waits only; the
//! kernel chooses every port.

mod http1;
mod http2;
mod streamed;
mod tls;

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::LocalRuntime,
    time::{sleep, timeout},
};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use super::*;
use crate::base::{HandlerResponse, RequestHead, spawn::Tasks};

const TEST_TIMEOUT: Duration = Duration::from_secs(5);
const LARGE_SIZE: usize = 24 * 1024 * 1024;

/// Responses by path: `/echo` returns the request's body, `/large` has more bytes than a kernel buffers,
/// `/stream` gives a first frame and then none until released, `/refuse` does not read the request's body,
/// `/frames` gives three frames, `/none` none, `/announces/N` one of 9 bytes under a `content-length` of N,
/// `/broken` three and then an error, `/flood` frames without end, `/wait` no response.
#[derive(Clone, Default)]
struct Demo {
    dropped: Rc<Cell<usize>>,
    released: Rc<Cell<bool>>,
    cut: Rc<Cell<Option<CutCause>>>,
    /// Requests for `/wait`.
    waiting: Rc<Cell<usize>>,
}

/// One request for `/wait`.
struct Waiting(Rc<Cell<usize>>);

impl Waiting {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

enum DemoBody {
    Whole(Option<Bytes>),
    Stream { demo: Demo, begun: bool },
    Frames { left: usize, broken: bool },
    Flood(Demo),
}

impl Handler for Demo {
    type Body = DemoBody;

    fn handle(&self, head: RequestHead, body: RequestBody, _peer: Peer) -> PendingResponse<DemoBody> {
        let demo = self.clone();
        Box::pin(async move {
            HandlerResponse::new(match head.uri.path() {
                "/wait" => {
                    let _waiting = Waiting::new(&demo.waiting);
                    std::future::pending().await
                }
                "/stream" => DemoBody::Stream { demo, begun: false },
                "/upload" => {
                    drop(body.collect().await);
                    DemoBody::Frames { left: 3, broken: false }
                }
                "/frames" => DemoBody::Frames { left: 3, broken: false },
                "/none" => DemoBody::Frames { left: 0, broken: false },
                path if path.starts_with("/announces/") => {
                    let mut response = HandlerResponse::new(DemoBody::Frames { left: 1, broken: false });
                    response.headers.insert("content-length", path.rsplit('/').next().unwrap());
                    return response;
                }
                "/broken" => DemoBody::Frames { left: 3, broken: true },
                "/flood" => DemoBody::Flood(demo),
                "/refuse" => DemoBody::Whole(Some(Bytes::from_static(b"no"))),
                "/large" => DemoBody::Whole(Some(vec![b'x'; LARGE_SIZE].into())),
                _ => DemoBody::Whole(body.collect().await.ok().map(|body| body.to_bytes())),
            })
        })
    }

    fn refuse(&self, reason: RefusalReason, _: Option<&str>) -> Bytes {
        let code = match reason {
            RefusalReason::BadHead | RefusalReason::Ambiguous(_) => "bad_request",
            RefusalReason::HeadTooLarge => "request_header_fields_too_large",
            RefusalReason::TooManyConnections => "too_many_connections",
        };
        format!(r#"{{"error":{{"code":"{code}"}}}}"#).into()
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
    fn end(&mut self, _: CutCause) {}

    fn cut(&mut self, cause: CutCause) {
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

struct Running {
    address: SocketAddr,
    options: ServeOptions,
    demo: Demo,
    serving: tokio::task::JoinHandle<()>,
}

/// Runs `scene` beside a server.
fn run<F: Future<Output = ()>>(limits: ServerLimits, scene: impl FnOnce(Running) -> F) {
    run_with(limits, None, scene);
}

fn run_with<F: Future<Output = ()>>(
    limits: ServerLimits,
    tls: Option<TlsSource>,
    scene: impl FnOnce(Running) -> F,
) {
    // Not of other crates: h2 writes a line per frame, of all tests of the binary.
    let ours = Targets::new().with_target("thalweg", tracing::Level::DEBUG);
    let lines = tracing_subscriber::fmt::layer().with_test_writer();
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).try_init();
    LocalRuntime::new().unwrap().block_on(async {
        let bound = bind(&Listen { host: "127.0.0.1".to_owned(), port: 0, tls: None }, 1).unwrap();
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        let options = ServeOptions { limits, drain: Drain::default(), conn_limit: ConnLimit::default(), tls };
        let (tasks, demo) = (Tasks::new(), Demo::default());
        let listeners = bound.per_worker.into_iter().next().unwrap();
        let serving = serve(listeners, options.clone(), demo.clone(), tasks.clone());
        let serving = tasks.spawn(async { serving.await.unwrap() });
        scene(Running { address: bound.addresses[0], options, demo, serving }).await;
    });
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(TEST_TIMEOUT, future).await.expect("did not happen in time")
}

async fn until(condition: impl Fn() -> bool) {
    in_time(async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The bytes that the server sends after `bytes` until it closes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut part = [0; 4096];
        let count = in_time(stream.read(&mut part)).await.unwrap();
        assert_ne!(count, 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    text
}
