//! Traces: W3C `traceparent` in and out, and spans by OTLP to a collector (B18).

use serde_json::Value;
use thalweg::{config::OtelSettings, telemetry::otlp::OtlpEncoding, upstream::BaseUrl};

use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SAID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Exports all traces to this collector, in JSON, which tests can read.
fn plan(upstream: &Upstream, collector: &Upstream) -> Plan {
    plan_in(OtlpEncoding::Json, upstream, collector)
}

fn plan_in(encoding: OtlpEncoding, upstream: &Upstream, collector: &Upstream) -> Plan {
    let base = BaseUrl { path: "".into(), ..BaseUrl::parse(&collector.base()).unwrap() };
    let otel = OtelSettings { encoding, ..OtelSettings::plain(base) };
    Plan::to(&[upstream]).with(|settings| settings.otel = Some(otel))
}

/// An attribute's value.
fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == name);
    let value = &found.unwrap_or_else(|| panic!("no {name} in {span:#}"))["value"];
    value.as_object().unwrap().values().next().unwrap()
}

#[tokio::test]
async fn spans_of_the_request_and_of_the_call() {
    let upstream =
        Upstream::always(Speaks::H1, script::sse_pieces([delta("one"), script::last_delta("two")]));
    let collector = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let gateway = plan(&upstream, &collector).start().await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    let call = Call::stream().header("traceparent", SAID).header("tracestate", "vendor=1");
    assert!(client.send(call).await.collect().await.complete);
    drop(client);
    // The last batch is sent before a stop ends.
    gateway.stop().await;
    let sent = collector.log.request(0).await;
    assert_eq!((&*sent.method, &*sent.target), ("POST", "/v1/traces"));
    assert_eq!(sent.all("content-type"), ["application/json"]);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let (served, called) = (&spans[0], &spans[1]);
    assert_eq!(
        (&served["traceId"], &served["parentSpanId"]),
        (&TRACE.into(), &"b7ad6b7169203331".into()),
        "{body:#}"
    );
    assert_eq!(
        (&served["kind"], attribute(served, "http.route")),
        (&2.into(), &"/v1/chat/completions".into())
    );
    assert_eq!((&called["traceId"], &called["parentSpanId"]), (&TRACE.into(), &served["spanId"]));
    assert_eq!((&called["name"], &called["kind"]), (&"chat m".into(), &3.into()));
    assert_eq!(attribute(called, "gen_ai.provider.name"), "p0");
    assert_eq!(attribute(called, "gen_ai.request.model"), "m");
    assert!(attribute(called, "thalweg.time_to_first_token").as_f64() > Some(0.0));
    // The provider gets our call as its parent span.
    let seen = upstream.log.request(0).await;
    let span = called["spanId"].as_str().unwrap();
    assert_eq!(seen.all("traceparent"), [format!("00-{TRACE}-{span}-01")]);
    assert_eq!(seen.all("tracestate"), ["vendor=1"]);
}

/// CASES D13: Protocol Buffers by default, which every collector takes; a collector that asks for a pause
/// gets the same batch again.
#[tokio::test]
async fn a_collector_that_is_busy_gets_the_batch_again() {
    assert_eq!(OtlpEncoding::default(), OtlpEncoding::Protobuf);
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let collector = Upstream::by(Speaks::H1, |number, _| {
        let headers = vec![("retry-after-ms".into(), "2".into())];
        match [429, 502, 503].get(number) {
            Some(status) => {
                vec![Step::Head { status: *status, headers, framing: Framing::Length(0) }, Step::End]
            }
            None => script::json(200, ""),
        }
    });
    let gateway = plan_in(OtlpEncoding::default(), &upstream, &collector).start().await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::whole().header("traceparent", SAID)).await.collect().await;
    let sent = collector.log.request(0).await;
    assert_eq!(sent.all("content-type"), ["application/x-protobuf"]);
    // `resource_spans`, a message; within it the trace's id as bytes.
    let id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    assert!(
        sent.body[0] == 0x0a && sent.body.windows(18).any(|part| part == [&[0x0a, 16][..], &id].concat())
    );
    for number in 1..4 {
        assert_eq!(collector.log.request(number).await.body, sent.body, "{number}");
    }
    client.send(Call::whole().header("traceparent", SAID)).await.collect().await;
    assert_ne!(collector.log.request(4).await.body, sent.body, "the next batch");
    drop(client);
    gateway.stop().await;
}

