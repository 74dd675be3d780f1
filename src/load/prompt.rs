//! The request body of a run, in each dialect. It always limits the tokens to generate.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::wire::Dialect;

/// The prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub model: String,
    pub text: String,
    /// The most tokens to generate.
    pub max_tokens: u32,
    pub stream: bool,
}

impl Prompt {
    /// Repeats the text until it has at least `bytes` bytes.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        let sentence = if self.text.is_empty() { " ".to_owned() } else { format!("{} ", self.text) };
        while self.text.len() < bytes {
            self.text.push(' ');
            self.text.push_str(&sentence);
        }
        self
    }

    #[must_use]
    pub fn body(&self, dialect: Dialect) -> Bytes {
        Value::Object(self.fields(dialect)).to_string().into()
    }

    /// The same object with one more field.
    #[must_use]
    pub fn body_with(&self, dialect: Dialect, name: &str, value: Value) -> Bytes {
        let mut fields = self.fields(dialect);
        fields.insert(name.into(), value);
        Value::Object(fields).to_string().into()
    }

    fn fields(&self, dialect: Dialect) -> Map<String, Value> {
        let Self { model, text, max_tokens, stream } = self;
        let fields = match dialect {
            Dialect::ChatCompletions | Dialect::Messages => json!({
                "model": model,
                "messages": [{"role": "user", "content": text}],
                limit_name(dialect, model): max_tokens,
                "stream": stream,
            }),
            Dialect::Completions => {
                json!({"model": model, "prompt": text, "max_tokens": max_tokens, "stream": stream})
            }
            Dialect::Responses => {
                json!({"model": model, "input": text, "max_output_tokens": max_tokens, "stream": stream})
            }
            Dialect::Embeddings => json!({"model": model, "input": text}),
            Dialect::Gemini => json!({
                "model": model,
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": {"maxOutputTokens": max_tokens},
            }),
        };
        match fields {
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        }
    }
}

/// OpenAI's reasoning models refuse `max_tokens` and need `max_completion_tokens`, which other models do not
/// know.
fn limit_name(dialect: Dialect, model: &str) -> &'static str {
    let name = model.rsplit('/').next().unwrap_or(model);
    let is_o =
        name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    if dialect == Dialect::ChatCompletions && (is_o || name.starts_with("gpt-5")) {
        "max_completion_tokens"
    } else {
        "max_tokens"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_names_the_model_and_bounds_what_is_made() {
        let prompt = Prompt { model: "m".into(), text: "hi".into(), max_tokens: 7, stream: true };
        for dialect in Dialect::ALL {
            let body: Value = serde_json::from_slice(&prompt.body(dialect)).unwrap();
            assert_eq!(body["model"], "m");
            let limits = [
                &body["max_tokens"],
                &body["max_output_tokens"],
                &body["generationConfig"]["maxOutputTokens"],
            ];
            let bounded = limits.into_iter().any(|limit| *limit == 7);
            assert_eq!(bounded, dialect != Dialect::Embeddings, "{dialect:?}");
        }
        let body: Value =
            serde_json::from_slice(&prompt.body_with(Dialect::ChatCompletions, "x", true.into())).unwrap();
        assert_eq!((&body["x"], &body["stream"]), (&true.into(), &true.into()));
    }

    #[test]
    fn reasoning_models_are_bounded_under_their_own_name() {
        let name = |model| limit_name(Dialect::ChatCompletions, model);
        assert_eq!([name("o3-mini"), name("openai/gpt-5-nano")], ["max_completion_tokens"; 2]);
        assert_eq!([name("gpt-4o"), name("olmo-2"), name("demo-text")], ["max_tokens"; 3]);
    }

    #[test]
    fn pads_to_a_size() {
        let prompt = Prompt { model: "m".into(), text: "hello".into(), max_tokens: 7, stream: true };
        assert_eq!(prompt.clone().padded(3).text, "hello");
        let padded = prompt.padded(1000).text.len();
        assert!((1000..1010).contains(&padded), "{padded}");
    }
}
