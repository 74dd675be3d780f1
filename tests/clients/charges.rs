//! The charges to a key: a request that has ended sets nothing aside any more, and no choice of the client's
//! makes an answer cheaper.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use thalweg::{
    auth::{KeyLimits, KeyStore, TokenSettings, limit::LimitValues},
    base::{Rng, Secret},
    exchange::OnDisconnect,
    ledger::{Price, Prices},
    routing::Strategy,
};

use super::{
    database_keys::Folder,
    keys::{allow, refusal},
};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::{Gateway, Plan},
    upstream::{
        Gate, Speaks, Step, Upstream,
        script::{self, DONE, delta, usage},
    },
};

/// A plan whose key may spend `budget` millionths, with a price of one for each token.
pub fn with_budget(upstreams: &[&Upstream], budget: i64) -> Plan {
    let limits = allow(LimitValues { budget: Some(budget), ..LimitValues::default() });
    let token = TokenSettings { limits, ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned())) };
    let cache_write = Some(1_000_000);
    let price = Price { input: 1_000_000, output: 1_000_000, cache_write, ..Price::default() };
    Plan::to(upstreams).with(|settings| {
        settings.tokens = vec![token];
        settings.prices = Prices::new([("*".to_owned(), price)]);
    })
}

/// The millionths that the only key of a gateway has spent, once that has stopped.
pub async fn spent(folder: &Folder) -> i64 {
    let store = KeyStore::open(&folder.database()).await.unwrap();
    let spending = store.spending().await.unwrap();
    store.close().await;
    spending.get("config:alice").copied().unwrap_or(0)
}

/// A stream of three events that used 12 tokens.
fn stream() -> Vec<Step> {
    script::sse(Bytes::from([delta("one"), delta(" two"), usage(), DONE.into()].concat()))
}

/// Statuses of the answers to `many` requests that follow each other without a pause.
async fn statuses(gateway: &Gateway, version: Version, call: fn() -> Call, many: usize) -> Vec<u16> {
    let mut client = gateway.client(version).await;
    let mut statuses = Vec::new();
    for _ in 0..many {
        let answer = client.send(call()).await;
        statuses.push(answer.status.as_u16());
        answer.collect().await;
    }
    statuses
}

/// G1: the sum that a request sets aside is given back before its answer's last byte, so that the next
/// request finds it.
#[tokio::test]
async fn an_ended_request_sets_nothing_aside() {
    for (steps, call, cost) in [
        (script::json(200, script::COMPLETION), Call::whole as fn() -> Call, 11),
        (stream(), Call::stream, 12),
    ] {
        for version in Version::BOTH {
            let upstream = Upstream::always(Speaks::H1, steps.clone());
            let gateway = with_budget(&[&upstream], 20 * cost).start().await;
            let mut expected = vec![200; 20];
            expected.extend([402; 3]);
            assert_eq!(statuses(&gateway, version, call, 23).await, expected, "{version:?} {steps:?}");
            assert_eq!(upstream.log.requests(), 20);
            gateway.stop().await;
        }
    }
}

/// G1: the same for a client that goes on at `[DONE]` while the provider's body has not ended.
#[tokio::test]
async fn a_complete_answer_sets_nothing_aside() {
    let events = [delta("one"), usage(), DONE.into()].concat();
    let steps = vec![script::sse_head(), Step::Body(events.into()), Step::Stall];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = with_budget(&[&upstream], 10 * 12).start().await;
    let mut client = gateway.client(Version::H2).await;
    let mut unfinished = Vec::new();
    for _ in 0..10 {
        let mut answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let mut text = Vec::new();
        while !text.ends_with(DONE) {
            text.extend_from_slice(&answer.piece().await);
        }
        unfinished.push(answer);
    }
    assert_eq!(client.send(Call::stream()).await.status, StatusCode::PAYMENT_REQUIRED);
    drop((unfinished, client));
    gateway.stop().await;
}

