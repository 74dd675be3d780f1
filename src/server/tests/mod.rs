//! The server over real loopback sockets, with a handler that does what the path says: raw bytes where it is about
//! framing, h2's client for HTTP/2, certificates made for the run. Bounded waits only; every port is the kernel's.

use std::{
    cell::Cell,
    fs,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::LocalRuntime,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{tls::TlsSource, *};
use crate::base::spawn::Tasks;

const PATIENCE: Duration = Duration::from_secs(5);

/// `/echo` answers the body, `/stream` a first frame and then nothing until released, `/flood` frames without end.
#[derive(Clone, Default)]
struct Demo {
    dropped: Rc<Cell<usize>>,
    released: Rc<Cell<bool>>,
}

enum DemoBody {
    Whole(Option<Bytes>),
    Stream { demo: Demo, begun: bool },
    Flood,
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
                "/flood" => DemoBody::Flood,
                _ => DemoBody::Whole(request.into_body().collect().await.ok().map(|body| body.to_bytes())),
            })
        }
    }
}

impl Body for DemoBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

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
            Self::Flood => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 65_536]))))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { .. } | Self::Flood => SizeHint::default(),
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

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
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

#[test]
fn drops_the_body_when_the_client_leaves() {
    run(Limits::default(), |house| async move {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(b"GET /stream HTTP/1.1\r\n\r\n").await.unwrap();
        read_until(&mut stream, "data: 1").await;
        assert_eq!(house.demo.dropped.get(), 0);
        drop(stream);
        timeout(Duration::from_millis(50), until(|| house.demo.dropped.get() == 1)).await.unwrap();
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
    });
}

#[test]
fn speaks_http2_by_prior_knowledge_beside_http1() {
    run(Limits::default(), |house| async move {
        let stream = TcpStream::connect(house.address).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = Tasks::new().spawn(async { connection.await.unwrap() });
        let request = Request::post("http://x/echo").body(()).unwrap();
        let (response, mut body) = send.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"over h2"), true).unwrap();
        let mut response = soon(response).await.unwrap();
        assert_eq!(soon(response.body_mut().data()).await.unwrap().unwrap(), "over h2");
        let text = answer(house.address, b"GET /echo HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        // The last stream of a draining connection may end, then it closes.
        let request = Request::get("http://x/stream").body(()).unwrap();
        let mut stream = soon(send.send_request(request, true).unwrap().0).await.unwrap();
        assert_eq!(soon(stream.body_mut().data()).await.unwrap().unwrap(), "data: 1\n\n");
        house.terms.drain.advance(Phase::Draining);
        sleep(Duration::from_millis(20)).await;
        assert!(!house.serving.is_finished());
        house.demo.released.set(true);
        soon(house.serving).await.unwrap();
        soon(driver).await.unwrap();
    });
}

