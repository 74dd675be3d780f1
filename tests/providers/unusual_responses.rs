//! Responses that are unusual but valid, and bytes beyond a response's end (RFC 9112).

use crate::{
    client::{Call, Version},
    gateway::Plan,
    providers::broken_responses::http,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, raw},
    },
};

/// Valid: interim responses before the final head, HTTP/1.0, a body without framing, header names in either
/// case.
#[tokio::test]
async fn unusual_but_valid_responses() {
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

/// A document under a stream's label, and one with a byte order mark in front (RFC 8259 section 8.1), are
/// documents in every dialect, of an only candidate and of the first of two.
#[tokio::test]
async fn a_document_is_known_by_its_bytes() {
    let marked = format!("\u{feff}{}", script::COMPLETION);
    for (content_type, body) in [
        ("text/event-stream", script::COMPLETION),
        ("application/json", &*marked),
        ("text/event-stream; charset=utf-8", &*marked),
    ] {
        let (label, text) = (content_type.to_owned(), body.to_owned());
        let upstream = Upstream::by(Speaks::H1, move |_, seen| {
            if !seen.target.ends_with("/chat/completions") {
                return script::json(404, r#"{"error":{"message":"Invalid URL"}}"#);
            }
            vec![script::head(200, &label, Framing::Chunked), script::body(text.clone()), Step::End]
        });
        let spare = Upstream::always(Speaks::H1, script::json(503, "{}"));
        for upstreams in [&[&upstream][..], &[&upstream, &spare]] {
            let gateway = Plan::to(upstreams).start().await;
            let mut client = gateway.client(Version::H1).await;
            let message = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;
            for (call, native) in [(Call::whole(), true), (Call::post("/v1/messages", message), false)] {
                let answer = client.send(call).await;
                let found = (
                    answer.status.as_u16(),
                    answer.header("content-type"),
                    answer.header("x-thalweg-provider"),
                );
                assert_eq!(found, (200, "application/json", "p0"), "{content_type}");
                let text = answer.collect().await.text();
                assert_eq!(text == body, native, "{content_type} {text}");
                assert!(text.contains("one two"), "{text}");
            }
            drop(client);
            gateway.stop().await;
        }
    }
}

/// Events that were not requested and do not come are not waited for as long as an answer where another
/// candidate is left.
#[tokio::test]
async fn events_that_were_not_requested_are_waited_for_briefly() {
    let silent = Upstream::always(Speaks::H1, vec![script::sse_head(), Step::Stall]);
    let good = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&silent, &good]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// RFC 9112, 6.3: a length beside chunked framing is ignored, and the connection is not reused.
#[tokio::test]
async fn length_beside_chunks() {
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

/// More bytes than the declared length: the response has the declared length, and the rest is never taken for
/// another response.
#[tokio::test]
async fn bytes_beyond_the_declared_length() {
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
