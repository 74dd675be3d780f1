//! Errors of providers as clients get them: in one shape, and without a word that is not for them.

use thalweg::{base::Secret, relay::CommitPoint};

use super::broken_responses::error_of;
use crate::{
    client::{Call, Version, call::Received},
    gateway::{PAIRS, PROVIDER_KEY, Plan},
    journal,
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

/// An answer of `status` with this body, to the only provider's client at `path`: its status and body.
async fn passed(path: &str, kind: &str, status: u16, body: &str) -> (u16, Received) {
    let length = Framing::Length(body.len() as u64);
    let steps = vec![script::head(status, kind, length), script::body(body.to_owned()), Step::End];
    let provider = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post(path, r#"{"model":"m","messages":[],"input":"hi"}"#)).await;
    let status = answer.status.as_u16();
    let received = answer.collect().await;
    drop(client);
    gateway.stop().await;
    (status, received)
}

/// An error object of the APIs passes byte for byte (G9).
#[tokio::test]
async fn an_error_object_passes_as_it_came() {
    for body in [
        r#"{"error":{"message":"no","type":"server_error","param":null,"code":null}}"#,
        "{\n  \"error\" : {\"message\": \"no\", \"code\": 500.0}, \"more\": [1]\n}\n",
        r#"{"type":"error","error":{"type":"overloaded_error","message":"no"},"request_id":"r"}"#,
        r#"[{"error":{"code":500,"message":"no","status":"INTERNAL","details":[]}}]"#,
    ] {
        for (path, _) in CALLS {
            let (status, received) = passed(path, "application/json", 500, body).await;
            assert_eq!((status, &*received.text()), (500, body), "{path}");
        }
    }
}

/// Anything else comes in the gateway's shape, with the provider's words in its message, cut (G9).
#[tokio::test]
async fn another_error_comes_in_the_gateways_shape() {
    let page = "<html><head><title>502 Bad Gateway</title></head><body><hr>nginx/1.27</body></html>";
    let long = "word ".repeat(5000);
    for (kind, status, body, said, code) in [
        ("text/html", 502, page, "the provider answered 502: 502 Bad Gateway nginx/1.27", "upstream_status"),
        (
            "application/json",
            422,
            r#"{"detail":[{"loc":["body","n"],"msg":"n is too large"}]}"#,
            "the provider answered 422: n is too large",
            "upstream_status",
        ),
        (
            "application/json",
            500,
            r#"{"error":"model runner has stopped"}"#,
            "the provider answered 500: model runner has stopped",
            "upstream_status",
        ),
        (
            "application/json",
            400,
            r#"{"object":"error","message":"maximum context length is 8","type":"BadRequestError","code":400}"#,
            "the provider answered 400: maximum context length is 8",
            "context_length_exceeded",
        ),
        ("text/plain", 500, "", "the provider answered 500", "upstream_status"),
        (
            "text/plain",
            503,
            "no healthy upstream",
            "the provider answered 503: no healthy upstream",
            "upstream_status",
        ),
        ("text/plain", 500, &long, "the provider answered 500: word word", "upstream_status"),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
            let (told, received) = passed(path, kind, status, body).await;
            let error = received.json();
            assert_eq!(told, status, "{error}");
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.starts_with(said) && message.len() < 400, "{message}");
            if path == "/v1/messages" {
                assert_eq!(error["type"], "error");
            } else {
                assert_eq!(error_of(&error)["code"], code);
            }
        }
    }
}

