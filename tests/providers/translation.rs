//! A provider without the client's endpoint is asked at another one, and its answer is translated event by
//! event (B26).

use serde_json::{Value, json};
use thalweg::{base::Endpoint, routing::KnownEndpoints};

use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{Seen, Speaks, Step, Upstream, script, script::Framing},
};

const NOT_FOUND: &str = r#"{"error":{"message":"Invalid URL (POST /v1/messages)","type":"invalid_request_error","param":null,"code":null}}"#;
const MESSAGE: &str =
    r#"{"model":"m","max_tokens":50,"system":"Be brief.","messages":[{"role":"user","content":"Hello"}]}"#;

const ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hi."}],"model":"m","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","status":"completed","model":"m","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hi.","annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#;

/// Has chat alone, and answers it so.
fn chat_alone(answer: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Upstream {
    Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/chat/completions") {
        true => answer(seen),
        false => script::json(404, NOT_FOUND),
    })
}

fn streaming(body: &str) -> String {
    body.replacen('{', r#"{"stream":true,"#, 1)
}

/// The data of the events of a stream, and their names.
fn events(text: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let name = block.lines().find_map(|line| line.strip_prefix("event: ")).unwrap_or_default();
        let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
        Some((name.to_owned(), serde_json::from_str(data).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

/// Text of the deltas of an Anthropic stream.
fn text_of(events: &[(String, Value)]) -> String {
    events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect()
}

#[tokio::test]
async fn a_messages_stream_comes_from_a_chat_provider() {
    let provider = chat_alone(|seen| {
        assert_eq!(seen.json()["stream_options"]["include_usage"], true);
        script::sse(script::short_stream())
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, attempts) in [(0, "2"), (1, "1")] {
        let answer = client.send(Call::post("/v1/messages", streaming(MESSAGE))).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "messages>chat"));
        assert_eq!(answer.header("x-thalweg-attempts"), attempts, "the missing endpoint is remembered");
        let body = answer.collect().await;
        assert!(body.complete, "request {number}");
        let events = events(&body.text());
        let names: Vec<_> = events.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            (names.first(), names.last()),
            (Some(&"message_start"), Some(&"message_stop")),
            "{names:?}"
        );
        assert!(!text_of(&events).is_empty());
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_is_said_in_the_providers_dialect() {
    let provider = chat_alone(|seen| {
        let body = seen.json();
        assert_eq!(body["messages"][0], json!({"role": "system", "content": "Be brief."}));
        assert_eq!(body["messages"][1]["role"], "user");
        script::json(200, script::COMPLETION)
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
    assert_eq!(answer.status, 200);
    let message = answer.collect().await.json();
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
    assert!(message["content"][0]["text"].is_string(), "{message}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_response_comes_from_a_chat_provider() {
    let provider = chat_alone(|_| script::sse(script::short_stream()));
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let body = r#"{"model":"m","stream":true,"instructions":"Be brief.","input":"Hello"}"#;
    let answer = client.send(Call::post("/v1/responses", body)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "responses>chat"));
    let events = events(&answer.collect().await.text());
    let names: Vec<_> = events.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        (names.first(), names.last()),
        (Some(&"response.created"), Some(&"response.completed")),
        "{names:?}"
    );
    assert_eq!(events.last().unwrap().1["response"]["status"], "completed");
    drop(client);
    gateway.stop().await;
}

/// A provider that serves messages alone, and a client of chat.
#[tokio::test]
async fn a_chat_stream_comes_from_a_messages_provider() {
    let stream = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi."}}"#,
        ),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let stream: String =
        stream.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
    let provider = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/messages") {
        true => {
            assert_eq!(seen.all("anthropic-version"), ["2023-06-01"]);
            script::sse(stream.clone())
        }
        false => script::json(404, NOT_FOUND),
    });
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].dialects = Some([Endpoint::Messages].into_iter().collect());
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "chat>messages"));
    let text = answer.collect().await.text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let content: String = text
        .split("\n\n")
        .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(content, "Hi.");
    assert!(!text.contains("\"usage\":{"), "the client did not ask for usage: {text}");
    drop(client);
    gateway.stop().await;
}

