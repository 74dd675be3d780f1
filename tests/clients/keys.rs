//! Keys and their limits: which requests are admitted, the headers and errors of the response, and no limit
//! that stays taken however a request ends.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use thalweg::{
    auth::{KeyLimits, TokenSettings, limit::LimitValues},
    base::Secret,
};

use crate::{
    client::{Answer, Call, Client, Version, call::TOKEN},
    gateway::{Gateway, Plan},
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

/// A gateway with one key, which has these limits.
pub async fn limited(upstream: &Upstream, limits: KeyLimits) -> Gateway {
    let token = TokenSettings { limits, ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned())) };
    Plan::to(&[upstream]).with(|settings| settings.tokens = vec![token]).start().await
}

pub fn allow(allowance: LimitValues) -> KeyLimits {
    KeyLimits { allowance, ..KeyLimits::default() }
}

pub fn requests(limit: u32) -> KeyLimits {
    allow(LimitValues { requests: Some(limit), ..LimitValues::default() })
}

fn tokens(limit: u32) -> KeyLimits {
    allow(LimitValues { tokens: Some(limit), ..LimitValues::default() })
}

/// The status, the error's `code` and `param`.
pub async fn refusal(answer: Answer) -> (u16, String, Option<String>) {
    let status = answer.status.as_u16();
    let error = answer.collect().await.json()["error"].clone();
    (status, error["code"].as_str().unwrap().to_owned(), error["param"].as_str().map(str::to_owned))
}

/// The tokens left, by the header of a response that costs none.
async fn remaining(answer: &Answer) -> u64 {
    answer.header("x-ratelimit-remaining-tokens").parse().unwrap()
}

/// B15, R33: of a limit of two the third request is refused. The error names the limit and the time to retry,
/// in the dialect of the endpoint.
#[tokio::test]
async fn requests_per_minute() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = limited(&upstream, requests(2)).await;
    let mut client = gateway.client(Version::H1).await;
    for left in ["1", "0"] {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "2");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), left);
        let reset = answer.header("x-ratelimit-reset-requests").strip_suffix('s').unwrap().parse::<f64>();
        assert!((58.0..=61.0).contains(&reset.unwrap()));
        assert!(!answer.headers.contains_key("x-ratelimit-limit-tokens"));
        answer.collect().await;
    }
    let call = Call::whole().header("origin", "https://page.example");
    let id = call.id();
    let answer = client.send(call).await;
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    let millis: u64 = answer.header("retry-after-ms").parse().unwrap();
    assert!(seconds == millis.div_ceil(1000) && (57_000..=61_000).contains(&millis), "{seconds} {millis}");
    assert!(answer.header("access-control-expose-headers").contains("x-ratelimit-remaining-requests"));
    let told = refusal(answer).await;
    assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("rpm".into())));
    let line = journal::closing(&id).await;
    assert_eq!((line["status"].as_u64(), line["key"].as_str()), (Some(429), Some("alice")));
    let anthropic = client.send(Call::post("/v1/messages", crate::client::call::WHOLE)).await;
    assert_eq!(anthropic.collect().await.json()["error"]["type"], "rate_limit_error");
    assert_eq!(upstream.log.requests(), 2);
    drop(client);
    gateway.stop().await;
}

