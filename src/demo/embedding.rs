//! Embeddings without a model: a unit vector that depends on the text alone, so that client code can be tried
//! and the same input always gives the same answer. The vector has no meaning.

use serde_json::{Value, json};

const DIMENSIONS: usize = 16;

/// The answer to `/v1/embeddings`. `None`: `input` is neither a string nor a list of strings.
pub(super) fn answer(model: &str, input: &Value) -> Option<Value> {
    let texts: Vec<&str> = match input {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    let tokens: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector(text)}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Some(json!({"object": "list", "data": data, "model": model, "usage": usage}))
}

/// FNV-1a of the text seeds a xorshift generator; the result is scaled to length 1.
fn vector(text: &str) -> Vec<f32> {
    let hash = |seed: u64, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325, hash) | 1;
    let raw: Vec<f32> = (0..DIMENSIONS)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bits = u16::try_from(state >> 48).unwrap_or_default();
            f32::from(bits) / 32_768.0 - 1.0
        })
        .collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.iter().map(|x| x / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_gives_the_same_unit_vector() {
        let (one, other) = (vector("thalweg"), vector("Thalweg"));
        assert_eq!(one, vector("thalweg"));
        assert_ne!(one, other);
        assert!((one.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn answers_one_per_input() {
        let whole = answer("m", &json!(["a b", "c"])).unwrap();
        assert_eq!((&whole["data"][1]["index"], &whole["usage"]["total_tokens"]), (&1.into(), &3.into()));
        assert!(answer("m", &json!([1])).is_none());
    }
}
