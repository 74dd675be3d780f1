//! The closing comment with figures and digests that a client can request for its own stream (B2, B3).

use serde_json::Value;
use sha2::{Digest, Sha256};
use thalweg::relay::FaultDisplay;

use crate::{
    client::Call,
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Speaks, Step, Upstream,
        script::{self, delta, sse_head, usage},
    },
};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stream before its closing comment, and the comment's JSON.
fn split(text: &str) -> (&str, Value) {
    let (stream, told) =
        text.rsplit_once(": thalweg ").unwrap_or_else(|| panic!("no closing comment: {text}"));
    (stream, serde_json::from_str(told.strip_suffix("\n\n").expect("a blank line at its end")).unwrap())
}

/// Digests cover the provider's bytes and the client's bytes; the two differ only by the usage chunk that was
/// taken out.
#[tokio::test]
async fn the_bytes_can_be_checked() {
    for (speaks, version) in PAIRS {
        let sent = [&delta("one")[..], &usage(), script::DONE].concat();
        let steps = vec![
            sse_head(),
            Step::Body(delta("one")),
            Step::Body(usage()),
            script::body(script::DONE),
            Step::End,
        ];
        let upstream = Upstream::always(speaks, steps);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let call = Call::stream().header("x-thalweg-trace", "1").header("x-thalweg-digests", "1");
        let id = call.id();
        let text = client.send(call).await.collect().await.text();
        let (stream, told) = split(&text);
        assert_eq!(stream.as_bytes(), [&delta("one")[..], script::DONE].concat());
        assert_eq!(told["digests"]["algorithm"], "sha256", "{told}");
        assert_eq!(told["digests"]["received"], hex(&sent), "{told}");
        assert_eq!(told["digests"]["given"], hex(stream.as_bytes()), "{told}");
        assert_eq!(
            (&told["id"], &told["provider"], &told["bytes"]),
            (&id.as_str().into(), &"p0".into(), &sent.len().into())
        );
        for name in ["first_byte", "p50", "p99", "max"] {
            assert!(told["added_us"][name].as_f64() > Some(0.0), "{name} in {told}");
        }
        let seen = upstream.log.request(0).await;
        assert!(seen.all("x-thalweg-trace").is_empty() && seen.all("x-thalweg-digests").is_empty());
        let line = journal::closing(&id).await;
        assert_eq!((&line["message"], &line["status"]), (&"done".into(), &200.into()), "{line}");
        drop(client);
        gateway.stop().await;
    }
}

/// Without the request header there is no comment. A stream that ends within an event is left as it is, and
/// so is one that breaks off, unless an error event comes before the break.
#[tokio::test]
async fn comment_only_on_request() {
    let open = &b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n"[..];
    let asked = || Call::stream().header("x-thalweg-trace", "1");
    for (steps, call, told) in [
        (vec![Step::Body(delta("one")), script::body(script::DONE), Step::End], Call::stream(), false),
        (vec![Step::Body(delta("one")), script::body(script::DONE), Step::End], asked(), true),
        (vec![Step::Body(delta("one")), script::body(open), Step::End], asked(), false),
        (vec![Step::Body(delta("one")), Step::Reset], asked(), false),
        (vec![Step::Body(delta("one")), Step::Reset], asked(), true),
    ] {
        let (is_broken, display) = match steps.last() {
            Some(Step::Reset) if told => (true, FaultDisplay::Event),
            Some(Step::Reset) => (true, FaultDisplay::Break),
            _ => (false, FaultDisplay::Break),
        };
        let upstream = Upstream::always(Speaks::H1, [vec![sse_head()], steps].concat());
        let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.on_fault = display);
        let gateway = plan.start().await;
        for (_, version) in PAIRS {
            let mut client = gateway.client(version).await;
            let call = Call { body: call.body.clone(), headers: call.headers.clone(), ..Call::stream() };
            let received = client.send(call).await.collect().await;
            assert_eq!(received.complete, !is_broken);
            let text = received.text();
            assert_eq!(text.contains(": thalweg"), told, "{text}");
            assert!(!told || text.rsplit_once(": thalweg").unwrap().0.ends_with("\n\n"), "{text}");
            drop(client);
        }
        gateway.stop().await;
    }
}

/// `telemetry.digests` requests digests for all requests; a document has them in the log, too.
#[tokio::test]
async fn all_are_digested_when_the_configuration_says_so() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.telemetry.digests = true).start().await;
    for (_, version) in PAIRS {
        let mut client = gateway.client(version).await;
        let call = Call::whole();
        let id = call.id();
        let body = client.send(call).await.collect().await.bytes();
        let line = journal::closing(&id).await;
        assert_eq!(
            (&line["digest_up"], &line["digest_down"]),
            (&hex(&body).into(), &hex(&body).into()),
            "{line}"
        );
        drop(client);
    }
    gateway.stop().await;
}
