//! HTTP/2 and TLS to providers over real loopback sockets, against a provider that is h2's own server and does what the
//! path says. Bounded waits only; every port is the kernel's, every certificate made for the run.

use std::{cell::Cell, fs, future::poll_fn, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use ::h2::{Reason, RecvStream, server::SendResponse};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::LocalRuntime,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    base::{ByteList, Clock, Kind, Secret, Sent, Stage, spawn::Tasks},
    telemetry::WorkerGauges,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// What a provider saw and how it behaves.
#[derive(Clone, Default)]
struct Provider {
    accepted: Rc<Cell<usize>>,
    requests: Rc<Cell<usize>>,
    /// Streams to refuse before one is served.
    refusals: Rc<Cell<usize>>,
    reset_by_us: Rc<Cell<Option<Reason>>>,
    flooded: Rc<Cell<usize>>,
    max_streams: Option<u32>,
    leave_after_one: bool,
}

impl Provider {
    async fn serve(self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.accepted.set(self.accepted.get() + 1);
            let (provider, tls) = (self.clone(), tls.clone());
            Tasks::new().spawn(async move {
                let Some(tls) = tls else { return provider.converse(stream).await };
                let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return provider.converse(stream).await;
                }
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nh1!").await;
            });
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, stream: S) {
        let mut builder = ::h2::server::Builder::new();
        builder.initial_window_size(1000);
        if let Some(max) = self.max_streams {
            builder.max_concurrent_streams(max);
        }
        let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            self.requests.set(self.requests.get() + 1);
            if self.leave_after_one {
                connection.graceful_shutdown();
            }
            if request.uri().path() == "/v1/abort" {
                return;
            }
            Tasks::new().spawn(self.clone().answer(request, respond));
        }
    }

    async fn answer(self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        if self.refusals.get() > 0 {
            self.refusals.set(self.refusals.get() - 1);
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let path = request.uri().path().to_owned();
        let seen =
            format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("authorization"));
        let mut body = request.into_body();
        let mut received = Vec::new();
        while let Some(Ok(part)) = body.data().await {
            received.extend_from_slice(&part);
            body.flow_control().release_capacity(part.len()).unwrap();
        }
        let response = http::Response::builder().header("x-seen", seen).body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        match &*path {
            "/v1/echo" => stream.send_data(received.into(), true).unwrap(),
            "/v1/flood" => loop {
                stream.reserve_capacity(1000);
                match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(free)) => {
                        stream.send_data(vec![b'x'; free].into(), false).unwrap();
                        self.flooded.set(self.flooded.get() + free);
                    }
                    _ => return,
                }
            },
            "/v1/break" => {
                stream.send_data(Bytes::from_static(b"half"), false).unwrap();
                sleep(Duration::from_millis(20)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            _ => {
                stream.send_data(Bytes::from_static(b"data: 1\n\n"), false).unwrap();
                self.reset_by_us.set(poll_fn(|cx| stream.poll_reset(cx)).await.ok());
            }
        }
    }
}

struct Scene {
    upstream: Upstream,
    target: Target,
    provider: Provider,
}

fn run<F: Future<Output = ()>>(provider: Provider, tls: Option<Certificate>, scene: impl FnOnce(Scene) -> F) {
    LocalRuntime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let target = Target {
            name: "p".into(),
            base: BaseUrl::parse(&format!("{scheme}://localhost:{port}/v1")).unwrap(),
            protocol: if tls.is_some() { Protocol::Auto } else { Protocol::Http2 },
            key_header: KeyHeader::Bearer,
            key: Some(Secret::new("sk-up".into())),
            headers: Vec::new(),
            ca_file: tls.as_ref().map(|tls| tls.file.clone()),
            clocks: Clocks { pool: Duration::from_millis(500), ..Clocks::default() },
        };
        let config = tls.as_ref().map(|tls| Arc::clone(&tls.config));
        Tasks::new().spawn(provider.clone().serve(listener, config));
        let upstream =
            Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
        scene(Scene { upstream, target, provider }).await;
    });
}

