//! HTTP/1.1, HTTP/2 and TLS to providers over real loopback sockets. The provider of HTTP/2 is h2's own
//! server, and the request's path selects its behaviour. Bounded waits only; the kernel chooses every port,
//! and every certificate is made for the run.

mod deadlines;
mod h1;
mod h2;
mod late_frames;
mod tls;
mod tunnel;

use std::{
    cell::Cell,
    fs,
    future::{pending, poll_fn},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use ::h2::{Reason, RecvStream, server::SendResponse};
use bytes::Bytes;
use http::{Method, StatusCode};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::LocalRuntime,
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, HeaderFields, Secret, Sent, Stage, spawn::Tasks},
    telemetry::WorkerGauges,
};

const TEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A provider: its counters, and settings of its behaviour.
#[derive(Clone, Default)]
struct Provider {
    accepted: Rc<Cell<usize>>,
    requests: Rc<Cell<usize>>,
    /// Streams that are still to be refused before one is served.
    refusals: Rc<Cell<usize>>,
    /// How the client reset `/stream`.
    client_reset: Rc<Cell<Option<Reason>>>,
    flooded: Rc<Cell<usize>>,
    /// Notified when one of these changes.
    changed: Rc<Notify>,
    /// Lets `/break` continue.
    go_on: Rc<Notify>,
    max_streams: Option<u32>,
    leave_after_one: bool,
    /// This connection, from 1, refuses all streams but `/stream`.
    refusing_connection: Option<usize>,
    /// The connection of this clone.
    connection: usize,
    /// Connections that are still to fall silent, each at its next request.
    freezes: Rc<Cell<usize>>,
}

impl Provider {
    async fn serve(self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.accepted.set(self.accepted.get() + 1);
            let (provider, tls) = (Self { connection: self.accepted.get(), ..self.clone() }, tls.clone());
            Tasks::new().spawn(async move {
                let Some(tls) = tls else { return provider.serve_h2(stream).await };
                let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return provider.serve_h2(stream).await;
                }
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nh1!").await;
            });
        }
    }

    async fn serve_h2<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, stream: S) {
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
            if self.freezes.get() > 0 {
                self.freezes.set(self.freezes.get() - 1);
                return pending().await;
            }
            match request.uri().path() {
                "/v1/abort" => return,
                "/v1/freeze" => return pending().await,
                _ => {}
            }
            Tasks::new().spawn(self.clone().answer(request, respond));
        }
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        in_time(async {
            while !condition(self) {
                self.changed.notified().await;
            }
        })
        .await;
    }

    async fn answer(self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        if self.refusals.get() > 0 {
            self.refusals.set(self.refusals.get() - 1);
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let path = request.uri().path().to_owned();
        if self.refusing_connection == Some(self.connection) && path != "/v1/stream" {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        match &*path {
            "/v1/slow" => self.go_on.notified().await,
            "/v1/deaf" => return pending().await,
            _ => {}
        }
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
            "/v1/echo" | "/v1/slow" => stream.send_data(received.into(), true).unwrap(),
            "/v1/flood" => loop {
                stream.reserve_capacity(1000);
                match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(free)) => {
                        stream.send_data(vec![b'x'; free].into(), false).unwrap();
                        self.flooded.set(self.flooded.get() + free);
                        self.changed.notify_one();
                    }
                    _ => return,
                }
            },
            "/v1/crumbs" => loop {
                stream.reserve_capacity(1000);
                match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(free)) => {
                        for _ in 0..free {
                            stream.send_data(Bytes::from_static(b"."), false).unwrap();
                        }
                        self.flooded.set(self.flooded.get() + free);
                        self.changed.notify_one();
                    }
                    _ => return,
                }
            },
            "/v1/break" => {
                stream.send_data(Bytes::from_static(b"half"), false).unwrap();
                self.go_on.notified().await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            _ => {
                stream.send_data(Bytes::from_static(b"data: 1\n\n"), false).unwrap();
                self.client_reset.set(poll_fn(|cx| stream.poll_reset(cx)).await.ok());
                self.changed.notify_one();
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
        let base = BaseUrl::parse(&format!("{scheme}://localhost:{port}/v1")).unwrap();
        let target = Target {
            protocol: if tls.is_some() { Protocol::Auto } else { Protocol::Http2 },
            key: Some(Secret::new("sk-up".into())),
            ca_file: tls.as_ref().map(|tls| tls.file.clone()),
            pool_timeout: Duration::from_millis(500),
            ..Target::plain("p", base)
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
        self.send_within(TEST_TIMEOUT, path, body).await
    }

    async fn send_within(
        &self,
        timeout: Duration,
        path: &str,
        body: &[&'static str],
    ) -> Result<Response, Fault> {
        let mut list = ByteList::new();
        for part in body {
            list.push(Bytes::from_static(part.as_bytes()));
        }
        let headers = HeaderFields::from_iter([("cookie", "a=b")]);
        let request =
            Request { method: Method::POST, path, headers: &headers, accept: "*/*", content_type: JSON };
        in_time(self.upstream.send(&self.target, &request, list, Deadline::new(DeadlineKind::Total, timeout)))
            .await
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(TEST_TIMEOUT, future).await.expect("did not happen in time")
}

async fn next(body: &mut Body) -> Option<Result<Bytes, Fault>> {
    in_time(poll_fn(|cx| body.poll_frame(cx))).await
}

async fn all(body: &mut Body) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(frame) = next(body).await {
        whole.extend_from_slice(&frame.unwrap());
    }
    assert!(body.is_done());
    whole
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
