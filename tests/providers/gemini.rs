//! Clients of Gemini's API: served byte for byte by a provider that has that API, translated at all others.

use serde_json::{Value, json};
use thalweg::{
    auth::TokenSettings,
    base::{Endpoint, Secret},
    routing::settings::ModelRule,
};

use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::{PAIRS, PROVIDER_KEY, Plan},
    journal,
    upstream::{Gate, Seen, Speaks, Step, Upstream, script},
};

const STREAM: &str = "/v1beta/models/m:streamGenerateContent?alt=sse";
const WHOLE: &str = "/v1beta/models/m:generateContent";
/// Spacing and numbers that a parser would write otherwise.
const REQUEST: &str = r#"{ "contents":[ {"role":"user","parts":[{"text":"How deep is the river?"}]} ],"generationConfig":{"temperature":1.0,"maxOutputTokens":64},"unknown":[1e2] }"#;

/// Chunks as Google sends them: each counts tokens, the last has the reason.
const CHUNKS: [&str; 3] = [
    r#"{"candidates": [{"content": {"parts": [{"text": "Depth?","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 900,"cachedContentTokenCount": 800,"totalTokenCount": 920,"thoughtsTokenCount": 20},"modelVersion": "m-001","responseId": "r1"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": "Three \"error\" meters"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 900,"candidatesTokenCount": 4,"cachedContentTokenCount": 800,"totalTokenCount": 934,"thoughtsTokenCount": 30},"modelVersion": "m-001","responseId": "r1"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": "."}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 900,"candidatesTokenCount": 5,"cachedContentTokenCount": 800,"totalTokenCount": 935,"thoughtsTokenCount": 30},"modelVersion": "m-001","responseId": "r1"}"#,
];

fn native_stream() -> String {
    CHUNKS.map(|chunk| format!("data: {chunk}\r\n\r\n")).concat()
}

/// A plan whose providers have Gemini's API and these others.
fn plan_with(upstreams: &[&Upstream], others: &[Endpoint]) -> Plan {
    Plan::to(upstreams).with(|settings| {
        for provider in &mut settings.providers {
            provider.dialects = Some(others.iter().copied().chain([Endpoint::Gemini]).collect());
            *provider = provider.clone().with_gemini();
        }
    })
}

fn native(upstream: &Upstream) -> Plan {
    plan_with(&[upstream], &[])
}

/// The data of the events of a stream.
fn events(text: &str) -> Vec<Value> {
    let data = |line: &str| serde_json::from_str(line.strip_prefix("data: ")?).ok();
    text.lines().filter_map(data).collect()
}

fn text_of(chunks: &[Value]) -> String {
    let parts = chunks.iter().filter_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array());
    let texts = parts.flatten().filter(|part| part["thought"] != true);
    texts.filter_map(|part| part["text"].as_str()).collect()
}

async fn booked(id: &str) -> Value {
    let line = journal::closing(id).await;
    ["input_tokens", "output_tokens", "usage"].map(|name| line[name].clone()).into_iter().collect()
}

#[tokio::test]
async fn a_native_stream_passes_byte_for_byte() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::sse(native_stream()));
        let gateway = native(&upstream).start().await;
        let mut client = gateway.client(version).await;
        let call = Call::post(STREAM, REQUEST);
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("x-thalweg-dialect"));
        let received = answer.collect().await;
        assert!(received.complete);
        assert_eq!(received.text(), native_stream(), "{speaks:?} {version:?}");
        let seen = upstream.log.request(0).await;
        assert_eq!(
            (&*seen.target, &*seen.body),
            ("/v1/models/m:streamGenerateContent?alt=sse", REQUEST.as_bytes())
        );
        assert_eq!(seen.all("x-goog-api-key"), [PROVIDER_KEY]);
        assert!(seen.all("authorization").is_empty());
        assert_eq!(booked(&id).await, json!([900, 35, "reported"]));
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_native_answer_passes_whole() {
    let answered = format!("[{}]", CHUNKS[2]);
    let body = answered.trim_matches(['[', ']']).replace(",\"usage", ",\n  \"usage");
    let expected = body.clone();
    let upstream = Upstream::always(Speaks::H1, script::json(200, body));
    let gateway = native(&upstream).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (path, target) in [
        (WHOLE, "/v1/models/m:generateContent"),
        ("/v1/models/m:generateContent?alt=json&trace=a", "/v1/models/m:generateContent?trace=a"),
        ("/v1beta/models/models%2Fm:generateContent", "/v1/models/m:generateContent"),
        ("/v1beta/models/p0%2Fm:generateContent", "/v1/models/m:generateContent"),
        ("/v1beta/models/p0/m:generateContent", "/v1/models/m:generateContent"),
    ] {
        let number = upstream.log.requests();
        let call = Call::post(path, REQUEST);
        let id = call.id();
        let received = client.send(call).await.collect().await;
        assert_eq!(received.text(), expected, "{path}");
        let seen = upstream.log.request(number).await;
        assert_eq!((&*seen.target, &*seen.body), (target, REQUEST.as_bytes()));
        assert_eq!(booked(&id).await, json!([900, 35, "reported"]));
    }
    drop(client);
    gateway.stop().await;
}

