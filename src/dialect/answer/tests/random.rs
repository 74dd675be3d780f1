//! Random answers: any order that a dialect allows, and any bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A step of a random answer.
#[derive(Clone, Debug)]
enum RandomPiece {
    Text(String),
    Reasoning(String),
    Begin(bool),
    /// A piece of an open call's arguments, by the call and the length.
    Arguments(usize, usize),
    Empty,
}

fn piece() -> impl Strategy<Value = RandomPiece> {
    prop_oneof![
        any::<String>().prop_map(RandomPiece::Text),
        "[a-z\u{2028}\u{1f600}\"\\\\\n ]{0,12}".prop_map(RandomPiece::Text),
        "[a-z\u{2029}\" ]{0,12}".prop_map(RandomPiece::Reasoning),
        any::<bool>().prop_map(RandomPiece::Begin),
        (0_usize..4, 0_usize..9).prop_map(|(call, length)| RandomPiece::Arguments(call, length)),
        Just(RandomPiece::Empty),
    ]
}

fn arguments() -> impl Strategy<Value = String> {
    (any::<String>(), any::<i32>())
        .prop_map(|(text, number)| json!({"a": text, "n": [number, {}]}).to_string())
}

/// The chunks of a chat provider, and their meaning.
fn chat(pieces: &[RandomPiece], arguments: &str) -> (Vec<String>, Meaning) {
    let (mut chunks, mut meaning) = (Vec::new(), Meaning::default());
    let mut calls: Vec<usize> = Vec::new();
    for piece in pieces {
        let delta = match piece {
            RandomPiece::Text(text) => {
                meaning.text += text;
                json!({"content": text})
            }
            RandomPiece::Reasoning(text) => {
                meaning.reasoning += text;
                json!({"content": null, "reasoning_content": text})
            }
            RandomPiece::Begin(is_split) if calls.len() < 4 => {
                let index = calls.len();
                calls.push(0);
                let id = format!("call_{index}");
                meaning.call(&id, "f", arguments);
                if *is_split {
                    chunks.push(json!({"tool_calls": [{"index": index, "id": id}]}));
                }
                json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}}]})
            }
            RandomPiece::Arguments(call, length) if *call < calls.len() => {
                json!({"tool_calls": [fragment(&mut calls, *call, *length, arguments)]})
            }
            RandomPiece::Begin(_) | RandomPiece::Arguments(..) | RandomPiece::Empty => json!({"content": ""}),
        };
        chunks.push(delta);
    }
    for call in 0..calls.len() {
        chunks.push(json!({"tool_calls": [fragment(&mut calls, call, usize::MAX, arguments)]}));
    }
    meaning.stop = Some(if calls.is_empty() { "stop" } else { "tool" });
    meaning.usage = Some((100, 60, 20));
    (chunks.iter().map(Value::to_string).collect(), meaning)
}

