//! Request bodies on their way to the provider: chunked, refused before they are read, large (R6).

use crate::{
    client::{Call, call::TOKEN},
    gateway::{PAIRS, Plan},
    upstream::{Speaks, Upstream, script},
};

/// A chunked request goes upstream with a content length, and another request may follow on the connection.
#[tokio::test]
async fn a_chunked_request_is_given_a_length() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.raw().await;
    for turn in 0..2 {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        client.send(head + "7\r\n{\"model\r\n6\r\n\":\"m\"}\r\n0\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!(head.status, 200, "{}", head.text);
        assert_eq!(client.body(&head).await, script::COMPLETION);
        let seen = upstream.log.request(turn).await;
        assert_eq!(seen.body, r#"{"model":"m"}"#);
        assert_eq!(seen.all("content-length"), ["13"]);
        assert!(seen.raw.ends_with(b"\r\n\r\n{\"model\":\"m\"}"), "{:?}", seen.raw);
    }
    drop(client);
    gateway.stop().await;
}

/// A request that is refused before its body has arrived gets `connection: close`, because the rest of the
/// body would have to be read first. A body that is there already, whole, costs nothing to skip.
#[tokio::test]
async fn an_early_answer_ends_the_connection_unless_the_body_has_arrived() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).start().await;
    for (body, is_whole) in [
        ("transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", true),
        ("content-length: 2\r\n\r\n{}", true),
        ("transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n", false),
        ("content-length: 9\r\n\r\n{}", false),
    ] {
        let mut client = gateway.raw().await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-none\r\n";
        client.send(format!("{head}{body}")).await;
        let head = client.head().await;
        let close = (!is_whole).then_some("close");
        assert_eq!((head.status, head.header("connection")), (401, close), "{body:?} {}", head.text);
        client.body(&head).await;
        if is_whole {
            client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()).await;
            assert_eq!(client.head().await.status, 200, "{body:?}");
        } else {
            assert!(client.ended().await, "{body:?}");
        }
    }
    gateway.stop().await;
}

/// R6: a large body arrives unchanged over every pair of protocols.
#[tokio::test]
async fn a_large_body_arrives_whole() {
    let text = "\\u00e9 \u{e9} \u{1f30a} ".repeat(300_000);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"stream":false,"model":"m"}}"#);
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::json(200, script::COMPLETION));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let answer = client.send(Call::post("/v1/chat/completions", body.clone())).await;
        assert_eq!(answer.collect().await.text(), script::COMPLETION);
        assert!(upstream.log.request(0).await.body == body, "{speaks:?} {version:?}");
        drop(client);
        gateway.stop().await;
    }
}