/// The model of the path changes, the body does not.
#[tokio::test]
async fn an_alias_changes_the_path() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, CHUNKS[2]));
    let plan = native(&upstream).with(|settings| {
        settings.providers[0].models = Some(vec!["tunedModels/deep".into()]);
        let targets = vec!["tunedModels/deep".into()];
        let rule = ModelRule { name: "river".into(), targets, ..ModelRule::default() };
        settings.routing.models = vec![rule];
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, path) in ["/v1beta/models/river:generateContent", "/v1beta/tunedModels/deep:generateContent"]
        .into_iter()
        .enumerate()
    {
        let answer = client.send(Call::post(path, REQUEST)).await;
        assert_eq!(answer.status, 200, "{path}");
        answer.collect().await;
        let seen = upstream.log.request(number).await;
        assert_eq!(
            (&*seen.target, &*seen.body),
            ("/v1/tunedModels/deep:generateContent", REQUEST.as_bytes())
        );
    }
    drop(client);
    gateway.stop().await;
}

/// Without `alt=sse` a stream is one array, whose elements leave as they come.
#[tokio::test]
async fn a_stream_without_sse_is_an_array() {
    let event = |number: usize| script::body(format!("data: {}\r\n\r\n", CHUNKS[number]));
    let gate = Gate::new();
    let steps = vec![script::sse_head(), event(0), Step::Wait(gate.clone()), event(1), event(2), Step::End];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = native(&upstream).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::post("/v1beta/models/m:streamGenerateContent", REQUEST);
    let id = call.id();
    let mut answer = client.send(call).await;
    assert_eq!(answer.header("content-type"), "application/json; charset=UTF-8");
    assert_eq!(answer.piece().await, format!("[{}", CHUNKS[0]));
    gate.open();
    let received = answer.collect().await;
    assert!(received.complete);
    assert_eq!(received.text(), format!("\n,\r\n{}\n,\r\n{}\n]\n", CHUNKS[1], CHUNKS[2]));
    assert_eq!(upstream.log.request(0).await.target, "/v1/models/m:streamGenerateContent?alt=sse");
    assert_eq!(booked(&id).await, json!([900, 35, "reported"]));
    drop(client);
    gateway.stop().await;
}