/// Usage that a translation makes up for a client that needs a count was not reported.
#[tokio::test]
async fn made_up_usage_is_an_estimate() {
    let counted = [&script::delta("one")[..], &script::usage(), script::DONE].concat();
    for (answer, source) in [(script::short_stream(), "estimated"), (counted.into(), "reported")] {
        let provider = chat_alone(move |_| script::sse(answer.clone()));
        let gateway = Plan::to(&[&provider]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post("/v1/messages", streaming(MESSAGE));
        let id = call.id();
        assert!(client.send(call).await.collect().await.complete);
        let line = crate::journal::closing(&id).await;
        assert_eq!(line["usage"], source, "{line}");
        drop(client);
        gateway.stop().await;
    }
}

/// A cut answer gets no end of the gateway's making, before or after translation.
#[tokio::test]
async fn a_cut_answer_ends_broken() {
    let provider = chat_alone(|_| {
        let body = [script::role(), script::delta("The river")].concat();
        vec![script::sse_head(), script::body(body), Step::Moment, Step::Reset]
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let body = client.send(Call::post("/v1/messages", streaming(MESSAGE))).await.collect().await;
    assert!(!body.complete);
    assert!(!body.text().contains("message_stop"), "{}", body.text());
    drop(client);
    gateway.stop().await;
}

/// Errors come in the client's dialect, with the codes and headers that it acts on.
#[tokio::test]
async fn errors_are_translated() {
    for (status, body, expected, kind) in [
        (429, r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, 429, "rate_limit_error"),
        (503, r#"{"error":{"message":"overloaded","type":"server_error"}}"#, 529, "overloaded_error"),
        (400, r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#, 400, "invalid_request_error"),
    ] {
        let provider = chat_alone(move |_| script::json(status, body));
        let gateway = Plan::to(&[&provider]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post("/v1/messages", streaming(MESSAGE))).await;
        assert_eq!(answer.status.as_u16(), expected, "{body}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 429);
        let error = answer.collect().await.json();
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)), "{error}");
        drop(client);
        gateway.stop().await;
    }
}

/// A provider that has the endpoint comes before one that needs a translation, and a failover may go from one
/// to the other.
#[tokio::test]
async fn a_native_provider_comes_first() {
    let chat = chat_alone(|_| script::json(200, script::COMPLETION));
    let native = Upstream::always(Speaks::H1, script::json(503, r#"{"error":{"message":"down"}}"#));
    let plan = Plan::to(&[&chat, &native]).with(|settings| {
        settings.providers[0].dialects = Some([Endpoint::ChatCompletions].into_iter().collect());
        settings.providers[1].dialects = Some([Endpoint::Messages].into_iter().collect());
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p0"));
    assert_eq!(answer.header("x-thalweg-attempts"), "2");
    assert_eq!(native.log.requests(), 1);
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn translation_can_be_switched_off() {
    let provider = chat_alone(|_| script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&provider]).with(|settings| settings.routing.native_only = true).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("x-thalweg-dialect")), (404, false));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// The setting of a model takes precedence over its provider's, and this over the one for all.
#[tokio::test]
async fn the_most_particular_setting_decides() {
    use thalweg::routing::settings::ModelRule;
    for (of_model, of_provider, native_only, is_served) in [
        (None, None, false, true),
        (None, None, true, false),
        (None, Some(false), false, false),
        (None, Some(true), true, true),
        (Some(false), Some(true), false, false),
        (Some(true), Some(false), true, true),
    ] {
        let provider = chat_alone(|_| script::json(200, script::COMPLETION));
        let plan = Plan::to(&[&provider]).with(move |settings| {
            settings.routing.native_only = native_only;
            settings.providers[0].translate = of_provider;
            let rule = ModelRule { name: "m".into(), translate: of_model, ..ModelRule::default() };
            settings.routing.models.push(rule);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        for model in ["m", "p0/m"] {
            let body = MESSAGE.replace("\"m\"", &format!("\"{model}\""));
            let answer = client.send(Call::post("/v1/messages", body)).await;
            let case = format!("{model} {of_model:?} {of_provider:?} {native_only}");
            assert_eq!(answer.status, if is_served { 200 } else { 404 }, "{case}");
            let error = answer.collect().await.json()["error"].clone();
            assert_eq!(error["type"] == "not_found_error", !is_served, "{case}: {error}");
        }
        let count = r#"{"model":"m","messages":[{"role":"user","content":"How far does it run?"}]}"#;
        let answer = client.send(Call::post("/v1/messages/count_tokens", count)).await;
        assert_eq!(answer.status, if is_served { 200 } else { 404 });
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// Without a candidate the request gets the error of a missing endpoint, and no provider is asked.
#[tokio::test]
async fn without_translation_no_other_endpoint_is_asked() {
    let provider = chat_alone(|_| script::json(200, script::COMPLETION));
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].dialects = Some([Endpoint::ChatCompletions].into_iter().collect());
        settings.providers[0].translate = Some(false);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
    assert_eq!(answer.status, 404);
    let error = answer.collect().await.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("has the endpoint `/messages`"), "{error}");
    assert_eq!(provider.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// A provider at a known address is asked at the endpoint that it has from the first request on.
#[tokio::test]
async fn a_known_provider_is_not_asked_in_vain() {
    let provider = chat_alone(|_| script::json(200, script::COMPLETION));
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].known = KnownEndpoints::of_address("api.mistral.ai", "/v1");
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
    assert_eq!(
        (answer.header("x-thalweg-dialect"), answer.header("x-thalweg-attempts")),
        ("messages>chat", "1")
    );
    answer.collect().await;
    let count = r#"{"model":"m","messages":[{"role":"user","content":"How far does it run?"}]}"#;
    let answer = client.send(Call::post("/v1/messages/count_tokens", count)).await;
    assert_eq!(answer.status, 200);
    answer.collect().await;
    assert_eq!(provider.log.requests(), 1);
    let page = client.send(Call::get("/health")).await.collect().await.json();
    let dialects = &page["details"][0]["dialects"];
    assert_eq!(dialects["chat"], json!({"has": true, "source": "learned"}));
    assert_eq!(dialects["messages"], json!({"has": false, "source": "known"}));
    drop(client);
    gateway.stop().await;
}

/// The API in which a known provider loses least comes first for clients of the other dialects.
#[tokio::test]
async fn a_known_providers_own_api_comes_first() {
    let provider = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/messages") {
        true => script::json(200, ANSWER),
        false => script::json(500, "{}"),
    });
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].known = KnownEndpoints::of_address("api.anthropic.com", "/v1");
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/responses", r#"{"model":"m","input":"Hello"}"#)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "responses>messages"));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// A server of whose endpoints nothing is known is found out by its answers, in each form that servers have
/// for a missing endpoint: one wasted request per endpoint, then none.
#[tokio::test]
async fn a_servers_endpoints_are_learned_from_its_answers() {
    let unknown = [
        (404, r#"{"detail":"Not Found"}"#),
        (404, "404 page not found"),
        (405, r#"{"detail":"Method Not Allowed"}"#),
        (501, "not implemented"),
        (400, r#"{"error":{"message":"Unknown endpoint: POST /v1/x","type":"invalid_request_error"}}"#),
        (200, r#"{"error":"Unexpected endpoint or method. (POST /v1/x)"}"#),
    ];
    let requests = [
        ("messages", MESSAGE),
        ("responses", r#"{"model":"m","input":"Hello"}"#),
        ("chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#),
    ];
    for (status, text) in unknown {
        for (has, answer) in [("chat/completions", script::COMPLETION), ("messages", ANSWER)] {
            let provider = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with(has) {
                true => script::json(200, answer),
                false => script::json(status, text),
            });
            let gateway = Plan::to(&[&provider]).start().await;
            let mut client = gateway.client(Version::H1).await;
            for (path, body) in requests.iter().chain(&requests) {
                let answer = client.send(Call::post(&format!("/v1/{path}"), *body)).await;
                assert_eq!(answer.status, 200, "{path} at {has}: {status} {text}");
                let body = answer.collect().await.json();
                assert!(body.get("error").is_none_or(Value::is_null), "{body}");
            }
            // Two endpoints are missing, and each was asked once.
            assert_eq!(provider.log.requests(), requests.len() * 2 + 2, "{has}: {status} {text}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// OpenAI serves some models in responses alone, and says so in chat.
#[tokio::test]
async fn a_model_of_another_endpoint_is_asked_there() {
    let words = r#"{"error":{"message":"This model is only supported in v1/responses and not in v1/chat/completions.","type":"invalid_request_error","param":"model","code":null}}"#;
    let provider = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/responses") {
        true => script::json(200, RESPONSE),
        false => script::json(404, words),
    });
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].known = KnownEndpoints::of_address("api.openai.com", "/v1");
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for attempts in ["2", "1"] {
        let answer = client.send(Call::whole()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (200, attempts));
        assert_eq!(answer.header("x-thalweg-dialect"), "chat>responses");
        answer.collect().await;
    }
    drop(client);
    gateway.stop().await;
}

/// Reasoning that the gateway has sealed for another provider does not go to one that would refuse it. A text
/// that mentions a seal is untouched.
#[tokio::test]
async fn sealed_reasoning_of_another_provider_is_left_out() {
    let provider = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/messages") {
        true => script::json(200, ANSWER),
        false => script::json(200, RESPONSE),
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    // `thalweg:1:c:`
    let seal = "dGhhbHdlZzoxOmM6";
    let sealed = format!(
        r#"{{"model": "m","max_tokens":1.0e1,"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"t","signature":"{seal}"}}, {{"type":"text","text":"a"}}]}},{{"role":"user","content":"{seal}"}}]}}"#
    );
    let left = sealed.replace(&format!(r#"{{"type":"thinking","thinking":"t","signature":"{seal}"}}, "#), "");
    let items = format!(
        r#"{{"model":"m","input":[{{"type":"reasoning","summary":[],"encrypted_content":"{seal}"}},{{"role":"user","content":"q"}}]}}"#
    );
    let mention = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"\"signature\":\"{seal}\""}}]}}"#
    );
    for (path, body, sent, dropped) in [
        ("messages", &sealed, &*left, Some("reasoning")),
        ("responses", &items, r#"{"model":"m","input":[{"role":"user","content":"q"}]}"#, Some("reasoning")),
        ("messages", &mention, &*mention, None),
        ("messages", &left, &*left, None),
    ] {
        let answer = client.send(Call::post(&format!("/v1/{path}"), body.clone())).await;
        assert_eq!(answer.status, 200);
        let header = answer.headers.get("x-thalweg-dropped").map(|value| value.to_str().unwrap());
        assert_eq!(header, dropped, "{body}");
        answer.collect().await;
        let seen = provider.log.request(provider.log.requests() - 1).await;
        assert_eq!(str::from_utf8(&seen.body).unwrap(), sent);
    }
    drop(client);
    gateway.stop().await;
}

/// Another thalweg reads the seal that it has made itself.
#[tokio::test]
async fn another_thalweg_gets_its_seals_back() {
    let provider = Upstream::by(Speaks::H1, |_, _| {
        let headers =
            ["content-type", "x-thalweg-attempts"].map(|name| (name.into(), "application/json".into()));
        let framing = Framing::Length(ANSWER.len() as u64);
        vec![Step::Head { status: 200, headers: headers.into(), framing }, script::body(ANSWER), Step::End]
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::post("/v1/messages", MESSAGE)).await.collect().await;
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"dGhhbHdlZzoxOmM6"}]},{"role":"user","content":"q"}]}"#;
    let answer = client.send(Call::post("/v1/messages", body)).await;
    assert!(!answer.headers.contains_key("x-thalweg-dropped"));
    answer.collect().await;
    let seen = provider.log.request(1).await;
    assert_eq!(str::from_utf8(&seen.body).unwrap(), body);
    drop(client);
    gateway.stop().await;
}

/// A request that the other dialect cannot say is refused by the name of the member.
#[tokio::test]
async fn a_request_that_cannot_be_said_is_refused() {
    let provider = chat_alone(|_| script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::post("/v1/messages", r#"{"model":"m","max_tokens":"many","messages":[]}"#);
    let answer = client.send(call).await;
    assert_eq!(answer.status, 400);
    let error = answer.collect().await.json();
    assert_eq!(error["error"]["type"], "invalid_request_error");
    assert!(error["error"]["message"].as_str().unwrap().contains("max_tokens"), "{error}");
    drop(client);
    gateway.stop().await;
}

/// A request that one endpoint of a provider cannot be asked goes to another one, or to another provider; the
/// client is refused only if none can.
#[tokio::test]
async fn a_request_goes_where_it_can_be_said() {
    let openai = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/chat/completions") {
        true => script::json(200, script::COMPLETION),
        false => script::json(200, RESPONSE),
    });
    let plan = Plan::to(&[&openai]).with(|settings| {
        settings.providers[0].known = KnownEndpoints::of_address("api.openai.com", "/v1");
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let stopped = MESSAGE.replacen('{', r#"{"stop_sequences":["x"],"#, 1);
    for (body, dialect) in [(MESSAGE, "messages>responses"), (&*stopped, "messages>chat")] {
        let answer = client.send(Call::post("/v1/messages", body.to_owned())).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, dialect));
        answer.collect().await;
    }
    assert_eq!(openai.log.requests(), 2, "a request that cannot be said is not sent");
    drop(client);
    gateway.stop().await;

    let (responses, chat) = (
        Upstream::always(Speaks::H1, script::json(200, RESPONSE)),
        chat_alone(|_| script::json(200, script::COMPLETION)),
    );
    for (providers, status) in
        [(vec![&responses, &chat], 200), (vec![&responses, &responses], 400), (vec![&responses], 400)]
    {
        let count = providers.len();
        let plan = Plan::to(&providers).with(move |settings| {
            settings.providers[0].dialects = Some([Endpoint::Responses].into_iter().collect());
            if count == 2 && status == 400 {
                settings.providers[1].dialects = Some([Endpoint::Responses].into_iter().collect());
            }
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post("/v1/messages", stopped.clone())).await;
        assert_eq!(answer.status, status, "{count}");
        let body = answer.collect().await.text();
        assert_eq!(body.contains("stop_sequences"), status == 400, "{body}");
        drop(client);
        gateway.stop().await;
    }
    assert_eq!(responses.log.requests(), 0);
}

/// Agents count a prompt's tokens, and a provider of chat alone cannot.
#[tokio::test]
async fn tokens_are_estimated_where_no_provider_counts() {
    let provider = chat_alone(|_| script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let message = r#"[{"role":"user","content":"How far does the river run from here?"}]"#;
    for (path, member, object) in [
        ("/v1/messages/count_tokens", "messages", Value::Null),
        ("/v1/responses/input_tokens", "input", json!("response.input_tokens")),
    ] {
        let body = format!(r#"{{"model":"m","{member}":{message}}}"#);
        for _ in 0..2 {
            let answer = client.send(Call::post(path, body.clone())).await;
            let status = answer.status;
            let answer = answer.collect().await.json();
            assert_eq!(status, 200, "{path} {answer}");
            assert_eq!(answer["object"], object, "{path}");
            let count = answer["input_tokens"].as_u64().unwrap();
            assert!((5..40).contains(&count), "{path} {count}");
        }
    }
    // The earlier answer that it refers to is at no provider of these.
    let stored = r#"{"model":"m","previous_response_id":"resp_1","input":"more"}"#;
    assert_eq!(client.send(Call::post("/v1/responses/input_tokens", stored)).await.status, 404);
    drop(client);
    gateway.stop().await;
}

/// A stream under another label is translated from its first byte.
#[tokio::test]
async fn a_stream_under_another_label_is_translated() {
    let provider = chat_alone(|_| {
        let body = script::short_stream();
        vec![script::head(200, "application/json", Framing::Chunked), script::body(body), Step::End]
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/messages", streaming(MESSAGE))).await;
    let text = answer.collect().await.text();
    let events = events(&text);
    assert_eq!(events.first().map(|(name, _)| &**name), Some("message_start"), "{text}");
    assert_eq!(text_of(&events), "one two three \u{1f30a}");
    assert!(!text.contains("chat.completion.chunk"), "{text}");
    drop(client);
    gateway.stop().await;
}

/// An option that the translation adds is taken back as on the native way (D8), and is not added again.
#[tokio::test]
async fn a_refused_option_is_taken_back() {
    let refusal = r#"{"error":{"message":"unknown field stream_options","type":"invalid_request_error"}}"#;
    let provider = chat_alone(move |seen| match seen.json().get("stream_options") {
        Some(_) => script::json(400, refusal),
        None => script::sse(script::short_stream()),
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for requests in [3, 4] {
        let answer = client.send(Call::post("/v1/messages", streaming(MESSAGE))).await;
        assert_eq!(answer.status, 200);
        assert!(answer.collect().await.text().contains("message_stop"));
        assert_eq!(provider.log.requests(), requests);
    }
    drop(client);
    gateway.stop().await;
}

/// An option that the client's own dialect has and a model refuses as such is left out, and is not sent
/// again; a value that is wrong is the client's affair.
#[tokio::test]
async fn options_that_a_model_refuses_are_left_out() {
    let refusal = |message: &str| {
        let error = json!({"error": {"message": message, "type": "invalid_request_error"}});
        script::json(400, error.to_string())
    };
    let provider = chat_alone(move |seen| {
        let body = seen.json();
        if body["reasoning_effort"] == "odd" {
            refusal("Unsupported value: 'odd' of reasoning_effort is not supported with this model")
        } else if body["reasoning_effort"] == "x: not supported" {
            refusal("Invalid value: 'x: not supported' of reasoning_effort")
        } else if body["max_tokens"].as_u64() > Some(16384) {
            refusal("max_tokens is too large: 32000. This model supports at most 16384 completion tokens")
        } else if body["reasoning_effort"].is_string() {
            refusal("Unsupported parameter: 'reasoning_effort' is not supported with this model.")
        } else {
            script::json(200, script::COMPLETION)
        }
    });
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].dialects = Some([Endpoint::ChatCompletions].into_iter().collect());
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let ask = |effort: &str| {
        let body = json!({"model": "m", "max_tokens": 32000, "output_config": {"effort": effort},
            "messages": [{"role": "user", "content": "hi"}]});
        Call::post("/v1/messages", body.to_string())
    };
    assert_eq!(client.send(ask("x: not supported")).await.status, 400);
    assert_eq!(provider.log.requests(), 1, "the error repeats the client's words");
    assert_eq!(client.send(ask("odd")).await.status, 400);
    assert_eq!(provider.log.requests(), 2, "another value may be taken");
    for requests in [5, 6] {
        let answer = client.send(ask("high")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-thalweg-dropped"], "max_tokens, thinking");
        answer.collect().await;
        assert_eq!(provider.log.requests(), requests);
        let seen = provider.log.request(requests - 1).await.json();
        assert_eq!((&seen["max_tokens"], &seen["reasoning_effort"]), (&16384.into(), &Value::Null));
    }
    drop(client);
    gateway.stop().await;
}

/// The same for what a client sends by itself, or the gateway adds: each refusal is learned, and told once.
#[tokio::test]
async fn sampling_summaries_and_names_that_a_model_refuses_are_left_out() {
    let refusal = |message: &str, param: &str| {
        let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": param}});
        script::json(400, error.to_string())
    };
    let provider = Upstream::by(Speaks::H1, move |_, seen| {
        let body = seen.json();
        let name = |name: &str| format!("Unsupported parameter: '{name}' is not supported with this model.");
        if body["temperature"].is_number() {
            let words = "does not support 0.5 with this model. Only the default (1) value is supported.";
            refusal(&format!("Unsupported value: 'temperature' {words}"), "temperature")
        } else if body["top_p"].is_number() {
            refusal(&name("top_p"), "top_p")
        } else if body["reasoning"]["summary"].is_string() {
            let message = "Your organization must be verified to generate reasoning summaries.";
            refusal(message, "reasoning.summary")
        } else if body["include"].is_array() {
            refusal("Encrypted content is not supported with this model.", "include")
        } else if body["max_tokens"].is_number() {
            let message = format!("{} Use 'max_completion_tokens' instead.", name("max_tokens"));
            refusal(&message, "max_tokens")
        } else if seen.target.ends_with("/responses") {
            script::json(
                200,
                r#"{"id":"r","object":"response","status":"completed","model":"m","output":[]}"#,
            )
        } else {
            script::json(200, script::COMPLETION)
        }
    });
    for (endpoint, asked, left) in [
        (
            Endpoint::Responses,
            4,
            json!({"temperature": null, "top_p": null, "reasoning": {"effort": "high"}, "include": null}),
        ),
        (
            Endpoint::ChatCompletions,
            3,
            json!({"temperature": null, "top_p": null, "max_completion_tokens": 99}),
        ),
    ] {
        let plan = Plan::to(&[&provider]).with(|settings| {
            settings.providers[0].dialects = Some([endpoint].into_iter().collect());
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let body = json!({"model": "m", "max_tokens": 99, "temperature": 0.5, "top_p": 0.9,
            "output_config": {"effort": "high"}, "thinking": {"type": "adaptive"},
            "messages": [{"role": "user", "content": "hi"}]});
        for requests in [asked, 1] {
            let before = provider.log.requests();
            let answer = client.send(Call::post("/v1/messages", body.to_string())).await;
            assert_eq!(answer.status, 200);
            let dropped = answer.header("x-thalweg-dropped").to_owned();
            assert!(dropped.contains("temperature, top_p"), "{dropped}");
            assert_eq!(dropped.contains("thinking.display"), endpoint == Endpoint::Responses, "{dropped}");
            answer.collect().await;
            assert_eq!(provider.log.requests(), before + requests);
            let seen = provider.log.request(before + requests - 1).await.json();
            for (name, value) in left.as_object().unwrap() {
                assert_eq!(&seen[name], value, "{name}: {seen}");
            }
        }
        // A model may take them without a wish for reasoning, so they are sent until it refuses that, too.
        let plain = json!({"model": "m", "max_tokens": 99, "temperature": 0.5,
            "messages": [{"role": "user", "content": "hi"}]});
        for requests in [2, 1] {
            let before = provider.log.requests();
            let answer = client.send(Call::post("/v1/messages", plain.to_string())).await;
            assert_eq!(answer.status, 200);
            answer.collect().await;
            assert_eq!(provider.log.requests(), before + requests);
        }
        drop(client);
        gateway.stop().await;
    }
}

/// `error` beside an answer may be empty, or say that there is none.
#[tokio::test]
async fn an_error_that_says_nothing_is_none() {
    for error in [json!({}), json!({"code": 0, "message": ""}), json!({"code": "200", "message": "success"})]
    {
        let mut whole: Value = serde_json::from_str(script::COMPLETION).unwrap();
        whole["error"] = error.clone();
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}], "error": error});
        let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
        let provider = chat_alone(move |seen| match seen.json()["stream"].as_bool() {
            Some(true) => script::sse(stream.clone()),
            _ => script::json(200, whole.to_string()),
        });
        let plan = Plan::to(&[&provider]).with(|settings| {
            settings.providers[0].dialects = Some([Endpoint::ChatCompletions].into_iter().collect());
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
        assert_eq!(answer.status, 200, "{error}");
        assert_eq!(answer.collect().await.json()["type"], "message");
        let asked = MESSAGE.replacen('{', r#"{"stream":true,"#, 1);
        let text = client.send(Call::post("/v1/messages", asked)).await.collect().await.text();
        assert!(text.contains("message_stop") && !text.contains("event: error"), "{error}: {text}");
        drop(client);
        gateway.stop().await;
    }
}

/// A model that was missing is asked for again, as on the native way.
#[tokio::test]
async fn a_missing_model_is_asked_for_again() {
    let missing = r#"{"error":{"message":"The model `m` does not exist","code":"model_not_found"}}"#;
    let provider = Upstream::by(Speaks::H1, move |number, _| match number {
        0 | 1 => script::json(404, missing),
        _ => script::json(200, script::COMPLETION),
    });
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].dialects = Some([Endpoint::ChatCompletions].into_iter().collect());
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for status in [404, 404, 200] {
        let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
        assert_eq!(answer.status, status);
        let text = answer.collect().await.text();
        assert!(status == 200 || text.contains("does not exist"), "{text}");
    }
    drop(client);
    gateway.stop().await;
}

/// An answer under a good status that says in its own form that it failed.
#[tokio::test]
async fn a_whole_answer_that_failed_is_an_error() {
    let failed = r#"{"id":"r","object":"response","status":"failed","output":[],
        "error":{"code":"rate_limit_exceeded","message":"Slow down."}}"#;
    let ended = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},
        "finish_reason":"error"}]}"#;
    let limited = r#"{"error":{"code":429,"message":"Rate limited upstream"}}"#;
    for (endpoint, body, status, words) in [
        ("/responses", failed, 429, "Slow down."),
        ("/chat/completions", limited, 429, "Rate limited upstream"),
        ("/chat/completions", ended, 500, ""),
    ] {
        let provider = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with(endpoint) {
            true => script::json(200, body),
            false => script::json(404, r#"{"detail":"Not Found"}"#),
        });
        let gateway = Plan::to(&[&provider]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post("/v1/messages", MESSAGE)).await;
        assert_eq!(answer.status, status, "{body}");
        let text = answer.collect().await.text();
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(error["type"], "error", "{text}");
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{text}");
        drop(client);
        gateway.stop().await;
    }
}

/// The events before a line that is too long have come, and are the client's.
#[tokio::test]
async fn a_line_that_is_too_long_takes_no_event_along() {
    let provider = chat_alone(|_| {
        let event = r#"data: {"choices":[{"index":0,"delta":{"content":"Hi."}}]}"#;
        script::sse(format!("{event}\n\ndata: {}", "x".repeat(3000)))
    });
    let gateway = Plan::to(&[&provider]).with(|settings| settings.stream.max_line = 1 << 10).start().await;
    let mut client = gateway.client(Version::H1).await;
    let body = client.send(Call::post("/v1/messages", streaming(MESSAGE))).await.collect().await;
    assert!(!body.complete);
    assert_eq!(text_of(&events(&body.text())), "Hi.");
    drop(client);
    gateway.stop().await;
}
