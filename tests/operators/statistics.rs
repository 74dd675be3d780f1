//! `/stats` and `/metrics` (S0.7, S0.15, S1.13, S3.9, B18).

use std::time::Duration;

use serde_json::Value;
use thalweg::{auth::TokenSettings, base::Secret};

use crate::{
    client::{Call, Client, Version},
    gateway::{Gateway, Plan},
    journal,
    upstream::{
        Speaks, Step, Upstream,
        log::EVENT_TIMEOUT,
        script::{self, delta},
    },
};

pub const ADMIN: &str = "sk-admin-of-the-statistics";

/// A gateway with an administrator's key.
pub fn plan(upstreams: &[&Upstream]) -> Plan {
    Plan::to(upstreams).with(|settings| {
        settings.tokens.push(TokenSettings {
            description: "admin".into(),
            token: Secret::new(ADMIN.to_owned()),
            admin: true,
            limits: thalweg::auth::KeyLimits::default(),
        });
    })
}

fn asked(path: &str) -> Call {
    Call::get(path).header("authorization", &format!("Bearer {ADMIN}"))
}

/// The statistics as soon as they fulfil `wanted`, because completions are settled in batches.
async fn stats(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + EVENT_TIMEOUT;
    loop {
        let answer = client.send(asked("/stats")).await;
        assert_eq!(answer.status, 200);
        let stats = answer.collect().await.json();
        if wanted(&stats) {
            return stats;
        }
        assert!(tokio::time::Instant::now() < deadline, "{stats:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One stream, one refusal, one failure.
async fn serve_some(gateway: &Gateway, upstream: &Upstream) {
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    assert!(client.send(Call::stream()).await.collect().await.complete);
    let unknown = Call::post("/v1/chat/completions", r#"{"model":"nobody's \"x\""}"#);
    let id = unknown.id();
    assert_eq!(client.send(unknown).await.status, 404);
    journal::closing(&id).await;
}

#[tokio::test]
async fn sums_and_times_of_requests() {
    let upstream = Upstream::always(
        Speaks::H1,
        script::sse_pieces([delta("one"), delta("two"), script::last_delta("three")]),
    );
    let gateway = plan(&[&upstream]).start().await;
    serve_some(&gateway, &upstream).await;
    let mut client = gateway.client(Version::H1).await;
    let stats = stats(&mut client, |stats| stats["requests"].as_u64() >= Some(2)).await;
    assert_eq!((&stats["refused"], &stats["first_connect"]["rate"]), (&1.into(), &1.0.into()), "{stats:#}");
    for group in [&stats["providers"]["p0"], &stats["models"]["m"], &stats] {
        for quantity in ["first_token_ms", "total_ms"] {
            assert_eq!(group[quantity]["1m"]["count"], 1, "{quantity} in {group:#}");
            assert!(group[quantity]["1h"]["p99"].as_f64() > Some(0.0), "{quantity} in {group:#}");
        }
        assert!(group["inter_frame_ms"]["5m"]["count"].as_u64() >= Some(2), "{group:#}");
    }
    assert_eq!(stats["models"].as_object().unwrap().len(), 1, "only names of the configuration: {stats:#}");
    assert_eq!(stats["keys"]["tests"]["done"], 1, "{stats:#}");
    assert!(stats["added_frame_us"]["1m"]["p50"].as_f64() > Some(0.0), "{stats:#}");
    assert_eq!(stats["added_first_byte_us"]["1m"]["count"], 1);
    assert_eq!(stats["in_flight"]["requests"], 1, "this one");
    let candidate = &stats["candidates"][0];
    assert_eq!((&candidate["provider"], &candidate["model"]), (&"p0".into(), &"m".into()));
    assert_eq!((&candidate["requests"], &candidate["success_rate"]), (&1.into(), &1.0.into()));
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn metrics_for_prometheus() {
    let upstream =
        Upstream::always(Speaks::H1, script::sse_pieces([delta("one"), script::last_delta("two")]));
    let gateway = plan(&[&upstream]).start().await;
    serve_some(&gateway, &upstream).await;
    let mut client = gateway.client(Version::H1).await;
    stats(&mut client, |stats| stats["requests"].as_u64() >= Some(2)).await;
    let answer = client.send(asked("/metrics")).await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.collect().await.text();
    for line in [
        r#"thalweg_requests_total{path="/v1/chat/completions",provider="p0",model="m",status="200",outcome="done"} 1"#,
        r#"thalweg_requests_total{path="/v1/chat/completions",provider="",model="",status="404",outcome="refused"} 1"#,
        r#"thalweg_time_to_first_token_seconds_count{provider="p0",model="m"} 1"#,
        r#"thalweg_first_attempts_total{result="success"} 1"#,
        r#"thalweg_upstream_attempts_total{provider="p0",model="m",result="success"} 1"#,
        r#"thalweg_provider_up{provider="p0"} 1"#,
        r#"thalweg_ends_lost_total 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("nobody"), "no client's word is a label: {text}");
    drop(client);
    gateway.stop().await;
}

/// The last minute and hour in steps, for charts; another range is refused.
#[tokio::test]
async fn the_last_minute_and_hour_in_steps() {
    let upstream =
        Upstream::always(Speaks::H1, script::sse_pieces([delta("one"), script::last_delta("two")]));
    let gateway = plan(&[&upstream]).start().await;
    serve_some(&gateway, &upstream).await;
    let mut client = gateway.client(Version::H1).await;
    stats(&mut client, |stats| stats["requests"].as_u64() >= Some(2)).await;
    for (range, steps) in [("minute", 30), ("hour", 60)] {
        let deadline = tokio::time::Instant::now() + EVENT_TIMEOUT;
        // What ended last may be on its way, as with the sums. The queries here are requests, too.
        let known = loop {
            let answer = client.send(asked(&format!("/stats?scope=cluster&history={range}"))).await;
            let history = answer.collect().await.json()["history"].clone();
            let all = history["steps"].as_array().unwrap();
            assert_eq!(all.len(), steps);
            let known: Vec<_> = all.iter().filter(|one| !one.is_null()).cloned().collect();
            let sum = |name: &str| known.iter().map(|step| step[name].as_u64().unwrap()).sum::<u64>();
            if sum("done") >= 1 && sum("refused") == 1 {
                break known;
            }
            assert!(tokio::time::Instant::now() < deadline, "{history:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let first_tokens = known.iter().map(|step| step["first_token_ms"]["count"].as_u64().unwrap());
        assert_eq!(first_tokens.sum::<u64>(), 1, "{known:#?}");
    }
    let answer = client.send(asked("/stats?history=day")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-error")), (400, "invalid_query"));
    drop((answer, client));
    gateway.stop().await;
}

/// An error of the only provider that passes as it came counts by its status, in sums, metrics and rows.
#[tokio::test]
async fn an_error_that_passes_is_no_success() {
    let error = r#"{"error":{"message":"no","type":"t"}}"#;
    let answers = vec![script::json(500, error), script::json(422, error)];
    let upstream = Upstream::in_turn(Speaks::H1, answers);
    let gateway = plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut watching = gateway.client(Version::H1).await;
    let mut feed = watching.send(asked("/events")).await;
    let mut rest = String::new();
    for (status, outcome) in [(500, "failed"), (422, "refused")] {
        let answer = client.send(Call::whole()).await;
        assert_eq!((answer.status.as_u16(), answer.collect().await.text().as_str()), (status, error));
        let row = crate::operators::events::next(&mut feed, &mut rest, "row").await;
        assert_eq!((&row["status"], &row["outcome"]), (&status.into(), &outcome.into()), "{row}");
    }
    let stats = stats(&mut client, |stats| stats["models"]["m"]["requests"] == 2).await;
    for group in [&stats["models"]["m"], &stats["keys"]["tests"]] {
        let sums = ["done", "failed", "refused"].map(|name| group[name].as_u64().unwrap());
        assert_eq!(sums, [0, 1, 1], "{group:#}");
    }
    let text = client.send(asked("/metrics")).await.collect().await.text();
    let series = r#"thalweg_requests_total{path="/v1/chat/completions",provider="p0",model="m""#;
    for (status, outcome) in [(500, "failed"), (422, "refused")] {
        let line = format!(r#"{series},status="{status}",outcome="{outcome}"}} 1"#);
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    drop((feed, watching, client));
    gateway.stop().await;
}

/// S3.9: races and hedges with their winners, retries, and requests whose deadline passed.
#[tokio::test]
async fn races_hedges_and_retries() {
    let short = || script::sse(script::short_stream());
    let stall = || vec![Step::Stall];
    // A race and a hedge that p1 wins, a retry at p1, a race without a winner.
    let first = Upstream::in_turn(Speaks::H1, vec![stall(), stall(), script::json(500, "{}"), stall()]);
    let second = Upstream::in_turn(Speaks::H1, vec![short(), short(), short(), stall()]);
    let plan = plan(&[&first, &second]).with(|settings| {
        settings.routing.hedge.share = 1.0;
        settings.routing.race.timeout = Duration::from_secs(1);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for (strategy, status, provider) in
        [("race", 200, "p1"), ("hedge:20ms", 200, "p1"), ("priority", 200, "p1"), ("race", 504, "")]
    {
        let answer = client.send(Call::stream().header("x-thalweg-strategy", strategy)).await;
        assert_eq!(answer.status, status, "{strategy}");
        if status == 200 {
            assert_eq!(answer.header("x-thalweg-provider"), provider, "{strategy}");
        }
        answer.collect().await;
    }
    let stats = stats(&mut client, |stats| stats["requests"].as_u64() >= Some(4)).await;
    let races = &stats["races"];
    assert_eq!((&races["count"], &races["timeouts"]), (&2.into(), &1.into()), "{races}");
    assert_eq!(races["wins"], serde_json::json!({"p1": {"m": 1}}));
    let average = races["average_ms"].as_f64().unwrap();
    assert!(average > 0.0 && average < 1000.0, "{average}");
    assert_eq!(stats["hedges"], serde_json::json!({"fired": 1, "won": 1}));
    assert_eq!((&stats["retries"], &stats["log_lines_lost"]), (&1.into(), &0.into()));
    assert_eq!(stats["in_flight"]["drains"], 0);
    let text = client.send(asked("/metrics")).await.collect().await.text();
    for line in [
        "thalweg_races_total 2",
        "thalweg_race_timeouts_total 1",
        r#"thalweg_race_wins_total{provider="p1",model="m"} 1"#,
        "thalweg_race_duration_seconds_count 1",
        "thalweg_hedges_total 1",
        "thalweg_hedge_wins_total 1",
        "thalweg_retries_total 1",
        "thalweg_in_flight_drains 0",
        "thalweg_log_lines_lost_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    drop(client);
    gateway.stop().await;
}

/// B11: beyond its bound the overload guard leaves optional work out, logs it once and counts it.
#[tokio::test]
async fn the_overload_guard_sheds_beyond_its_bound() {
    let pieces: Vec<_> =
        (0..120).map(|number| delta(&number.to_string())).chain([script::DONE.into()]).collect();
    let upstream = Upstream::always(Speaks::H1, script::sse_pieces(pieces));
    let bound = Some(Duration::from_nanos(1));
    let gateway = plan(&[&upstream]).with(|settings| settings.telemetry.guard = bound).start().await;
    let mut asking = gateway.client(Version::H1).await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        client.send(Call::stream()).await.collect().await;
        let stats = asking.send(asked("/stats")).await.collect().await.json();
        if stats["overhead_guard"]["sheds"] == true {
            assert_eq!(stats["overhead_guard"]["episodes"], 1, "{stats:#}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{stats:#}");
    }
    let call = Call::stream().header("x-thalweg-trace", "1").header("x-thalweg-digests", "1");
    let text = client.send(call).await.collect().await.text();
    let told = text.rsplit_once(": thalweg ").expect("a closing comment").1;
    let told: Value = serde_json::from_str(told).unwrap();
    assert!(told["digests"].is_null(), "{told}");
    let metrics = asking.send(asked("/metrics")).await.collect().await.text();
    assert!(
        metrics.contains(
            "thalweg_overhead_guard_episodes_total 1
"
        ),
        "{metrics}"
    );
    drop((asking, client));
    gateway.stop().await;
}

/// S0.7, B18: both are closed without an administrator's key; `/metrics` can be opened.
#[tokio::test]
async fn statistics_need_an_administrators_key() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for path in ["/stats", "/metrics"] {
        assert_eq!(client.send(Call::get(path)).await.status, 403, "{path}");
        assert_eq!(client.send(Call::get(path).without("authorization")).await.status, 401, "{path}");
        assert_eq!(client.send(Call::post(path, "{}")).await.status, 405, "{path}");
    }
    drop(client);
    gateway.stop().await;
    let gateway = plan(&[&upstream]).with(|settings| settings.telemetry.public_metrics = true).start().await;
    let mut client = gateway.client(Version::H2).await;
    assert_eq!(client.send(Call::get("/metrics").without("authorization")).await.status, 200);
    assert_eq!(client.send(Call::get("/stats")).await.status, 403);
    drop(client);
    gateway.stop().await;
}