/// C4: a client that leaves early is charged for the part that it was sent, whatever is booked for it.
#[tokio::test]
async fn leaving_early_is_charged() {
    let steps = vec![script::sse_head(), script::body(delta("one")), Step::Stall];
    let drain = OnDisconnect::Drain { time: Duration::from_millis(1), tokens: 100 };
    for policy in [OnDisconnect::Cancel, OnDisconnect::Estimate, drain] {
        let upstream = Upstream::always(Speaks::H1, steps.clone());
        let prompt = Call::stream().body.len().div_ceil(4) as i64;
        // For two: the prompt, and a token of the answer.
        let plan = with_budget(&[&upstream], 2 * (prompt + 1));
        let gateway = plan.with(|settings| settings.stream.on_disconnect = policy).start().await;
        let mut served = Vec::new();
        for _ in 0..4 {
            let mut client = gateway.client(Version::H2).await;
            let mut answer = client.send(Call::stream()).await;
            served.push(answer.status.as_u16());
            answer.piece().await;
            drop((answer, client));
            gateway
                .until("the end of all", |now| {
                    now.requests == 0 && now.drains == 0 && now.upstream_active == 0
                })
                .await;
        }
        assert_eq!(served, [200, 200, 402, 402], "{policy:?}");
        gateway.stop().await;
    }
}

/// Usage that a client refuses is requested all the same where its key is charged by it, and does not come
/// down.
#[tokio::test]
async fn refusing_usage_makes_nothing_cheaper() {
    let own = r#"{"model":"m","stream":true,"stream_options":{"include_usage":false},"messages":[]}"#;
    let upstream = Upstream::always(Speaks::H1, stream());
    let gateway = with_budget(&[&upstream], 1_000_000).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::post("/v1/chat/completions", own);
    let id = call.id();
    let received = client.send(call).await.collect().await;
    assert_eq!(received.bytes(), [delta("one"), delta(" two"), DONE.into()].concat());
    assert_eq!(upstream.log.request(0).await.body, own.replace("false", "true"));
    let line = crate::journal::closing(&id).await;
    assert_eq!((&line["output_tokens"], &line["usage"]), (&json!(3), &json!("reported")), "{line}");
    drop(client);
    gateway.stop().await;
}

/// An error that reports usage is charged for it.
#[tokio::test]
async fn an_error_with_usage_is_charged() {
    let error =
        r#"{"error":{"message":"no"},"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17}}"#;
    for (status, seen) in [(500, 500), (200, 200)] {
        let upstream = Upstream::always(Speaks::H1, script::json(status, error));
        let prompt = Call::whole().body.len().div_ceil(4) as i64;
        let gateway = with_budget(&[&upstream], prompt + 17).start().await;
        let mut client = gateway.client(Version::H1).await;
        assert_eq!(client.send(Call::whole()).await.status.as_u16(), seen);
        gateway.until("the end of it", |now| now.requests == 0).await;
        assert_eq!(client.send(Call::whole()).await.status.as_u16(), seen);
        gateway.until("the end of it", |now| now.requests == 0).await;
        assert_eq!(client.send(Call::whole()).await.status, StatusCode::PAYMENT_REQUIRED);
        drop(client);
        gateway.stop().await;
    }
}

/// C4: a client that leaves before the answer begins is charged for its prompt, too.
#[tokio::test]
async fn leaving_before_the_answer_is_charged() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let prompt = Call::whole().body.len().div_ceil(4) as i64;
    let gateway = with_budget(&[&upstream], 3 * prompt).start().await;
    for number in 0..3 {
        let mut client = gateway.client(Version::H1).await;
        let leaving = tokio::spawn(async move { client.try_send(Call::whole()).await.map(drop) });
        upstream.log.request(number).await;
        leaving.abort();
        let _ = leaving.await;
        gateway.calm().await;
    }
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::whole()).await.status, StatusCode::PAYMENT_REQUIRED);
    drop(client);
    gateway.stop().await;
}