impl Scene {
    async fn send(&self, path: &str, body: &[&'static str]) -> Result<Response, Fault> {
        let mut list = ByteList::new();
        for part in body {
            list.push(Bytes::from_static(part.as_bytes()));
        }
        let headers = HeaderMap::from_iter([("cookie".parse().unwrap(), HeaderValue::from_static("a=b"))]);
        let request = Request { method: Method::POST, path, headers: &headers, accept: "*/*" };
        soon(self.upstream.send(&self.target, &request, list, Deadline::new(Clock::Total, PATIENCE))).await
    }
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

async fn next(body: &mut Body) -> Option<Result<Bytes, Fault>> {
    soon(poll_fn(|cx| body.poll_frame(cx))).await
}

async fn all(body: &mut Body) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(frame) = next(body).await {
        whole.extend_from_slice(&frame.unwrap());
    }
    assert!(body.is_done());
    whole
}

#[test]
fn sends_a_body_larger_than_the_window_and_shares_the_connection() {
    run(Provider::default(), None, |scene| async move {
        let long = "x".repeat(5000).leak();
        let parts = ["a", long, "b"];
        let (first, second) = tokio::join!(scene.send("/echo", &parts), scene.send("/echo", &["second"]));
        let (mut first, mut second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.status, StatusCode::OK);
        let seen = first.headers["x-seen"].to_str().unwrap();
        let port = scene.target.base.port;
        assert_eq!(
            seen,
            format!("POST http://localhost:{port}/v1/echo Some(Sensitive)")
                .replace("Sensitive", "\"Bearer sk-up\"")
        );
        assert_eq!(all(&mut first.body).await, format!("a{long}b").as_bytes());
        assert_eq!(all(&mut second.body).await, b"second");
        assert_eq!(all(&mut scene.send("/echo", &["third"]).await.unwrap().body).await, b"third");
        assert_eq!((scene.provider.accepted.get(), scene.provider.requests.get()), (1, 3));
    });
}

#[test]
fn holds_no_more_than_a_window_for_a_client_that_does_not_read() {
    run(Provider::default(), None, |scene| async move {
        let mut stalled = scene.send("/flood", &[]).await.unwrap();
        let before = Cell::new(usize::MAX);
        until(|| {
            scene.provider.flooded.get() == before.replace(scene.provider.flooded.get()) && before.get() > 0
        })
        .await;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(scene.provider.flooded.get(), 128 * 1024);
        assert_eq!(all(&mut scene.send("/echo", &["beside"]).await.unwrap().body).await, b"beside");
        let mut pulled = 0;
        while pulled < 256 * 1024 {
            pulled += next(&mut stalled.body).await.unwrap().unwrap().len();
        }
    });
}

#[test]
fn resets_the_stream_of_a_dropped_body_at_once() {
    run(Provider::default(), None, |scene| async move {
        let mut response = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(next(&mut response.body).await.unwrap().unwrap(), "data: 1\n\n");
        drop(response);
        timeout(Duration::from_millis(50), until(|| scene.provider.reset_by_us.get().is_some()))
            .await
            .unwrap();
        assert_eq!(scene.provider.reset_by_us.get(), Some(Reason::CANCEL));
        assert_eq!(all(&mut scene.send("/echo", &["next"]).await.unwrap().body).await, b"next");
        assert_eq!(scene.provider.accepted.get(), 1);
    });
}

#[test]
fn sends_a_refused_stream_once_more() {
    run(Provider::default(), None, |scene| async move {
        scene.provider.refusals.set(1);
        assert_eq!(all(&mut scene.send("/echo", &["again"]).await.unwrap().body).await, b"again");
        assert_eq!(scene.provider.requests.get(), 2);
        scene.provider.refusals.set(2);
        let fault = scene.send("/echo", &[]).await.unwrap_err();
        assert_eq!((fault.kind, fault.sent), (Kind::Reset, Sent::Nothing));
    });
}

#[test]
fn leaves_a_connection_that_says_goaway() {
    run(Provider { leave_after_one: true, ..Provider::default() }, None, |scene| async move {
        for turn in 1..=3 {
            assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
            assert_eq!(scene.provider.requests.get(), turn);
        }
        assert_eq!(scene.provider.accepted.get(), 3);
    });
}

#[test]
fn leaves_it_even_while_a_stream_runs_on() {
    run(Provider { leave_after_one: true, ..Provider::default() }, None, |scene| async move {
        let mut running = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(next(&mut running.body).await.unwrap().unwrap(), "data: 1\n\n");
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 2);
        drop(running);
        until(|| scene.provider.reset_by_us.get() == Some(Reason::CANCEL)).await;
    });
}

