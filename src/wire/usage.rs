//! Reads token counts from events and response bodies.
//!
//! Known places: `usage` at the top (chat, completions, embeddings, Anthropic's `message_delta`), in
//! `response` (Responses), in `message` (Anthropic's `message_start`), in `x_groq` and in the first choice
//! (Moonshot). Counts are the provider's: Anthropic's `input` does not include tokens read from or written to
//! its cache.

use std::{fmt, sync::LazyLock};

use memchr::memmem::FinderRev;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// No request has more tokens. A larger count is a provider's mistake and is cut to this, because it must not
/// spoil the sums of a month.
pub const MAX_COUNT: u64 = 1 << 40;

/// Token counts. `None`: the provider did not report this count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// Input tokens read from the provider's prompt cache.
    pub cached: Option<u64>,
    /// Output tokens of reasoning.
    pub reasoning: Option<u64>,
}

/// The usage in an event's data or in a whole response body. `None`: there is none.
#[must_use]
pub fn read(json: &[u8]) -> Option<Usage> {
    from_value(&serde_json::from_slice(json).ok()?)
}

const USAGE_KEY: &[u8] = b"\"usage\"";
static LAST_USAGE: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(USAGE_KEY));

/// Bytes of a usage object, and occurrences of `"usage"` that are tried. Both are bounded, because a response
/// may consist of nothing but such names.
const MAX_OBJECT_LENGTH: usize = 4096;
const MAX_CANDIDATES: usize = 16;

/// The usage in a whole response body, found without parsing all of it: its last `"usage"` that is an object.
/// Inside a string these quotes would be escaped. `None`: there is none.
#[must_use]
pub fn find(body: &[u8]) -> Option<Usage> {
    let mut before = body;
    for _ in 0..MAX_CANDIDATES {
        let at = LAST_USAGE.rfind(before)?;
        let after = body.get(at + USAGE_KEY.len()..)?.trim_ascii_start();
        if let Some(found) =
            after.strip_prefix(b":").and_then(|value| leading_object(value.trim_ascii_start()))
        {
            return Some(found);
        }
        before = before.get(..at)?;
    }
    None
}

/// The counts of the object at the start of `json`.
fn leading_object(json: &[u8]) -> Option<Usage> {
    let json = json.get(..MAX_OBJECT_LENGTH).unwrap_or(json);
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<UsageObject>();
    json.starts_with(b"{").then(|| values.next()?.ok()?.counts()).flatten()
}

pub(super) fn from_value(json: &Value) -> Option<Usage> {
    const PLACES: [&str; 5] =
        ["/usage", "/response/usage", "/message/usage", "/x_groq/usage", "/choices/0/usage"];
    let usage = PLACES.iter().find_map(|place| json.pointer(place).filter(|usage| usage.is_object()))?;
    UsageObject::deserialize(usage).ok()?.counts()
}

/// The members of a usage object, by every provider's names.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UsageObject {
    prompt_tokens: UsageMember,
    input_tokens: UsageMember,
    completion_tokens: UsageMember,
    output_tokens: UsageMember,
    prompt_tokens_details: UsageMember,
    input_tokens_details: UsageMember,
    completion_tokens_details: UsageMember,
    output_tokens_details: UsageMember,
    cache_read_input_tokens: UsageMember,
    prompt_cache_hit_tokens: UsageMember,
    cached_tokens: UsageMember,
    reasoning_tokens: UsageMember,
}

/// A count, or the counts inside an object. Any other type holds no count and is no error.
#[derive(Clone, Copy, Default)]
struct UsageMember {
    count: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Detail {
    CachedTokens,
    ReasoningTokens,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for UsageMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UsageVisitor)
    }
}

struct UsageVisitor;

impl<'de> Visitor<'de> for UsageVisitor {
    type Value = UsageMember;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, count: u64) -> Result<UsageMember, E> {
        Ok(UsageMember { count: Some(count.min(MAX_COUNT)), ..UsageMember::default() })
    }

    fn visit_i64<E>(self, _: i64) -> Result<UsageMember, E> {
        Ok(UsageMember::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<UsageMember, E> {
        Ok(UsageMember::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<UsageMember, E> {
        Ok(UsageMember::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<UsageMember, E> {
        Ok(UsageMember::default())
    }

    fn visit_unit<E>(self) -> Result<UsageMember, E> {
        Ok(UsageMember::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UsageMember, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(UsageMember::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<UsageMember, A::Error> {
        let mut found = UsageMember::default();
        while let Some(detail) = members.next_key()? {
            match detail {
                Detail::CachedTokens => found.cached = members.next_value::<UsageMember>()?.count,
                Detail::ReasoningTokens => found.reasoning = members.next_value::<UsageMember>()?.count,
                Detail::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

impl UsageObject {
    fn counts(&self) -> Option<Usage> {
        let count = |members: [&UsageMember; 2]| members.into_iter().find_map(|member| member.count);
        let found = Usage {
            input: count([&self.prompt_tokens, &self.input_tokens]),
            output: count([&self.completion_tokens, &self.output_tokens]),
            cached: (self.prompt_tokens_details.cached)
                .or(self.input_tokens_details.cached)
                .or_else(|| count([&self.cache_read_input_tokens, &self.prompt_cache_hit_tokens]))
                .or(self.cached_tokens.count),
            reasoning: (self.completion_tokens_details.reasoning)
                .or(self.output_tokens_details.reasoning)
                .or(self.reasoning_tokens.count),
        };
        (found != Usage::default()).then_some(found)
    }
}

impl Usage {
    /// Combines these counts with `later` ones of the same stream. Counts are totals so far, so a later one
    /// wins.
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

    /// A parser that reads each of them to the end would take hours.
    #[test]
    fn usage_within_usage_without_end_is_given_up() {
        assert_eq!(find(r#"{"usage":"#.repeat(1 << 20).as_bytes()), None);
    }

    #[test]
    fn what_is_no_count_says_nothing_and_hides_nothing() {
        let odd = br#"{"usage":{"prompt_tokens":"9","input_tokens":7,"completion_tokens":-1,"output_tokens":2.5,
            "prompt_tokens_details":[1,{"cached_tokens":3}],"input_tokens_details":{"x":{"cached_tokens":8},"cached_tokens":null},
            "cached_tokens":{"cached_tokens":1},"completion_tokens_details":null,"reasoning_tokens":true,"other":{}}}"#;
        assert_eq!(read(odd), Some(Usage { input: Some(7), ..Usage::default() }));
        assert_eq!(find(odd), read(odd));
    }

    #[test]
    fn a_count_beyond_reason_is_cut() {
        let json =
            br#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":4,"prompt_tokens_details":
            {"cached_tokens":9223372036854775808},"reasoning_tokens":1099511627777}}"#;
        assert_eq!(read(json), Some(usage(MAX_COUNT, 4, Some(MAX_COUNT), Some(MAX_COUNT))));
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
