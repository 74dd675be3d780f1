//! B24, R34: the gateway requests usage for the client and takes the usage chunk out again, wherever the
//! network splits the stream.

use bytes::Bytes;
use serde_json::json;
use thalweg::{exchange::OnDisconnect, relay::Mode};

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Speaks, Step, Upstream,
        script::{self, DONE, delta, usage},
    },
};

const CHAT: &str = "/v1/chat/completions";

/// A stream with the extra chunk where providers put it.
fn with_usage() -> Bytes {
    [delta("one"), delta(" two"), usage(), DONE.into()].concat().into()
}

fn without_usage() -> Bytes {
    [delta("one"), delta(" two"), DONE.into()].concat().into()
}

/// The client does not request usage: the gateway does, and the client does not see the chunk.
#[tokio::test]
async fn requested_and_removed() {
    for (speaks, version) in PAIRS {
        for mode in [Mode::Asgi, Mode::Buffered] {
            let upstream = Upstream::always(speaks, script::sse(with_usage()));
            let gateway = Plan::to(&[&upstream]).with(|settings| settings.stream.mode = mode).start().await;
            let mut client = gateway.client(version).await;
            let received = client.send(Call::stream()).await.collect().await;
            assert!(received.complete);
            assert_eq!(received.bytes(), without_usage(), "{speaks:?} {version:?} {mode:?}");
            let seen = upstream.log.request(0).await;
            assert_eq!(seen.json()["stream_options"]["include_usage"], true);
            let body = std::str::from_utf8(&seen.body).unwrap();
            assert!(body.contains(r#""messages":[{"role":"user","content":"hi"}]"#), "{body}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The same with the stream split once at every byte: in the chunk, before it, after it.
#[tokio::test]
async fn removed_at_every_split() {
    let size = with_usage().len();
    let upstream = Upstream::by(Speaks::H1, |number, _| {
        let (before, after) = (with_usage().slice(..number + 1), with_usage().slice(number + 1..));
        vec![script::sse_head(), Step::Body(before), Step::Moment, Step::Body(after), Step::End]
    });
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for cut in 1..size {
        let received = client.send(Call::stream()).await.collect().await;
        assert!(received.complete, "cut at {cut}");
        assert_eq!(received.bytes(), without_usage(), "cut at {cut}");
    }
    drop(client);
    gateway.stop().await;
}

/// Events without usage are not held back by the search for it: each arrives before the next is sent.
#[tokio::test]
async fn other_events_are_not_delayed() {
    let pieces = [delta("one"), delta(" two"), delta(" three")];
    let mut steps = script::sse_pieces(pieces.clone());
    steps.pop();
    steps.extend([Step::Body(usage()), script::body(DONE), Step::End]);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    let received = client.send(Call::stream()).await.collect().await;
    assert_eq!(received.frames[..3], pieces);
    assert_eq!(received.bytes(), [&pieces[..], &[DONE.into()]].concat().concat());
    drop(client);
    gateway.stop().await;
}

/// The client's own usage option goes upstream unchanged, and the provider's usage chunk comes back.
#[tokio::test]
async fn the_clients_own_option_stands() {
    let bodies = [
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
        r#"{"model":"m","stream":true,"stream_options":{ "other":1, "include_usage" : false }}"#,
        r#"{"model":"m","stream":false}"#,
        r#"{"model":"m"}"#,
    ];
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, body) in bodies.into_iter().enumerate() {
        let received = client.send(Call::post(CHAT, body)).await.collect().await;
        assert_eq!(received.bytes(), with_usage(), "{body}");
        assert_eq!(upstream.log.request(number).await.body, body);
    }
    drop(client);
    gateway.stop().await;
}

/// Other stream options stay as they are.
#[tokio::test]
async fn other_stream_options_stay() {
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, options) in [r#"{"include_obfuscation":false}"#, "{}", "{ }", "null"].into_iter().enumerate()
    {
        let body = format!(r#"{{"model":"m","stream":true,"stream_options":{options},"seed":1.0}}"#);
        let received = client.send(Call::post(CHAT, body)).await.collect().await;
        assert_eq!(received.bytes(), without_usage(), "{options}");
        let seen = upstream.log.request(number).await;
        assert_eq!(seen.json()["stream_options"]["include_usage"], true, "{options}");
        if number == 0 {
            assert_eq!(seen.json()["stream_options"]["include_obfuscation"], false);
        }
        assert!(std::str::from_utf8(&seen.body).unwrap().contains(r#""seed":1.0"#));
    }
    drop(client);
    gateway.stop().await;
}

/// R10: chunks that resemble the usage chunk stay: a prologue without choices, usage beside choices, `usage:
/// null`.
#[tokio::test]
async fn similar_chunks_stay() {
    let stream = concat!(
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{}\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        ": usage\n\n",
        "data: [DONE]\n\n",
    );
    let upstream = Upstream::always(Speaks::H1, script::sse(stream));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::stream()).await.collect().await;
    assert_eq!(received.text(), stream);
    drop(client);
    gateway.stop().await;
}

/// Nothing is added when it is switched off, or in a dialect without this option.
#[tokio::test]
async fn not_where_switched_off_or_unknown() {
    let body = r#"{"model":"m","stream":true,"input":"x","messages":[],"max_tokens":5}"#;
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    for (endpoint, switched_on) in [(CHAT, false), ("/v1/responses", true), ("/v1/messages", true)] {
        let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.include_usage = switched_on);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let before = upstream.log.requests();
        let received = client.send(Call::post(endpoint, body)).await.collect().await;
        assert_eq!(received.bytes(), with_usage(), "{endpoint}");
        assert_eq!(upstream.log.request(before).await.body, body, "{endpoint}");
        drop(client);
        gateway.stop().await;
    }
}

/// B6, R12: for a provider that reports no usage, the usage of a whole answer is estimated and marked as an
/// estimate.
#[tokio::test]
async fn usage_is_estimated_when_not_reported() {
    let bare = json!({"choices": [{"message": {"content": "x".repeat(700)}}]}).to_string();
    let upstream = Upstream::in_turn(
        Speaks::H1,
        vec![
            script::sse(script::short_stream()),
            script::json(200, bare),
            script::json(200, script::COMPLETION),
        ],
    );
    let cancels =
        |settings: &mut thalweg::config::Settings| settings.stream.on_disconnect = OnDisconnect::Cancel;
    let gateway = Plan::to(&[&upstream]).with(cancels).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut booked = Vec::new();
    for call in [Call::stream(), Call::whole(), Call::whole()] {
        let id = call.id();
        assert!(client.send(call).await.collect().await.complete);
        let line = journal::closing(&id).await;
        booked.push(json!([line["output_tokens"], line["usage"]]));
    }
    assert_eq!(
        booked,
        [json!([3, "estimated"]), json!([(743 - 300) / 4, "estimated"]), json!([2, "reported"])]
    );
    drop(client);
    gateway.stop().await;
}