/// C5: while the rest of a budget is set aside, a request is to come again; once it is spent, it is not.
#[tokio::test]
async fn a_budget_that_is_set_aside_is_not_spent() {
    let gate = Gate::new();
    let steps = vec![script::sse_head(), script::body(delta("one")), Step::Wait(gate.clone())];
    let steps = [steps, vec![script::body([usage(), DONE.into()].concat()), Step::End]].concat();
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = with_budget(&[&upstream], 1000).start().await;
    let mut client = gateway.client(Version::H2).await;
    let body = r#"{"model":"m","stream":true,"max_tokens":300,"messages":[]}"#;
    let call = || Call::post("/v1/chat/completions", body);
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(client.send(call()).await);
        assert_eq!(running.last().unwrap().status, StatusCode::OK);
    }
    for _ in 0..12 {
        let answer = client.send(call()).await;
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), ("1", "true"));
        let (status, code, param) = refusal(answer).await;
        assert_eq!((status, &*code, param.as_deref()), (429, "rate_limit_exceeded", Some("budget")));
    }
    gate.open();
    for answer in running {
        assert!(answer.collect().await.complete);
    }
    assert!(client.send(call()).await.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// C7: a race sets aside and counts as often as it asks, and its losers are charged: by estimate, or with the
/// usage that they had reported.
#[tokio::test]
async fn a_race_is_charged_for_its_losers() {
    let silent = Upstream::always(Speaks::H1, vec![script::sse_head(), Step::Stall]);
    let started = vec![script::sse_head(), script::body(script::role()), Step::Stall];
    let started = Upstream::always(Speaks::H1, started);
    let gate = Gate::new();
    let answering = Upstream::by(Speaks::H1, {
        let gate = gate.clone();
        move |_, _| [vec![Step::Wait(gate.clone())], stream()].concat()
    });
    let folder = Folder::new();
    let plan = with_budget(&[&silent, &started, &answering], 10_000);
    let gateway = plan
        .with(|settings| {
            settings.database = Some(folder.database());
            settings.tokens[0].limits.allowance.requests = Some(10);
        })
        .start()
        .await;
    let mut client = gateway.client(Version::H2).await;
    let call = Call::stream().header("x-thalweg-strategy", "race:16");
    let prompt = call.body.len().div_ceil(4) as i64;
    let running = tokio::spawn(async move {
        let answer = client.send(call).await;
        let remaining = answer.header("x-ratelimit-remaining-requests").to_owned();
        (client, answer.collect().await.complete, remaining)
    });
    silent.log.request(0).await;
    started.log.request(0).await;
    gate.open();
    let (client, complete, remaining) = running.await.unwrap();
    assert!(complete);
    assert_eq!(remaining, "7");
    drop(client);
    gateway.stop().await;
    // Each event counts as a token at least, and one loser sent one.
    assert_eq!(spent(&folder).await, 12 + 2 * prompt + 1);
}

/// C7: a client chooses among the strategies that are permitted to all, or to its key.
#[tokio::test]
async fn strategies_are_chosen_among_those_permitted() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    for (general, own, strategy, status) in [
        (None, None, "race:16", 200),
        (list(&["hedge", "race:2"]), None, "race:2", 200),
        (list(&["hedge", "race:2"]), None, "hedge:p50", 200),
        (list(&["hedge", "race:2"]), None, "race:3", 403),
        (list(&[]), None, "priority", 403),
        (list(&[]), list(&["race"]), "race:16", 200),
        (None, list(&["weighted"]), "race:2", 403),
    ] {
        let plan = Plan::to(&[&upstream]).with(|settings| {
            let limits = KeyLimits { strategies: own.clone(), ..KeyLimits::default() };
            let token = TokenSettings::plain("alice", Secret::new(TOKEN.to_owned()));
            settings.tokens = vec![TokenSettings { limits, ..token }];
            settings.routing.client_strategies.clone_from(&general);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::whole().header("x-thalweg-strategy", strategy)).await;
        assert_eq!(answer.status.as_u16(), status, "{general:?} {own:?} {strategy}");
        if status == 403 {
            let told = refusal(answer).await;
            assert_eq!(told, (403, "strategy_not_allowed".into(), Some("x-thalweg-strategy".into())));
        } else {
            answer.collect().await;
        }
        drop(client);
        gateway.stop().await;
    }
}

/// One turn of a history: how the provider answers, and how the client behaves.
struct Turn {
    steps: Vec<Step>,
    call: Call,
    /// The client leaves after so many pieces.
    leaves_after: Option<usize>,
    /// Tokens that the provider reports at its end, if it is heard to the end.
    reported: i64,
    /// It ends well.
    is_good: bool,
}

/// Random turns, in chat completions and in messages.
fn turn(random: &mut Rng) -> Turn {
    let chat = random.below(2) == 0;
    let (input, output) = (1 + random.below(5) as i64, 1 + random.below(40) as i64);
    let messages =
        |name: &str, data: serde_json::Value| Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
    let text = || {
        messages(
            "content_block_delta",
            json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}}),
        )
    };
    let (first, middle, last) = if chat {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": input, "completion_tokens": output}});
        let end = format!("data: {usage}\n\ndata: [DONE]\n\n");
        (delta("one"), delta(" two"), Bytes::from(end))
    } else {
        let start = json!({"type": "message_start", "message": {"usage":
            {"input_tokens": 0, "cache_creation_input_tokens": input, "output_tokens": 1}}});
        let end = json!({"type": "message_delta", "usage": {"output_tokens": output}});
        let end = [messages("message_delta", end), messages("message_stop", json!({"type": "message_stop"}))];
        ([messages("message_start", start), text()].concat().into(), text(), end.concat().into())
    };
    let error = json!({"error": {"message": "no", "type": "server_error"}});
    // Anthropic reports its input at the start.
    let (at_start, at_end) = if chat { (0, input + output) } else { (input + 1, input + output) };
    let whole = [first.clone(), middle.clone(), last].concat();
    let begun = || vec![script::sse_head(), Step::Body(first.clone())];
    let (steps, leaves_after, reported, is_good) = match random.below(6) {
        0 | 1 => (script::sse(whole), None, at_end, true),
        2 => ([begun(), vec![Step::Stall]].concat(), Some(1), at_start, false),
        3 => ([begun(), vec![Step::Body(middle), Step::End]].concat(), None, at_start, false),
        4 => ([begun(), vec![Step::Moment, Step::Reset]].concat(), None, at_start, false),
        _ => (script::json(500, error.to_string()), None, 0, false),
    };
    let path = if chat { "/v1/chat/completions" } else { "/v1/messages" };
    let body =
        r#"{"model":"m","stream":true,"n":2,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let strategy = ["priority", "race:2", "hedge:1ms"][random.below(3)];
    let call = Call::post(path, body).header("x-thalweg-strategy", strategy);
    Turn { steps, call, leaves_after, reported, is_good }
}

