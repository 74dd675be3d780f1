//! Answers that are too large, odd but sound, or more than was promised (S2.9, RFC 9112).

use std::time::Duration;

use bytes::Bytes;

use crate::providers::broken_responses::{BOTH_CALLS, Told, http, tell};
use crate::relay::bytes::PAIRS;
use crate::{
    client::{Call, Version},
    gateway::Plan,
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta, raw},
    },
};

/// S2.9: too large an answer is stopped: by what it says, with a 502; by what it sends, short of its end.
#[tokio::test]
async fn a_document_too_large() {
    let large = Bytes::from(vec![b' '; 100 << 10]);
    let head = |framing| script::head(200, "application/json", framing);
    for (framing, expected) in [
        (Framing::Length(large.len() as u64), &[Told::Status(502)][..]),
        (Framing::Chunked, &[Told::Status(502), Told::Truncated]),
        (Framing::UntilClose, &[Told::Status(502), Told::Truncated]),
    ] {
        for version in Version::BOTH {
            let steps = vec![head(framing), Step::Body(large.clone()), Step::End];
            let upstream = Upstream::always(Speaks::H1, steps);
            let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.max_response_size = 64 << 10);
            let gateway = plan.start().await;
            let mut client = gateway.client(version).await;
            let (told, bytes) = tell("too large", client.send(Call::whole()).await).await;
            assert!(expected.contains(&told), "{framing:?}: {told:?}");
            assert!(bytes.len() <= 64 << 10, "{}", bytes.len());
            drop(client);
            gateway.stop().await;
        }
    }
}

/// S2.9: a length beyond the limit is enough; not a byte of the body is waited for.
#[tokio::test]
async fn a_declared_length_is_enough() {
    let steps = vec![script::head(200, "application/json", Framing::Length(100 << 10)), Step::Stall];
    let upstream = Upstream::always(Speaks::H1, steps);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.max_response_size = 64 << 10);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::BOTH[0]).await;
    let (told, _) = tell("declared too large", client.send(Call::whole()).await).await;
    assert_eq!(told, Told::Status(502));
    drop(client);
    gateway.stop().await;
}

/// Streams are bounded by line, not in total (S2.9, R9).
#[tokio::test]
async fn a_long_stream_is_not_too_large() {
    let events: Vec<_> = (0..2000).map(|number| delta(&number.to_string())).collect();
    let upstream = Upstream::always(Speaks::H1, script::sse(events.concat()));
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.stream.max_response_size = 64 << 10;
        settings.stream.max_line = 64 << 10;
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::stream()).await.collect().await.bytes(), events.concat());
    drop(client);
    gateway.stop().await;
}

/// Odd and sound: heads that come before the head, HTTP/1.0, a body without any framing, letters of either case.
#[tokio::test]
async fn odd_and_sound() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let length = script::COMPLETION.len();
    let cases = [
        format!("{early}HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"),
        format!("HTTP/1.1 200\r\nCONTENT-LENGTH:{length}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Length: {length}\r\n\r\n"),
        format!("HTTP/1.1 200 Tr\u{e8}s Bien\r\ncontent-length: \t{length} \t\r\nx: \u{e9}\r\n\r\n"),
        "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned(),
    ];
    for head in cases {
        let steps =
            vec![raw([head.as_bytes(), script::COMPLETION.as_bytes()].concat()), Step::Moment, Step::Close];
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, 200, "{head}");
        let received = answer.collect().await;
        assert!(received.complete, "{head}");
        assert_eq!(received.text(), script::COMPLETION, "{head}");
        drop(client);
        gateway.stop().await;
    }
}

/// RFC 9112, 6.3: a length beside chunks counts for nothing, and the connection is not trusted again.
#[tokio::test]
async fn length_and_chunks() {
    let head = "200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked";
    let steps = vec![http(head, b"3\r\n{} \r\n0\r\n\r\n"), Step::Stall];
    let upstream = Upstream::in_turn(Speaks::H1, vec![steps, script::json(200, script::COMPLETION)]);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_ne!(answer.header("content-length"), "2");
    assert_eq!(answer.collect().await.text(), "{} ");
    assert_eq!(client.send(Call::whole()).await.collect().await.text(), script::COMPLETION);
    assert_eq!(upstream.log.connections(), 2);
    drop(client);
    gateway.stop().await;
}

/// More bytes than its length: the answer is what was promised, and the rest answers nobody.
#[tokio::test]
async fn more_than_promised() {
    let head = script::head(200, "application/json", Framing::Length(2));
    let steps = vec![head, script::body("{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"), Step::Stall];
    let upstream = Upstream::in_turn(Speaks::H1, vec![steps, script::json(200, script::COMPLETION)]);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::whole()).await.collect().await.text(), "{}");
    assert_eq!(client.send(Call::whole()).await.collect().await.text(), script::COMPLETION);
    assert_eq!(upstream.log.connections(), 2, "a connection that said too much is not used again");
    drop(client);
    gateway.stop().await;
}

/// S0.10: nobody listens there.
#[tokio::test]
async fn nobody_listens() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, vec![Step::Stall]);
        let gateway = Plan::to(&[&upstream]).start().await;
        drop(upstream);
        // The listener's port is free once its task has ended.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut client = gateway.client(version).await;
        for call in BOTH_CALLS {
            let call = call();
            let id = call.id();
            let (told, body) = tell("nobody", client.send(call).await).await;
            assert_eq!(told, Told::Status(502));
            assert!(!String::from_utf8_lossy(&body).contains("127.0.0.1"), "no address is shown");
            assert_eq!(journal::closing(&id).await["status"], 502);
        }
        drop(client);
        gateway.stop().await;
    }
}