/// A page of a proxy or a portal in between is no answer, whatever its status says (G9).
#[tokio::test]
async fn a_page_is_no_answer() {
    for status in [200, 203] {
        for (path, body) in CALLS {
            let steps =
                vec![script::head(status, "text/html", Framing::Chunked), script::body("<html>"), Step::End];
            let provider = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&provider]).start().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::post(path, body)).await;
            assert_eq!(answer.status, 502, "{path}");
            let error = answer.collect().await.json();
            assert!(error["error"]["message"].as_str().unwrap().contains("a page for people"), "{error}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The provider's key in an error, of any size and in frames of one byte, in a whole answer, and in a log
/// line (D11).
#[tokio::test]
async fn the_providers_key_is_taken_out() {
    let quoting = [
        format!(r#"{{"error":{{"message":"{PROVIDER_KEY} is over its limit","code":"{PROVIDER_KEY}"}}}}"#),
        format!(r#"{{"error":{{"message":"{} {PROVIDER_KEY}","type":"x"}}}}"#, "long ".repeat(1000)),
        format!(r#"{{"detail":"{PROVIDER_KEY}"}}"#),
        format!("<html>{PROVIDER_KEY}</html>"),
    ];
    for body in &quoting {
        for pieces in [1, body.len()] {
            let size = body.len() / pieces;
            let frames = body.as_bytes().chunks(size).map(|frame| script::body(frame.to_vec()));
            let head = script::head(500, "application/json", Framing::Chunked);
            let steps: Vec<_> = std::iter::once(head).chain(frames).chain([Step::End]).collect();
            let provider = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&provider]).start().await;
            let mut client = gateway.client(Version::H1).await;
            let call = Call::stream();
            let id = call.id();
            let text = client.send(call).await.collect().await.text();
            assert!(!text.contains(PROVIDER_KEY), "{text}");
            journal::closing(&id).await;
            let lines = journal::lines(&id);
            assert!(!lines.is_empty() && !lines.iter().any(|line| line.to_string().contains(PROVIDER_KEY)));
            drop(client);
            gateway.stop().await;
        }
    }
    let answer = script::COMPLETION.replace("one two", &format!("{PROVIDER_KEY} and {PROVIDER_KEY}"));
    let (_, received) = passed("/v1/chat/completions", "application/json", 200, &answer).await;
    assert_eq!(received.text(), answer.replace(PROVIDER_KEY, "***"));
}

/// The same however the provider writes it: as .NET and PHP escape it, in a page, in a header, in the first
/// event of a stream; and in the words that the gateway repeats decoded (D11).
#[tokio::test]
async fn the_providers_key_is_taken_out_in_every_form() {
    const KEY: &str = "sk+of/the=provider";
    let dotnet = KEY.replace('+', r"\u002B").replace('=', r"\u003D");
    let php = KEY.replace('/', r"\/");
    let page = KEY.replace('+', "&#43;").replace('=', "&#61;");
    let error = |key: &str| format!(r#"{{"error":{{"message":"the key {key} is wrong","type":"x"}}}}"#);
    let event = |key: &str| script::sse(format!("data: {}\n\n", error(key)));
    let headed = vec![
        Step::Head {
            status: 200,
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("openai-x".into(), format!("key {KEY}")),
            ],
            framing: Framing::Length(script::COMPLETION.len() as u64),
        },
        script::body(script::COMPLETION),
        Step::End,
    ];
    let mut answers = vec![headed, event(KEY), event(&dotnet), event(&php)];
    // An event in two frames, which end within the key or behind it.
    for key in [KEY, &dotnet, &php] {
        let text = format!("data: {}\n\n", error(key));
        let start = text.find(key).unwrap();
        for cut in [start + 1, start + 4, start + key.len() - 1, start + key.len(), text.len() - 1] {
            let parts = text.split_at(cut);
            let [first, second] = [parts.0, parts.1].map(|part| script::body(part.to_owned()));
            answers.push(vec![script::sse_head(), first, Step::Moment, second, Step::End]);
        }
    }
    for key in [KEY, &dotnet, &php, &page] {
        for status in [400, 401, 403, 500] {
            answers.push(script::json(status, error(key)));
            let html = format!("<html>{key}</html>");
            let length = Framing::Length(html.len() as u64);
            answers.push(vec![script::head(status, "text/html", length), script::body(html), Step::End]);
        }
    }
    let answers = std::sync::Arc::new(answers);
    let count = answers.len();
    let scripts = std::sync::Arc::clone(&answers);
    let provider = Upstream::by(Speaks::H1, move |number, _| scripts[number % count].clone());
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].target.key = Some(Secret::new(KEY.to_owned()));
        settings.routing.breaker.failures = u32::MAX;
        settings.routing.breaker.min_requests = u32::MAX;
        settings.routing.retry.repeats = 0;
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let body = |path: &str, streams: bool| {
        Call::post(path, format!(r#"{{"model":"m","messages":[],"max_tokens":9,"stream":{streams}}}"#))
    };
    for (path, streams) in
        [("/v1/chat/completions", true), ("/v1/chat/completions", false), ("/v1/messages", true)]
    {
        for steps in answers.iter() {
            let answer = client.send(body(path, streams)).await;
            let headers = format!("{:?}", answer.headers);
            let text = answer.collect().await.text();
            let all = format!("{headers} {text}");
            for form in [KEY, &dotnet, &php, &page, "the=provider", "sk+of"] {
                assert!(!all.contains(form), "{path} {steps:?}: {all}");
            }
        }
    }
    drop(client);
    gateway.stop().await;
}

/// A provider's refusal of the gateway's own key differs from a refusal of the client's: by code,
/// header and words, in each dialect (F7).
#[tokio::test]
async fn a_refusal_of_the_gateways_key_is_its_own_error() {
    let openai = format!(
        r#"{{"error":{{"message":"Incorrect API key provided: {PROVIDER_KEY}.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}}}"#
    );
    let google = r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#;
    let permission = r#"{"error":{"type":"permission_error","message":"Your API key has no permission"}}"#;
    let detail = r#"{"detail":"Invalid credentials"}"#;
    for (status, body) in [(401, &*openai), (401, ""), (400, google), (403, permission), (403, detail)] {
        for has_key in [true, false] {
            for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
                let provider = Upstream::always(Speaks::H1, script::json(status, body.to_owned()));
                let plan = Plan::to(&[&provider]).with(|settings| {
                    let key = &mut settings.providers[0].target.key;
                    *key = key.take().filter(|_| has_key);
                });
                let gateway = plan.start().await;
                let mut client = gateway.client(Version::H1).await;
                let call = Call::post(path, r#"{"model":"m","messages":[],"input":"hi"}"#);
                let id = call.id();
                let answer = client.send(call).await;
                assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (401, "false"));
                assert_eq!(answer.header("x-thalweg-error"), "upstream_key_refused");
                assert!(answer.headers.get("www-authenticate").is_none());
                let error = answer.collect().await.json();
                let message = error["error"]["message"].as_str().unwrap();
                let told =
                    if has_key { "refuses the key that the gateway has" } else { "no key is configured" };
                assert!(message.starts_with("the provider `p0` ") && message.contains(told), "{message}");
                assert!(!has_key || !message.contains(PROVIDER_KEY), "{message}");
                if path != "/v1/messages" {
                    assert_eq!(error_of(&error)["code"], "upstream_key_refused");
                }
                assert_eq!(journal::closing(&id).await["code"], "upstream_key_refused");
                drop(client);
                gateway.stop().await;
            }
        }
    }
    // A 403 about the request is the client's.
    let flagged = r#"{"error":{"message":"Your input was flagged","code":403}}"#;
    let (status, received) = passed("/v1/chat/completions", "application/json", 403, flagged).await;
    assert_eq!((status, &*received.text()), (403, flagged));
}

/// The same of several providers, each of which refuses its key.
#[tokio::test]
async fn all_providers_refuse_their_keys() {
    let refusal = r#"{"error":{"message":"no","code":"invalid_api_key"}}"#;
    let providers = [(); 2].map(|()| Upstream::always(Speaks::H1, script::json(401, refusal)));
    let plan = Plan::to(&[&providers[0], &providers[1]]).with(|settings| {
        settings.providers[0].target.key = Some(Secret::new("sk-another-key".to_owned()));
        settings.providers[1].target.key = None;
        settings.stream.commit = Some(CommitPoint::FirstContent);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (401, "false"));
    let error = answer.collect().await.json();
    assert_eq!(error_of(&error)["code"], "upstream_key_refused");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.ends_with("p0: answered 401 (invalid_api_key); p1: answered 401 (invalid_api_key), no key is configured for it"),
        "{message}"
    );
    drop(client);
    gateway.stop().await;
}
