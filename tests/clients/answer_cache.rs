//! The answer cache: which answers are given again, to which requests, and how they are booked.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use thalweg::{
    auth::{KeyLimits, TokenSettings, limit::LimitValues},
    base::Secret,
    cache::{CacheSettings, ReplayPace},
};

use crate::{
    client::{
        Answer, Call, Client, Version,
        call::{STREAM, TOKEN, WHOLE},
    },
    gateway::{Gateway, Plan},
    journal,
    operators::sessions::{self, signed_in},
    upstream::{
        Speaks, Step, Upstream,
        log::in_time,
        script::{self, COMPLETION, DONE, delta, last_delta, usage},
    },
};

const OTHER: &str = "sk-other-client-of-the-cache-tests";

fn cached(upstream: &Upstream, change: impl FnOnce(&mut CacheSettings)) -> Plan {
    Plan::to(&[upstream]).with(|settings| {
        settings.cache.enabled = true;
        change(&mut settings.cache);
    })
}

/// Streams with usage to requests for one, whole answers to the others; each names the count of its request.
pub fn counting() -> Upstream {
    Upstream::by(Speaks::H1, |number, seen| {
        if seen.json()["stream"] == true {
            script::sse([last_delta(&format!("answer {number}")), usage(), DONE.into()].concat())
        } else {
            script::json(200, COMPLETION.replace("one two", &format!("answer {number}")))
        }
    })
}

/// The value of `x-thalweg-cache`, without the age.
fn word(answer: &Answer) -> Option<String> {
    let value = answer.headers.get("x-thalweg-cache")?.to_str().unwrap();
    match value.strip_prefix("hit; age=") {
        Some(age) => {
            assert!(age.parse::<u64>().unwrap() < 10, "{age}");
            Some("hit".to_owned())
        }
        None => Some(value.to_owned()),
    }
}

/// Status, `x-thalweg-cache` and body.
async fn ask(client: &mut Client, call: Call) -> (u16, Option<String>, Bytes) {
    let answer = client.send(call).await;
    let (status, word) = (answer.status.as_u16(), word(&answer));
    (status, word, answer.collect().await.bytes())
}

/// The word of a request's answer alone.
async fn asked(client: &mut Client, call: Call) -> String {
    ask(client, call).await.1.unwrap_or_else(|| "none".into())
}