/// Over random histories of ends a key is charged no less than its providers reported, and exactly that if
/// all ended well.
#[tokio::test]
async fn no_history_of_ends_is_cheaper_than_its_providers_say() {
    for seed in 0..6 {
        let only_good = seed % 3 == 2;
        let mut random = Rng::new(seed);
        let turns: Vec<_> = std::iter::repeat_with(|| turn(&mut random))
            .filter(|turn| turn.is_good || !only_good)
            .take(25)
            .collect();
        let scripts: Vec<_> = turns.iter().map(|turn| turn.steps.clone()).collect();
        // The request that is served now; both providers answer it alike.
        let current = Arc::new(AtomicUsize::new(0));
        let by = || {
            let (scripts, current) = (scripts.clone(), Arc::clone(&current));
            Upstream::by(Speaks::H1, move |_, _| scripts[current.load(Relaxed)].clone())
        };
        let (one, other) = (by(), by());
        let upstreams = if only_good { vec![&one] } else { vec![&one, &other] };
        let folder = Folder::new();
        let plan = with_budget(&upstreams, i64::MAX / 2).with(|settings| {
            settings.database = Some(folder.database());
            settings.routing.breaker.failures = 1_000_000;
            settings.routing.breaker.min_requests = 1_000_000;
        });
        let gateway = plan.start().await;
        let mut reported = 0;
        for (number, Turn { call, leaves_after, reported: tokens, .. }) in turns.into_iter().enumerate() {
            current.store(number, Relaxed);
            let mut client = gateway.client(Version::BOTH[number % 2]).await;
            let asked = || one.log.requests() + other.log.requests();
            let before = asked();
            let mut answer = client.send(call).await;
            if let Some(pieces) = leaves_after {
                for _ in 0..pieces {
                    answer.piece().await;
                }
                drop(answer);
            } else {
                answer.collect().await;
            }
            drop(client);
            gateway.calm().await;
            // Of several attempts one is heard to its end; a request that no provider saw is not reported.
            reported += tokens * i64::from(asked() > before);
        }
        gateway.stop().await;
        let charged = spent(&folder).await;
        assert!(charged >= reported, "seed {seed}: {charged} of {reported}");
        if only_good {
            assert_eq!(charged, reported, "seed {seed}");
        }
    }
}

