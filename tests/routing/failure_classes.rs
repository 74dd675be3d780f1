//! Classes of failure: which response leads to the next candidate, and which passes to the client (S1.3,
//! S1.14, S3.8, B5, R15, R18).

use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg::wire::{Dialect, EventClass, Scanner, classify};

use crate::{
    client::{Call, Version},
    gateway::{Gateway, Plan},
    transcripts::{self, Transcript},
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, sse_head},
    },
};

pub const ERROR_EVENT: &str =
    "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":null}}\n\n";

pub fn serving() -> Upstream {
    Upstream::always(Speaks::H1, script::sse(script::short_stream()))
}

pub async fn two(first: &Upstream, second: &Upstream) -> Gateway {
    Plan::to(&[first, second]).start().await
}

/// The part of a recorded stream before its first content.
fn prologue(body: &[u8]) -> Bytes {
    let (mut end, mut said) = (0, false);
    let mut scanner = Scanner::new(1 << 20);
    let scanned = scanner.scan(body, |event| {
        said |= !matches!(
            classify(Dialect::ChatCompletions, &event).class,
            EventClass::Comment | EventClass::Other | EventClass::Usage
        );
        if !said {
            end = event.end;
        }
    });
    assert!(scanned.is_ok());
    Bytes::copy_from_slice(&body[..end])
}

