//! Sockets and the thread. The demo provider has a single-threaded runtime of its own, so that it shares
//! nothing with the gateway but the machine. It ends when [`Demo`] is dropped; running replays are cut then.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    rc::Rc,
    thread,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::LocalSet,
    time::sleep,
};

use super::{answer::DemoResponse, catalog::RecordingCatalog, playback::Playback, replay::ReplaySpeed};
use crate::base::spawn::Tasks;

/// A longer request is refused with 413.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Pause after a failed accept (out of descriptors).
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// A running demo provider. Dropping it ends it.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    _running: oneshot::Sender<Infallible>,
}

impl Demo {
    /// `http://127.0.0.1:PORT/v1`
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts the provider on a loopback port that the kernel picks, replaying at the recorded speed.
///
/// # Errors
/// The system has no socket or no thread.
pub fn start() -> io::Result<Demo> {
    start_at(ReplaySpeed::Recorded)
}

/// [`start`] at another speed.
///
/// # Errors
/// The system has no socket or no thread.
pub fn start_at(speed: ReplaySpeed) -> io::Result<Demo> {
    let catalog = RecordingCatalog::new(speed);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (running, stopped) = oneshot::channel();
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    thread::Builder::new().name("demo".into()).spawn(move || {
        LocalSet::new().block_on(&runtime, accept(listener, catalog, stopped));
    })?;
    Ok(Demo { address, _running: running })
}

async fn accept(
    listener: TcpListener,
    catalog: RecordingCatalog,
    mut stopped: oneshot::Receiver<Infallible>,
) {
    let (tasks, catalog) = (Tasks::new(), Rc::new(catalog));
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => drop(tasks.spawn(serve(socket, Rc::clone(&catalog)))),
                Err(_) => sleep(ACCEPT_RETRY_INTERVAL).await,
            },
        }
    }
}

/// Serves one connection. Its errors are ignored, because a client may leave at any time.
async fn serve(socket: TcpStream, catalog: Rc<RecordingCatalog>) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| respond(Rc::clone(&catalog), request));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
    drop(connection.await);
}

async fn respond(
    catalog: Rc<RecordingCatalog>,
    request: Request<Incoming>,
) -> hyper::Result<Response<Playback>> {
    let (head, body) = request.into_parts();
    let answer = match collect(body).await? {
        Some(body) => DemoResponse::to(&catalog, &head.method, head.uri.path(), &body),
        None => DemoResponse::too_large(MAX_BODY),
    };
    if !answer.wait.is_zero() {
        sleep(answer.wait).await;
    }
    let mut response = Response::new(Playback::new(answer.steps));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

/// The whole body. `None`: it is larger than [`MAX_BODY`].
async fn collect(mut body: Incoming) -> hyper::Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            if whole.len() + data.len() > MAX_BODY {
                return Ok(None);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    /// Sends one request with `connection: close` and reads the whole answer.
    fn exchange(demo: &Demo, head: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(demo.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = body.len();
        write!(
            socket,
            "{head} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn serves_models_streams_and_whole_answers_over_a_socket() {
        let demo = start_at(ReplaySpeed::Instant).unwrap();
        assert!(exchange(&demo, "GET /v1/models", "").contains("\"demo-tools\""));
        let ask = r#"{"model":"demo-text","stream":true,"stream_options":{"include_usage":true}}"#;
        let stream = exchange(&demo, "POST /v1/chat/completions", ask);
        assert!(stream.starts_with("HTTP/1.1 200 OK\r\n") && stream.contains("transfer-encoding: chunked"));
        assert!(stream.contains("\"choices\":[],\"usage\":{") && stream.contains("data: [DONE]\n\n"));
        let whole = exchange(&demo, "POST /v1/chat/completions", r#"{"model":"demo-text"}"#);
        assert!(whole.contains("content-length: ") && whole.contains("\"object\":\"chat.completion\""));
        assert!(
            exchange(&demo, "POST /v1/chat/completions", r#"{"model":"x"}"#).starts_with("HTTP/1.1 404 ")
        );
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_its_replay() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let catalog = Rc::new(RecordingCatalog::new(ReplaySpeed::Recorded));
        let (socket, _) = listener.accept().await.unwrap();
        let ask = r#"{"model":"demo-slow","stream":true}"#;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: demo\r\ncontent-length:";
        write!(client, "{head} {}\r\n\r\n{ask}", ask.len()).unwrap();
        client.set_nonblocking(true).unwrap();
        let serving = serve(socket, catalog);
        let leave = async {
            while client.peek(&mut [0; 1]).is_err() {
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let both = async { tokio::join!(serving, leave) };
        assert!(tokio::time::timeout(Duration::from_secs(2), both).await.is_ok(), "the replay went on");
    }

    #[test]
    fn stops_when_dropped() {
        let demo = start_at(ReplaySpeed::Recorded).unwrap();
        let mut socket = TcpStream::connect(demo.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let ask = r#"{"model":"demo-slow","stream":true}"#;
        write!(
            socket,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: demo\r\ncontent-length: {}\r\n\r\n{ask}",
            ask.len()
        )
        .unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        drop(demo);
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert!(!rest.ends_with(b"0\r\n\r\n"), "the replay went on to its end");
    }
}
