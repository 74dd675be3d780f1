//! HTTP/1.1: framing, limits, clients that leave or do not read, and the drain.

use super::*;

#[test]
fn keeps_a_connection_for_many_requests() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for turn in 0..3 {
            stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n").await.unwrap();
            stream.write_all(format!("body{turn}").as_bytes()).await.unwrap();
            let text = read_until(&mut stream, &format!("body{turn}")).await;
            assert!(text.starts_with("HTTP/1.1 200") && !text.contains("close"), "{text}");
        }
        assert_eq!(server.options.conn_limit.count(), 1);
    });
}

#[test]
fn refuses_requests_of_ambiguous_framing() {
    run(ServerLimits::default(), |server| async move {
        for (case, bytes) in [
            (
                "both lengths",
                "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (
                "both lengths",
                "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
            ),
            (
                "differing lengths",
                "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
            ),
            (
                "equal lengths",
                "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
            ),
            ("a list of lengths", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4, 4\r\n\r\nabcd"),
            ("a signed length", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +4\r\n\r\nabcd"),
            ("a folded header", "GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n"),
            ("a bare line feed", "GET / HTTP/1.1\nhost: x\r\n\r\n"),
            ("a bare line feed", "GET / HTTP/1.1\r\nhost: x\n\r\n"),
            ("a bare line feed", "GET / HTTP/1.1\r\nhost: x\r\n\n"),
            ("a bare carriage return", "GET / HTTP/1.1\r\nhost: x\ry: z\r\n\r\n"),
            ("a NUL", "GET / HTTP/1.1\r\nhost: x\0\r\n\r\n"),
            ("a space before the colon", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length : 4\r\n\r\nabcd"),
            (
                "chunked not last",
                "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            ),
            (
                "an unknown coding",
                "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            ),
            (
                "a coding that is not decoded",
                "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            ),
            ("no host", "GET / HTTP/1.1\r\nx: y\r\n\r\n"),
            ("a blank in the host", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n"),
            ("a path in the host", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
            ("a user in the host", "GET / HTTP/1.1\r\nhost: user@x\r\n\r\n"),
            ("a port that is none", "GET / HTTP/1.1\r\nhost: x:y\r\n\r\n"),
            ("a user in the target", "GET http://user@x/ HTTP/1.1\r\nhost: x\r\n\r\n"),
            ("two hosts", "GET / HTTP/1.1\r\nhost: x\r\nHost: x\r\n\r\n"),
            ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ] {
            let text = answer(server.address, bytes.as_bytes()).await;
            assert!(
                text.starts_with("HTTP/1.1 400") && text.matches("HTTP/1.1").count() == 1,
                "{case}: {text}"
            );
            assert!(text.ends_with("\"}}") && text.contains("connection: close"), "{case}: {text}");
        }
    });
}

#[test]
fn ends_the_connection_at_a_broken_chunk() {
    run(ServerLimits::default(), |server| async move {
        for chunks in
            ["xyz\r\n", "-1\r\n", "4\nabcd\r\n0\r\n\r\n", "4\r\nabcdef\r\n0\r\n\r\n", "11111111111111111\r\n"]
        {
            let request = format!(
                "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunks}GET /echo HTTP/1.1\r\nhost: x\r\n\r\n"
            );
            let text = answer(server.address, request.as_bytes()).await;
            assert_eq!(text.matches("HTTP/1.1").count(), 1, "{chunks:?}: {text}");
            assert!(text.contains("connection: close"), "{chunks:?}: {text}");
        }
    });
}

#[test]
fn serves_on_after_a_chunked_body() {
    run(ServerLimits::default(), |server| async move {
        let head = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
        let body = "2;x\r\nab\r\n0\r\nx-sum: 1\r\n\r\n";
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for cut in [0, 6, body.len()] {
            let (early, late) = body.split_at(body.len() - cut);
            for part in [head, "\r\n", early, late] {
                stream.write_all(part.as_bytes()).await.unwrap();
            }
            let text = read_until(&mut stream, "\r\n\r\nab").await;
            assert!(text.starts_with("HTTP/1.1 200") && !text.contains("connection: close"), "{text}");
        }
    });
}

#[test]
fn answers_the_first_of_pipelined_requests_and_closes() {
    run(ServerLimits::default(), |server| async move {
        let chunked =
            "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        for first in [
            "GET /echo HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab",
            chunked,
        ] {
            let text =
                answer(server.address, format!("{first}GET /echo HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
                    .await;
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
            assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
        }
    });
}

#[test]
fn limits_heads_and_header_counts() {
    let limits = ServerLimits { head_size: 16 * 1024, header_count: 10, ..ServerLimits::default() };
    run(limits, |server| async move {
        let many = "x: y\r\n".repeat(11);
        let long = format!("x: {}\r\n", "y".repeat(17 * 1024));
        for headers in [many, long] {
            let text =
                answer(server.address, format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes())
                    .await;
            assert!(text.starts_with("HTTP/1.1 431"), "{text}");
            assert!(text.ends_with(r#""code":"request_header_fields_too_large"}}"#), "{text}");
        }
    });
}

#[test]
fn continues_a_client_that_expects_it() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abcd").await.unwrap();
        assert!(read_until(&mut stream, "abcd").await.starts_with("HTTP/1.1 200"));
    });
}

/// A client that reads only after it has sent everything receives the response, not a reset.
#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    run(ServerLimits::default(), |server| async move {
        for (path, end) in [("/refuse", "no"), ("/frames", "0\r\n\r\n")] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE_SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            in_time(stream.write_all(&vec![b'x'; LARGE_SIZE])).await.unwrap();
            let mut text = String::new();
            in_time(stream.read_to_string(&mut text)).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 200") && text.ends_with(end), "{path}: {text}");
            drop(stream);
            until(|| server.options.conn_limit.count() == 0).await;
        }
    });
}

#[test]
fn a_request_that_has_begun_is_answered_in_a_drain() {
    run(ServerLimits::default(), |server| async move {
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for stream in [&mut idle, &mut stream] {
            stream.write_all(b"GET /refuse HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            read_until(stream, "no").await;
        }
        stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        server.options.drain.advance(Phase::Draining);
        until(|| server.options.conn_limit.count() == 1).await;
        stream.write_all(b"content-length: 4\r\n\r\nlate").await.unwrap();
        let text = read_until(&mut stream, "late").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
        in_time(server.serving).await.unwrap();
    });
}

/// The end of an upload whose answer came early is read in a drain, too.
#[test]
fn an_early_answer_in_a_drain_reaches_its_client() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE_SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        until(|| server.options.conn_limit.count() == 1).await;
        server.options.drain.advance(Phase::Draining);
        in_time(stream.write_all(&vec![b'x'; LARGE_SIZE])).await.unwrap();
        let mut text = String::new();
        in_time(stream.read_to_string(&mut text)).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("no"), "{text}");
        drop(stream);
        in_time(server.serving).await.unwrap();
    });
}

#[test]
fn empty_answers_pass_as_they_are() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for request in [
            "GET /echo HTTP/1.1\r\nhost: x\r\n\r\n",
            "HEAD /refuse HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /echo HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            stream.write_all(request.as_bytes()).await.unwrap();
            let text = read_until(&mut stream, "\r\n\r\n").await;
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        }
        stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let text = read_until(&mut stream, "}}").await;
        assert!(text.starts_with("HTTP/1.1 400") && text.contains(r#""code":"bad_request""#), "{text}");
    });
}

