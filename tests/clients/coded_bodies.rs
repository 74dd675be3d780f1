//! Request bodies that their client has compressed.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use super::keys::refusal;
use crate::{
    client::Call,
    gateway::{PAIRS, Plan},
    upstream::{Speaks, Upstream, script},
};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

fn coded(coding: &str, body: Vec<u8>) -> Call {
    Call::post("/v1/responses", body).header("content-encoding", coding)
}

/// A provider gets the plain body with its own length, whatever the client's coding (Codex sends zstd).
#[tokio::test]
async fn a_coded_body_goes_up_plain() {
    let filler = "again and again ".repeat(30_000);
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::json(200, script::COMPLETION));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let body = format!(r#"{{"model":"m","input":"{filler}"}}"#);
        for (coding, bytes) in [
            ("zstd", zstd(body.as_bytes())),
            ("gzip", gzip(body.as_bytes())),
            ("deflate", deflate(body.as_bytes())),
            ("identity", body.clone().into_bytes()),
        ] {
            let before = upstream.log.requests();
            let answer = client.send(coded(coding, bytes)).await;
            assert_eq!(answer.status, 200, "{coding}");
            answer.collect().await;
            let seen = upstream.log.request(before).await;
            assert!(seen.body == body, "{coding}");
            assert_eq!(seen.all("content-length"), [body.len().to_string()]);
            assert!(seen.all("content-encoding").is_empty());
        }
        drop(client);
        gateway.stop().await;
    }
}

/// A bomb is refused at its bound; what is not understood is named.
#[tokio::test]
async fn bombs_and_unknown_codings_are_refused() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.limits.body_size = 100_000).start().await;
    let mut client = gateway.client(crate::client::Version::H2).await;
    let bomb = vec![b' '; 5_000_000];
    for (coding, body, status, code) in [
        ("zstd", zstd(&bomb), 413, "request_too_large"),
        ("gzip", gzip(&bomb), 413, "request_too_large"),
        ("zstd", b"{\"model\":\"m\"}".to_vec(), 400, "invalid_request"),
        ("gzip", gzip(b"{\"model\":\"m\"}")[..20].to_vec(), 400, "invalid_request"),
        ("br", vec![1, 2, 3], 415, "unsupported_content_encoding"),
        ("gzip, zstd", vec![1, 2, 3], 415, "unsupported_content_encoding"),
    ] {
        let answer = client.send(coded(coding, body)).await;
        if status == 415 {
            assert_eq!(answer.header("accept-encoding"), "zstd, gzip, deflate");
        }
        let (given, told, _) = refusal(answer).await;
        assert_eq!((given, &*told), (status, code), "{coding}");
    }
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}
