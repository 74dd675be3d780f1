//! Random conversations there and back are equal in meaning: texts by speaker, pictures, calls with their
//! arguments, results with their errors.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Way;
use crate::dialect::ApiDialect;

/// A step of a conversation.
#[derive(Clone, Debug)]
enum Said {
    User(Vec<Piece>),
    Assistant { text: String, calls: Vec<(Value, Vec<Piece>, bool)> },
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Image(String),
}

/// Texts that a dialect may leave out if they are white space, or read as a mark, begin with a letter.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| format!("t{text}e"))
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let image = "[A-Za-z0-9+/]{4}".prop_map(Piece::Image);
    prop::collection::vec(prop_oneof![3 => text().prop_map(Piece::Text), 1 => image], 1..4)
}

fn input() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Binary fractions: serde_json's reader, the oracle, is not exact for others.
        any::<i16>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
    ];
    prop::collection::hash_map(any::<String>(), leaf, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn conversation() -> impl Strategy<Value = Vec<Said>> {
    let call = (input(), pieces(), any::<bool>());
    let assistant =
        (text(), any::<bool>(), prop::collection::vec(call, 0..4)).prop_map(|(text, speaks, calls)| {
            let text = if speaks || calls.is_empty() { text } else { String::new() };
            Said::Assistant { text, calls }
        });
    let turn = (pieces().prop_map(Said::User), assistant).prop_map(|(user, assistant)| [user, assistant]);
    prop::collection::vec(turn, 1..4).prop_map(|turns| turns.into_iter().flatten().collect())
}

fn block(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({"type": "text", "text": text}),
        Piece::Image(data) => {
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
        }
    }
}

fn id(turn: usize, call: usize) -> String {
    // Some ids are not Anthropic's form.
    if call == 1 { format!("call:{turn}/é") } else { format!("toolu_{turn}_{call}") }
}

fn as_messages(said: &[Said]) -> Value {
    let mut messages = Vec::new();
    for (turn, said) in said.iter().enumerate() {
        match said {
            Said::User(pieces) => {
                messages
                    .push(json!({"role": "user", "content": pieces.iter().map(block).collect::<Vec<_>>()}));
            }
            Said::Assistant { text, calls } => {
                let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
                let uses = calls.iter().enumerate().map(|(at, (input, _, _))| {
                    json!({"type": "tool_use", "id": format!("toolu_{turn}_{at}"), "name": format!("f{at}"), "input": input})
                });
                messages.push(
                    json!({"role": "assistant", "content": text.into_iter().chain(uses).collect::<Vec<_>>()}),
                );
                let results = calls.iter().enumerate().map(|(at, (_, pieces, is_error))| {
                    let content: Vec<_> = pieces.iter().map(block).collect();
                    json!({"type": "tool_result", "tool_use_id": format!("toolu_{turn}_{at}"), "content": content, "is_error": is_error})
                });
                if !calls.is_empty() {
                    messages.push(json!({"role": "user", "content": results.collect::<Vec<_>>()}));
                }
            }
        }
    }
    json!({"model": "m", "max_tokens": 9, "messages": messages})
}

fn as_chat(said: &[Said]) -> Value {
    let mut messages = Vec::new();
    for (turn, said) in said.iter().enumerate() {
        match said {
            Said::User(pieces) => {
                let parts = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => json!({"type": "text", "text": text}),
                    Piece::Image(data) => {
                        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}})
                    }
                });
                messages.push(json!({"role": "user", "content": parts.collect::<Vec<_>>()}));
            }
            Said::Assistant { text, calls } => {
                let list = calls.iter().enumerate().map(|(at, (input, _, _))| {
                    let function = json!({"name": format!("f{at}"), "arguments": input.to_string()});
                    json!({"id": id(turn, at), "type": "function", "function": function})
                });
                messages.push(
                    json!({"role": "assistant", "content": text, "tool_calls": list.collect::<Vec<_>>()}),
                );
                for (at, (_, pieces, is_error)) in calls.iter().enumerate() {
                    let texts = pieces.iter().filter_map(|piece| match piece {
                        Piece::Text(text) => Some(text.as_str()),
                        Piece::Image(_) => None,
                    });
                    let mark = if *is_error { "[tool error]\n" } else { "" };
                    let content = format!("{mark}{}", texts.collect::<Vec<_>>().join("\n"));
                    messages.push(json!({"role": "tool", "tool_call_id": id(turn, at), "content": content}));
                }
            }
        }
    }
    json!({"model": "m", "messages": messages})
}

