//! B24, R34: the gateway requests usage for the client and takes the usage chunk out again, wherever the
//! network splits the stream.

use bytes::Bytes;
use serde_json::json;
use thalweg::{exchange::OnDisconnect, relay::Mode};

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    transcripts::{self, Kind},
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, DONE, delta, usage},
    },
};

const CHAT: &str = "/v1/chat/completions";

/// A stream with the extra chunk where providers put it.
fn with_usage() -> Bytes {
    [delta("one"), delta(" two"), usage(), DONE.into()].concat().into()
}

fn without_usage() -> Bytes {
    [delta("one"), delta(" two"), DONE.into()].concat().into()
}

/// The event that ends an answer may repeat a long request.
#[tokio::test]
async fn the_usage_of_a_long_event_counts() {
    let instructions = "i".repeat(500_000);
    let completed = json!({"type": "response.completed", "response": {
        "id": "resp_1", "object": "response", "status": "completed", "instructions": instructions, "output": [],
        "usage": {"input_tokens": 50_000, "output_tokens": 3_000, "total_tokens": 53_000},
    }});
    let text = r#"{"type":"response.output_text.delta","delta":"hello"}"#;
    let stream = format!(
        "event: response.output_text.delta\ndata: {text}\n\nevent: response.completed\ndata: {completed}\n\n"
    );
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::sse(stream.clone()));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let call = Call::post("/v1/responses", r#"{"model":"m","input":"hi","stream":true}"#);
        let id = call.id();
        let received = client.send(call).await.collect().await;
        assert!(received.complete && received.bytes() == stream.as_bytes());
        let line = journal::closing(&id).await;
        assert_eq!(
            (&line["input_tokens"], &line["output_tokens"]),
            (&50_000.into(), &3_000.into()),
            "{line}"
        );
        drop(client);
        gateway.stop().await;
    }
}

