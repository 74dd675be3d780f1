//! A relayed body has exactly the bytes that the provider sent: every transcript, over every pair of
//! protocols, wherever the network splits it.

use bytes::Bytes;

use crate::{
    client::{Answer, Call, Client, Version},
    gateway::{Gateway, PAIRS, Plan},
    transcripts::{self, Transcript},
    upstream::{Framing, Speaks, Step, Upstream, h1::chunk, script},
};

/// A client that asks for usage itself, so the gateway adds and removes nothing.
const ASKED: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;

fn head(transcript: &Transcript, framing: Framing) -> Step {
    Step::Head { status: transcript.status, headers: transcript.headers.clone(), framing }
}

async fn gateway(upstream: &Upstream) -> Gateway {
    Plan::to(&[upstream]).start().await
}

async fn ask(client: &mut Client, body: &'static str) -> Answer {
    client.send(Call::post("/v1/chat/completions", body).header("x-use-asgi-streaming", "true")).await
}

/// S0.1, S0.2, R7, R9, R10, B14: every stream in one piece, in each framing of HTTP/1.1.
#[tokio::test]
async fn every_stream_whole() {
    let streams: Vec<_> = transcripts::streams().collect();
    let framings: [fn(usize) -> Framing; 3] =
        [|_| Framing::Chunked, |size| Framing::Length(size as u64), |_| Framing::UntilClose];
    for (speaks, version) in PAIRS {
        for framing in framings {
            let answers = streams.clone();
            let upstream = Upstream::by(speaks, move |number, _| {
                let transcript = answers[number];
                let body = Step::Body(transcript.body.clone());
                vec![head(transcript, framing(transcript.body.len())), body, Step::End]
            });
            let gateway = gateway(&upstream).await;
            let mut client = gateway.client(version).await;
            for transcript in &streams {
                let answer = ask(&mut client, ASKED).await;
                assert_eq!(answer.status, transcript.status, "{}", transcript.name);
                let received = answer.collect().await;
                assert!(received.complete, "{} {speaks:?} {version:?}", transcript.name);
                assert_eq!(received.bytes(), transcript.body, "{} {speaks:?} {version:?}", transcript.name);
            }
            drop(client);
            gateway.stop().await;
        }
    }
}

/// R1, R2, R5, R7: frames are split where the recorded network split them, and each reaches the client before
/// the next is sent.
#[tokio::test]
async fn recorded_reads_arrive_as_they_came() {
    let streams: Vec<_> = transcripts::streams().filter(|transcript| transcript.reads.is_some()).collect();
    for (speaks, version) in PAIRS {
        let answers = streams.clone();
        let upstream = Upstream::by(speaks, move |number, _| {
            let transcript = answers[number];
            let mut steps = vec![head(transcript, Framing::Chunked)];
            for piece in transcript.pieces().unwrap() {
                steps.extend([Step::Body(piece), Step::Delivered]);
            }
            steps.push(Step::End);
            steps
        });
        let gateway = gateway(&upstream).await;
        let mut client = gateway.client(version).await.telling(&upstream.log);
        for transcript in &streams {
            let received = ask(&mut client, ASKED).await.collect().await;
            assert!(received.complete, "{} {speaks:?} {version:?}", transcript.name);
            assert_eq!(received.bytes(), transcript.body, "{} {speaks:?} {version:?}", transcript.name);
            assert_eq!(received.frames, transcript.pieces().unwrap(), "{}", transcript.name);
        }
        drop(client);
        gateway.stop().await;
    }
}

/// A short stream with every trait that a split can break: a comment, CRLF, characters of four bytes,
/// `[DONE]`.
fn short() -> Bytes {
    let text =
        ": hi\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"\u{1f30a}\"}}]}\r\n\r\ndata: [DONE]\n\n";
    Bytes::from_static(text.as_bytes())
}

/// R2, R7, R8: one byte per read, each delivered before the provider sends the next.
#[tokio::test]
async fn every_byte_alone() {
    for (speaks, version) in PAIRS {
        let pieces = (0..short().len()).map(|at| short().slice(at..=at));
        let upstream = Upstream::always(speaks, script::sse_pieces(pieces));
        let gateway = gateway(&upstream).await;
        let mut client = gateway.client(version).await.telling(&upstream.log);
        let received = ask(&mut client, ASKED).await.collect().await;
        assert!(received.complete, "{speaks:?} {version:?}");
        assert_eq!(received.bytes(), short());
        assert_eq!(received.frames.len(), short().len(), "{speaks:?} {version:?}");
        drop(client);
        gateway.stop().await;
    }
}