/// The facts of a conversation, in order: texts in a row are one; a result's pictures stand after the
/// results.
fn meaning(body: &Value, with_pictures_apart: bool) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    for message in body["messages"].as_array().unwrap() {
        let (mut texts, mut late) = (Vec::new(), Vec::new());
        if let Some(text) = message["content"].as_str() {
            texts.push(text.to_owned());
        }
        for part in message["content"].as_array().into_iter().flatten() {
            match part["type"].as_str().unwrap() {
                "text" => texts.push(part["text"].as_str().unwrap().to_owned()),
                "image" => texts.push(format!("picture {}", part["source"]["data"])),
                "image_url" => texts.push(format!("picture {}", part["image_url"]["url"])),
                "tool_use" => facts.push(format!("call {} {} {}", part["id"], part["name"], part["input"])),
                "tool_result" => {
                    let content = &part["content"];
                    let list = content.as_array().cloned().unwrap_or_else(|| vec![json!({"text": content})]);
                    let words = list.iter().filter_map(|part| part["text"].as_str());
                    let words =
                        words.filter(|words| !words.starts_with("The result is in")).collect::<Vec<_>>();
                    let is_error = part["is_error"].as_bool().unwrap_or(false);
                    facts.push(format!("result {} {is_error} {:?}", part["tool_use_id"], words.join("\n")));
                    let pictures = list.iter().filter(|part| part["type"] == "image");
                    late.extend(pictures.map(|picture| format!("picture {}", picture["source"]["data"])));
                }
                other => panic!("{other}"),
            }
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let arguments: Value =
                serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            facts.push(format!("call {} {} {arguments}", call["id"], call["function"]["name"]));
        }
        if message["role"] == "tool" {
            facts.push(format!("result {}", message["tool_call_id"]));
        }
        assert!(with_pictures_apart || late.is_empty() || message["role"] == "user");
        let words: Vec<_> = late.into_iter().chain(texts).filter(|text| !text.is_empty()).collect();
        if !words.is_empty() {
            facts.push(format!("{} says {:?}", message["role"], words.join("\n\n")));
        }
    }
    join_users(facts)
}

/// A user's words in a row are one turn.
fn join_users(facts: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for fact in facts {
        match joined.last_mut() {
            Some(last) if last.starts_with("\"user\" says") && fact.starts_with("\"user\" says") => {
                let more = fact.trim_start_matches("\"user\" says \"");
                last.truncate(last.len() - 1);
                last.push_str("\\n\\n");
                last.push_str(more);
            }
            _ => joined.push(fact),
        }
    }
    joined
}

fn there_and_back(from: ApiDialect, over: ApiDialect, body: &Value) -> Value {
    let there = Way { from, to: over }.body(body);
    Way { from: over, to: from }.body(&there)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn messages_over_chat(said in conversation()) {
        let body = as_messages(&said);
        let back = there_and_back(ApiDialect::Messages, ApiDialect::ChatCompletions, &body);
        prop_assert_eq!(meaning(&back, true), meaning(&body, true));
    }

    #[test]
    fn messages_over_responses(said in conversation()) {
        let body = as_messages(&said);
        let back = there_and_back(ApiDialect::Messages, ApiDialect::Responses, &body);
        prop_assert_eq!(meaning(&back, true), meaning(&body, true));
    }

    #[test]
    fn chat_over_messages(said in conversation()) {
        let body = as_chat(&said);
        let back = there_and_back(ApiDialect::ChatCompletions, ApiDialect::Messages, &body);
        prop_assert_eq!(meaning(&back, false), meaning(&body, false));
    }

    #[test]
    fn chat_over_responses(said in conversation()) {
        let body = as_chat(&said);
        let back = there_and_back(ApiDialect::ChatCompletions, ApiDialect::Responses, &body);
        prop_assert_eq!(meaning(&back, false), meaning(&body, false));
    }
}
