//! Traces: W3C `traceparent` in and out, and spans by OTLP to a collector (B18).

use serde_json::Value;
use thalweg::{config::OtelSettings, upstream::BaseUrl};

use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{
        Speaks, Upstream,
        script::{self, delta},
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SAID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Exports all traces to this collector.
fn plan(upstream: &Upstream, collector: &Upstream) -> Plan {
    let base = BaseUrl { path: "".into(), ..BaseUrl::parse(&collector.base()).unwrap() };
    let otel = OtelSettings::plain(base);
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
