//! Errors of providers as clients get them: in one shape, and without a word that is not for them.

use super::broken_responses::error_of;
use crate::{
    client::{Call, Version},
    gateway::{PAIRS, Plan},
    upstream::{Framing, Speaks, Step, Upstream, script},
};

const CALLS: [(&str, &str); 4] = [
    ("/v1/chat/completions", r#"{"model":"m","messages":[],"stream":true}"#),
    ("/v1/chat/completions", r#"{"model":"m","messages":[]}"#),
    ("/v1/messages", r#"{"model":"m","messages":[],"max_tokens":9,"stream":true}"#),
    ("/v1/responses", r#"{"model":"m","input":"hi","stream":true}"#),
];

fn redirecting(speaks: Speaks, status: u16, location: Option<&str>) -> Upstream {
    let headers = location.map(|location| ("location".to_owned(), location.to_owned()));
    let headers = headers.into_iter().collect();
    Upstream::always(speaks, vec![Step::Head { status, headers, framing: Framing::Length(0) }, Step::End])
}

/// A redirection is not passed, because clients follow it with the prompt, and some with the key: it is an
/// error that names the target, without the target's query (D2).
#[tokio::test]
async fn a_redirection_is_an_error() {
    for (speaks, version) in PAIRS {
        for status in [301, 302, 303, 307, 308] {
            let target = "https://user:pw@elsewhere.test/v1/x?key=sk-secret";
            let provider = redirecting(speaks, status, Some(target));
            let gateway = Plan::to(&[&provider]).start().await;
            let mut client = gateway.client(version).await;
            for (path, body) in CALLS {
                let answer = client.send(Call::post(path, body)).await;
                assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (502, "false"));
                assert!(answer.headers.get("location").is_none());
                let error = answer.collect().await.json();
                let message = error["error"]["message"].as_str().unwrap();
                assert!(message.contains("redirects to https://elsewhere.test/v1/x,"), "{message}");
                if path == "/v1/messages" {
                    assert_eq!(
                        (&error["type"], &error["error"]["type"]),
                        (&"error".into(), &"api_error".into())
                    );
                } else {
                    assert_eq!(error_of(&error)["code"], "upstream_redirect");
                }
            }
            drop(client);
            gateway.stop().await;
        }
    }
}

/// Statuses that concern only the hop to the provider are no answer for the client either; with several
/// providers the next is tried (D2).
#[tokio::test]
async fn a_status_of_the_hop_leads_to_the_next_provider() {
    for (status, location) in [
        (307, Some("https://elsewhere.test/")),
        (302, None),
        (304, None),
        (407, None),
        (421, None),
        (426, None),
    ] {
        let first = redirecting(Speaks::H1, status, location);
        let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"), "{status}");
        assert_eq!(answer.collect().await.bytes(), script::short_stream());
        drop(client);
        gateway.stop().await;

        let alone = redirecting(Speaks::H1, status, None);
        let gateway = Plan::to(&[&alone]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, 502, "{status}");
        assert_eq!(error_of(&answer.collect().await.json())["code"], "upstream_status", "{status}");
        drop(client);
        gateway.stop().await;
    }
}
