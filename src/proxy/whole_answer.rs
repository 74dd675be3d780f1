//! Whether an answer that came to its end is one that an equal request may be given: an answer, not an error
//! or a refusal, and nothing that is still to come. Read once, when the answer is stored.

use memchr::memmem;
use serde_json::Value;

use crate::wire::{BYTE_ORDER_MARK, Dialect};

/// An answer that does not stream.
pub(super) fn is_good_whole(dialect: Dialect, body: &[u8]) -> bool {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let all = |list: &str, is_good: fn(&Value) -> bool| {
        let items = answer.get(list).and_then(Value::as_array);
        items.is_some_and(|items| !items.is_empty() && items.iter().all(is_good))
    };
    if answer.get("error").is_some_and(|error| !error.is_null()) {
        return false;
    }
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions => {
            all("choices", |choice| is_good_reason(choice.get("finish_reason")))
        }
        Dialect::Embeddings => all("data", |_| true),
        Dialect::Messages => text("type") == Some("message") && is_good_reason(answer.get("stop_reason")),
        Dialect::Responses => text("status") == Some("completed"),
        Dialect::Gemini => all("candidates", |candidate| is_good_reason(candidate.get("finishReason"))),
    }
}

/// Reasons of its own for which an answer has ended.
const GOOD_REASONS: [&str; 10] = [
    "stop",
    "length",
    "tool_calls",
    "function_call",
    "end_turn",
    "stop_sequence",
    "max_tokens",
    "tool_use",
    "STOP",
    "MAX_TOKENS",
];

fn is_good_reason(reason: Option<&Value>) -> bool {
    let reason = reason.and_then(Value::as_str).unwrap_or_default();
    GOOD_REASONS.contains(&reason)
}

/// A stream whose end the tap has found, without an error event: it has none of the ends that are no answer.
pub(super) fn is_good_stream(dialect: Dialect, body: &[u8]) -> bool {
    let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
    let ends_with = |name: &str, reasons: &[&str]| {
        reasons.iter().any(|reason| {
            has(&format!("\"{name}\":\"{reason}\"")) || has(&format!("\"{name}\": \"{reason}\""))
        })
    };
    match dialect {
        // `[DONE]` alone says nothing of the answer.
        Dialect::ChatCompletions | Dialect::Completions => {
            ends_with("finish_reason", &GOOD_REASONS)
                && !ends_with("finish_reason", &["error", "content_filter"])
        }
        Dialect::Embeddings => false,
        Dialect::Messages => has("message_stop") && !ends_with("stop_reason", &["refusal", "pause_turn"]),
        Dialect::Responses => has("response.completed"),
        Dialect::Gemini => {
            let reasons = ["STOP", "MAX_TOKENS"];
            ends_with("finishReason", &reasons) && !has("\"blockReason\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_good_by_its_dialect() {
        use Dialect::{ChatCompletions, Embeddings, Gemini, Messages, Responses};
        for (dialect, body, good) in [
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop"}]}"#, true),
            (ChatCompletions, "\u{feff}{\"choices\":[{\"finish_reason\":\"stop\"}]}", true),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop"}],"error":null}"#, true),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop"}],"error":{"message":"x"}}"#, false),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":null}]}"#, false),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"content_filter"}]}"#, false),
            (ChatCompletions, r#"{"choices":[]}"#, false),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop"}]"#, false),
            (ChatCompletions, "", false),
            (Embeddings, r#"{"data":[{"embedding":[1]}]}"#, true),
            (Messages, r#"{"type":"message","stop_reason":"end_turn"}"#, true),
            (Messages, r#"{"type":"message","stop_reason":"refusal"}"#, false),
            (Messages, r#"{"type":"error"}"#, false),
            (Responses, r#"{"status":"completed","error":null}"#, true),
            (Responses, r#"{"status":"in_progress"}"#, false),
            (Responses, r#"{"status":"incomplete"}"#, false),
            (Gemini, r#"{"candidates":[{"finishReason":"STOP"}]}"#, true),
            (Gemini, r#"{"candidates":[{"finishReason":"SAFETY"}]}"#, false),
            (Gemini, r#"{"promptFeedback":{"blockReason":"OTHER"}}"#, false),
        ] {
            assert_eq!(is_good_whole(dialect, body.as_bytes()), good, "{dialect:?} {body}");
        }
    }

    #[test]
    fn a_stream_that_was_filtered_is_not_kept() {
        let reason = |reason| format!("data: {{\"choices\":[{{\"finish_reason\":\"{reason}\"}}]}}\n\n");
        for (name, good) in [("stop", true), ("length", true), ("error", false), ("content_filter", false)] {
            assert_eq!(is_good_stream(Dialect::ChatCompletions, reason(name).as_bytes()), good, "{name}");
        }
        let without = b"data: {\"choices\":[{\"finish_reason\":null}]}\n\ndata: [DONE]\n\n";
        assert!(!is_good_stream(Dialect::ChatCompletions, without));
        assert!(!is_good_stream(Dialect::Responses, b"event: response.incomplete\n\n"));
    }
}
