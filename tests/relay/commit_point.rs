//! Streams at their edges: where each is committed, clients of HTTP/1.0, bodies without events that break off, and a
//! provider that answers before it has been asked to the end.

use std::{future::Future, time::Duration};

use thalweg::{relay::CommitPoint, upstream::Protocol};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::{
    client::{Answer, Call, Version},
    gateway::{Plan, provider},
    journal,
    upstream::{
        Framing, Gate, Speaks, Step, Upstream,
        log::in_time,
        script::{self, delta, sse_head},
    },
};

const ERROR_EVENT: &str =
    "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";

/// The answer's head, which must not come before these gates are open, one after another.
async fn behind(gates: &[Gate], answer: impl Future<Output = Answer>) -> Answer {
    let mut answer = std::pin::pin!(answer);
    for (open, gate) in gates.iter().enumerate() {
        let early = tokio::time::timeout(Duration::from_millis(50), &mut answer).await;
        assert!(early.is_err(), "it came with {open} gates open: {early:?}");
        gate.open();
    }
    answer.await
}

/// B5, S0.14: a stream is committed where the configuration says, and nothing of it is lost by waiting.
#[tokio::test]
async fn commit_points() {
    let comment = ": wait\n\n";
    for (point, expected) in
        [(CommitPoint::Headers, 0), (CommitPoint::FirstFrame, 1), (CommitPoint::FirstContent, 2)]
    {
        for version in Version::BOTH {
            let gates = [Gate::new(), Gate::new(), Gate::new()];
            let [first, second, third] = gates.clone().map(Step::Wait);
            let (content, done) = (Step::Body(delta("one")), script::body(script::DONE));
            let steps =
                vec![sse_head(), first, script::body(comment), second, content, third, done, Step::End];
            let upstream = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&upstream]).with(|s| s.stream.commit = Some(point)).start().await;
            let mut client = gateway.client(version).await;
            let answer = behind(&gates[..expected], client.send(Call::stream())).await;
            assert_eq!(answer.status, 200, "{point:?} {version:?}");
            gates.iter().for_each(Gate::open);
            let received = answer.collect().await;
            assert!(received.complete);
            assert_eq!(received.bytes(), [comment.as_bytes(), &delta("one"), script::DONE].concat());
            drop(client);
            gateway.stop().await;
        }
    }
}

/// B5, S2.12: an error event before the first content is a status if the client has seen nothing, else passes.
#[tokio::test]
async fn an_error_event_around_the_commit_point() {
    for (point, status) in
        [(CommitPoint::Headers, 200), (CommitPoint::FirstFrame, 200), (CommitPoint::FirstContent, 502)]
    {
        let upstream = Upstream::always(Speaks::H1, vec![sse_head(), script::body(ERROR_EVENT), Step::End]);
        let gateway = Plan::to(&[&upstream]).with(|s| s.stream.commit = Some(point)).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::stream();
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!(answer.status, status, "{point:?}");
        let received = answer.collect().await;
        assert!(received.complete);
        assert_eq!(received.bytes() == ERROR_EVENT, status == 200, "{}", received.text());
        let line = journal::closing(&id).await;
        assert_eq!((&line["level"], &line["status"]), (&"WARN".into(), &status.into()), "{line}");
        drop(client);
        gateway.stop().await;
    }
}

/// R17: a stream that has no events cannot tell an error, so it must not end as if it were complete.
#[tokio::test]
async fn a_stream_without_events_breaks_off() {
    let line = "{\"response\":\"one\"}\n";
    for version in Version::BOTH {
        for last in [Step::Close, Step::Reset] {
            let head = script::head(200, "application/x-ndjson", Framing::Chunked);
            let steps = vec![head, script::body(line), Step::Delivered, last];
            let upstream = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&upstream]).start().await;
            let mut client = gateway.client(version).await.telling(&upstream.log);
            let call = Call::stream();
            let id = call.id();
            let received = client.send(call).await.collect().await;
            assert!(!received.complete, "{version:?}");
            assert_eq!(received.bytes(), line);
            let closing = journal::closing(&id).await;
            assert_eq!((&closing["level"], &closing["phase"]), (&"WARN".into(), &"mid_stream".into()));
            drop(client);
            gateway.stop().await;
        }
    }
}

/// B12: a client of HTTP/1.0 is given the stream up to the connection's end, without chunks.
#[tokio::test]
async fn to_http_1_0() {
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.raw().await;
    let wire = String::from_utf8(Call::stream().wire()).unwrap();
    client.send(wire.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    while client.fill().await {}
    let text = std::str::from_utf8(client.unread()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(body.as_bytes(), script::short_stream());
    drop(client);
    gateway.stop().await;
}

/// Takes little of what is sent before it is read. The kernel's own measure grows to 32 MiB on loopback, and then a whole
/// request is sent whoever reads it.
pub fn narrow() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.listen(1).unwrap()
}

/// Reads a request's head and no more, answers, and once the answer is heard waits for its peer to go.
async fn answer_early(listener: TcpListener, heard: Gate) {
    let (mut stream, _) = listener.accept().await.unwrap();
    refuse_unread(&mut stream).await;
    heard.passed().await;
    let mut rest = vec![0; 64 << 10];
    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
}

async fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while memchr::memmem::find(&seen, b"\r\n\r\n").is_none() {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the gateway left");
    }
}