/// B15: estimate, then settle: while a request runs, its estimate times the number of answers is reserved;
/// afterwards only the tokens used stay counted.
#[tokio::test]
async fn tokens_per_minute() {
    let gate = crate::upstream::Gate::new();
    let events = [delta("one"), script::usage(), script::DONE.into()].concat();
    let steps = vec![
        script::sse_head(),
        script::body(delta("a")),
        Step::Wait(gate.clone()),
        script::body(events),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = limited(&upstream, tokens(1000)).await;
    let body =
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"n":3,"max_tokens":300}"#;
    let call = || Call::post("/v1/chat/completions", body);
    let mut client = gateway.client(Version::H2).await;
    let first = client.send(call()).await;
    let estimate = 900 + body.len().div_ceil(4) as u64;
    assert_eq!(remaining(&first).await, 1000 - estimate);
    let told = refusal(client.send(call()).await).await;
    assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("tpm".into())));
    gate.open();
    assert!(first.collect().await.complete);
    let second = client.send(call()).await;
    // The provider reported 12 tokens for the first.
    assert_eq!(remaining(&second).await, 1000 - estimate - 12);
    assert!(second.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// B15: concurrent requests: a place is taken while a request runs and is free at its end.
#[tokio::test]
async fn requests_at_once() {
    let gate = crate::upstream::Gate::new();
    let held = vec![script::sse_head(), Step::Body(delta("one")), Step::Wait(gate.clone()), Step::End];
    let upstream = Upstream::in_turn(Speaks::H1, vec![held, script::sse(script::short_stream())]);
    let gateway =
        limited(&upstream, allow(LimitValues { concurrent: Some(1), ..LimitValues::default() })).await;
    let mut client = gateway.client(Version::H2).await;
    let first = client.send(Call::stream()).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.header("retry-after"), "1");
    let told = refusal(answer).await;
    assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("concurrent".into())));
    gate.open();
    first.collect().await;
    assert!(client.send(Call::stream()).await.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// B15: models, expiry, a budget that is already spent.
#[tokio::test]
async fn models_expiry_and_budget() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let past = SystemTime::now() - Duration::from_secs(1);
    let spent = LimitValues { budget: Some(0), ..LimitValues::default() };
    for (limits, expected) in [
        (
            KeyLimits { models: vec!["gpt-*".into()], ..KeyLimits::default() },
            (403, "model_not_allowed", Some("model")),
        ),
        (KeyLimits { expires: Some(past), ..KeyLimits::default() }, (401, "key_expired", None)),
        (allow(spent), (402, "budget_exceeded", Some("budget"))),
    ] {
        let gateway = limited(&upstream, limits).await;
        let mut client = gateway.client(Version::H1).await;
        let (status, code, param) = refusal(client.send(Call::whole()).await).await;
        assert_eq!((status, &*code, param.as_deref()), expected);
        drop(client);
        gateway.stop().await;
    }
    let limits = KeyLimits {
        models: vec!["x".into(), "m".into()],
        expires: Some(SystemTime::now() + Duration::from_secs(60)),
        ..KeyLimits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let mut client = gateway.client(Version::H1).await;
    // A list of models is refused if one of them is.
    let listed = Call::post("/v1/chat/completions", r#"{"model":"m","models":["x","other"]}"#);
    let (status, code, _) = refusal(client.send(listed).await).await;
    assert_eq!((status, &*code), (403, "model_not_allowed"));
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-ratelimit")));
    drop((answer, client));
    gateway.stop().await;
}

/// R33: the provider's rate limit headers pass, unless the key has a limit of that kind: then the key's
/// replace them.
#[tokio::test]
async fn the_providers_rate_limit_headers() {
    let headers =
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-limit"]
            .map(|name| (name.to_owned(), "77".to_owned()))
            .into_iter()
            .chain([("content-type".to_owned(), "application/json".to_owned())])
            .collect();
    let head = Step::Head { status: 200, headers, framing: Framing::Length(script::COMPLETION.len() as u64) };
    let upstream = Upstream::always(Speaks::H1, vec![head, script::body(script::COMPLETION), Step::End]);
    let gateway = limited(&upstream, requests(5)).await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.header("x-ratelimit-limit-requests"), "5");
    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), "77");
    assert_eq!(answer.header("anthropic-ratelimit-tokens-limit"), "77");
    drop((answer, client));
    gateway.stop().await;
}

