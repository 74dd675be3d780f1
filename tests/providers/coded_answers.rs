//! Answers that a provider compresses though it was asked for plain ones: clients, ledger and translation get
//! the decoded bytes.

use std::io::Write;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::{
    client::{Call, Version},
    gateway::Plan,
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, Gate, delta},
    },
};

const CODINGS: [&str; 3] = ["gzip", "deflate", "zstd"];

/// `pieces` in a coding, each so that it can be decoded when it has come.
fn coded(coding: &str, pieces: &[Bytes]) -> Vec<Bytes> {
    fn all<W: Write>(
        mut encoder: W,
        pieces: &[Bytes],
        taken: impl Fn(&mut W) -> &mut Vec<u8>,
        end: impl Fn(W) -> Vec<u8>,
    ) -> Vec<Bytes> {
        let mut parts: Vec<Bytes> = Vec::new();
        for piece in pieces {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
            parts.push(std::mem::take(taken(&mut encoder)).into());
        }
        parts.push(end(encoder).into());
        parts
    }
    let level = Compression::fast();
    match coding {
        "gzip" => {
            all(GzEncoder::new(Vec::new(), level), pieces, GzEncoder::get_mut, |it| it.finish().unwrap())
        }
        "deflate" => {
            all(ZlibEncoder::new(Vec::new(), level), pieces, ZlibEncoder::get_mut, |it| it.finish().unwrap())
        }
        _ => {
            let encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            all(encoder, pieces, zstd::Encoder::get_mut, |it| it.finish().unwrap())
        }
    }
}

fn head(content_type: &str, coding: &str, framing: Framing) -> Step {
    let headers = [("content-type", content_type), ("content-encoding", coding)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Step::Head { status: 200, headers, framing }
}

/// A whole answer in a coding, its length declared.
fn whole(coding: &str, text: &str) -> Vec<Step> {
    let body = coded(coding, &[Bytes::copy_from_slice(text.as_bytes())]).concat();
    vec![head("application/json", coding, Framing::Length(body.len() as u64)), script::body(body), Step::End]
}

const MESSAGE: &str = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;

fn long() -> String {
    script::COMPLETION.replace("\"role\"", &format!("\"x\":\"{}\",\"role\"", "a ".repeat(40_000)))
}

/// Natively and translated, to the token.
#[tokio::test]
async fn a_whole_answer_is_read_in_every_dialect() {
    for coding in CODINGS {
        for speaks in [Speaks::H1, Speaks::H2] {
            let upstream = Upstream::by(speaks, move |_, seen| {
                assert_eq!(seen.all("accept-encoding"), ["identity"]);
                match seen.target.ends_with("/chat/completions") {
                    true => whole(coding, &long()),
                    false => script::json(404, r#"{"error":{"message":"Invalid URL"}}"#),
                }
            });
            let gateway = Plan::to(&[&upstream]).start().await;
            let mut client = gateway.client(Version::H1).await;
            for (call, native) in [(Call::whole(), true), (Call::post("/v1/messages", MESSAGE), false)] {
                let id = call.id();
                let answer = client.send(call.header("accept-encoding", "gzip, zstd")).await;
                let headers = answer.headers.clone();
                assert_eq!((answer.status.as_u16(), headers.contains_key("content-encoding")), (200, false));
                let received = answer.collect().await;
                assert!(received.complete);
                assert_eq!(received.text() == long(), native, "{coding}");
                assert!(received.text().contains("one two"), "{coding}");
                let line = journal::closing(&id).await;
                assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&9.into(), &2.into()), "{line}");
            }
            drop(client);
            gateway.stop().await;
        }
    }
}

/// Each event leaves when it has come, as without a coding.
#[tokio::test]
async fn a_stream_is_passed_event_by_event() {
    let events = [delta("one"), delta(" two"), script::usage(), Bytes::from_static(b"data: [DONE]\n\n")];
    for coding in CODINGS {
        let gate = Gate::new();
        let mut steps = vec![head("text/event-stream", coding, Framing::Chunked)];
        for (number, part) in coded(coding, &events).into_iter().enumerate() {
            if number == 1 {
                steps.push(Step::Wait(gate.clone()));
            }
            steps.push(Step::Body(part));
        }
        steps.push(Step::End);
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::stream();
        let id = call.id();
        let mut answer = client.send(call).await;
        assert_eq!(answer.header("content-type"), "text/event-stream", "{coding}");
        assert!(!answer.headers.contains_key("content-encoding"), "{coding}");
        assert_eq!(answer.piece().await, events[0], "{coding}");
        gate.open();
        let rest = answer.collect().await;
        assert!(rest.complete, "{coding}");
        // The usage was not requested by the client.
        assert_eq!(rest.bytes(), [&*events[1], &events[3]].concat(), "{coding}");
        let line = journal::closing(&id).await;
        assert_eq!((&line["message"], &line["output_tokens"]), (&"done".into(), &3.into()), "{line}");
        drop(client);
        gateway.stop().await;
    }
}