/// The client does not request usage: the gateway does, and the client does not see the chunk.
#[tokio::test]
async fn requested_and_removed() {
    for (speaks, version) in PAIRS {
        for mode in [Mode::Asgi, Mode::Buffered] {
            let upstream = Upstream::always(speaks, script::sse(with_usage()));
            let gateway = Plan::to(&[&upstream]).with(|settings| settings.stream.mode = mode).start().await;
            let mut client = gateway.client(version).await;
            let received = client.send(Call::stream()).await.collect().await;
            assert!(received.complete);
            assert_eq!(received.bytes(), without_usage(), "{speaks:?} {version:?} {mode:?}");
            let seen = upstream.log.request(0).await;
            assert_eq!(seen.json()["stream_options"]["include_usage"], true);
            let body = std::str::from_utf8(&seen.body).unwrap();
            assert!(body.contains(r#""messages":[{"role":"user","content":"hi"}]"#), "{body}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The same with the stream split once at every byte: in the chunk, before it, after it.
#[tokio::test]
async fn removed_at_every_split() {
    let size = with_usage().len();
    let upstream = Upstream::by(Speaks::H1, |number, _| {
        let (before, after) = (with_usage().slice(..number + 1), with_usage().slice(number + 1..));
        vec![script::sse_head(), Step::Body(before), Step::Moment, Step::Body(after), Step::End]
    });
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for cut in 1..size {
        let received = client.send(Call::stream()).await.collect().await;
        assert!(received.complete, "cut at {cut}");
        assert_eq!(received.bytes(), without_usage(), "cut at {cut}");
    }
    drop(client);
    gateway.stop().await;
}

/// The LF of an event's CRLF, in the frame in which the usage chunk begins, stays.
#[tokio::test]
async fn removed_behind_the_second_half_of_a_line_end() {
    let crlf = |text: Bytes| String::from_utf8(text.to_vec()).unwrap().replace('\n', "\r\n");
    let text = crlf(with_usage());
    let start = text.find(&crlf(usage())).unwrap();
    let (before, rest) = text.split_at(start - 1);
    let (begun, rest) = rest.split_at(10);
    let mut steps = vec![script::sse_head()];
    for piece in [before, begun, rest] {
        steps.extend([script::body(piece.to_owned()), Step::Moment]);
    }
    steps.push(Step::End);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::stream()).await.collect().await.text(), crlf(without_usage()));
    drop(client);
    gateway.stop().await;
}

/// Events without usage are not held back by the search for it: each arrives before the next is sent.
#[tokio::test]
async fn other_events_are_not_delayed() {
    let pieces = [delta("one"), delta(" two"), delta(" three")];
    let mut steps = script::sse_pieces(pieces.clone());
    steps.pop();
    steps.extend([Step::Body(usage()), script::body(DONE), Step::End]);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    let received = client.send(Call::stream()).await.collect().await;
    assert_eq!(received.frames[..3], pieces);
    assert_eq!(received.bytes(), [&pieces[..], &[DONE.into()]].concat().concat());
    drop(client);
    gateway.stop().await;
}

/// The client's own usage option goes upstream unchanged, and the provider's usage chunk comes back.
#[tokio::test]
async fn the_clients_own_option_stands() {
    let bodies = [
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
        r#"{"model":"m","stream":true,"stream_options":{ "other":1, "include_usage" : false }}"#,
        r#"{"model":"m","stream":false}"#,
        r#"{"model":"m"}"#,
    ];
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, body) in bodies.into_iter().enumerate() {
        let received = client.send(Call::post(CHAT, body)).await.collect().await;
        assert_eq!(received.bytes(), with_usage(), "{body}");
        assert_eq!(upstream.log.request(number).await.body, body);
    }
    drop(client);
    gateway.stop().await;
}

/// A refusal that quotes the whole request names the gateway's option, too. The option is not the reason
/// where the request is refused without it as well.
#[tokio::test]
async fn a_quoted_option_is_not_a_refused_one() {
    let upstream = Upstream::by(Speaks::H1, |_, seen| match seen.json().get("messages") {
        Some(_) => script::sse(with_usage()),
        None => script::json(422, json!({"detail": [{"type": "missing", "input": seen.json()}]}).to_string()),
    });
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let refused = client.send(Call::post(CHAT, r#"{"model":"m","stream":true}"#)).await;
    assert_eq!(refused.status, 422);
    refused.collect().await;
    assert_eq!(upstream.log.requests(), 2);
    assert!(client.send(Call::stream()).await.collect().await.complete);
    assert_eq!(upstream.log.request(2).await.json()["stream_options"]["include_usage"], true);
    drop(client);
    gateway.stop().await;
}

/// Other stream options stay as they are.
#[tokio::test]
async fn other_stream_options_stay() {
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, options) in [r#"{"include_obfuscation":false}"#, "{}", "{ }", "null"].into_iter().enumerate()
    {
        let body = format!(r#"{{"model":"m","stream":true,"stream_options":{options},"seed":1.0}}"#);
        let received = client.send(Call::post(CHAT, body)).await.collect().await;
        assert_eq!(received.bytes(), without_usage(), "{options}");
        let seen = upstream.log.request(number).await;
        assert_eq!(seen.json()["stream_options"]["include_usage"], true, "{options}");
        if number == 0 {
            assert_eq!(seen.json()["stream_options"]["include_obfuscation"], false);
        }
        assert!(std::str::from_utf8(&seen.body).unwrap().contains(r#""seed":1.0"#));
    }
    drop(client);
    gateway.stop().await;
}

/// R10: chunks that resemble the usage chunk stay: a prologue without choices, usage beside choices, `usage:
/// null`.
#[tokio::test]
async fn similar_chunks_stay() {
    let stream = concat!(
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{}\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        ": usage\n\n",
        "data: [DONE]\n\n",
    );
    let upstream = Upstream::always(Speaks::H1, script::sse(stream));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::stream()).await.collect().await;
    assert_eq!(received.text(), stream);
    drop(client);
    gateway.stop().await;
}

/// Nothing is added when it is switched off, or in a dialect without this option.
#[tokio::test]
async fn not_where_switched_off_or_unknown() {
    let body = r#"{"model":"m","stream":true,"input":"x","messages":[],"max_tokens":5}"#;
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    for (endpoint, switched_on) in [(CHAT, false), ("/v1/responses", true), ("/v1/messages", true)] {
        let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.include_usage = switched_on);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let before = upstream.log.requests();
        let received = client.send(Call::post(endpoint, body)).await.collect().await;
        assert_eq!(received.bytes(), with_usage(), "{endpoint}");
        assert_eq!(upstream.log.request(before).await.body, body, "{endpoint}");
        drop(client);
        gateway.stop().await;
    }
}

/// B6, R12: for a provider that reports no usage, the usage of a whole answer is estimated and marked as an
/// estimate.
#[tokio::test]
async fn usage_is_estimated_when_not_reported() {
    let bare = json!({"choices": [{"message": {"content": "x".repeat(700)}}]}).to_string();
    let upstream = Upstream::in_turn(
        Speaks::H1,
        vec![
            script::sse(script::short_stream()),
            script::json(200, bare),
            script::json(200, script::COMPLETION),
        ],
    );
    let cancels =
        |settings: &mut thalweg::config::Settings| settings.stream.on_disconnect = OnDisconnect::Cancel;
    let gateway = Plan::to(&[&upstream]).with(cancels).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut booked = Vec::new();
    for call in [Call::stream(), Call::whole(), Call::whole()] {
        let id = call.id();
        assert!(client.send(call).await.collect().await.complete);
        let line = journal::closing(&id).await;
        booked.push(json!([line["output_tokens"], line["usage"]]));
    }
    assert_eq!(
        booked,
        [json!([3, "estimated"]), json!([(743 - 300) / 4, "estimated"]), json!([2, "reported"])]
    );
    drop(client);
    gateway.stop().await;
}

/// Input and output tokens of every recorded provider form.
const RECORDED: &[(&str, u64, u64)] = &[
    ("ai21-stream-crlf", 30, 184),
    ("anthropic-messages-stream-text", 17, 85),
    ("anthropic-messages-stream-tool", 599, 135),
    ("anthropic-openai-compat-json", 17, 15),
    ("avian-stream-triple-newline", 308, 71),
    ("azure-deepseek-r1-stream-splits", 33, 390),
    ("azure-stream-content-filter", 12, 24),
    ("cerebras-stream-reasoning-no-done", 102, 77),
    ("cohere-native-stream", 502, 24),
    ("deepseek-stream-reasoning-content", 6, 212),
    ("deepseek-stream-tool-calls", 348, 65),
    ("fireworks-json-ratelimit-emoji", 75, 25),
    // 62 of its tokens are in the total alone.
    ("gemini-openai-compat-json-tool-no-id", 35, 74),
    ("gpustack-stream-no-done", 15, 171),
    ("groq-stream-text-xgroq", 52, 20),
    ("huggingface-stream-no-done", 51, 2),
    ("litellm-proxy-stream-n2", 13, 27),
    ("llamacpp-stream-tools", 139, 41),
    ("mistral-stream-text-emoji", 25, 31),
    ("mistral-stream-tool-single-chunk", 159, 28),
    ("moonshot-stream-reasoning-usage", 90, 50),
    ("ollama-json-chat", 21, 16),
    ("ollama-stream-tools-reasoning", 195, 140),
    ("openai-completions-stream-usage", 31, 25),
    ("openai-json-basic", 8, 377),
    ("openai-json-cjk", 43, 8),
    ("openai-responses-stream", 20, 8),
    ("openai-stream-cjk-tool-args", 93, 30),
    ("openai-stream-logprobs", 7, 10),
    ("openai-stream-n2-usage", 26, 104),
    ("openai-stream-tools-parallel", 106, 50),
    ("openai-stream-usage-detailed", 12, 100),
    ("openrouter-stream-comments-error", 43, 10),
    ("openrouter-stream-comments-tools", 685, 120),
    ("openrouter-stream-reasoning-details", 607, 143),
    ("perplexity-stream-crlf-no-done", 8, 5),
    ("qwen-stream-reasoning", 24, 1355),
    ("snowflake-stream-thinking", 45, 73),
    ("together-json-retry-after-200", 44, 23),
    ("together-stream-eos", 37, 53),
    ("vllm-stream-crusoe", 46, 14),
    // 2 of text, 198 of reasoning.
    ("xai-stream-reasoning-content", 213, 200),
    ("zai-glm-stream-reasoning-splits", 35, 228),
    // Fixtures of our own.
    ("messages-stream", 9, 2),
    ("responses-stream", 9, 1),
    ("stream-reasoning", 11, 4),
    ("stream-usage-on-finish", 11, 4),
    ("stream-usage", 11, 4),
];

/// The books are right to the token for every recorded form, and each form that reports usage is in the list.
#[tokio::test]
async fn every_recorded_form_is_booked_to_the_token() {
    let answers: Vec<_> = transcripts::all()
        .iter()
        .filter(|transcript| transcript.status == 200 && reports_usage(&transcript.body))
        .collect();
    let played = answers.clone();
    let upstream = Upstream::by(Speaks::H1, move |number, _| {
        let transcript = played[number];
        let head = Step::Head { status: 200, headers: transcript.headers.clone(), framing: Framing::Chunked };
        vec![head, Step::Body(transcript.body.clone()), Step::End]
    });
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for transcript in answers {
        let name = &*transcript.name;
        let path = match name {
            _ if name.contains("messages") => "/v1/messages",
            _ if name.contains("responses") => "/v1/responses",
            _ if name.contains("completions") => "/v1/completions",
            _ => CHAT,
        };
        let call = if transcript.kind == Kind::Sse {
            Call::post(path, r#"{"model":"m","stream":true}"#)
        } else {
            Call::post(path, r#"{"model":"m"}"#)
        };
        let id = call.id();
        client.send(call).await.collect().await;
        let line = journal::closing(&id).await;
        let (_, input, output) = RECORDED.iter().find(|(known, ..)| *known == name).expect(name);
        assert_eq!(json!([line["input_tokens"], line["output_tokens"]]), json!([input, output]), "{name}");
        let ended = line["message"] == "done";
        assert_eq!(line["usage"], if ended { "reported" } else { "partial" }, "{name}");
    }
    drop(client);
    gateway.stop().await;
}

/// Whether the text has a usage object with counts.
fn reports_usage(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.split("\"usage\"").skip(1).any(|rest| {
        let rest = rest.trim_start().trim_start_matches(':').trim_start();
        rest.starts_with('{') && rest.split('}').next().is_some_and(|object| object.contains("_tokens"))
    })
}

/// A cache's tokens of Anthropic are a part of the input, and a later 0 takes nothing back.
#[tokio::test]
async fn a_prompt_that_is_written_to_a_cache_counts() {
    let event = |name: &str, data: serde_json::Value| format!("event: {name}\ndata: {data}\n\n");
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": 3,
        "cache_creation_input_tokens": 20_000, "cache_read_input_tokens": 100, "output_tokens": 1}}});
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 9}});
    let stream = [
        event("message_start", start),
        event("content_block_delta", json!({"type": "content_block_delta", "delta": {"text": "hi"}})),
        event("message_delta", delta),
        event("message_stop", json!({"type": "message_stop"})),
    ];
    let upstream = Upstream::always(Speaks::H1, script::sse(stream.concat()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::post("/v1/messages", r#"{"model":"m","stream":true,"max_tokens":5}"#);
    let id = call.id();
    assert_eq!(client.send(call).await.collect().await.text(), stream.concat());
    let line = journal::closing(&id).await;
    assert_eq!(
        json!([line["input_tokens"], line["output_tokens"], line["usage"]]),
        json!([20_103, 9, "reported"])
    );
    drop(client);
    gateway.stop().await;
}

/// D6, D7: only a chunk that holds nothing but usage is removed, in the forms of LiteLLM and of llama-server.
#[tokio::test]
async fn a_chunk_that_holds_something_else_stays() {
    let counts = r#""usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#;
    let litellm = format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{}}}}],{counts}}}\n\n");
    let llama = format!("data: {{\"choices\":[],{counts},\"timings\":{{\"predicted_ms\":1.5}}}}\n\n");
    let of_choice = |choice: &str| format!("data: {{\"id\":\"c\",\"choices\":[{choice}],{counts}}}\n\n");
    let null = of_choice(r#"{"index":0,"delta":null,"finish_reason":null}"#);
    let role =
        r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"logprobs":null}"#;
    let (second, role) = (of_choice(&role.replace("\"index\":0", "\"index\":1")), of_choice(role));
    let ended = of_choice(r#"{"index":0,"delta":{"content":""},"finish_reason":"stop"}"#);
    for (chunk, stays) in
        [(litellm, false), (llama, true), (null, false), (role, false), (second, true), (ended, true)]
    {
        for mode in [Mode::Asgi, Mode::Buffered] {
            let events = [delta("one"), chunk.clone().into(), DONE.into()];
            let upstream = Upstream::always(Speaks::H1, script::sse(events.concat()));
            let gateway = Plan::to(&[&upstream]).with(|settings| settings.stream.mode = mode).start().await;
            let mut client = gateway.client(Version::H1).await;
            let call = Call::stream();
            let id = call.id();
            let received = client.send(call).await.collect().await;
            let expected = if stays { events.concat() } else { [delta("one"), DONE.into()].concat() };
            assert_eq!(received.text(), String::from_utf8(expected).unwrap(), "{mode:?}");
            assert_eq!(journal::closing(&id).await["output_tokens"], 3);
            drop(client);
            gateway.stop().await;
        }
    }
}