async fn refuse_unread(stream: &mut TcpStream) {
    read_head(stream).await;
    let body = r#"{"error":{"message":"too long"}}"#;
    let head = "HTTP/1.1 413 Payload Too Large\r\ncontent-type: application/json\r\ncontent-length";
    stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
}

/// More than the kernel takes for a provider that does not read.
fn huge() -> Call {
    let body = format!(r#"{{"model":"m","stream":true,"x":"{}"}}"#, "a".repeat(24 << 20));
    Call::post("/v1/chat/completions", body)
}

/// R11: a client leaves while its request is still on its way up: what is left of it is not sent on.
#[tokio::test]
async fn a_request_given_up_is_not_sent_on() {
    for version in Version::BOTH {
        let listener = narrow();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let plan = Plan::to(&[]).with(|s| s.providers = vec![provider("slow", &base, Protocol::Http1)]);
        let gateway = plan.start().await;
        let mut client = gateway.client(version).await;
        let call = huge();
        let id = call.id();
        let asking = tokio::spawn(async move { drop(client.try_send(call).await) });
        let (mut stream, _) = in_time(listener.accept()).await.unwrap().unwrap();
        read_head(&mut stream).await;
        asking.abort();
        journal::closing(&id).await;
        let mut rest = vec![0; 64 << 10];
        let end = async {
            loop {
                match stream.read(&mut rest).await {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => return Some(error.kind()),
                }
            }
        };
        assert_eq!(in_time(end).await.unwrap(), Some(std::io::ErrorKind::ConnectionReset));
        gateway.stop().await;
    }
}

/// Begins to answer when a request's head is there, then reads the rest and ends the answer; how long the body was.
pub async fn answer_and_read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> usize {
    let mut seen = Vec::new();
    let end = loop {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the gateway left");
        if let Some(at) = memchr::memmem::find(&seen, b"\r\n\r\n") {
            break at + 4;
        }
    };
    // The peer has sent what fits in between.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let text = String::from_utf8_lossy(&seen[..end]).to_lowercase();
    let length = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let whole = end + length.parse::<usize>().unwrap();
    while seen.len() < whole {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the gateway left");
    }
    let events = script::short_stream();
    let chunk = [format!("{:x}\r\n", events.len()).as_bytes(), &events, b"\r\n0\r\n\r\n"].concat();
    stream.write_all(&chunk).await.unwrap();
    stream.flush().await.unwrap();
    seen.len() - end
}

/// A provider that begins to answer before it has read the request, and reads it then: it is given the rest.
#[tokio::test]
async fn a_provider_that_answers_while_it_reads() {
    for version in Version::BOTH {
        let listener = narrow();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let reading = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            [answer_and_read(&mut stream).await, answer_and_read(&mut stream).await]
        });
        let plan = Plan::to(&[]).with(|s| s.providers = vec![provider("eager", &base, Protocol::Http1)]);
        let gateway = plan.start().await;
        let mut client = gateway.client(version).await;
        for call in [huge(), Call::stream()] {
            let received = client.send(call).await.collect().await;
            assert_eq!(received.bytes(), script::short_stream());
        }
        let rounds = in_time(reading).await.unwrap().unwrap();
        assert!(rounds[0] > 24 << 20, "the connection was used again for the second: {rounds:?}");
        drop(client);
        gateway.stop().await;
    }
}

/// What a provider says in a head that no client should wait for the end of.
#[tokio::test]
async fn heads_that_never_end() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(70 << 10));
    for (said, code) in [
        ("HTTP/1.1 200 OK\ncontent-length: 0\n\n".to_owned(), "upstream_garbage"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\n\r\n".to_owned(), "upstream_garbage"),
        (long, "response_too_large"),
    ] {
        let upstream = Upstream::always(Speaks::H1, vec![script::raw(said), Step::Stall]);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.collect().await.json()["error"]["code"].as_str()),
            (502, Some(code))
        );
        drop(client);
        gateway.stop().await;
    }
}

/// R17, R33: a provider that refuses before it has read the request is heard, and its connection not used again.
#[tokio::test]
async fn a_provider_that_answers_early() {
    for version in Version::BOTH {
        let listener = narrow();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let heard = Gate::new();
        let early = tokio::spawn(answer_early(listener, heard.clone()));
        let plan = Plan::to(&[]).with(|s| s.providers = vec![provider("early", &base, Protocol::Http1)]);
        let gateway = plan.start().await;
        let mut client = gateway.client(version).await;
        let answer = client.send(huge()).await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.collect().await.json()["error"]["message"], "too long");
        heard.open();
        in_time(early).await.expect("the connection closed").unwrap();
        drop(client);
        gateway.stop().await;
    }
}
