//! A conversation that comes again with each turn: the turns that are known from the request before reach a
//! provider of another dialect as if they came for the first time.

use serde_json::{Value, json};

use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{Speaks, Upstream, script},
};

const LONG: &str =
    " A river keeps to the \"lowest\" line of its bed \u{2014}\n\tand the bed keeps the marks.";

/// A round of a coding agent: words, a call, its result. The last one has the mark of the cache.
fn messages(talk: &str, rounds: usize) -> Value {
    let mut list = Vec::new();
    for round in 0..rounds {
        let id = format!("call_{talk}_{round}");
        let words = format!("{talk}{round}{}", LONG.repeat(9));
        let mut result = json!({"type": "tool_result", "tool_use_id": id, "content": words});
        if round + 1 == rounds {
            result["cache_control"] = json!({"type": "ephemeral"});
        }
        list.push(json!({"role": "assistant", "content": [
            {"type": "text", "text": words},
            {"type": "tool_use", "id": id, "name": "read", "input": {"round": round}},
        ]}));
        list.push(json!({"role": "user", "content": [result]}));
    }
    list.insert(0, json!({"role": "user", "content": format!("{talk}{}", LONG.repeat(40))}));
    let tools = json!([{"name": "read", "description": LONG.repeat(40), "input_schema": {"type": "object"}}]);
    json!({"model": "m", "max_tokens": 50, "system": LONG.repeat(40), "tools": tools, "messages": list})
}

/// The same as a chat provider gets it.
fn chat(talk: &str, rounds: usize) -> Vec<Value> {
    let mut list = vec![
        json!({"role": "system", "content": LONG.repeat(40)}),
        json!({"role": "user", "content": format!("{talk}{}", LONG.repeat(40))}),
    ];
    for round in 0..rounds {
        let id = format!("call_{talk}_{round}");
        let words = format!("{talk}{round}{}", LONG.repeat(9));
        let function = json!({"name": "read", "arguments": json!({"round": round}).to_string()});
        let call = json!({"id": id, "type": "function", "function": function});
        list.push(json!({"role": "assistant", "content": words, "tool_calls": [call]}));
        list.push(json!({"role": "tool", "tool_call_id": id, "content": words}));
    }
    list
}

#[tokio::test]
async fn a_conversation_that_grows_reaches_the_provider_whole() {
    let provider = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/chat/completions") {
        true => script::json(200, script::COMPLETION),
        false => script::json(404, r#"{"error":{"message":"Invalid URL","type":"invalid_request_error"}}"#),
    });
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    // Two conversations by turns, a request that comes again, and one that goes back.
    let order = [("a", 6), ("b", 1), ("a", 7), ("b", 2), ("a", 8), ("a", 8), ("b", 30), ("a", 3), ("b", 31)];
    for (talk, rounds) in order {
        let body = messages(talk, rounds);
        let answer = client.send(Call::post("/v1/messages", body.to_string())).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-dialect")), (200, "messages>chat"));
        assert_eq!(answer.header("x-thalweg-dropped"), "cache_control");
        answer.collect().await;
        let seen = provider.log.request(provider.log.requests() - 1).await.json();
        assert_eq!(seen["messages"].as_array().unwrap(), &chat(talk, rounds), "{talk} {rounds}");
        assert_eq!(seen["tools"][0]["function"]["description"], LONG.repeat(40));
        assert_eq!(seen["tools"].as_array().unwrap().len(), 1);
    }
    drop(client);
    gateway.stop().await;
}
