//! Requests that two parsers would frame differently, requests before their turn, and connections beyond the
//! limit.

use crate::clients::rejected_requests::{running, sound};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::Plan,
    upstream::script,
};

/// Request smuggling: a request that two parsers would frame differently is refused, and its connection is
/// closed.
#[tokio::test]
async fn ambiguous_requests() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    let start = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n");
    let evil = format!("GET /livez HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    for ambiguous in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n\r\n{}   ",
        "content-length: +5\r\n\r\n{}   ",
        "content-length: 5, 5\r\n\r\n{}   ",
        "content-length : 5\r\n\r\n{}   ",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
        "x: a\r\n b\r\ncontent-length: 5\r\n\r\n{}   ",
        "x: a\nb: c\r\ncontent-length: 5\r\n\r\n{}   ",
        "x: a\0b\r\ncontent-length: 5\r\n\r\n{}   ",
        "host: y\r\ncontent-length: 5\r\n\r\n{}   ",
    ] {
        let mut client = gateway.raw().await;
        client.send(format!("{start}{ambiguous}{evil}")).await;
        let head = client.head().await;
        assert_eq!(head.status, 400, "{ambiguous:?}: {}", head.text);
        client.body(&head).await;
        assert!(client.ended().await, "nothing that follows is served: {ambiguous:?} {:?}", client.unread());
    }
    assert_eq!(upstream.log.requests(), 0);
    gateway.stop().await;
}

/// Pipelining: a request that comes before the last answer ends is not served. The first is; then the
/// connection ends, and the client repeats the second (RFC 9112, 9.3.2).
#[tokio::test]
async fn pipelined_requests() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    let mut client = gateway.raw().await;
    let calls = [Call::stream(), Call::stream()];
    let wire: Vec<u8> = calls.iter().flat_map(Call::wire).collect();
    client.send(wire).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("x-request-id")), (200, Some(&*calls[0].id())));
    assert_eq!(client.body(&head).await, script::short_stream());
    assert!(client.ended().await);
    assert_eq!(upstream.log.requests(), 1);
    drop(client);
    gateway.stop().await;
}

/// B9: connections beyond the limit get a 503, and new ones are accepted once one has closed.
#[tokio::test]
async fn connection_limit() {
    let upstream = sound();
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.limits.connections = 2).start().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.raw().await;
        client.send(Call::get("/livez").wire()).await;
        assert_eq!(client.head().await.status, 200);
        held.push(client);
    }
    let mut third = gateway.raw().await;
    let head = third.head().await;
    assert_eq!(head.status, 503, "{}", head.text);
    drop((third, held));
    gateway.until("no connection is open", |now| now.connections == 0).await;
    let mut fourth = gateway.client(Version::H1).await;
    assert!(fourth.send(Call::stream()).await.collect().await.complete);
    drop(fourth);
    gateway.stop().await;
}

/// E1: clients that send one byte and leave hold neither a place nor a descriptor.
#[tokio::test]
async fn one_byte_and_a_close() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    for _ in 0..3000 {
        let mut client = gateway.raw().await;
        client.send("P").await;
    }
    gateway.until("no connection is open", |now| now.connections == 0).await;
    gateway.stop().await;
}
