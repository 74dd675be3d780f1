//! The charges for answers that broke off or were translated: a provider's usage counts as soon as it has
//! come, and a translation's estimate is no usage of the provider.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{
    charges::{spent, with_budget},
    database_keys::Folder,
};
use crate::{
    client::{Call, Version},
    gateway::Gateway,
    journal,
    upstream::{
        Seen, Speaks, Step, Upstream,
        script::{self, Framing},
    },
};

const MESSAGE: &str = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;
const NOT_FOUND: &str =
    r#"{"error":{"message":"Invalid URL (POST /v1/messages)","type":"invalid_request_error","code":null}}"#;

/// A provider that has chat completions alone.
fn chat_alone(answer: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/chat/completions") {
        true => answer(seen),
        false => script::json(404, NOT_FOUND),
    })
}

async fn charged(upstreams: &[&Upstream], folder: &Folder) -> Gateway {
    let plan = with_budget(upstreams, 1_000_000);
    plan.with(|settings| settings.database = Some(folder.database())).start().await
}

/// A chunk that reports usage so far, as some providers do in each.
fn counted(content: &str, output: u64) -> Bytes {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": output, "total_tokens": 9 + output});
    let delta = String::from_utf8(script::delta(content).to_vec()).unwrap();
    delta.replacen("\"choices\"", &format!("\"usage\":{usage},\"choices\""), 1).into()
}

/// Usage that has come counts, although the translation would have written it at the end alone.
#[tokio::test]
async fn a_translated_stream_that_fails_is_charged_for_its_providers_usage() {
    let error = "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
    let endings = [vec![Step::Moment, Step::Reset], vec![script::body(error), Step::End], vec![Step::End]];
    for ending in endings {
        let begun = vec![script::sse_head(), Step::Body(counted("one", 1)), Step::Body(counted(" two", 4))];
        let steps = [begun, ending].concat();
        let provider = chat_alone({
            let steps = steps.clone();
            move |_| steps.clone()
        });
        let folder = Folder::new();
        let gateway = charged(&[&provider], &folder).await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post("/v1/messages", MESSAGE.replacen('{', r#"{"stream":true,"#, 1));
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "messages>chat"));
        answer.collect().await;
        let line = journal::closing(&id).await;
        let figures = json!([line["input_tokens"], line["output_tokens"], line["usage"]]);
        assert_eq!(figures, json!([9, 4, "partial"]), "{steps:?}");
        drop(client);
        gateway.stop().await;
        assert_eq!(spent(&folder).await, 13, "{steps:?}");
    }
}

/// The client leaves before the provider has reported usage: the prompt and the part that passed are charged.
#[tokio::test]
async fn a_translated_stream_without_usage_is_charged_by_estimate() {
    let provider = chat_alone(|_| vec![script::sse_head(), script::body(script::delta("one")), Step::Stall]);
    let folder = Folder::new();
    let gateway = charged(&[&provider], &folder).await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::post("/v1/messages", MESSAGE.replacen('{', r#"{"stream":true,"#, 1));
    let (id, prompt) = (call.id(), call.body.len().div_ceil(4) as i64);
    let mut answer = client.send(call).await;
    let mut text = Vec::new();
    while !text.windows(3).any(|part| part == b"one") {
        text.extend_from_slice(&answer.piece().await);
    }
    drop((answer, client));
    journal::closing(&id).await;
    gateway.stop().await;
    assert!(spent(&folder).await > prompt, "{}", spent(&folder).await);
}

/// A provider that reports no usage is booked by estimate, whatever the translation writes for its client.
#[tokio::test]
async fn a_translated_whole_answer_without_usage_is_an_estimate() {
    let silent = script::COMPLETION.split_once(",\"usage\"").unwrap().0.to_owned() + "}";
    for (text, source) in [(silent, "estimated"), (script::COMPLETION.to_owned(), "reported")] {
        let provider = chat_alone(move |_| script::json(200, text.clone()));
        let folder = Folder::new();
        let gateway = charged(&[&provider], &folder).await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post("/v1/messages", MESSAGE);
        let id = call.id();
        let message = client.send(call).await.collect().await.json();
        assert!(message["usage"]["output_tokens"].is_u64(), "{message}");
        assert_eq!(journal::closing(&id).await["usage"], source);
        drop(client);
        gateway.stop().await;
    }
}

/// The usage of a document that breaks off behind it counts, however it ends and whether or not another
/// provider answers.
#[tokio::test]
async fn a_document_that_breaks_off_behind_its_usage_is_charged() {
    let usage =
        r#"{"id":"c","usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17},"choices":[{"#;
    let head = |framing| script::head(200, "application/json", framing);
    for (framing, end, status) in [
        (Framing::Length(4000), Step::Close, 502),
        (Framing::Length(4000), Step::Reset, 502),
        (Framing::Chunked, Step::Close, 502),
        (Framing::Chunked, Step::Stall, 504),
    ] {
        let steps = vec![head(framing), script::body(usage), Step::Moment, end];
        let broken = Upstream::always(Speaks::H1, steps.clone());
        let good = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
        for (upstreams, status, charge) in [(vec![&broken], status, 17), (vec![&broken, &good], 200, 17 + 11)]
        {
            let folder = Folder::new();
            let plan = with_budget(&upstreams, 1_000_000);
            let plan = plan.deadlines(|deadlines| deadlines.non_stream = Duration::from_secs(3));
            let gateway = plan.with(|settings| settings.database = Some(folder.database())).start().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::whole()).await;
            assert_eq!(answer.status.as_u16(), status, "{steps:?}");
            answer.collect().await;
            drop(client);
            gateway.stop().await;
            assert_eq!(spent(&folder).await, charge, "{steps:?}");
        }
    }
}

/// The same for an attempt that is cancelled, here at the client's deadline.
#[tokio::test]
async fn a_document_that_is_cancelled_behind_its_usage_is_charged() {
    let usage = r#"{"id":"c","usage":{"prompt_tokens":900,"completion_tokens":8},"choices":[{"#;
    let head = script::head(200, "application/json", Framing::Length(4000));
    let upstream = Upstream::always(Speaks::H1, vec![head, script::body(usage), Step::Stall]);
    let folder = Folder::new();
    let gateway = charged(&[&upstream], &folder).await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole().header("x-litellm-timeout", "3")).await;
    assert_eq!(answer.status, 504);
    answer.collect().await;
    drop(client);
    gateway.stop().await;
    assert_eq!(spent(&folder).await, 908);
}