/// C6: a comparison passes the same door as a completion: its key's models, limits and budget, a row per leg.
#[tokio::test]
async fn a_comparison_passes_the_same_door() {
    let upstream = Upstream::by(Speaks::H1, |_, seen| {
        if seen.json()["stream"] == true { stream() } else { script::json(200, script::COMPLETION) }
    });
    let compare = || Call::get("/streaming-compare?model=m&repeats=1");
    // All six legs: five streams and an answer.
    let folder = Folder::new();
    let plan = with_budget(&[&upstream], 1_000_000).with(|settings| {
        settings.database = Some(folder.database());
        settings.tokens[0].limits.allowance.requests = Some(9);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(compare()).await.collect().await.json()["legs"].as_array().unwrap().len(), 6);
    assert_eq!(upstream.log.requests(), 6);
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "2");
    answer.collect().await;
    // Two requests are left for the next comparison.
    client.send(compare()).await.collect().await;
    assert_eq!(upstream.log.requests(), 9);
    drop(client);
    gateway.stop().await;
    // The control asks for no usage, and 12 tokens were reported for each stream of the gateway.
    assert!(spent(&folder).await >= 4 * 12 + 2 * 11, "{}", spent(&folder).await);

    let plan = with_budget(&[&upstream], 1_000_000);
    let gateway = plan.with(|settings| settings.tokens[0].limits.models = vec!["x".into()]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let told = refusal(client.send(compare()).await).await;
    assert_eq!(told, (403, "model_not_allowed".into(), Some("model".into())));
    assert_eq!(upstream.log.requests(), 9);
    drop(client);
    gateway.stop().await;
}

/// A comparison asks the provider in each leg, also where answers are cached; its control is one request,
/// also where a race is the strategy.
#[tokio::test]
async fn a_comparison_measures_no_cache_and_its_control_is_no_race() {
    let upstream = || {
        Upstream::by(Speaks::H1, |_, seen| {
            if seen.json()["stream"] == true { stream() } else { script::json(200, script::COMPLETION) }
        })
    };
    let (one, two) = (upstream(), upstream());
    let plan = with_budget(&[&one], 1_000_000).with(|settings| settings.cache.enabled = true);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let report = client.send(Call::get("/streaming-compare?model=m&repeats=2")).await;
    assert_eq!(report.header("cache-control"), "no-store");
    assert!(!report.collect().await.text().contains("cached"));
    assert_eq!(one.log.requests(), 12);
    drop(client);
    gateway.stop().await;

    let plan = with_budget(&[&one, &two], 1_000_000).with(|settings| {
        settings.routing.strategy = Strategy::Race { width: 2 };
        settings.tokens[0].limits.allowance.requests = Some(100);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::get("/streaming-compare?model=m&repeats=1")).await.collect().await;
    let answer = client.send(Call::whole()).await;
    // Five races of two, one control, and this race.
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), (100 - 5 * 2 - 1 - 2).to_string());
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// G7: without a model a comparison takes the first one that answers and that the key may use.
#[tokio::test]
async fn a_comparison_without_a_model_takes_the_first_that_answers() {
    let upstream = Upstream::by(Speaks::H1, |_, seen| match seen.json()["model"].as_str() {
        Some("dead") => script::json(404, r#"{"error":{"message":"no","code":"model_not_found"}}"#),
        _ if seen.json()["stream"] == true => stream(),
        _ => script::json(200, script::COMPLETION),
    });
    let plan = with_budget(&[&upstream], 1_000_000).with(|settings| {
        let names = ["closed", "dead", "good", "later"].map(Into::into);
        settings.providers[0].models = Some(names.to_vec());
        settings.tokens[0].limits.models = vec!["dead".into(), "good".into(), "later".into()];
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let report = client.send(Call::get("/streaming-compare?repeats=1")).await.collect().await.json();
    assert_eq!(report["model"], "good", "{report}");
    drop(client);
    gateway.stop().await;
    let nothing = Upstream::always(Speaks::H1, script::json(500, "{}"));
    let gateway = with_budget(&[&nothing], 1_000_000).start().await;
    let mut client = gateway.client(Version::H1).await;
    let told = refusal(client.send(Call::get("/streaming-compare")).await).await;
    assert_eq!((told.0, &*told.1), (503, "no_model_answers"));
    drop(client);
    gateway.stop().await;
}

/// Tokens that a provider's cache keeps for an hour cost twice as much, also in a dialect that has no member
/// for them.
#[tokio::test]
async fn a_whole_answer_costs_the_same_in_each_dialect() {
    let usage = json!({"input_tokens": 3, "output_tokens": 9, "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}});
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": usage,
        "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn"});
    let upstream = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/messages") {
        true => script::json(200, answer.to_string()),
        false => script::json(404, r#"{"error":{"message":"Invalid URL","type":"invalid_request_error"}}"#),
    });
    let message = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;
    for (path, ask) in [
        ("/v1/messages", message),
        ("/v1/chat/completions", message),
        ("/v1/responses", r#"{"model":"m","input":"Hello"}"#),
    ] {
        let folder = Folder::new();
        let plan = with_budget(&[&upstream], 1_000_000);
        let gateway = plan.with(|settings| settings.database = Some(folder.database())).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post(path, ask)).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        answer.collect().await;
        drop(client);
        gateway.stop().await;
        assert_eq!(spent(&folder).await, 3 + 100 + 2 * 200 + 9, "{path}");
    }
}
