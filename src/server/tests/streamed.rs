//! Streams on HTTP/1.1, and what follows them on their connection.

use tokio::{io::AsyncWrite, net::TcpSocket};

use super::*;

const THREE_FRAMES: &str = "9\r\ndata: x\n\n\r\n9\r\ndata: x\n\n\r\n9\r\ndata: x\n\n\r\n0\r\n\r\n";

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
}

/// Streams, short answers and an empty stream in turn, on one connection.
async fn take_turns(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    for _ in 0..3 {
        for (path, end) in
            [("/frames", THREE_FRAMES), ("/none", "\r\n\r\n0\r\n\r\n"), ("/frames", THREE_FRAMES)]
        {
            stream.write_all(get(path, "").as_bytes()).await.unwrap();
            let text = read_until(&mut stream, end).await;
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with(end), "{text}");
            assert!(!text.contains("connection"), "{text}");
        }
        let echo = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nmine";
        stream.write_all(echo).await.unwrap();
        let text = read_until(&mut stream, "mine").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("content-length: 4"), "{text}");
    }
}

#[test]
fn keeps_the_connection_after_streams() {
    run(ServerLimits::default(), |server| async move {
        take_turns(TcpStream::connect(server.address).await.unwrap()).await;
    });
}

#[test]
fn keeps_a_tls_connection_after_streams() {
    let folder = tls::Folder::new("turns");
    let root = folder.renew();
    let source = TlsSource::load(folder.files()).unwrap();
    run_with(ServerLimits::default(), Some(source), |server| async move {
        let config = tls::client_config(&[root], &["http/1.1"]);
        take_turns(tls::connect(server.address, &config).await.unwrap()).await;
    });
}

/// A client with a small receive buffer.
async fn connect_small(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

#[test]
fn the_end_of_an_answer_is_not_idleness() {
    let limits = ServerLimits { head_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    run(limits, |server| async move {
        let mut stream = connect_small(server.address).await;
        stream.write_all(get("/large", "connection: close\r\n").as_bytes()).await.unwrap();
        sleep(Duration::from_millis(250)).await;
        let mut answer = Vec::new();
        in_time(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.len() > LARGE_SIZE, "{} of {LARGE_SIZE} bytes", answer.len());
    });
}

#[test]
fn closes_after_a_stream_when_the_client_wants_it() {
    run(ServerLimits::default(), |server| async move {
        for option in ["connection: close\r\n", "connection: x, Close\r\n"] {
            let text = answer(server.address, get("/frames", option).as_bytes()).await;
            assert!(text.contains("\r\nconnection: close\r\n") && text.ends_with(THREE_FRAMES), "{text}");
        }
        let text = answer(server.address, b"GET /frames HTTP/1.0\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.0 200") && !text.contains("transfer-encoding"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{}", "data: x\n\n".repeat(3))), "{text}");
    });
}

#[test]
fn breaks_off_when_the_body_does() {
    run(ServerLimits::default(), |server| async move {
        let text = answer(server.address, get("/broken", "").as_bytes()).await;
        assert!(text.contains("transfer-encoding: chunked"), "{text}");
        assert!(text.ends_with(THREE_FRAMES.strip_suffix("0\r\n\r\n").unwrap()), "{text}");
        until(|| server.options.conn_limit.count() == 0).await;
    });
}

#[test]
fn drops_bytes_that_come_during_a_stream_and_closes_after_it() {
    run(ServerLimits::default(), |server| async move {
        let both = format!("{}{}", get("/frames", ""), get("/echo", ""));
        let text = answer(server.address, both.as_bytes()).await;
        assert!(text.contains("\r\nconnection: close\r\n") && text.ends_with(THREE_FRAMES), "{text}");

        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(get("/stream", "").as_bytes()).await.unwrap();
        read_until(&mut stream, "data: 1").await;
        stream.write_all(get("/echo", "").repeat(100).as_bytes()).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        server.demo.released.set(true);
        let mut rest = String::new();
        in_time(stream.read_to_string(&mut rest)).await.unwrap();
        assert!(rest.ends_with("0\r\n\r\n") && !rest.contains("HTTP"), "{rest}");
    });
}

#[test]
fn continues_a_client_that_expects_it_and_streams() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = b"POST /upload HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        stream.write_all(head).await.unwrap();
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abcd").await.unwrap();
        let text = read_until(&mut stream, THREE_FRAMES).await;
        assert!(text.starts_with("HTTP/1.1 200") && !text.contains("connection"), "{text}");
        stream.write_all(get("/frames", "").as_bytes()).await.unwrap();
        read_until(&mut stream, THREE_FRAMES).await;
    });
}

#[test]
fn a_stream_that_ends_in_a_drain_is_the_last() {
    run(ServerLimits::default(), |server| async move {
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(get("/stream", "").as_bytes()).await.unwrap();
            read_until(&mut stream, "data: 1").await;
            streams.push(stream);
        }
        server.options.drain.advance(Phase::Draining);
        assert_eq!(server.options.conn_limit.count(), 20);
        server.demo.released.set(true);
        for mut stream in streams {
            let mut rest = String::new();
            in_time(stream.read_to_string(&mut rest)).await.unwrap();
            assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
        }
        in_time(server.serving).await.unwrap();
    });
}

/// Thousands of streams may be idle at once, and each holds one of these (docs/ARCHITECTURE.md).
#[test]
fn a_connection_that_streams_is_small() {
    fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(conn::open::run::<Demo>);
    assert!(size <= 560, "{size} bytes");
}