#[test]
fn resets_a_stream_that_its_client_does_not_read() {
    let limits = Limits { write_timeout: Duration::from_millis(100), ..Limits::default() };
    run(limits, |house| async move {
        let stream = TcpStream::connect(house.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        // So that the unread stream does not hold up the other one.
        builder.initial_connection_window_size(1024 * 1024);
        let (mut send, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let mut get = |path: &str| {
            let request = Request::get(format!("http://x{path}")).body(()).unwrap();
            send.send_request(request, true).unwrap().0
        };
        let (flood, waiting) = (get("/flood"), get("/stream"));
        let (mut flood, mut waiting) = (soon(flood).await.unwrap(), soon(waiting).await.unwrap());
        assert_eq!(soon(waiting.body_mut().data()).await.unwrap().unwrap(), "data: 1\n\n");
        sleep(Duration::from_millis(300)).await;
        let error = soon(async {
            loop {
                match flood.body_mut().data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("ended as if it were complete"),
                }
            }
        });
        assert_eq!(error.await.reason(), Some(h2::Reason::CANCEL));
        assert_eq!(house.demo.dropped.get(), 0);
    });
}

#[test]
fn drops_the_body_of_a_reset_stream() {
    run(Limits::default(), |house| async move {
        let stream = TcpStream::connect(house.address).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let request = Request::get("http://x/stream").body(()).unwrap();
        let response = soon(send.send_request(request, true).unwrap().0).await.unwrap();
        drop(response);
        timeout(Duration::from_millis(50), until(|| house.demo.dropped.get() == 1)).await.unwrap();
        assert_eq!(house.terms.census.count(), 1);
    });
}

/// A folder with a certificate for `localhost` and its key, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("cert.pem"), key: self.0.join("key.pem") }
    }

    /// Writes a new pair and returns the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(self.files().certificate, made.cert.pem()).unwrap();
        fs::write(self.files().key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn client_config(roots: &[CertificateDer<'static>], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
}

/// One exchange over TLS; the answer up to the end of the connection.
async fn exchange(stream: &mut TlsStream<TcpStream>) -> String {
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .await
        .unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[test]
fn speaks_tls_and_resumes_sessions() {
    let folder = Folder::new("tls");
    let root = folder.renew();
    let tls = TlsSource::load(folder.files()).unwrap();
    run_with(Limits::default(), Some(tls), |house| async move {
        let config = client_config(&[root], &["http/1.1"]);
        let mut stream = connect(house.address, &config).await.unwrap();
        let text = exchange(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok"), "{text}");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        let mut again = connect(house.address, &config).await.unwrap();
        assert!(exchange(&mut again).await.ends_with("ok"));
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    });
}

#[test]
fn agrees_on_http2_by_alpn() {
    let folder = Folder::new("alpn");
    let root = folder.renew();
    let tls = TlsSource::load(folder.files()).unwrap();
    run_with(Limits::default(), Some(tls), |house| async move {
        let stream = connect(house.address, &client_config(&[root], &["h2", "http/1.1"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let request = Request::get("https://localhost/stream").body(()).unwrap();
        let mut response = soon(send.send_request(request, true).unwrap().0).await.unwrap();
        assert_eq!(soon(response.body_mut().data()).await.unwrap().unwrap(), "data: 1\n\n");
    });
}

#[test]
fn survives_a_client_that_does_not_speak_tls() {
    let folder = Folder::new("plain");
    let root = folder.renew();
    let tls = TlsSource::load(folder.files()).unwrap();
    run_with(Limits::default(), Some(tls), |house| async move {
        answer(house.address, b"GET / HTTP/1.1\r\n\r\n").await;
        let mut stream = connect(house.address, &client_config(&[root], &[])).await.unwrap();
        assert!(exchange(&mut stream).await.ends_with("ok"));
        until(|| house.terms.census.count() == 0).await;
    });
}

#[test]
fn takes_over_a_new_certificate_and_keeps_the_old_when_it_is_broken() {
    let folder = Folder::new("renew");
    let old = folder.renew();
    let tls = TlsSource::load_checking(folder.files(), Duration::ZERO).unwrap();
    run_with(Limits::default(), Some(tls.clone()), |house| async move {
        let with = |root: &CertificateDer<'static>| client_config(std::slice::from_ref(root), &[]);
        fs::write(folder.files().certificate, "no longer a certificate").unwrap();
        assert!(connect(house.address, &with(&old)).await.is_ok());
        assert_eq!(tls.reloads(), 0);
        let new = folder.renew();
        assert!(connect(house.address, &with(&old)).await.is_err());
        assert!(connect(house.address, &with(&new)).await.is_ok());
        assert_eq!(tls.reloads(), 1);
    });
}

#[test]
fn refuses_a_key_that_is_not_the_certificates() {
    let folder = Folder::new("pair");
    folder.renew();
    let key = fs::read(folder.files().key).unwrap();
    folder.renew();
    fs::write(folder.files().key, key).unwrap();
    let error = TlsSource::load(folder.files()).unwrap_err().to_string();
    assert!(error.contains("cert.pem: "), "{error}");
}
