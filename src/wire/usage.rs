//! Token counts as providers tell them, wherever they put them.
//!
//! Known places: `usage` at the top (chat, completions, embeddings, Anthropic's `message_delta`), in `response`
//! (Responses), in `message` (Anthropic's `message_start`), in `x_groq` and in the first choice (Moonshot). Counts are
//! the provider's own: Anthropic's `input` does not include what came from or went to its cache.

use std::sync::LazyLock;

use memchr::memmem::FinderRev;
use serde::Deserialize;
use serde_json::Value;

/// No request has more tokens. What a provider says beyond is an error of his, and must not spoil the sums of the month.
pub const MOST: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// Input read from the provider's prompt cache.
    pub cached: Option<u64>,
    /// Output that was reasoning.
    pub reasoning: Option<u64>,
}

/// The usage in an event's data or a whole response body. `None`: there is none.
#[must_use]
pub fn read(json: &[u8]) -> Option<Usage> {
    of(&serde_json::from_slice(json).ok()?)
}

const KEY: &[u8] = b"\"usage\"";
static FIND_LAST: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(KEY));

/// Bytes that a usage object has at most, and names of it that are tried: a provider's whole answer may be made of them.
const LARGEST: usize = 4096;
const TRIES: usize = 16;

/// The usage in a whole response body, found without reading all of it: its last `"usage"` that is an object. In a
/// string these quotes would stand behind backslashes.
#[must_use]
pub fn find(body: &[u8]) -> Option<Usage> {
    let mut before = body;
    for _ in 0..TRIES {
        let at = FIND_LAST.rfind(before)?;
        let after = body.get(at + KEY.len()..)?.trim_ascii_start();
        if let Some(found) = after.strip_prefix(b":").and_then(|value| first(value.trim_ascii_start())) {
            return Some(found);
        }
        before = before.get(..at)?;
    }
    None
}

/// The counts of the object that `json` begins with.
fn first(json: &[u8]) -> Option<Usage> {
    let json = json.get(..LARGEST).unwrap_or(json);
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<Told>();
    json.starts_with(b"{").then(|| values.next()?.ok()?.counts()).flatten()
}

pub(super) fn of(whole: &Value) -> Option<Usage> {
    const PLACES: [&str; 5] =
        ["/usage", "/response/usage", "/message/usage", "/x_groq/usage", "/choices/0/usage"];
    let usage = PLACES.iter().find_map(|place| whole.pointer(place).filter(|usage| usage.is_object()))?;
    Told::deserialize(usage).ok()?.counts()
}

/// What stands in a usage object, whatever it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    prompt_tokens: Value,
    input_tokens: Value,
    completion_tokens: Value,
    output_tokens: Value,
    prompt_tokens_details: Value,
    input_tokens_details: Value,
    completion_tokens_details: Value,
    output_tokens_details: Value,
    cache_read_input_tokens: Value,
    prompt_cache_hit_tokens: Value,
    cached_tokens: Value,
    reasoning_tokens: Value,
}

impl Told {
    fn counts(&self) -> Option<Usage> {
        let count = |values: &[&Value]| values.iter().find_map(|value| number(value));
        let detail = |places: [&Value; 2], name| places.iter().find_map(|place| number(place.get(name)?));
        let found = Usage {
            input: count(&[&self.prompt_tokens, &self.input_tokens]),
            output: count(&[&self.completion_tokens, &self.output_tokens]),
            cached: detail([&self.prompt_tokens_details, &self.input_tokens_details], "cached_tokens")
                .or_else(|| {
                    let flat = [&self.cache_read_input_tokens, &self.prompt_cache_hit_tokens];
                    count(&flat).or_else(|| number(&self.cached_tokens))
                }),
            reasoning: detail(
                [&self.completion_tokens_details, &self.output_tokens_details],
                "reasoning_tokens",
            )
            .or_else(|| number(&self.reasoning_tokens)),
        };
        (found != Usage::default()).then_some(found)
    }
}

/// A count, as far as it may be one.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().map(|count| count.min(MOST))
}

impl Usage {
    /// What is known after `later` was told in the same stream: counts are totals so far, so the later one wins.
    #[must_use]
    pub fn merge(self, later: Self) -> Self {
        Self {
            input: later.input.or(self.input),
            output: later.output.or(self.output),
            cached: later.cached.or(self.cached),
            reasoning: later.reasoning.or(self.reasoning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, output: u64, cached: Option<u64>, reasoning: Option<u64>) -> Usage {
        Usage { input: Some(input), output: Some(output), cached, reasoning }
    }

    #[test]
    fn reads_every_known_place() {
        let chat =
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":
            {"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
        assert_eq!(read(chat), Some(usage(9, 4, Some(2), Some(3))));
        let responses =
            br#"{"type":"response.completed","response":{"usage":{"input_tokens":9,"output_tokens":4,
            "input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":1}}}}"#;
        assert_eq!(read(responses), Some(usage(9, 4, Some(0), Some(1))));
        let moonshot =
            br#"{"choices":[{"usage":{"prompt_tokens":9,"completion_tokens":4,"cached_tokens":5}}]}"#;
        assert_eq!(read(moonshot), Some(usage(9, 4, Some(5), None)));
        let groq = br#"{"usage":null,"x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":4}}}"#;
        assert_eq!(read(groq), Some(usage(9, 4, None, None)));
    }

    #[test]
    fn merges_the_start_and_the_end_of_a_message() {
        let start = br#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1,
            "cache_read_input_tokens":7}}}"#;
        let delta = br#"{"type":"message_delta","usage":{"output_tokens":40}}"#;
        let merged = read(start).unwrap().merge(read(delta).unwrap());
        assert_eq!(merged, usage(9, 40, Some(7), None));
        assert_eq!(merged.merge(usage(10, 41, None, Some(3))), usage(10, 41, Some(7), Some(3)));
    }

    #[test]
    fn finds_usage_in_a_whole_body_without_reading_it() {
        let body = br#"{"usage":{"prompt_tokens":9,"completion_tokens":4},"choices":[{"message":{"content":
            "say \"usage\":{\"prompt_tokens\":1}","kind":"usage"}}]}"#;
        assert_eq!(find(body), Some(usage(9, 4, None, None)));
        let spaced = br#"{"data":[],"usage" : {"prompt_tokens":9,"completion_tokens":4}, "x":1}"#;
        assert_eq!(find(spaced), read(spaced));
        for none in
            [&b"{}"[..], br#"{"usage":null}"#, br#"{"usage":{"#, br#""usage""#, br#"{"usage":{"a":1}}"#]
        {
            assert_eq!(find(none), None);
        }
    }

    /// Each of them read to the end, this would take hours.
    #[test]
    fn usage_within_usage_without_end_is_given_up() {
        assert_eq!(find(r#"{"usage":"#.repeat(1 << 20).as_bytes()), None);
    }

    #[test]
    fn a_count_beyond_reason_is_cut() {
        let json =
            br#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":4,"prompt_tokens_details":
            {"cached_tokens":9223372036854775808},"reasoning_tokens":1099511627777}}"#;
        assert_eq!(read(json), Some(usage(MOST, 4, Some(MOST), Some(MOST))));
    }

    #[test]
    fn finds_none_where_there_is_none() {
        for json in
            [r#"{"usage":null}"#, r#"{"usage":{}}"#, r#"{"usage":{"prompt_tokens":-1}}"#, "[DONE]", ""]
        {
            assert_eq!(read(json.as_bytes()), None, "{json}");
        }
    }
}