#[test]
fn opens_another_connection_when_the_first_is_full() {
    run(Provider { max_streams: Some(1), ..Provider::default() }, None, |scene| async move {
        let first = scene.send("/stream", &[]).await.unwrap();
        let second = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(scene.provider.accepted.get(), 2);
        drop((first, second));
        until(|| scene.provider.reset_by_us.get().is_some()).await;
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

#[test]
fn tells_a_stream_that_broke_from_one_that_ended() {
    run(Provider::default(), None, |scene| async move {
        let mut response = scene.send("/break", &[]).await.unwrap();
        assert_eq!(next(&mut response.body).await.unwrap().unwrap(), "half");
        let fault = next(&mut response.body).await.unwrap().unwrap_err();
        assert_eq!((fault.stage, fault.kind, fault.sent), (Stage::Body, Kind::Reset, Sent::Some));
        assert!(next(&mut response.body).await.is_none());
        let fault = scene.send("/abort", &[]).await.unwrap_err();
        assert_eq!((fault.stage, fault.kind), (Stage::Head, Kind::Reset));
    });
}

#[test]
fn closes_connections_that_were_idle_for_too_long() {
    run(Provider::default(), None, |mut scene| async move {
        let settings = PoolSettings { keepalive_expiry: Duration::ZERO, ..PoolSettings::default() };
        scene.upstream = Upstream::new(SharedPools::default(), settings, WorkerGauges::default());
        all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await;
        scene.upstream.sweep();
        all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await;
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

/// A certificate for `localhost`; the file is gone with the value.
struct Certificate {
    file: PathBuf,
    config: Arc<ServerConfig>,
}

impl Certificate {
    fn new(name: &str, alpn: &[&str]) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let file = std::env::temp_dir().join(format!("thalweg-up-{name}-{}.pem", std::process::id()));
        fs::write(&file, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { file, config: Arc::new(config) }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[test]
fn agrees_on_http2_over_tls() {
    let certificate = Certificate::new("h2", &["h2", "http/1.1"]);
    run(Provider::default(), Some(certificate), |scene| async move {
        let (first, second) = tokio::join!(scene.send("/echo", &["a"]), scene.send("/echo", &["b"]));
        assert_eq!(all(&mut first.unwrap().body).await, b"a");
        assert_eq!(all(&mut second.unwrap().body).await, b"b");
        assert_eq!(scene.provider.accepted.get(), 1);
    });
}

#[test]
fn speaks_http1_over_tls_to_who_knows_no_other() {
    let certificate = Certificate::new("h1", &[]);
    run(Provider::default(), Some(certificate), |mut scene| async move {
        assert_eq!(all(&mut scene.send("/echo", &["a"]).await.unwrap().body).await, b"h1!");
        scene.target.protocol = Protocol::Http2;
        let fault = scene.send("/echo", &["a"]).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Tls("HTTP/2 was not agreed on".into()));
    });
}

#[test]
fn says_why_a_provider_is_not_trusted() {
    let certificate = Certificate::new("trust", &[]);
    run(Provider::default(), Some(certificate), |mut scene| async move {
        let ours = scene.target.ca_file.clone().unwrap();
        let fails = |scene: &Scene| {
            let (upstream, target) = (scene.upstream.clone(), scene.target.clone());
            let provider = scene.provider.clone();
            async move { Scene { upstream, target, provider }.send("/echo", &[]).await.unwrap_err() }
        };
        scene.target.base.host = "127.0.0.1".into();
        let fault = fails(&scene).await;
        assert_eq!(fault.kind, Kind::Tls("the provider's certificate is for another name".into()));
        assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::Nothing));
        scene.target.base.host = "localhost".into();
        let other = Certificate::new("other", &[]);
        scene.target.ca_file = Some(other.file.clone());
        let fault = fails(&scene).await;
        assert_eq!(
            fault.kind,
            Kind::Tls("the provider's certificate is not from a trusted authority".into())
        );
        scene.target.ca_file = Some(ours.with_extension("absent"));
        let fault = fails(&scene).await;
        assert_eq!(fault.kind, Kind::Tls("the trusted certificates cannot be read".into()));
    });
}

#[test]
fn says_that_a_plain_port_does_not_speak_tls() {
    let certificate = Certificate::new("plain", &[]);
    run(Provider::default(), Some(certificate), |mut scene| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        scene.target.base.port = listener.local_addr().unwrap().port();
        Tasks::new().spawn(async move {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let fault = scene.send("/echo", &[]).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Tls("the provider does not speak TLS there".into()));
    });
}