/// A page's session has the answers of its key, and a session of another key with the same name has others.
#[tokio::test]
async fn a_session_shares_the_answers_of_its_key_alone() {
    let upstream = counting();
    let plan = cached(&upstream, |_| ()).with(|settings| {
        settings.tokens =
            [TOKEN, OTHER].map(|token| TokenSettings::plain("team", Secret::new(token.to_owned()))).into();
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(asked(&mut client, Call::whole()).await, "miss");
    for (key, word) in [(TOKEN, "hit"), (OTHER, "miss"), (OTHER, "hit")] {
        let cookie = signed_in(&mut client, key).await;
        let call = sessions::page(Method::POST, "/v1/chat/completions").header("cookie", &cookie);
        let call = Call { body: WHOLE.into(), ..call.header("content-type", "application/json") };
        assert_eq!(asked(&mut client, call).await, word, "{key}");
    }
    let other = Call::whole().header("authorization", &format!("Bearer {OTHER}"));
    assert_eq!(asked(&mut client, other).await, "hit");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn an_equal_request_is_given_the_same_bytes_without_its_provider() {
    for version in Version::BOTH {
        for call in [Call::whole, Call::stream] {
            let upstream = counting();
            let gateway = cached(&upstream, |_| ()).start().await;
            let mut client = gateway.client(version).await;
            let (status, word, first) = ask(&mut client, call()).await;
            assert_eq!((status, word.as_deref()), (200, Some("miss")));
            let again = call();
            let id = again.id();
            let answer = client.send(again).await;
            let is_stream = call().body == STREAM;
            let kind = if is_stream { "text/event-stream; charset=utf-8" } else { "application/json" };
            assert_eq!((answer.header("content-type"), answer.header("x-thalweg-provider")), (kind, "p0"));
            assert!(answer.headers.get("x-thalweg-attempts").is_none());
            assert_eq!(self::word(&answer).as_deref(), Some("hit"));
            assert_eq!(answer.collect().await.bytes(), first);
            let line = journal::closing(&id).await;
            let saved = if is_stream { 12 } else { 11 };
            assert_eq!((&line["reuse"], &line["tokens_saved"]), (&"cached".into(), &saved.into()), "{line}");
            assert_eq!((&line["output_tokens"], &line["attempts"]), (&Value::Null, &Value::Null), "{line}");
            assert_eq!(upstream.log.requests(), 1);
            drop(client);
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn nothing_is_kept_unless_the_configuration_says_so() {
    let upstream = counting();
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..2 {
        assert_eq!(asked(&mut client, Call::whole()).await, "none");
    }
    let only = Call::whole().header("x-thalweg-cache", "only-if-cached");
    assert_eq!(ask(&mut client, only).await.0, 504);
    assert_eq!(upstream.log.requests(), 2);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_key_or_a_model_may_say_it_for_itself() {
    for (general, model, key, words) in [
        (false, Some(true), None, ["miss", "hit"]),
        (false, None, Some(true), ["miss", "hit"]),
        (true, Some(false), None, ["none", "none"]),
        (true, Some(true), Some(false), ["none", "none"]),
    ] {
        let upstream = counting();
        let plan = cached(&upstream, |cache| {
            cache.enabled = general;
            cache.models.extend(model.map(|enabled| ("m".into(), enabled)));
        });
        let plan = plan.with(|settings| {
            settings.tokens[0].limits.cache = key;
            let rule = thalweg::routing::settings::ModelRule { name: "m".into(), ..Default::default() };
            settings.routing.models.push(rule);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let found = [asked(&mut client, Call::whole()).await, asked(&mut client, Call::whole()).await];
        assert_eq!(found, words, "{general} {model:?} {key:?}");
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn all_that_can_change_an_answer_is_a_part_of_its_key() {
    let upstream = counting();
    let gateway = cached(&upstream, |_| ()).start().await;
    let mut client = gateway.client(Version::H1).await;
    let chat = |body: &str| Call::post("/v1/chat/completions", body.to_owned());
    assert_eq!(asked(&mut client, chat(WHOLE)).await, "miss");
    for call in [
        chat(&WHOLE.replace("hi", "ho")),
        chat(&WHOLE.replacen('{', "{\"seed\":1,", 1)),
        chat(&WHOLE.replace("\"model\":\"m\",", "\"model\": \"m\",")),
        chat(&WHOLE.replace("\"m\"", "\"p0/m\"")),
        chat(WHOLE).header("openai-beta", "x=1"),
        chat(WHOLE).header("openai-beta", "x=2"),
        chat(WHOLE).header("anthropic-beta", "a"),
        chat(WHOLE).header("accept-language", "de"),
        Call::post("/v1/chat/completions?x=1", WHOLE),
        Call::post("/v1/completions", WHOLE),
        Call::stream(),
    ] {
        let shown = format!("{} {:?} {:?}", call.target, call.headers, call.body);
        let repeat = Call { headers: call.headers.clone(), target: call.target.clone(), ..chat("") };
        let repeat = Call { body: call.body.clone(), ..repeat };
        assert_eq!(asked(&mut client, call).await, "miss", "{shown}");
        assert_eq!(asked(&mut client, repeat).await, "hit", "{shown}");
    }
    // What names a client or a request, and what only this gateway reads, is none.
    for call in [
        chat(WHOLE).header("user-agent", "other"),
        chat(WHOLE).header("x-stainless-retry-count", "1"),
        chat(WHOLE).header("x-session-id", "s"),
        chat(WHOLE).header("x-use-asgi-streaming", "false"),
        chat(&WHOLE.replacen('{', "{\"x_use_asgi_streaming\":true,", 1)),
        Call::post("/v1/chat/completions/asgi", WHOLE),
    ] {
        let shown = format!("{:?} {:?}", call.headers, call.body);
        assert_eq!(asked(&mut client, call).await, "hit", "{shown}");
    }
    drop(client);
    gateway.stop().await;
}

/// The settings of keys, of which each may be nameless.
fn keys(description: &str) -> impl FnOnce(&mut thalweg::config::Settings) {
    let other = TokenSettings::plain(description, Secret::new(OTHER.to_owned()));
    |settings| settings.tokens.push(other)
}

#[tokio::test]
async fn a_key_is_given_another_ones_answer_only_where_they_are_shared() {
    // The tests' own key has the first of these names.
    for description in ["tests", "other", ""] {
        for shared in [false, true] {
            let upstream = counting();
            let plan = cached(&upstream, |cache| cache.shared = shared).with(keys(description));
            let gateway = plan.start().await;
            let mut client = gateway.client(Version::H1).await;
            let other = |call: Call| call.header("authorization", &format!("Bearer {OTHER}"));
            assert_eq!(asked(&mut client, Call::whole()).await, "miss");
            let word = if shared { "hit" } else { "miss" };
            assert_eq!(asked(&mut client, other(Call::whole())).await, word, "{description:?} {shared}");
            // A session might be a conversation that the provider keeps.
            let session = || Call::whole().header("x-session-id", "a");
            let words = [asked(&mut client, session()).await, asked(&mut client, other(session())).await];
            assert_eq!(words, if shared { ["miss", "hit"] } else { ["hit", "hit"] });
            drop(client);
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn a_stored_response_stays_with_its_key() {
    const BODY: &str = r#"{"model":"m","input":"hi"}"#;
    let text = r#"{"id":"resp_1","object":"response","status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":1}}"#;
    let upstream = Upstream::always(Speaks::H1, script::json(200, text));
    let gateway = cached(&upstream, |cache| cache.shared = true).with(keys("other")).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = |body: &str| Call::post("/v1/responses", body.to_owned());
    let words = [asked(&mut client, call(BODY)).await, asked(&mut client, call(BODY)).await];
    assert_eq!(words, ["miss", "hit"]);
    let other = call(BODY).header("authorization", &format!("Bearer {OTHER}"));
    assert_eq!(asked(&mut client, other).await, "miss");
    for member in [r#""background":true,"#, r#""conversation":"conv_1","#] {
        let body = BODY.replacen('{', &format!("{{{member}"), 1);
        let words = [asked(&mut client, call(&body)).await, asked(&mut client, call(&body)).await];
        assert_eq!(words, ["none", "none"], "{member}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_whole_and_good_is_not_kept() {
    let stop = COMPLETION.replace("\"stop\"", "\"content_filter\"");
    let error = r#"{"error":{"message":"no","type":"server_error"}}"#;
    let event = format!("data: {error}\n\n");
    let stream = |parts: &[&[u8]]| script::sse(parts.concat());
    let content = delta("one");
    let scripts: Vec<(&str, bool, Vec<Step>)> = vec![
        ("an error", false, script::json(400, error)),
        ("an error with status 200", false, script::json(200, error)),
        ("half a document", false, script::json(200, &COMPLETION[..COMPLETION.len() - 1])),
        ("no document", false, script::json(200, "<html>")),
        ("a refusal", false, script::json(200, stop)),
        ("an error event", true, stream(&[&content, event.as_bytes(), DONE])),
        ("no end", true, stream(&[&content])),
        ("no reason for its end", true, stream(&[&content, DONE])),
        ("a filtered end", true, stream(&[&content, &filtered(), DONE])),
        ("events of another kind", true, stream(&[b"data: hello\n\n"])),
        (
            "a stream that is reset",
            true,
            vec![script::sse_head(), script::body(content.clone()), Step::Reset],
        ),
    ];
    for (name, is_stream, steps) in scripts {
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = cached(&upstream, |_| ()).start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..2 {
            let call = if is_stream { Call::stream() } else { Call::whole() };
            let (_, word, _) = ask(&mut client, call).await;
            assert_ne!(word.as_deref(), Some("hit"), "{name}");
            client = gateway.client(Version::H1).await;
        }
        drop(client);
        gateway.stop().await;
    }
}

/// An event that ends an answer because of its content.
fn filtered() -> Bytes {
    let text = String::from_utf8(last_delta("").to_vec()).unwrap();
    text.replace("\"stop\"", "\"content_filter\"").into()
}

#[tokio::test]
async fn requests_that_act_once_pass_the_cache_by() {
    let upstream = counting();
    let gateway = cached(&upstream, |_| ()).start().await;
    let mut client = gateway.client(Version::H1).await;
    for call in [
        || Call::whole().header("idempotency-key", "k"),
        || Call::stream().header("x-thalweg-trace", "1"),
        || Call::whole().header("x-thalweg-cache", "no-store"),
    ] {
        for _ in 0..2 {
            assert_eq!(asked(&mut client, call()).await, "none");
        }
    }
    assert_eq!(asked(&mut client, Call::whole()).await, "miss", "nothing was stored before");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_says_how_old_an_answer_may_be() {
    let upstream = counting();
    let gateway = cached(&upstream, |_| ()).start().await;
    let mut client = gateway.client(Version::H1).await;
    let with = |value: &str| Call::whole().header("x-thalweg-cache", value);
    let (status, _, body) = ask(&mut client, with("only-if-cached")).await;
    assert_eq!(status, 504);
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["code"], "not_cached");
    let messages = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let call = Call::post("/v1/messages", messages).header("x-thalweg-cache", "only-if-cached");
    let (status, _, body) = ask(&mut client, call).await;
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &error["type"], &error["error"]["type"]),
        (504, &"error".into(), &"timeout_error".into())
    );
    assert_eq!(upstream.log.requests(), 0);
    for (value, word) in [
        ("max-age=60", "miss"),
        ("max-age=60", "hit"),
        ("only-if-cached", "hit"),
        ("only-if-cached, max-age=60", "hit"),
        ("max-age=0", "miss"),
        ("max-age=60", "hit"),
    ] {
        assert_eq!(asked(&mut client, with(value)).await, word, "{value}");
    }
    assert_eq!(upstream.log.requests(), 2);
    for value in ["no-cache", "max-age=soon", ""] {
        assert_eq!(ask(&mut client, with(value)).await.0, 400, "{value}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_grows_too_old_by_the_configuration() {
    let upstream = counting();
    let gateway = cached(&upstream, |cache| cache.max_age = Duration::from_nanos(1)).start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..2 {
        assert_eq!(asked(&mut client, Call::whole()).await, "miss");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_hit_counts_as_a_request_and_as_no_tokens() {
    let upstream = counting();
    let allowance = LimitValues { requests: Some(4), tokens: Some(600), ..LimitValues::default() };
    let plan = cached(&upstream, |_| ()).with(|settings| {
        settings.tokens[0].limits = KeyLimits { allowance, ..KeyLimits::default() };
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let limited = || Call::post("/v1/chat/completions", WHOLE.replacen('{', "{\"max_tokens\":5,", 1));
    let mut left = Vec::new();
    for _ in 0..4 {
        let answer = client.send(limited()).await;
        assert_eq!(answer.status, 200);
        left.push(answer.header("x-ratelimit-remaining-requests").to_owned());
        drop(answer.collect().await);
    }
    assert_eq!(left, ["3", "2", "1", "0"]);
    assert_eq!(ask(&mut client, limited()).await.0, 429);
    let answer = client.send(limited()).await;
    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), "589", "600 without the first one's 11");
    drop((answer, client));
    gateway.stop().await;
}

#[tokio::test]
async fn entries_are_bounded_one_by_one_and_together() {
    let upstream = counting();
    let gateway = cached(&upstream, |cache| cache.max_entry_size = 100).start().await;
    let mut client = gateway.client(Version::H1).await;
    for call in [Call::whole, Call::stream, Call::whole, Call::stream] {
        assert_eq!(asked(&mut client, call()).await, "miss");
    }
    drop(client);
    gateway.stop().await;
    let upstream = counting();
    let gateway = cached(&upstream, |cache| cache.max_size = 4 << 10).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = |number: usize| {
        Call::post("/v1/chat/completions", WHOLE.replace("hi", &format!("question {number}")))
    };
    for number in 0..10 {
        assert_eq!(asked(&mut client, call(number)).await, "miss");
    }
    assert_eq!([asked(&mut client, call(9)).await, asked(&mut client, call(0)).await], ["hit", "miss"]);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_is_given_again_at_its_own_pace() {
    let mut steps = vec![script::sse_head(), script::body(delta("one")), Step::Delivered];
    steps.extend(std::iter::repeat_n(Step::Moment, 40));
    steps.extend([script::body([last_delta("two"), DONE.into()].concat()), Step::End]);
    for pace in [ReplayPace::Recorded, ReplayPace::AtOnce] {
        let upstream = Upstream::always(Speaks::H1, steps.clone());
        let gateway = cached(&upstream, |cache| cache.pace = pace).start().await;
        for version in Version::BOTH {
            let mut client = gateway.client(version).await.telling(&upstream.log);
            let first = client.send(Call::stream()).await;
            let expected = [delta("one"), last_delta("two"), DONE.into()].concat();
            assert_eq!(first.collect().await.bytes(), expected);
            let began = tokio::time::Instant::now();
            let call = Call::stream();
            let id = call.id();
            let mut answer = client.send(call).await;
            assert_eq!(word(&answer).as_deref(), Some("hit"));
            let piece = answer.piece().await;
            let is_apart = piece == delta("one");
            assert_eq!(is_apart, pace == ReplayPace::Recorded);
            assert_eq!([piece, answer.collect().await.bytes()].concat(), expected);
            assert!(!is_apart || began.elapsed() >= Duration::from_millis(35), "{:?}", began.elapsed());
            let line = journal::closing(&id).await;
            assert_eq!((&line["message"], &line["reuse"]), (&"done".into(), &"cached".into()));
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_replay_and_stores_nothing() {
    let gate = script::Gate::new();
    let steps = vec![
        script::sse_head(),
        script::body(delta("one")),
        Step::Wait(gate.clone()),
        script::body([last_delta(""), DONE.into()].concat()),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = cached(&upstream, |cache| cache.pace = ReplayPace::Recorded).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(Call::stream()).await;
    answer.piece().await;
    drop((answer, client));
    upstream.log.gone(0).await;
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(Call::stream()).await;
    assert_eq!(word(&answer).as_deref(), Some("miss"));
    // The stored stream has a pause of its own, in which the next client leaves.
    assert_eq!(answer.piece().await, delta("one"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    gate.open();
    assert!(answer.collect().await.complete);
    let call = Call::stream();
    let id = call.id();
    let mut answer = client.send(call).await;
    assert_eq!((word(&answer).as_deref(), answer.piece().await), (Some("hit"), delta("one")));
    drop((answer, client));
    assert_eq!(journal::closing(&id).await["message"], "client gone");
    gateway.stop().await;
}

async fn page(gateway: &Gateway, path: &str) -> String {
    let mut client = gateway.client(Version::H1).await;
    let call =
        Call::get(path).header("authorization", &format!("Bearer {}", crate::operators::statistics::ADMIN));
    in_time(client.send(call)).await.unwrap().collect().await.text()
}

#[tokio::test]
async fn hits_and_misses_are_counted() {
    let upstream = counting();
    let plan =
        crate::operators::statistics::plan(&[&upstream]).with(|settings| settings.cache.enabled = true);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..4 {
        ask(&mut client, Call::whole()).await;
    }
    let stats: Value = serde_json::from_str(&page(&gateway, "/stats").await).unwrap();
    let cache = &stats["cache"];
    let figures = ["hits", "misses", "stored", "evicted", "entries", "tokens_saved"].map(|name| &cache[name]);
    assert_eq!(figures.map(|figure| figure.as_u64().unwrap()), [3, 1, 1, 0, 1, 33]);
    assert_eq!(cache["rate"], 0.75);
    assert!(cache["bytes"].as_u64().unwrap() > COMPLETION.len() as u64);
    let metrics = page(&gateway, "/metrics").await;
    for line in [
        "thalweg_answer_cache_requests_total{result=\"hit\"} 3",
        "thalweg_answer_cache_requests_total{result=\"miss\"} 1",
        "thalweg_tokens_saved_total 33",
        "thalweg_answer_cache_entries 1",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    drop(client);
    gateway.stop().await;
}

/// Answers of further endpoints are never stored, so that none fits.
#[tokio::test]
async fn a_further_endpoint_has_no_stored_answer() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, r#"{"results":[]}"#));
    let gateway = cached(&upstream, |_| {}).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = || Call::post("/v1/rerank", r#"{"model":"m","query":"q","documents":["d"]}"#);
    let (status, ..) = ask(&mut client, call().header("x-thalweg-cache", "only-if-cached")).await;
    assert_eq!((status, upstream.log.requests()), (504, 0));
    let (status, ..) = ask(&mut client, call().header("x-thalweg-cache", "sometimes")).await;
    assert_eq!((status, upstream.log.requests()), (400, 0));
    assert_eq!(ask(&mut client, call()).await.0, 200);
    drop(client);
    gateway.stop().await;
}