/// An answer that is cut short ends broken in both forms, whatever the provider's framing says.
#[tokio::test]
async fn a_cut_answer_has_no_good_end() {
    for (path, is_array) in [(STREAM, false), ("/v1beta/models/m:streamGenerateContent", true)] {
        for end in [Step::End, Step::Reset] {
            let body = format!("data: {}\r\n\r\n", CHUNKS[1]);
            let steps = vec![script::sse_head(), script::body(body), Step::Moment, end.clone()];
            let upstream = Upstream::always(Speaks::H1, steps);
            let gateway = native(&upstream).start().await;
            let mut client = gateway.client(Version::H1).await;
            let call = Call::post(path, REQUEST);
            let id = call.id();
            let received = client.send(call).await.collect().await;
            assert!(!received.complete, "{path} {end:?}");
            assert!(!is_array || !received.text().ends_with("]\n"), "{}", received.text());
            assert_eq!(booked(&id).await, json!([900, 34, "partial"]));
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The refusal of a prompt is an answer, though it has no candidate.
#[tokio::test]
async fn a_blocked_prompt_is_an_answer() {
    let body = "data: {\"promptFeedback\": {\"blockReason\": \"PROHIBITED_CONTENT\"},\"usageMetadata\": {\"promptTokenCount\": 9,\"totalTokenCount\": 9}}\r\n\r\n";
    let upstream = Upstream::always(Speaks::H1, script::sse(body));
    let gateway = plan_with(&[&upstream, &upstream], &[]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::post(STREAM, REQUEST)).await.collect().await;
    assert_eq!((received.complete, &*received.text()), (true, body));
    assert_eq!(upstream.log.requests(), 1);
    drop(client);
    gateway.stop().await;
}

const QUOTA: &str = r#"{
  "error": {
    "code": 429,
    "message": "You exceeded your current quota.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]
  }
}
"#;

/// Google's error passes byte for byte; another candidate is tried before it.
#[tokio::test]
async fn a_native_error_passes_and_another_provider_is_tried() {
    let limited = Upstream::always(Speaks::H1, script::json(429, QUOTA));
    let gateway = native(&limited).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post(STREAM, REQUEST)).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.collect().await.text(), QUOTA);
    drop(client);
    gateway.stop().await;

    let chat = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let plan = Plan::to(&[&limited, &chat]).with(|settings| {
        settings.providers[0].dialects = Some([Endpoint::Gemini].into_iter().collect());
        settings.providers[0] = settings.providers[0].clone().with_gemini();
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post(STREAM, REQUEST)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "gemini>chat"));
    assert_eq!(answer.header("x-thalweg-attempts"), "2");
    assert_eq!(text_of(&events(&answer.collect().await.text())), "one two three \u{1f30a}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_gemini_stream_comes_from_a_chat_provider() {
    let stream = [
        script::delta("one"),
        ": keep-alive\n\n".into(),
        script::delta(" two"),
        script::last_delta(""),
        script::usage(),
        script::DONE.into(),
    ];
    let upstream = Upstream::always(Speaks::H1, script::sse(stream.concat()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for path in [STREAM, "/v1beta/models/m:streamGenerateContent"] {
        let call = Call::post(
            path,
            r#"{"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":64}}"#,
        );
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "gemini>chat"));
        let received = answer.collect().await;
        assert!(received.complete);
        assert!(!received.text().contains("\n:"), "Google's Python client raises at a comment");
        let chunks: Vec<Value> = match path {
            STREAM => events(&received.text()),
            _ => serde_json::from_str(&received.text()).unwrap(),
        };
        assert_eq!(text_of(&chunks), "one two");
        let last = chunks.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        assert_eq!(
            last["usageMetadata"],
            json!({"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12})
        );
        assert_eq!(booked(&id).await, json!([9, 3, "reported"]));
    }
    let seen = upstream.log.request(0).await;
    let body = seen.json();
    assert_eq!(seen.target, "/v1/chat/completions");
    assert_eq!(
        (&body["stream"], &body["model"], &body["max_tokens"]),
        (&json!(true), &json!("m"), &json!(64))
    );
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    assert_eq!(upstream.log.requests(), 2, "a provider is not asked for an API that few have");
    drop(client);
    gateway.stop().await;
}

/// Calls keep their ids and their arguments, and a thought is one.
#[tokio::test]
async fn a_whole_answer_with_calls_is_translated() {
    let message = json!({"role": "assistant", "content": null, "reasoning_content": "Deep?", "tool_calls": [
        {"id": "call_7", "type": "function", "function": {"name": "depth", "arguments": "{\"at\":\"ford\"}"}},
        {"id": "call_8", "type": "function", "function": {"name": "width", "arguments": ""}}]});
    let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m-001",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 20}}});
    let upstream = Upstream::always(Speaks::H1, script::json(200, answer.to_string()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::post(WHOLE, REQUEST);
    let id = call.id();
    let answer = client.send(call).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "gemini>chat"));
    let answer = answer.collect().await.json();
    let parts = answer["candidates"][0]["content"]["parts"].as_array().unwrap();
    let calls: Vec<_> =
        parts.iter().map(|part| &part["functionCall"]).filter(|call| !call.is_null()).collect();
    assert_eq!(calls[0], &json!({"id": "call_7", "name": "depth", "args": {"at": "ford"}}));
    assert_eq!(calls[1], &json!({"id": "call_8", "name": "width", "args": {}}));
    assert!(parts.iter().any(|part| part["thought"] == true && part["text"] == "Deep?"), "{answer}");
    assert_eq!(answer["usageMetadata"]["thoughtsTokenCount"], 20);
    assert_eq!(booked(&id).await, json!([9, 30, "reported"]));
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn messages_and_responses_providers_serve_gemini() {
    let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Three."}],"stop_reason":"max_tokens","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":2}}"#;
    let response = r#"{"id":"resp_1","object":"response","created_at":1,"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"model":"m","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Three.","annotations":[]}]}],"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":4},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":9}}"#;
    for (endpoint, body, dialect) in [
        (Endpoint::Messages, message, "gemini>messages"),
        (Endpoint::Responses, response, "gemini>responses"),
    ] {
        let upstream = Upstream::always(Speaks::H1, script::json(200, body));
        let plan = Plan::to(&[&upstream])
            .with(|settings| settings.providers[0].dialects = Some([endpoint].into_iter().collect()));
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post(WHOLE, REQUEST.replace(r#","unknown":[1e2]"#, ""));
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, dialect));
        let answer = answer.collect().await.json();
        assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "Three.", "{answer}");
        assert_eq!(answer["candidates"][0]["finishReason"], "MAX_TOKENS");
        assert_eq!(booked(&id).await, json!([7, 2, "reported"]));
        drop(client);
        gateway.stop().await;
    }
}

/// The errors of a chat provider in Google's shape, with the wait that its clients read in the body.
#[tokio::test]
async fn errors_are_translated_with_their_wait() {
    for (status, headers, body, expected, name, wait) in [
        (
            429,
            &[("retry-after", "7")][..],
            r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#,
            429,
            "RESOURCE_EXHAUSTED",
            Some("7s"),
        ),
        (503, &[], r#"{"error":{"message":"overloaded","type":"server_error"}}"#, 503, "UNAVAILABLE", None),
        (
            400,
            &[],
            r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#,
            400,
            "INVALID_ARGUMENT",
            None,
        ),
    ] {
        let mut steps = script::json(status, body);
        if let Some(Step::Head { headers: all, .. }) = steps.first_mut() {
            all.extend(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        }
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post(STREAM, REQUEST)).await;
        assert_eq!(answer.status.as_u16(), expected, "{body}");
        let error = answer.collect().await.json();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["status"]),
            (&json!(expected), &json!(name)),
            "{error}"
        );
        assert_eq!(error["error"]["details"][0]["retryDelay"].as_str(), wait, "{error}");
        drop(client);
        gateway.stop().await;
    }
}

/// The gateway's own errors, from the first check on.
#[tokio::test]
async fn own_errors_have_googles_shape() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let plan = Plan::to(&[&upstream]).with(|settings| {
        let mut narrow = TokenSettings::plain("narrow", Secret::new("sk-narrow-key-of-tests".to_owned()));
        narrow.limits.models = vec!["other".into()];
        let mut slow = TokenSettings::plain("slow", Secret::new("sk-slow-key-of-tests".to_owned()));
        slow.limits.allowance.requests = Some(1);
        settings.tokens.extend([narrow, slow]);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let keyed = |path: &str, key: &str| {
        Call::post(path, REQUEST).without("authorization").header("x-goog-api-key", key)
    };
    assert!(client.send(keyed(WHOLE, "sk-slow-key-of-tests")).await.collect().await.complete);
    for (call, status, name) in [
        (Call::post(WHOLE, REQUEST).without("authorization"), 401, "UNAUTHENTICATED"),
        (keyed(WHOLE, "sk-wrong"), 401, "UNAUTHENTICATED"),
        (keyed(WHOLE, "sk-narrow-key-of-tests"), 403, "PERMISSION_DENIED"),
        (keyed(WHOLE, "sk-slow-key-of-tests"), 429, "RESOURCE_EXHAUSTED"),
        (Call::post("/v1beta/models/none:generateContent", REQUEST), 404, "NOT_FOUND"),
        (Call::post("/v1beta/models/m:embedContent", REQUEST), 405, "UNIMPLEMENTED"),
        (Call::get("/v1beta/models/none"), 404, "NOT_FOUND"),
        (Call::post(WHOLE, "{"), 400, "INVALID_ARGUMENT"),
        (Call::post(STREAM, r#"{"contents":7}"#), 400, "INVALID_ARGUMENT"),
        (Call::get("/v1beta/models").without("authorization"), 401, "UNAUTHENTICATED"),
    ] {
        let target = call.target.clone();
        let answer = client.send(call).await;
        assert_eq!(answer.status.as_u16(), status, "{target}");
        let error = answer.collect().await.json();
        let error = &error["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(name)), "{target}: {error}");
        assert!(error["message"].is_string());
        assert_eq!(error["details"][0]["retryDelay"].is_string(), status == 429, "{error}");
    }
    drop(client);
    gateway.stop().await;
}

/// The key of the way in, wherever a client puts it, stays here.
#[tokio::test]
async fn a_key_in_the_query_is_taken_and_goes_nowhere() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, CHUNKS[2]));
    let gateway = native(&upstream).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, call) in [
        Call::post(&format!("{WHOLE}?key={TOKEN}"), REQUEST).without("authorization"),
        Call::post(&format!("{WHOLE}?$trace=a&key={TOKEN}"), REQUEST).without("authorization"),
        Call::post(WHOLE, REQUEST).without("authorization").header("x-goog-api-key", TOKEN),
        Call::post(WHOLE, REQUEST),
    ]
    .into_iter()
    .enumerate()
    {
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!(answer.status, 200, "{number}");
        answer.collect().await;
        let seen = upstream.log.request(number).await;
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        assert!(!raw.contains(TOKEN), "{raw}");
        journal::closing(&id).await;
        assert!(journal::lines(&id).iter().all(|line| !line.to_string().contains(TOKEN)));
    }
    let answer =
        client.send(Call::get(&format!("/v1beta/models?key={TOKEN}")).without("authorization")).await;
    assert_eq!(answer.status, 200);
    answer.collect().await;
    let other = client.send(Call::get(&format!("/v1/models?key={TOKEN}")).without("authorization")).await;
    assert_eq!(other.status, 401, "only Gemini's paths take a key in the query");
    other.collect().await;
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_or_estimated() {
    let counted = r#"{"totalTokens": 7,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 7}]}"#;
    let upstream = Upstream::always(Speaks::H1, script::json(200, counted));
    let gateway = native(&upstream).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::post("/v1beta/models/m:countTokens", REQUEST)).await.collect().await;
    assert_eq!(received.text(), counted);
    let seen = upstream.log.request(0).await;
    assert_eq!((&*seen.target, &*seen.body), ("/v1/models/m:countTokens", REQUEST.as_bytes()));
    drop(client);
    gateway.stop().await;

    let chat = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&chat]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for body in [REQUEST.to_owned(), format!(r#"{{"generateContentRequest":{REQUEST}}}"#)] {
        let answer = client.send(Call::post("/v1beta/models/m:countTokens", body)).await;
        assert_eq!(answer.status, 200);
        let count = answer.collect().await.json()["totalTokens"].as_u64().unwrap();
        assert!((5..40).contains(&count), "{count}");
    }
    assert_eq!(chat.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn models_are_listed_in_googles_form() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.providers[0].models = Some(["a", "b/c", "tunedModels/d"].map(str::to_owned).into());
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let list = client.send(Call::get("/v1beta/models")).await.collect().await.json();
    let names: Vec<_> =
        list["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect();
    assert_eq!(names, ["models/a", "models/b/c", "tunedModels/d"]);
    assert_eq!(list["models"][0]["supportedGenerationMethods"][0], "generateContent");
    let first = client.send(Call::get("/v1beta/models?pageSize=2")).await.collect().await.json();
    assert_eq!((first["models"].as_array().unwrap().len(), &first["nextPageToken"]), (2, &json!("2")));
    let rest = client.send(Call::get("/v1beta/models?pageSize=2&pageToken=2")).await.collect().await.json();
    assert_eq!((rest["models"].as_array().unwrap().len(), &rest["nextPageToken"]), (1, &Value::Null));
    let sdk = Call::get("/v1/models").header("x-goog-api-client", "google-genai-sdk/3.6.1");
    let list = client.send(sdk).await.collect().await.json();
    assert_eq!(list["models"][0]["name"], "models/a", "{list}");
    let other = client.send(Call::get("/v1/models")).await.collect().await.json();
    assert_eq!(other["data"][0]["id"], "a");
    for (path, name) in [
        ("/v1beta/models/a", "models/a"),
        ("/v1beta/models/b%2Fc", "models/b/c"),
        ("/v1beta/models/models/a", "models/a"),
        ("/v1beta/tunedModels/d", "tunedModels/d"),
        ("/v1beta/models/p0/a", "models/p0/a"),
    ] {
        let model = client.send(Call::get(path)).await.collect().await.json();
        assert_eq!(model["name"], name, "{path}: {model}");
    }
    drop(client);
    gateway.stop().await;
}

/// Google's clients raise an error beside the events with its code, and may repeat; the Node client needs it
/// in a read of its own. A connection that ends without one is none that gemini-cli repeats.
#[tokio::test]
async fn an_error_comes_before_the_break() {
    let body = format!("data: {}\r\n\r\n", CHUNKS[1]);
    let upstream =
        Upstream::always(Speaks::H1, vec![script::sse_head(), script::body(body), Step::Moment, Step::Reset]);
    let gateway = native(&upstream).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::post(STREAM, REQUEST)).await.collect().await;
    assert!(!received.complete);
    let last: Value = serde_json::from_slice(received.frames.last().unwrap()).unwrap();
    assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&json!(502), &json!("UNAVAILABLE")));
    drop(client);
    gateway.stop().await;
}

/// One provider with both APIs: each client gets its own, at the paths that Google has.
#[tokio::test]
async fn a_provider_may_have_both_apis() {
    let upstream = Upstream::by(Speaks::H1, |_, seen: &Seen| match &*seen.target {
        "/v1beta/openai/chat/completions" => script::json(200, script::COMPLETION),
        "/v1beta/models/m:generateContent" => script::json(200, CHUNKS[2]),
        _ => script::json(404, "{}"),
    });
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.providers[0].target.base.path = "/v1beta/openai".into();
        settings.providers[0].dialects =
            Some([Endpoint::ChatCompletions, Endpoint::Gemini].into_iter().collect());
        settings.providers[0] = settings.providers[0].clone().with_gemini();
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, (call, key)) in
        [(Call::post(WHOLE, REQUEST), "x-goog-api-key"), (Call::whole(), "authorization")]
            .into_iter()
            .enumerate()
    {
        let answer = client.send(call).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("x-thalweg-dialect"));
        answer.collect().await;
        assert!(upstream.log.request(number).await.all(key)[0].contains(PROVIDER_KEY));
    }
    let messages = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}"#;
    let answer = client.send(Call::post("/v1/messages", messages)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "messages>chat"));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// A client that leaves ends the provider's work at once.
#[tokio::test]
async fn a_client_that_leaves_ends_the_stream() {
    let body = format!("data: {}\r\n\r\n", CHUNKS[1]);
    for path in [STREAM, "/v1beta/models/m:streamGenerateContent"] {
        let steps = vec![script::sse_head(), script::body(body.clone()), Step::Stall];
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = native(&upstream).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post(path, REQUEST);
        let id = call.id();
        let mut answer = client.send(call).await;
        answer.piece().await;
        drop(answer);
        drop(client);
        upstream.log.gone(0).await;
        assert_eq!(journal::closing(&id).await["status"], 499);
        gateway.stop().await;
    }
}