/// HTTP/1.0 keeps a connection only if the client asks for it, and the response says so (RFC 9112 appendix
/// C.2.2). A stream has no other end there than the connection's.
#[test]
fn an_http_1_0_connection_is_kept_if_the_client_asks() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            let request = "POST /echo HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab";
            stream.write_all(request.as_bytes()).await.unwrap();
            let text = read_until(&mut stream, "\r\n\r\nab").await;
            assert!(text.starts_with("HTTP/1.0 200") && text.contains("connection: keep-alive"), "{text}");
        }
        let text = answer(server.address, b"GET /frames HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        assert!(text.contains("connection: close") && text.ends_with("data: x\n\n"), "{text}");
        let text = answer(server.address, b"GET /echo HTTP/1.0\r\n\r\n").await;
        assert!(text.contains("connection: close") && text.contains("content-length: 0"), "{text}");
    });
}

/// A body whose bytes come with the head needs no 100.
#[test]
fn a_client_that_has_begun_to_send_gets_no_100() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nab";
        stream.write_all(head).await.unwrap();
        stream.write_all(b"cd").await.unwrap();
        let text = read_until(&mut stream, "abcd").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    });
}

/// Of a longer body the announced part is sent; a shorter one breaks off.
#[test]
fn no_more_is_sent_than_was_announced() {
    run(ServerLimits::default(), |server| async move {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            stream.write_all(get("/announces/4").as_bytes()).await.unwrap();
            let text = read_until(&mut stream, "\r\n\r\ndata").await;
            assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("data"), "{text}");
        }
        let text = answer(server.address, get("/announces/30").as_bytes()).await;
        assert!(text.contains("content-length: 30") && text.ends_with("data: x\n\n"), "{text}");
    });
}

#[test]
fn drops_the_body_when_the_client_leaves() {
    run(ServerLimits::default(), |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_until(&mut stream, "data: 1").await;
        assert_eq!(server.demo.dropped.get(), 0);
        drop(stream);
        timeout(Duration::from_millis(50), until(|| server.demo.dropped.get() == 1)).await.unwrap();
        assert_eq!(server.demo.cut.get(), None);
        until(|| server.options.conn_limit.count() == 0).await;
    });
}

