//! Compressed documents (S4.8): by the client's wishes, never a stream, never twice.

use std::io::Read;

use bytes::Bytes;
use http::HeaderMap;
use thalweg::proxy::CompressionSettings;

use super::statistics::{ADMIN, plan};
use crate::{
    client::{Call, Client, Version},
    gateway::{Gateway, Plan},
    journal,
    upstream::{Speaks, Upstream, script},
};

/// The bytes behind a coding.
fn decoded(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match headers.get("content-encoding").map(|name| name.to_str().unwrap()) {
        None => plain.extend_from_slice(body),
        Some("gzip") => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap()),
        Some("zstd") => plain = zstd::stream::decode_all(body).unwrap(),
        Some("br") => drop(brotli::Decompressor::new(body, 4096).read_to_end(&mut plain).unwrap()),
        Some(other) => panic!("{other}"),
    }
    plain
}

/// A gateway with enough models for a long list, and its upstream.
async fn listing(change: impl FnOnce(&mut CompressionSettings)) -> (Gateway, Upstream) {
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let plan = plan(&[&upstream]).with(|settings| {
        let names = (0..2000).map(|number| format!("model-{number}"));
        settings.providers[0].models = Some(names.chain(["m".into()]).collect());
        change(&mut settings.compression);
    });
    (plan.start().await, upstream)
}

/// Headers and body of the list for a client with this `accept-encoding`.
async fn list(client: &mut Client, accept: Option<&str>) -> (HeaderMap, Bytes) {
    let call = Call::get("/v1/models");
    let call = match accept {
        Some(accept) => call.header("accept-encoding", accept),
        None => call,
    };
    let answer = client.send(call).await;
    assert_eq!(answer.status, 200);
    (answer.headers.clone(), answer.collect().await.bytes())
}

#[tokio::test]
async fn a_document_comes_in_the_coding_that_its_client_prefers() {
    let (gateway, _upstream) = listing(|_| ()).await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let (headers, plain) = list(&mut client, None).await;
        assert_eq!(
            (headers.get("content-encoding"), &headers["vary"]),
            (None, &"accept-encoding".parse().unwrap())
        );
        assert!(plain.len() > 100_000, "{}", plain.len());
        for (accept, coding) in [
            ("gzip", Some("gzip")),
            ("br", Some("br")),
            ("zstd", Some("zstd")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip;q=1.0, br;q=0.5, *;q=0", Some("gzip")),
            ("*", Some("zstd")),
            ("identity;q=0", None),
            ("identity", None),
            ("deflate", None),
        ] {
            let (headers, body) = list(&mut client, Some(accept)).await;
            let found = headers.get("content-encoding").map(|name| name.to_str().unwrap());
            assert_eq!((found, headers["vary"].to_str().unwrap()), (coding, "accept-encoding"), "{accept}");
            assert_eq!(decoded(&headers, &body), plain, "{accept}");
            assert_eq!(headers["content-length"], body.len().to_string(), "{accept}");
            assert_eq!(body.len() < plain.len() / 5, coding.is_some(), "{accept}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_head_request_is_answered_with_the_headers_of_the_coded_document() {
    let (gateway, _upstream) = listing(|_| ()).await;
    let mut client = gateway.client(Version::H1).await;
    let (headers, body) = list(&mut client, Some("gzip")).await;
    let call = Call { method: http::Method::HEAD, ..Call::get("/v1/models") };
    let answer = client.send(call.header("accept-encoding", "gzip")).await;
    for name in ["content-encoding", "content-length", "content-type", "vary"] {
        assert_eq!(answer.headers.get(name), headers.get(name), "{name}");
    }
    assert_eq!(answer.header("content-length"), body.len().to_string());
    assert_eq!(answer.collect().await.bytes(), "");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn pages_of_operators_are_compressed_and_short_ones_are_not() {
    let (gateway, _upstream) = listing(|_| ()).await;
    let mut client = gateway.client(Version::H1).await;
    drop(client.send(Call::stream()).await.collect().await);
    for (path, accept, is_coded) in [
        ("/stats", "gzip", true),
        ("/metrics", "gzip", true),
        ("/livez", "gzip", false),
        ("/livez", "gzip, identity;q=0", true),
    ] {
        let call = Call::get(path).header("authorization", &format!("Bearer {ADMIN}"));
        let answer = client.send(call.header("accept-encoding", accept)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers.contains_key("content-encoding"), is_coded, "{path} {accept}");
        assert_eq!(answer.header("vary"), "accept-encoding", "{path} {accept}");
        let headers = answer.headers.clone();
        assert!(!decoded(&headers, &answer.collect().await.bytes()).is_empty());
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn the_configuration_says_from_which_size_on_or_not_at_all() {
    for (change, is_coded, varies) in [
        ((|it: &mut CompressionSettings| it.enabled = false) as fn(&mut CompressionSettings), false, false),
        (|it| it.min_size = 64 << 20, false, true),
        (|it| it.level = 9, true, true),
    ] {
        let (gateway, _upstream) = listing(change).await;
        let mut client = gateway.client(Version::H1).await;
        let (headers, body) = list(&mut client, Some("gzip")).await;
        assert_eq!(
            (headers.contains_key("content-encoding"), headers.contains_key("vary")),
            (is_coded, varies)
        );
        assert!(decoded(&headers, &body).len() > 100_000);
        drop(client);
        gateway.stop().await;
    }
}

const LONG: &str = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"TEXT"}}],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}"#;

fn long() -> String {
    LONG.replace("TEXT", &"all work and no play ".repeat(300))
}

#[tokio::test]
async fn a_providers_answer_is_untouched_unless_the_configuration_says_so() {
    for answers in [false, true] {
        let upstream = Upstream::always(Speaks::H1, script::json(200, long()));
        let plan = Plan::to(&[&upstream]).with(|settings| settings.compression.answers = answers);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::whole().header("accept-encoding", "gzip");
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!(answer.headers.contains_key("content-encoding"), answers);
        let headers = answer.headers.clone();
        assert_eq!(decoded(&headers, &answer.collect().await.bytes()), long().as_bytes());
        let line = journal::closing(&id).await;
        assert_eq!((&line["output_tokens"], &line["status"]), (&9.into(), &200.into()), "{line}");
        // A stream leaves as it comes.
        let answer = client.send(Call::stream().header("accept-encoding", "gzip, identity;q=0")).await;
        assert!(!answer.headers.contains_key("content-encoding"));
        drop((answer, client));
        gateway.stop().await;
    }
}
