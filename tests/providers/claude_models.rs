//! A Claude model is asked to think in the way that its version knows, and to go on without its earlier
//! thinking where the client has lost it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use thalweg::base::Endpoint;

use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{Speaks, Upstream, script},
};

const ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hi."}],"model":"m","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

/// The wish for thinking that the provider got, and the list of members that it did not get.
async fn asked(model: &'static str, messages: &Value) -> (Value, String) {
    let thinking = Arc::new(Mutex::new(Value::Null));
    let seen_thinking = Arc::clone(&thinking);
    let provider = Upstream::by(Speaks::H1, move |_, seen| {
        *seen_thinking.lock().unwrap() = seen.json()["thinking"].clone();
        script::json(200, ANSWER)
    });
    let plan = Plan::to(&[&provider]).with(|settings| {
        settings.providers[0].models = Some(vec![model.into()]);
        settings.providers[0].dialects = Some([Endpoint::Messages].into_iter().collect());
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let body = json!({"model": model, "max_tokens": 4000, "reasoning_effort": "low", "messages": messages});
    let answer = client.send(Call::post("/v1/chat/completions", body.to_string())).await;
    assert_eq!(answer.status, 200);
    let dropped =
        answer.headers.get("x-thalweg-dropped").map_or("", |names| names.to_str().unwrap()).to_owned();
    drop(client);
    gateway.stop().await;
    let thinking = thinking.lock().unwrap().take();
    (thinking, dropped)
}

#[tokio::test]
async fn a_claude_model_is_asked_to_think_in_its_own_way() {
    let question = json!([{"role": "user", "content": "q"}]);
    for (model, thinking) in [
        ("claude-sonnet-4-5", json!({"type": "enabled", "budget_tokens": 2048})),
        ("claude-opus-4-6", json!({"type": "adaptive"})),
        ("claude-opus-4-8", json!({"type": "adaptive", "display": "summarized"})),
    ] {
        assert_eq!(asked(model, &question).await, (thinking, String::new()), "{model}");
    }
}

/// Clients of chat completions return a call without `reasoning_details`; Anthropic refuses such a turn
/// beside a budget.
#[tokio::test]
async fn a_call_whose_thinking_is_lost_is_answered_without_thinking() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}});
    let messages = json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]);
    let lost = (Value::Null, "reasoning_effort".to_owned());
    assert_eq!(asked("claude-sonnet-4-5", &messages).await, lost);
    assert_eq!(asked("claude-opus-4-6", &messages).await, (json!({"type": "adaptive"}), String::new()));
}
