//! HTTP/2, with h2's client.

use std::cell::RefCell;

use tokio::io::{AsyncWrite, ReadBuf};

use super::*;

#[test]
fn serves_http2_by_prior_knowledge_beside_http1() {
    run(ServerLimits::default(), |server| async move {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        let driver = Tasks::new().spawn(async { connection.await.unwrap() });
        let request = Request::post("http://x/echo").body(()).unwrap();
        let (response, mut body) = send.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"over h2"), true).unwrap();
        let mut response = in_time(response).await.unwrap();
        assert_eq!(in_time(response.body_mut().data()).await.unwrap().unwrap(), "over h2");
        let text =
            answer(server.address, b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        // The last stream of a draining connection may end, then it closes.
        let request = Request::get("http://x/stream").body(()).unwrap();
        let mut stream = in_time(send.send_request(request, true).unwrap().0).await.unwrap();
        assert_eq!(in_time(stream.body_mut().data()).await.unwrap().unwrap(), "data: 1\n\n");
        server.options.drain.advance(Phase::Draining);
        sleep(Duration::from_millis(20)).await;
        assert!(!server.serving.is_finished());
        server.demo.released.set(true);
        in_time(server.serving).await.unwrap();
        in_time(driver).await.unwrap();
    });
}

#[test]
fn resets_a_stream_that_its_client_does_not_read() {
    let limits = ServerLimits { write_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    run(limits, |server| async move {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut builder = ::h2::client::Builder::new();
        // So that the unread stream does not block the other one.
        builder.initial_connection_window_size(1024 * 1024);
        let (mut send, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let mut get = |path: &str| {
            let request = Request::get(format!("http://x{path}")).body(()).unwrap();
            send.send_request(request, true).unwrap().0
        };
        let (flood, waiting) = (get("/flood"), get("/stream"));
        let (mut flood, mut waiting) = (in_time(flood).await.unwrap(), in_time(waiting).await.unwrap());
        assert_eq!(in_time(waiting.body_mut().data()).await.unwrap().unwrap(), "data: 1\n\n");
        sleep(Duration::from_millis(300)).await;
        let error = in_time(async {
            loop {
                match flood.body_mut().data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("ended as if it were complete"),
                }
            }
        });
        assert_eq!(error.await.reason(), Some(::h2::Reason::CANCEL));
        assert_eq!(server.demo.dropped.get(), 0);
    });
}

/// At once: the fastest of some streams counts, because a busy machine would look like a slow server.
#[test]
fn drops_the_body_of_a_reset_stream() {
    run(ServerLimits::default(), |server| async move {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let mut fastest = Duration::MAX;
        for count in 1..=10 {
            let request = Request::get("http://x/stream").body(()).unwrap();
            let response = in_time(send.send_request(request, true).unwrap().0).await.unwrap();
            let reset = tokio::time::Instant::now();
            drop(response);
            until(|| server.demo.dropped.get() == count).await;
            fastest = fastest.min(reset.elapsed());
        }
        assert!(fastest < Duration::from_millis(50), "{fastest:?}");
        assert_eq!(server.options.conn_limit.count(), 1);
    });
}

/// A client that ends everything at a reset receives the response while it still sends.
#[test]
fn an_early_answer_is_not_followed_by_a_reset() {
    run(ServerLimits::default(), |server| async move {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let request = Request::post("http://x/refuse").body(()).unwrap();
        let (response, mut upload) = send.send_request(request, false).unwrap();
        let mut response = in_time(response).await.unwrap();
        assert_eq!(in_time(response.body_mut().data()).await.unwrap().unwrap(), "no");
        let mut left = 3 * 1024 * 1024;
        while left > 0 {
            upload.reserve_capacity(left);
            let room = in_time(std::future::poll_fn(|cx| upload.poll_capacity(cx))).await.unwrap().unwrap();
            upload.send_data(vec![0; room.min(left)].into(), room >= left).unwrap();
            left = left.saturating_sub(room);
        }
        while let Some(rest) = in_time(response.body_mut().data()).await {
            assert!(rest.unwrap().is_empty(), "the answer's end");
        }
        until(|| server.options.conn_limit.count() == 1).await;
    });
}

/// The limits and the host of a head are those of HTTP/1.1.
#[test]
fn limits_header_counts_and_refuses_what_is_no_host() {
    let limits = ServerLimits { header_count: 10, ..ServerLimits::default() };
    run(limits, |server| async move {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let many: Vec<(&str, &str)> = vec![("x", "y"); 11];
        for (headers, status) in [
            (&many[..], 431),
            (&many[..10], 200),
            (&[("host", "a b")], 400),
            (&[("host", "user@x")], 400),
            (&[("host", "x"), ("host", "y")], 400),
            (&[("host", "y")], 400),
            (&[("host", "x:443")], 400),
            (&[("host", "X:80")], 200),
        ] {
            let mut request = Request::post("http://x/echo");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"text"), true).unwrap();
            let mut response = in_time(response).await.unwrap();
            assert_eq!(response.status(), status, "{headers:?}");
            let text = in_time(response.body_mut().data()).await.unwrap().unwrap();
            assert_eq!(text == "text", status == 200, "{text:?}");
        }
        let request = Request::get("http://user@x/echo").body(()).unwrap();
        let response = in_time(send.send_request(request, true).unwrap().0).await.unwrap();
        assert_eq!(response.status(), 400);
    });
}

/// A body that breaks off reaches its client up to the break, however small the client's window is, and
/// without an empty frame, of which clients take few.
#[test]
fn a_broken_stream_is_reset_after_its_last_bytes() {
    run(ServerLimits::default(), |server| async move {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let wire = Rc::<RefCell<Vec<u8>>>::default();
        let stream = Recorded(stream, Rc::clone(&wire));
        let mut builder = ::h2::client::Builder::new();
        builder.initial_window_size(4);
        let (mut send, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let request = Request::get("http://x/broken").body(()).unwrap();
        let mut response = in_time(send.send_request(request, true).unwrap().0).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        let mut received = Vec::new();
        let error = loop {
            match in_time(response.body_mut().data()).await.expect("no orderly end") {
                Ok(data) => {
                    received.extend_from_slice(&data);
                    response.body_mut().flow_control().release_capacity(data.len()).unwrap();
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason(), Some(::h2::Reason::INTERNAL_ERROR));
        assert_eq!(received, b"data: x\n\n".repeat(3));
        let (wire, mut at, mut lengths) = (wire.take(), 0, Vec::new());
        while let Some([high, middle, low, kind]) = wire.get(at..at + 4) {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if *kind == 0 {
                lengths.push(length);
            }
            at += 9 + length;
        }
        assert!(!lengths.is_empty() && !lengths.contains(&0), "{lengths:?}");
    });
}

/// Keeps all that comes.
struct Recorded(TcpStream, Rc<RefCell<Vec<u8>>>);

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.borrow_mut().extend_from_slice(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