/// B5, R15: no recorded prologue (comments, pings, roles, empty choices, Azure's) commits a stream: a failure
/// right after it is never seen by the client.
#[tokio::test]
async fn no_prologue_commits_a_stream() {
    let endings = [vec![Step::Close], vec![Step::Reset], vec![script::body(ERROR_EVENT), Step::End]];
    let own = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n: ping\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n";
    let mut prologues = vec![Bytes::from_static(own.as_bytes())];
    prologues.extend(transcripts::streams().map(|transcript| prologue(&transcript.body)));
    prologues.retain(|prologue| !prologue.is_empty());
    let count = prologues.len();
    let first = Upstream::by(Speaks::H1, move |number, _| {
        let said = prologues[number % count].clone();
        [vec![sse_head(), Step::Body(said), Step::Moment], endings[number % 3].clone()].concat()
    });
    let second = serving();
    // The first must be tried each time, however often it failed.
    let plan = Plan::to(&[&first, &second]).with(|settings| {
        settings.routing.breaker.failures = u32::MAX;
        settings.routing.breaker.min_requests = u32::MAX;
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for number in 0..count * 3 {
        let answer = client.send(Call::stream()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (200, "2"), "{number}");
        assert_eq!(answer.collect().await.bytes(), script::short_stream(), "{number}");
    }
    drop(client);
    gateway.stop().await;
}

/// B5, R15: a stream that ends without content or a finish reason counts as a failure while another candidate
/// is left; one with a finish reason and no content is an answer.
#[tokio::test]
async fn an_end_without_content_is_a_failure() {
    let role = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#;
    let over = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let page = |kind| vec![script::head(200, kind, Framing::Chunked), script::body("<html>"), Step::End];
    let empty = |status| vec![script::head(status, "application/json", Framing::Length(0))];
    for (stream, steps, attempts) in [
        (true, vec![sse_head(), Step::End], "2"),
        (true, script::sse(": ping\n\n"), "2"),
        (true, script::sse(format!("{role}\n\n")), "2"),
        (true, script::sse(r#"data: {"choices":[{"ind"#), "2"),
        (true, page("text/html; charset=utf-8"), "2"),
        (true, script::sse(format!("{role}\n\n{over}\n\n")), "1"),
        (true, script::sse(format!("{role}\n\ndata: [DONE]")), "1"),
        (false, page("application/json"), "2"),
        (false, empty(200), "2"),
        (false, empty(204), "2"),
        (false, script::json(200, &script::COMPLETION[..60]), "2"),
        (false, script::json(200, script::COMPLETION), "1"),
    ] {
        let shown = format!("{stream} {steps:?}");
        let good =
            if stream { script::sse(script::short_stream()) } else { script::json(200, script::COMPLETION) };
        let (first, second) = (Upstream::always(Speaks::H1, steps), Upstream::always(Speaks::H1, good));
        let gateway = two(&first, &second).await;
        let mut client = gateway.client(Version::H1).await;
        let call =
            if stream { Call::stream() } else { Call::post("/v1/chat/completions", r#"{"model":"m"}"#) };
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (200, attempts), "{shown}");
        assert!(answer.collect().await.complete);
        drop(client);
        gateway.stop().await;
    }
}

/// S3.8: the only candidate's status and headers pass although its error body breaks off or does not come.
#[tokio::test]
async fn an_error_without_its_body_keeps_its_status() {
    for end in [Step::Close, Step::Reset, Step::Stall] {
        let head = Step::Head {
            status: 429,
            headers: vec![("retry-after".into(), "7".into()), ("content-type".into(), "text/plain".into())],
            framing: Framing::Length(100),
        };
        let upstream = Upstream::always(Speaks::H1, vec![head, script::body("rate lim"), end.clone()]);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let begun = Instant::now();
        let answer = client.send(Call::stream().header("x-litellm-timeout", "1")).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"), "{end:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.collect().await.json()["error"]["code"], "upstream_status");
        assert!(begun.elapsed() < Duration::from_secs(4), "the client's patience is respected");
        drop(client);
        gateway.stop().await;
    }
}

/// S1.14, R18: each recorded error: a mistake of the client passes unchanged, any other error leads to the
/// next candidate.
#[tokio::test]
async fn errors_as_recorded() {
    let errors: Vec<&Transcript> =
        transcripts::all().iter().filter(|transcript| transcript.status >= 400).collect();
    for error in errors {
        let head = Step::Head {
            status: error.status,
            headers: error.headers.clone(),
            framing: Framing::Length(error.body.len() as u64),
        };
        let first = Upstream::always(Speaks::H1, vec![head, Step::Body(error.body.clone()), Step::End]);
        let second = serving();
        let gateway = two(&first, &second).await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        let (status, received) = (answer.status.as_u16(), answer.collect().await.bytes());
        if error.status == 400 {
            assert_eq!((status, received), (400, error.body.clone()), "{}", error.name);
        } else {
            assert_eq!((status, received), (200, script::short_stream()), "{}", error.name);
        }
        drop(client);
        gateway.stop().await;
    }
}

/// S1.14, R18: the same by status alone.
#[tokio::test]
async fn errors_by_status() {
    for (status, passes) in [
        (400, true),
        (401, false),
        (402, false),
        (403, false),
        (404, false),
        (408, false),
        (413, true),
        (422, true),
        (429, false),
        (500, false),
        (502, false),
        (503, false),
        (504, false),
        (529, false),
    ] {
        let first = Upstream::always(Speaks::H1, script::json(status, "{}"));
        let second = serving();
        let gateway = two(&first, &second).await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, if passes { status } else { 200 });
        assert_eq!(answer.header("x-thalweg-provider"), if passes { "p0" } else { "p1" }, "{status}");
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// S1.3: only the beginning of an error body is waited for, and its connection is given up.
#[tokio::test]
async fn an_endless_error_body_is_given_up() {
    let first = Upstream::always(
        Speaks::H1,
        vec![
            script::head(500, "application/json", Framing::Length(1 << 20)),
            script::body("{\"error\":"),
            Step::Stall,
        ],
    );
    let second = serving();
    let gateway = two(&first, &second).await;
    let mut client = gateway.client(Version::H1).await;
    let started = Instant::now();
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.header("x-thalweg-provider"), "p1");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    first.log.gone(0).await;
    assert!(answer.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// S3.8: the only candidate's error passes unchanged, unless it is about the gateway's own key.
#[tokio::test]
async fn the_only_candidates_error_passes() {
    let body = "{\"error\":{\"message\":\"no\",\"type\":\"overloaded_error\"}}";
    for status in [403, 404, 429, 500, 529] {
        let upstream = Upstream::always(Speaks::H1, script::json(status, body));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (status, "p0"));
        assert_eq!(answer.collect().await.text(), body);
        drop(client);
        gateway.stop().await;
    }
}