/// Bytes that are not of the coding, a body that ends within it, and few bytes that stand for too many.
#[tokio::test]
async fn what_cannot_be_decoded_is_a_fault() {
    for coding in CODINGS {
        let good = coded(coding, &[Bytes::from(long())]).concat();
        let cut = good[..good.len() - 3].to_vec();
        let large = coded(coding, &[Bytes::from(vec![b' '; 9 << 20])]).concat();
        for (body, code) in [
            (b"{\"id\":1}".to_vec(), "upstream_garbage"),
            (cut, "upstream_truncated"),
            (large, "response_too_large"),
        ] {
            let head = head("application/json", coding, Framing::Length(body.len() as u64));
            let upstream = Upstream::always(Speaks::H1, vec![head, script::body(body), Step::End]);
            let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.max_response_size = 8 << 20);
            let gateway = plan.start().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::whole()).await;
            assert_eq!(answer.status, 502, "{coding}");
            assert_eq!(answer.collect().await.json()["error"]["code"], code, "{coding}");
            drop(client);
            gateway.stop().await;
        }
        // In a stream after its first event.
        let gate = Gate::new();
        let mut parts = coded(coding, &[delta("one")]);
        parts[1] = Bytes::from_static(b"\xff no code \xff");
        let steps = vec![
            head("text/event-stream", coding, Framing::Chunked),
            Step::Body(parts[0].clone()),
            Step::Wait(gate.clone()),
            Step::Body(parts[1].clone()),
            Step::End,
        ];
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::stream();
        let id = call.id();
        let mut answer = client.send(call).await;
        assert_eq!(answer.piece().await, delta("one"), "{coding}");
        gate.open();
        assert!(!answer.collect().await.complete, "{coding}");
        assert_eq!(journal::closing(&id).await["code"], "upstream_garbage", "{coding}");
        drop(client);
        gateway.stop().await;
    }
}

/// A provider may say that its answer is in no coding, and a stream stays one.
#[tokio::test]
async fn an_answer_that_says_identity_is_plain() {
    let body = [delta("one"), script::usage(), script::DONE.into()].concat();
    let head = head("text/event-stream", "identity", Framing::Chunked);
    let upstream = Upstream::always(Speaks::H1, vec![head, script::body(body), Step::End]);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::stream();
    let id = call.id();
    let answer = client.send(call).await;
    assert!(!answer.headers.contains_key("content-encoding"));
    assert_eq!(answer.collect().await.bytes(), [&*delta("one"), script::DONE].concat());
    assert_eq!(journal::closing(&id).await["output_tokens"], 3);
    drop(client);
    gateway.stop().await;
}

/// An unknown coding, several codings, and a part of a coded body: also with `compression.answers`, which
/// compresses nothing twice.
#[tokio::test]
async fn a_coding_that_cannot_be_decoded_here_passes_as_it_came() {
    let body = Bytes::from_static(b"\x0b\x02\x80{}\x03");
    for (coding, range) in [("br", None), ("gzip, zstd", None), ("gzip", Some("bytes 0-5/100"))] {
        let mut first = head("application/json", coding, Framing::Length(body.len() as u64));
        if let (Step::Head { headers, .. }, Some(range)) = (&mut first, range) {
            headers.push(("content-range".into(), range.into()));
        }
        let upstream = Upstream::always(Speaks::H1, vec![first, script::body(body.clone()), Step::End]);
        let plan = Plan::to(&[&upstream]).with(|settings| settings.compression.answers = true);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::whole().header("accept-encoding", "gzip, br")).await;
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.collect().await.bytes(), body);
        drop(client);
        gateway.stop().await;
    }
}