/// R13, R32: a failed request costs the key no tokens, and one that never reached the provider costs no
/// request either.
#[tokio::test]
async fn failures_cost_no_tokens() {
    let half = script::head(200, "application/json", Framing::Length(100));
    let broken = [
        script::json(500, r#"{"error":{"message":"x"}}"#),
        vec![half, script::body("{"), Step::Close],
        vec![script::sse_head(), script::body(delta("one")), Step::Moment, Step::Reset],
        vec![Step::Reset],
    ];
    for steps in broken {
        let upstream =
            Upstream::in_turn(Speaks::H1, vec![steps.clone(), script::json(200, script::COMPLETION)]);
        let both = LimitValues { requests: Some(10), tokens: Some(10_000), ..LimitValues::default() };
        let gateway = limited(&upstream, allow(both)).await;
        let mut client = gateway.client(Version::H2).await;
        let call = if steps.len() == 4 { Call::stream() } else { Call::whole() };
        client.send(call).await.collect().await;
        gateway.calm().await;
        let answer = client.send(Call::whole()).await;
        let held = 512 + Call::whole().body.len().div_ceil(4) as u64;
        assert_eq!(remaining(&answer).await, 10_000 - held, "{steps:?}");
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
    let nobody = Upstream::always(Speaks::H1, Vec::new());
    let gateway = limited(&nobody, requests(10)).await;
    drop(nobody);
    let mut client = gateway.client(Version::H1).await;
    let mut left = Vec::new();
    for _ in 0..2 {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        left.push(answer.header("x-ratelimit-remaining-requests").to_owned());
        answer.collect().await;
    }
    assert_eq!(left, ["9", "9"]);
    drop(client);
    gateway.stop().await;
}

/// R13, R32: a client that disconnects, in whatever phase, leaves of its key's limits only the tokens taken
/// that were sent to it.
#[tokio::test]
async fn disconnects_in_every_phase() {
    let mid_stream = vec![script::sse_head(), Step::Body(delta("one")), Step::Stall];
    let half =
        vec![script::head(200, "application/json", Framing::Length(100)), script::body("{"), Step::Stall];
    for (steps, streams) in [
        (vec![Step::Stall], false),
        (vec![Step::Stall], true),
        (vec![script::sse_head(), Step::Stall], true),
        (mid_stream, true),
        (half, false),
    ] {
        for version in Version::BOTH {
            let upstream = Upstream::by(Speaks::H1, {
                let steps = steps.clone();
                move |number, _| {
                    if number < 8 { steps.clone() } else { script::json(200, script::COMPLETION) }
                }
            });
            let all = LimitValues {
                requests: Some(100),
                tokens: Some(8192),
                concurrent: Some(8),
                ..LimitValues::default()
            };
            let gateway = limited(&upstream, allow(all)).await;
            let leaving: Vec<_> = (0..8)
                .map(|_| {
                    let address = gateway.address;
                    tokio::spawn(async move {
                        let mut client = Client::connect(version, address).await;
                        let call = if streams { Call::stream() } else { Call::whole() };
                        let Ok(mut answer) = client.try_send(call).await else { return };
                        let _ = answer.next().await;
                        std::future::pending::<()>().await;
                    })
                })
                .collect();
            upstream.log.request(7).await;
            gateway.until("eight requests", |now| now.requests == 8).await;
            leaving.iter().for_each(tokio::task::JoinHandle::abort);
            for task in leaving {
                let _ = task.await;
            }
            gateway.calm().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::whole()).await;
            assert_eq!(answer.status, StatusCode::OK, "nothing runs any more");
            let held = 512 + Call::whole().body.len().div_ceil(4) as u64;
            let prompt = if streams { Call::stream() } else { Call::whole() }.body.len().div_ceil(4) as u64;
            let passed = 8192 - held - remaining(&answer).await;
            assert!((8 * prompt..=8 * (prompt + 1)).contains(&passed), "{steps:?} {version:?}: {passed}");
            answer.collect().await;
            drop(client);
            gateway.stop().await;
        }
    }
}