fn fragment(calls: &mut [usize], call: usize, length: usize, arguments: &str) -> Value {
    let from = calls[call];
    let wanted = from.saturating_add(length).min(arguments.len());
    let to = (wanted..=arguments.len()).find(|at| arguments.is_char_boundary(*at)).unwrap();
    calls[call] = to;
    json!({"index": call, "function": {"arguments": &arguments[from..to]}})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chat_answers_keep_their_meaning(pieces in prop::collection::vec(piece(), 0..24), arguments in arguments()) {
        let (deltas, expected) = chat(&pieces, &arguments);
        let deltas: Vec<_> = deltas.iter().map(String::as_str).collect();
        for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
            let mut found = chat_meaning(to, &deltas, "stop");
            found.calls.sort_by(|a, b| a.id.cmp(&b.id));
            prop_assert_eq!(Meaning { order: String::new(), ..found }, Meaning { order: String::new(), ..expected.clone() });
        }
    }

    /// The readers of a dialect read its writer's output: two translations in a row.
    #[test]
    fn answers_survive_two_translations(pieces in prop::collection::vec(piece(), 0..24), arguments in arguments()) {
        let (deltas, expected) = chat(&pieces, &arguments);
        let events = chat_answer(&deltas.iter().map(String::as_str).collect::<Vec<_>>(), "tool_calls");
        for via in [ApiDialect::Messages, ApiDialect::Responses] {
            let first = run(ApiDialect::ChatCompletions, via, &events.iter().map(String::as_str).collect::<Vec<_>>());
            let between = accumulate::events(&first.output);
            let between: Vec<_> = between.iter().map(|(name, data)| (name.as_deref(), data.as_bytes())).collect();
            for to in CLIENTS.into_iter().filter(|to| *to != via) {
                let second = run_with(via, to, context(), &between);
                prop_assert_eq!(second.end, Ok(()));
                let mut found = accumulate::stream(to, &second.output);
                found.calls.sort_by(|a, b| a.id.cmp(&b.id));
                let reasoning_of = |meaning: &Meaning| meaning.reasoning.replace("\n\n", "");
                prop_assert_eq!(reasoning_of(&found), reasoning_of(&expected));
                let plain = |meaning: &Meaning| Meaning { order: String::new(), reasoning: String::new(), ..meaning.clone() };
                prop_assert_eq!(plain(&found), plain(&expected));
            }
        }
    }

    #[test]
    fn a_cut_stream_has_no_end(pieces in prop::collection::vec(piece(), 1..16), arguments in arguments(), cut in 0_usize..30) {
        let (deltas, _) = chat(&pieces, &arguments);
        let events = chat_answer(&deltas.iter().map(String::as_str).collect::<Vec<_>>(), "stop");
        let cut = cut.min(deltas.len() + 1);
        let events: Vec<_> = events.iter().take(cut).map(String::as_str).collect();
        for to in CLIENTS.into_iter().filter(|to| *to != ApiDialect::ChatCompletions) {
            let run = run(ApiDialect::ChatCompletions, to, &events);
            prop_assert_eq!(run.end, Err(BrokenAnswer::Cut));
            prop_assert_eq!(accumulate::stream(to, &run.output).stop, None);
        }
    }

    /// Members of the right names with values of any kind, in any order.
    #[test]
    fn any_events_are_answered_in_the_dialect(events in prop::collection::vec(any_event(), 0..12), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for from in [ApiDialect::ChatCompletions, ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
            for to in CLIENTS {
                let texts: Vec<_> = events.iter().map(Value::to_string).collect();
                let mut inputs: Vec<(Option<&str>, &[u8])> = texts.iter().map(|text| (None, text.as_bytes())).collect();
                inputs.push((Some("error"), &bytes));
                inputs.push((None, b"[DONE]"));
                let run = run_with(from, to, context(), &inputs);
                accumulate::events(&run.output);
                if from != to {
                    accumulate::stream(to, &run.output);
                }
                for body in texts.iter().map(String::as_bytes).chain([&*bytes]) {
                    let mut out = Vec::new();
                    if whole(from, to, body, &context(), "r", 1, &mut out).is_ok() {
                        serde_json::from_slice::<Value>(&out).unwrap();
                    }
                    out.clear();
                    error(from, to, 500, body, &mut out);
                    serde_json::from_slice::<Value>(&out).unwrap();
                }
            }
        }
    }
}

const NAMES: &str = "type|id|model|message|choices|index|delta|content|text|tool_calls|function|name|arguments|finish_reason|usage|prompt_tokens|completion_tokens|total_tokens|input_tokens|output_tokens|content_block|partial_json|thinking|signature|data|stop_reason|item|output_index|call_id|response|output|summary|annotations|url_citation|citation|url|error|code|reasoning_content|reasoning_details|refusal|logprobs|encrypted_content|incomplete_details|status|start_index|end_index";
const KINDS: &str = "message_start|content_block_start|content_block_delta|content_block_stop|message_delta|message_stop|text|thinking|redacted_thinking|tool_use|text_delta|input_json_delta|thinking_delta|signature_delta|citations_delta|response.created|response.output_item.added|response.output_item.done|response.output_text.delta|response.refusal.delta|response.reasoning_summary_text.delta|response.reasoning_summary_part.added|response.function_call_arguments.delta|response.custom_tool_call_input.delta|response.output_text.annotation.added|response.completed|response.incomplete|message|reasoning|function_call|custom_tool_call|output_text|refusal|stop|length|tool_calls|error|max_output_tokens";

fn any_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z\u{2028}\"{}\\\\]{0,5}".prop_map(Value::from),
        KINDS.prop_map(Value::from),
        KINDS.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(NAMES, inner.clone(), 1..7).prop_map(Value::from_iter),
            (KINDS, prop::collection::btree_map(NAMES, inner, 1..7)).prop_map(|(kind, members)| {
                let mut object = Value::from_iter(members);
                object["type"] = Value::from(kind);
                object
            }),
        ]
    })
}