#[test]
fn cuts_a_client_that_does_not_read() {
    let limits = ServerLimits { write_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    run(limits, |server| async move {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until(|| server.options.conn_limit.count() == 1).await;
        until(|| server.options.conn_limit.count() == 0).await;
        assert_eq!(server.demo.cut.get(), Some(CutCause::Unread(limits.write_timeout)));
    });
}

#[test]
fn cuts_heads_that_do_not_come_and_spares_streams() {
    let limits = ServerLimits { head_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    run(limits, |server| async move {
        let silent = TcpStream::connect(server.address).await.unwrap();
        let mut slow = TcpStream::connect(server.address).await.unwrap();
        slow.write_all(b"GET / HT").await.unwrap();
        let mut kept = TcpStream::connect(server.address).await.unwrap();
        kept.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut streaming = TcpStream::connect(server.address).await.unwrap();
        streaming.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until(|| server.options.conn_limit.count() == 4).await;
        until(|| server.options.conn_limit.count() == 1).await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!((server.options.conn_limit.count(), server.demo.dropped.get()), (1, 0));
        drop(silent);
    });
}

#[test]
fn rejects_a_connection_beyond_the_limit() {
    let limits = ServerLimits { connections: 1, ..ServerLimits::default() };
    run(limits, |server| async move {
        let first = TcpStream::connect(server.address).await.unwrap();
        until(|| server.options.conn_limit.count() == 1).await;
        let text = answer(server.address, b"").await;
        assert!(text.starts_with("HTTP/1.1 503") && text.ends_with("}}"), "{text}");
        drop(first);
        until(|| server.options.conn_limit.count() == 0).await;
        let text =
            answer(server.address, b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    });
}

#[test]
fn drains_idle_connections_at_once_and_active_ones_when_done() {
    run(ServerLimits::default(), |server| async move {
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_until(&mut idle, "\r\n\r\n").await;
        let silent = TcpStream::connect(server.address).await.unwrap();
        let mut active = TcpStream::connect(server.address).await.unwrap();
        active.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_until(&mut active, "data: 1").await;
        until(|| server.options.conn_limit.count() == 3).await;
        server.options.drain.advance(Phase::Draining);
        until(|| server.options.conn_limit.count() == 1).await;
        // A process that another test starts has a copy of the listener until it runs its program.
        until(|| std::net::TcpStream::connect(server.address).is_err()).await;
        assert!(!server.serving.is_finished());
        server.demo.released.set(true);
        read_until(&mut active, "0\r\n\r\n").await;
        in_time(server.serving).await.unwrap();
        drop(silent);
    });
}

#[test]
fn cuts_streams_that_outlast_the_drain() {
    let limits = ServerLimits { drain: Duration::from_millis(50), ..ServerLimits::default() };
    run(limits, |server| async move {
        let mut active = TcpStream::connect(server.address).await.unwrap();
        active.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_until(&mut active, "data: 1").await;
        server.options.drain.advance(Phase::Draining);
        in_time(server.serving).await.unwrap();
        assert_eq!((server.demo.dropped.get(), server.options.conn_limit.count()), (1, 0));
        assert_eq!(server.demo.cut.get(), Some(CutCause::Drain));
    });
}

/// A client that leaves after its first bytes, whatever they were, leaves nothing behind.
#[test]
fn an_end_after_the_first_bytes_ends_the_connection() {
    run(ServerLimits::default(), |server| async move {
        for first in
            ["", "P", "PRI * HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM", "POST / HTTP/1.1\r\n", "\x16\x03\x01"]
        {
            for resets in [false, true] {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                stream.write_all(first.as_bytes()).await.unwrap();
                until(|| server.options.conn_limit.count() == 1).await;
                if resets {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                drop(stream);
                until(|| server.options.conn_limit.count() == 0).await;
            }
        }
    });
}

/// A preface that comes byte by byte, and a request that begins as one.
#[test]
fn first_bytes_that_come_singly_are_served() {
    run(ServerLimits::default(), |server| async move {
        for (bytes, answer) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], &b"\0\0"[..]),
            (b"PR / HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 200"),
        ] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for byte in bytes {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut begin = vec![0; answer.len()];
            in_time(stream.read_exact(&mut begin)).await.unwrap();
            assert_eq!(begin, answer);
        }
    });
}

#[test]
fn a_client_that_sent_too_much_is_seen_to_leave() {
    run(ServerLimits::default(), |server| async move {
        for request in [
            "POST /wait HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok\r\n",
            "GET /wait HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /wait HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
        ] {
            for late in ["", "\r\n"] {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                until(|| server.demo.waiting.get() == 1).await;
                stream.write_all(late.as_bytes()).await.unwrap();
                drop(stream);
                until(|| server.demo.waiting.get() == 0).await;
                until(|| server.options.conn_limit.count() == 0).await;
            }
        }
    });
}