/// R7, R8: split once, at every byte.
#[tokio::test]
async fn cut_at_every_byte() {
    let pairs = [(Speaks::H1, Version::H1), (Speaks::H2, Version::H2)];
    for (speaks, version) in pairs {
        let upstream = Upstream::by(speaks, |number, _| {
            script::sse_pieces([short().slice(..number + 1), short().slice(number + 1..)])
        });
        let gateway = gateway(&upstream).await;
        let mut client = gateway.client(version).await.telling(&upstream.log);
        for cut in 1..short().len() {
            let received = ask(&mut client, ASKED).await.collect().await;
            assert!(received.complete, "cut at {cut}");
            assert_eq!(received.frames, [short().slice(..cut), short().slice(cut..)]);
        }
        drop(client);
        gateway.stop().await;
    }
}

/// R2, R8: the provider's HTTP/1.1 bytes split at every byte: inside the head, chunk sizes, line ends and the
/// last chunk.
#[tokio::test]
async fn wire_cut_at_every_byte() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let (first, second) = (short().slice(..20), short().slice(20..));
    let wire: Bytes = [&head[..], &chunk(&first), &chunk(&second), b"0\r\n\r\n"].concat().into();
    let size = wire.len();
    let upstream = Upstream::by(Speaks::H1, move |number, _| {
        let (before, after) = (wire.slice(..number + 1), wire.slice(number + 1..));
        vec![script::raw(before), Step::Moment, script::raw(after)]
    });
    let gateway = gateway(&upstream).await;
    let mut client = gateway.client(Version::H1).await;
    for cut in 1..size {
        let received = ask(&mut client, ASKED).await.collect().await;
        assert!(received.complete, "cut at {cut}");
        assert_eq!(received.bytes(), short(), "cut at {cut}");
    }
    drop(client);
    gateway.stop().await;
}

/// S0.1, R10, R33: documents, errors among them, keep status, body and the headers that clients act on.
#[tokio::test]
async fn every_document() {
    let documents: Vec<_> = transcripts::documents().collect();
    for (speaks, version) in PAIRS {
        let answers = documents.clone();
        let upstream = Upstream::by(speaks, move |number, _| {
            let transcript = answers[number];
            let framing = Framing::Length(transcript.body.len() as u64);
            vec![head(transcript, framing), Step::Body(transcript.body.clone()), Step::End]
        });
        let gateway = gateway(&upstream).await;
        let mut client = gateway.client(version).await;
        for transcript in &documents {
            let answer = client.send(Call::whole()).await;
            let name = &transcript.name;
            let json: Option<serde_json::Value> = serde_json::from_slice(&transcript.body).ok();
            let is_error_object = json.is_some_and(|json| json["error"].is_object());
            if transcript.status >= 400 && (transcript.status == 401 || !is_error_object) {
                // About the gateway's own key, or in no form of the APIs: an error of the gateway's shape.
                assert_eq!(answer.status, transcript.status, "{name}");
                let is_about_key =
                    answer.headers.get("x-thalweg-error").is_some_and(|code| code == "upstream_key_refused");
                assert_eq!(is_about_key, transcript.status == 401, "{name}");
                assert!(answer.collect().await.json()["error"]["code"].is_string(), "{name}");
                continue;
            }
            assert_eq!(answer.status, transcript.status, "{name}");
            for (header, value) in &transcript.headers {
                let passes = header.starts_with("retry-after")
                    || header.starts_with("x-ratelimit-")
                    || header.starts_with("anthropic-ratelimit-")
                    || matches!(header.as_str(), "x-should-retry" | "content-type");
                if passes {
                    assert_eq!(answer.header(header), value, "{name}");
                }
            }
            let received = answer.collect().await;
            assert!(received.complete);
            assert_eq!(received.bytes(), transcript.body, "{name} {speaks:?} {version:?}");
        }
        drop(client);
        gateway.stop().await;
    }
}

/// R33: a stream's head keeps those headers too, and forbids caching and buffering by proxies (R1, R4).
#[tokio::test]
async fn a_stream_keeps_its_headers() {
    let transcript = transcripts::named("stream-plain").unwrap();
    for (speaks, version) in PAIRS {
        let steps = vec![head(transcript, Framing::Chunked), Step::Body(transcript.body.clone()), Step::End];
        let upstream = Upstream::always(speaks, steps);
        let gateway = gateway(&upstream).await;
        let mut client = gateway.client(version).await;
        let call = Call::stream().header("accept-encoding", "gzip, br");
        let answer = client.send(call).await;
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), "99");
        assert_eq!(answer.header("x-ratelimit-reset-tokens"), "6m0s");
        assert_eq!(answer.header("x-accel-buffering"), "no");
        assert_eq!(answer.header("cache-control"), "no-cache, no-transform");
        assert!(answer.headers.get("content-encoding").is_none());
        answer.header("server-timing");
        answer.collect().await;
        let seen = upstream.log.request(0).await;
        assert!(
            seen.all("accept-encoding").iter().all(|value| *value == "identity"),
            "nothing to decompress is asked for: {seen:?}"
        );
        drop(client);
        gateway.stop().await;
    }
}

/// B12: a client of HTTP/1.0 gets the stream without chunks; the end of the connection ends it.
#[tokio::test]
async fn http_1_0_clients() {
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
