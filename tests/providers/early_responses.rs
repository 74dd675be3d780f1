//! A provider that responds before it has read the whole request, and a client that leaves meanwhile (R11,
//! R17, R33).

use std::time::Duration;

use thalweg::upstream::Protocol;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::{
    client::{Call, Version},
    gateway::{Plan, provider},
    journal,
    upstream::{Gate, log::in_time, script},
};

/// A listener with a small receive buffer. The kernel's default grows to 32 MiB on loopback, and a whole
/// request would fit into it unread.
pub fn narrow() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.listen(1).unwrap()
}

/// Reads a request's head only, responds, and after `heard` opens waits for the gateway to close.
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

/// More than the kernel buffers for a provider that does not read: its largest send buffer. Not much more,
/// because a test build reads 24 MiB for seconds on a busy machine.
fn huge_size() -> usize {
    let limits = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap_or_default();
    let largest = limits.split_whitespace().last().and_then(|most| most.parse().ok());
    largest.unwrap_or(4 << 20).min(24 << 20) + (2 << 20)
}

fn huge() -> Call {
    let body = format!(r#"{{"model":"m","stream":true,"x":"{}"}}"#, "a".repeat(huge_size()));
    Call::post("/v1/chat/completions", body)
}

/// R11: the client disconnects while its request is still being sent: the rest is not sent on.
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

/// Responds after the request's head, then reads the rest and ends the response. Returns the length of the
/// body.
pub async fn answer_and_read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> usize {
    let mut seen = Vec::new();
    let end = loop {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the gateway left");
        if let Some(at) = memchr::memmem::find(&seen, b"\r\n\r\n") {
            break at + 4;
        }
    };
    // The gateway has sent all that fits into the buffers.
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

/// A provider that responds before it has read the request, and then reads on: it gets the rest.
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
        assert!(rounds[0] > huge_size(), "the connection was used again for the second: {rounds:?}");
        drop(client);
        gateway.stop().await;
    }
}

/// R17, R33: an early error response is passed on, and its connection is not reused.
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