/// D7: a client that asks OpenRouter for usage in its way gets it, and a provider may be left out.
#[tokio::test]
async fn usage_is_requested_where_it_is_wanted() {
    let upstream = Upstream::always(Speaks::H1, script::sse(with_usage()));
    let own = r#"{"model":"m","stream":true,"usage":{"include":true}}"#;
    let other = r#"{"model":"m","stream":true,"usage":{"include":false}}"#;
    for (provider, body, is_requested) in
        [(None, own, false), (None, other, true), (Some(false), other, false), (Some(true), other, true)]
    {
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.providers[0].include_usage = provider;
            settings.stream.include_usage = provider != Some(true);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let before = upstream.log.requests();
        let received = client.send(Call::post(CHAT, body)).await.collect().await;
        let expected = if is_requested { without_usage() } else { with_usage() };
        assert_eq!(received.bytes(), expected, "{provider:?} {body}");
        let seen = upstream.log.request(before).await;
        assert_eq!(seen.json()["stream_options"]["include_usage"] == true, is_requested);
        drop(client);
        gateway.stop().await;
    }
}

/// D8: a provider that refuses the option is asked again without it, and that is remembered. A client's own
/// option is its own affair.
#[tokio::test]
async fn an_option_that_is_refused_is_taken_back() {
    let refused =
        r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"x"}}"#;
    for status in [400, 422] {
        let upstream = Upstream::by(Speaks::H1, move |_, seen| {
            if seen.json()["stream_options"].is_object() {
                script::json(status, refused)
            } else {
                script::sse(without_usage())
            }
        });
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        for requests in [2, 3, 4] {
            let received = client.send(Call::stream()).await.collect().await;
            assert_eq!(received.bytes(), without_usage());
            assert_eq!(upstream.log.requests(), requests);
        }
        let own = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        let answer = client.send(Call::post(CHAT, own)).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.collect().await.text(), refused);
        assert_eq!(upstream.log.requests(), 5);
        drop(client);
        gateway.stop().await;
    }
    // The refusal of another mistake that quotes the request is not remembered.
    let quoting = r#"{"error":{"message":"bad: {\"stream_options\":…}"}}"#;
    let upstream = Upstream::always(Speaks::H1, script::json(400, quoting));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for requests in [2, 4] {
        assert_eq!(client.send(Call::stream()).await.collect().await.text(), quoting);
        assert_eq!(upstream.log.requests(), requests);
    }
    drop(client);
    gateway.stop().await;
}