/// What does not get better by waiting is not sent again.
#[tokio::test]
async fn a_collector_that_refuses_for_good_is_not_asked_again() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let collector = Upstream::always(Speaks::H1, script::json(415, "{}"));
    let gateway = plan(&upstream, &collector).start().await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::whole()).await.collect().await;
    let first = collector.log.request(0).await;
    client.send(Call::whole()).await.collect().await;
    assert_ne!(collector.log.request(1).await.body, first.body);
    drop(client);
    gateway.stop().await;
}

/// CASES D12: a provider's error that passes as it came is an error of the call; of the request as served
/// only from 500 on, as the conventions for HTTP say.
#[tokio::test]
async fn a_providers_error_is_an_error_in_its_span() {
    for (status, served_status) in [(429, None), (500, Some("500"))] {
        let upstream = Upstream::always(Speaks::H1, script::json(status, r#"{"error":{"message":"no"}}"#));
        let collector = Upstream::always(Speaks::H1, script::json(200, "{}"));
        let gateway = plan(&upstream, &collector).start().await;
        let mut client = gateway.client(Version::H1).await;
        let mut call = Call::stream().header("traceparent", &SAID.replace("-01", "-03"));
        call.target = "/chat/completions".into();
        let answer = client.send(call).await;
        assert_eq!(answer.status.as_u16(), status);
        answer.collect().await;
        drop(client);
        gateway.stop().await;
        let body: Value = serde_json::from_slice(&collector.log.request(0).await.body).unwrap();
        let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let (served, called) = (&spans[0], &spans[1]);
        assert_eq!(called["status"]["code"], 2, "{called:#}");
        assert_eq!(attribute(called, "error.type"), &Value::from(status.to_string()));
        assert_eq!(served["status"]["message"].as_str(), served_status, "{served:#}");
        assert_eq!(attribute(served, "url.path"), "/chat/completions");
        assert_eq!(attribute(served, "url.scheme"), "http");
        // The flag that the trace's id is random passes.
        assert!(upstream.log.request(0).await.all("traceparent")[0].ends_with("-03"));
    }
}

/// Without a collector a client's `traceparent` passes unchanged; a request that its client does not sample
/// is not exported.
#[tokio::test]
async fn traceparent_passes_without_a_collector() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::whole().header("traceparent", SAID)).await.collect().await;
    client.send(Call::whole()).await.collect().await;
    assert_eq!(upstream.log.request(0).await.all("traceparent"), [SAID]);
    assert!(upstream.log.request(1).await.all("traceparent").is_empty());
    drop(client);
    gateway.stop().await;

    let collector = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let gateway = plan(&upstream, &collector).start().await;
    let mut client = gateway.client(Version::H1).await;
    let unsampled = SAID.replace("-01", "-00");
    client.send(Call::whole().header("traceparent", &unsampled)).await.collect().await;
    client
        .send(Call::whole().header("traceparent", "nonsense").header("tracestate", "x=1"))
        .await
        .collect()
        .await;
    drop(client);
    gateway.stop().await;
    assert!(upstream.log.request(2).await.all("traceparent")[0].ends_with("-00"));
    let begun = upstream.log.request(3).await;
    assert!(begun.all("traceparent")[0].ends_with("-01") && begun.all("tracestate").is_empty());
    let sent = collector.log.request(0).await;
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 2, "of the second request alone: {body:#}");
    assert!(
        !spans[0]["traceId"].as_str().unwrap().starts_with("0af765") && spans[0]["parentSpanId"].is_null()
    );
}

/// A collector that accepts nothing costs requests nothing, and delays a stop only briefly.
#[tokio::test]
async fn an_unreachable_collector_is_harmless() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let collector = Upstream::always(Speaks::H1, script::json(503, "{}"));
    let gateway = plan(&upstream, &collector).start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..3 {
        assert_eq!(client.send(Call::whole()).await.collect().await.bytes(), script::COMPLETION.as_bytes());
    }
    collector.log.request(0).await;
    drop(client);
    gateway.stop().await;
}

/// A collector that never answers delays the stop by little more than one export, however many spans wait.
#[tokio::test]
async fn a_silent_collector_does_not_hold_the_stop_up() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let collector = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = plan(&upstream, &collector).start().await;
    let mut client = gateway.client(Version::H1).await;
    // Two spans each: more than four batches.
    for _ in 0..1100 {
        client.send(Call::whole()).await.collect().await;
    }
    collector.log.request(0).await;
    drop(client);
    let begun = std::time::Instant::now();
    gateway.stop().await;
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
}
