//! Reads token counts from events and response bodies.
//!
//! Gemini's own API counts in `usageMetadata`, with cached tokens as a part of its prompt and thoughts
//! beside its candidates. Known places of the others: `usage` at the top (chat, completions, embeddings,
//! Anthropic's `message_delta`), in `response` (Responses), in `message` (Anthropic's `message_start`), in
//! `x_groq`, in the first choice (Moonshot), in `delta` and in `meta` (Cohere). Counts are the provider's,
//! with one exception: tokens of the total that are neither input nor output are output. xAI and Gemini count
//! reasoning in the total alone; where it is a part of the output, as at OpenAI, nothing is left over.
//! Anthropic's `input` does not include tokens read from or written to its cache
//! ([`Usage::with_cache_in_input`]).

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::{Map, Value};

use super::{
    cursor::JsonError,
    dialect::Dialect,
    field::integer,
    index::{Member, leading_members},
    kept_members::KeptMembers::{self, All, Named},
};

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
    /// Input tokens written to the provider's prompt cache.
    pub cache_write: Option<u64>,
    /// The part of them that the cache keeps for an hour, which costs more.
    pub cache_write_1h: Option<u64>,
    /// Output tokens of reasoning.
    pub reasoning: Option<u64>,
}

/// The usage inside another member.
pub(super) const USAGE: KeptMembers = Named(&[("usage", All)]);
/// The members that [`from_value`] reads.
const COUNTED: KeptMembers = Named(&[
    ("usage", All),
    ("response", USAGE),
    ("message", USAGE),
    ("x_groq", USAGE),
    ("choices", USAGE),
    ("delta", USAGE),
    ("meta", All),
    ("usageMetadata", All),
]);

/// The usage in an event's data or in a whole response body. `None`: there is none.
#[must_use]
pub fn read(json: &[u8]) -> Option<Usage> {
    from_value(&COUNTED.read(json).ok()?)
}

/// The usage in an event's data. Gemini counts in every event, so its counts are read at their place.
#[must_use]
pub fn read_event(dialect: Dialect, data: &[u8]) -> Option<Usage> {
    if dialect == Dialect::Gemini { find_gemini(data) } else { read(data) }
}

static FIND_USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));
/// Cohere's embeddings and rankings count there.
static FIND_META: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"meta\""));
static FIND_GEMINI: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usageMetadata\""));
/// Bytes that are searched at once, from the end: few at first, because most answers end with their counts.
const FIRST_WINDOW: usize = 128;
const WINDOW: usize = 1024;

/// Bytes of a usage object, and occurrences of `"usage"` that are tried. Both are bounded, because a response
/// may consist of nothing but such names.
const MAX_OBJECT_LENGTH: usize = 4096;
const MAX_CANDIDATES: usize = 16;

/// The usage in a whole response body of this dialect, found without parsing all of it: its last `"usage"`
/// that is an object, else its last `"meta"` with counts; of Gemini its last `"usageMetadata"`, because there
/// the arguments of a call are no string, and may hold any of these. Inside a string these quotes would be
/// escaped. `None`: there is none.
#[must_use]
pub fn find(dialect: Dialect, body: &[u8]) -> Option<Usage> {
    if dialect == Dialect::Gemini {
        return find_gemini(body);
    }
    let read = |json: &[u8]| {
        let mut found = UsageObject::default();
        read_object(json, &mut found, UsageObject::member)?;
        found.counts()
    };
    last(body, &FIND_USAGE, read).or_else(|| last(body, &FIND_META, read))
}

fn find_gemini(body: &[u8]) -> Option<Usage> {
    last(body, &FIND_GEMINI, |json| {
        let mut found = GeminiUsage::default();
        read_object(json, &mut found, GeminiUsage::member)?;
        found.counts()
    })
}

/// The last value of a member of this name that `read` takes.
fn last(body: &[u8], name: &Finder<'_>, read: impl Fn(&[u8]) -> Option<Usage>) -> Option<Usage> {
    let mut before = body;
    for _ in 0..MAX_CANDIDATES {
        let at = last_at(before, name)?;
        let after = body.get(at + name.needle().len()..)?.trim_ascii_start();
        if let Some(found) = after.strip_prefix(b":").and_then(|value| read(value.trim_ascii_start())) {
            return Some(found);
        }
        before = before.get(..at)?;
    }
    None
}

/// The offset of the last such name. Searched forwards in windows, because that is faster than backwards.
fn last_at(body: &[u8], name: &Finder<'_>) -> Option<usize> {
    let (mut end, mut window) = (body.len(), FIRST_WINDOW);
    loop {
        let start = end.saturating_sub(window);
        if let Some(at) = name.find_iter(body.get(start..end)?).last() {
            return Some(start + at);
        }
        // A name across the border ends in the next window.
        end = (start > 0).then_some(start + name.needle().len() - 1)?;
        window = WINDOW.min(4 * window);
    }
}

/// The place of the member with this name in an object of counts.
type CountPlace<T> = for<'a, 'n> fn(&'a mut T, &'n [u8]) -> Option<&'a mut UsageMember>;

/// Reads the object at the start of `json`. `None`: there is none, or it gives a count twice.
fn read_object<T>(json: &[u8], found: &mut T, place: CountPlace<T>) -> Option<()> {
    let json = json.get(..MAX_OBJECT_LENGTH).unwrap_or(json);
    leading_members(json, |member: Member| {
        let Some(place) = member.name(json).and_then(|name| place(found, &name)) else { return Ok(()) };
        if place.is_given {
            return Err(JsonError { at: member.key.start, reason: "given twice" });
        }
        place.read(json.get(member.value).unwrap_or_default());
        Ok(())
    })
    .ok()
    .map(drop)
}

fn object_of<T: Default>(members: &Map<String, Value>, place: CountPlace<T>) -> T {
    let mut found = T::default();
    for (name, value) in members {
        if let Some(member) = place(&mut found, name.as_bytes()) {
            *member = UsageMember::of_value(value);
        }
    }
    found
}

pub(super) fn from_value(json: &Value) -> Option<Usage> {
    const OUTER: [&str; 5] = ["response", "message", "x_groq", "choices", "delta"];
    let inside = |name: &&str| {
        let outer = json.get(name)?;
        outer.get(0).unwrap_or(outer).get("usage")?.as_object()
    };
    let own = |name: &str| json.get(name)?.as_object();
    match own("usage").or_else(|| OUTER.iter().find_map(inside)).or_else(|| own("meta")) {
        Some(usage) => object_of(usage, UsageObject::member).counts(),
        None => object_of(json.get("usageMetadata")?.as_object()?, GeminiUsage::member).counts(),
    }
}

/// The counts of Gemini's own API.
#[derive(Default)]
struct GeminiUsage {
    prompt_token_count: UsageMember,
    tool_use_prompt_token_count: UsageMember,
    cached_content_token_count: UsageMember,
    candidates_token_count: UsageMember,
    thoughts_token_count: UsageMember,
    total_token_count: UsageMember,
}

impl GeminiUsage {
    fn member(&mut self, name: &[u8]) -> Option<&mut UsageMember> {
        Some(match name {
            b"promptTokenCount" => &mut self.prompt_token_count,
            b"toolUsePromptTokenCount" => &mut self.tool_use_prompt_token_count,
            b"cachedContentTokenCount" => &mut self.cached_content_token_count,
            b"candidatesTokenCount" => &mut self.candidates_token_count,
            b"thoughtsTokenCount" => &mut self.thoughts_token_count,
            b"totalTokenCount" => &mut self.total_token_count,
            _ => return None,
        })
    }

    fn counts(&self) -> Option<Usage> {
        let input = sum(self.prompt_token_count.count.get(), self.tool_use_prompt_token_count.count.get());
        let output = sum(self.candidates_token_count.count.get(), self.thoughts_token_count.count.get());
        let (input, output) = with_total(input, output, self.total_token_count.count.get());
        let found = Usage {
            input,
            output,
            cached: self.cached_content_token_count.count.get(),
            reasoning: self.thoughts_token_count.count.get(),
            ..Usage::default()
        };
        (found != Usage::default()).then_some(found)
    }
}

/// The members of a usage object, by every provider's names.
#[derive(Default)]
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
    cache_creation_input_tokens: UsageMember,
    cache_creation: UsageMember,
    prompt_cache_hit_tokens: UsageMember,
    cached_tokens: UsageMember,
    reasoning_tokens: UsageMember,
    total_tokens: UsageMember,
    /// Cohere's counts of all tokens, and of those that it bills.
    tokens: UsageMember,
    billed_units: UsageMember,
}

/// A count, or the counts inside an object. Any other type holds no count and is no error.
#[derive(Clone, Copy, Default)]
struct UsageMember {
    is_given: bool,
    count: PackedCount,
    input: PackedCount,
    output: PackedCount,
    cached: PackedCount,
    cache_write: PackedCount,
    cache_write_5m: PackedCount,
    cache_write_1h: PackedCount,
    reasoning: PackedCount,
}

/// A count of at most [`MAX_COUNT`] plus one, or 0 for none: in one word, because all members of an object
/// are cleared for every answer.
#[derive(Clone, Copy, Default)]
struct PackedCount(u64);

impl PackedCount {
    const fn of(count: Option<u64>) -> Self {
        Self(match count {
            Some(count) => count + 1,
            None => 0,
        })
    }

    const fn get(self) -> Option<u64> {
        self.0.checked_sub(1)
    }
}

impl UsageMember {
    /// Reads the member's value.
    fn read(&mut self, json: &[u8]) {
        self.is_given = true;
        if !json.starts_with(b"{") {
            self.count = PackedCount::of(count(json));
            return;
        }
        // Cannot fail: the value was checked with the object that it is in.
        let _ = leading_members(json, |member: Member| {
            if let Some(detail) = member.name(json).and_then(|name| self.detail(&name)) {
                *detail = PackedCount::of(json.get(member.value).and_then(count));
            }
            Ok::<_, JsonError>(())
        });
    }

    fn of_value(value: &Value) -> Self {
        let number = |value: &Value| value.as_u64().or_else(|| whole(value.as_f64()?));
        let count = |value: &Value| PackedCount::of(number(value).map(|count| count.min(MAX_COUNT)));
        let mut found = Self { count: count(value), ..Self::default() };
        for (name, value) in value.as_object().into_iter().flatten() {
            if let Some(detail) = found.detail(name.as_bytes()) {
                *detail = count(value);
            }
        }
        found
    }

    fn detail(&mut self, name: &[u8]) -> Option<&mut PackedCount> {
        Some(match name {
            b"input_tokens" => &mut self.input,
            b"output_tokens" => &mut self.output,
            b"cached_tokens" => &mut self.cached,
            b"cache_write_tokens" | b"cache_creation_tokens" => &mut self.cache_write,
            b"ephemeral_5m_input_tokens" => &mut self.cache_write_5m,
            b"ephemeral_1h_input_tokens" => &mut self.cache_write_1h,
            b"reasoning_tokens" => &mut self.reasoning,
            _ => return None,
        })
    }
}

/// The whole number that a value is. `None`: another type.
fn count(json: &[u8]) -> Option<u64> {
    let found = integer(json).or_else(|| whole(std::str::from_utf8(json).ok()?.parse().ok()?));
    Some(found?.min(MAX_COUNT))
}

/// The count that some servers write as `10.0` or `1e1`.
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}

impl UsageObject {
    fn member(&mut self, name: &[u8]) -> Option<&mut UsageMember> {
        Some(match name {
            b"prompt_tokens" => &mut self.prompt_tokens,
            b"input_tokens" => &mut self.input_tokens,
            b"completion_tokens" => &mut self.completion_tokens,
            b"output_tokens" => &mut self.output_tokens,
            b"prompt_tokens_details" => &mut self.prompt_tokens_details,
            b"input_tokens_details" => &mut self.input_tokens_details,
            b"completion_tokens_details" => &mut self.completion_tokens_details,
            b"output_tokens_details" => &mut self.output_tokens_details,
            b"cache_read_input_tokens" => &mut self.cache_read_input_tokens,
            b"cache_creation_input_tokens" => &mut self.cache_creation_input_tokens,
            b"cache_creation" => &mut self.cache_creation,
            b"prompt_cache_hit_tokens" => &mut self.prompt_cache_hit_tokens,
            b"cached_tokens" => &mut self.cached_tokens,
            b"reasoning_tokens" => &mut self.reasoning_tokens,
            b"total_tokens" => &mut self.total_tokens,
            b"tokens" => &mut self.tokens,
            b"billed_units" => &mut self.billed_units,
            _ => return None,
        })
    }

    fn counts(&self) -> Option<Usage> {
        let count = |members: [&UsageMember; 2]| members.into_iter().find_map(|member| member.count.get());
        let Self { tokens, billed_units, .. } = self;
        let input = count([&self.prompt_tokens, &self.input_tokens])
            .or_else(|| tokens.input.get())
            .or_else(|| billed_units.input.get());
        let output = count([&self.completion_tokens, &self.output_tokens])
            .or_else(|| tokens.output.get())
            .or_else(|| billed_units.output.get());
        let (input, output) = with_total(input, output, self.total_tokens.count.get());
        let found = Usage {
            input,
            output,
            cached: (self.prompt_tokens_details.cached.get())
                .or_else(|| self.input_tokens_details.cached.get())
                .or_else(|| count([&self.cache_read_input_tokens, &self.prompt_cache_hit_tokens]))
                .or_else(|| self.cached_tokens.count.get()),
            cache_write: (self.prompt_tokens_details.cache_write.get())
                .or_else(|| self.input_tokens_details.cache_write.get())
                .max(self.cache_creation_input_tokens.count.get())
                .max(sum(self.cache_creation.cache_write_5m.get(), self.cache_creation.cache_write_1h.get())),
            cache_write_1h: self.cache_creation.cache_write_1h.get(),
            reasoning: (self.completion_tokens_details.reasoning.get())
                .or_else(|| self.output_tokens_details.reasoning.get())
                .or_else(|| self.reasoning_tokens.count.get()),
        };
        (found != Usage::default()).then_some(found)
    }
}

/// Input and output, completed by the total. Embeddings and rankings have a total alone, which is all input.
fn with_total(input: Option<u64>, output: Option<u64>, total: Option<u64>) -> (Option<u64>, Option<u64>) {
    let total = total.filter(|total| *total > 0);
    match (input, output, total) {
        (None, None, Some(total)) => (Some(total), Some(0)),
        (Some(input), _, Some(total)) if total > input => (Some(input), output.max(Some(total - input))),
        _ => (input, output),
    }
}

/// `None` if neither is known.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one.saturating_add(other)).or(one).or(other)
}

impl Usage {
    /// Combines the counts of two events of one stream. Counts are totals so far, so the larger is the later
    /// one; a later event that reports 0 does not know the count.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cached: self.cached.max(other.cached),
            cache_write: self.cache_write.max(other.cache_write),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            reasoning: self.reasoning.max(other.reasoning),
        }
    }

    /// These counts, completed by `other` where one is missing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            cached: self.cached.or(other.cached),
            cache_write: self.cache_write.or(other.cache_write),
            cache_write_1h: self.cache_write_1h.or(other.cache_write_1h),
            reasoning: self.reasoning.or(other.reasoning),
        }
    }

    /// The part of these counts that `other` does not have.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        let part =
            |count: Option<u64>, other: Option<u64>| Some(count?.saturating_sub(other.unwrap_or_default()));
        Self {
            input: part(self.input, other.input),
            output: part(self.output, other.output),
            cached: part(self.cached, other.cached),
            cache_write: part(self.cache_write, other.cache_write),
            cache_write_1h: part(self.cache_write_1h, other.cache_write_1h),
            reasoning: part(self.reasoning, other.reasoning),
        }
    }

    /// Input that includes the tokens read from and written to a cache, as all dialects but Anthropic's count
    /// it, so that sums over providers mean something.
    #[must_use]
    pub fn with_cache_in_input(self, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Messages => Self { input: sum(self.input, sum(self.cached, self.cache_write)), ..self },
            Dialect::ChatCompletions
            | Dialect::Completions
            | Dialect::Embeddings
            | Dialect::Responses
            | Dialect::Gemini => self,
        }
    }

    /// These counts, with no less than this output.
    #[must_use]
    pub fn at_least_output(self, output: u64) -> Self {
        Self { output: self.output.max(Some(output)), ..self }
    }

    /// Whether both input and output are known.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.input.is_some() && self.output.is_some()
    }

    /// Input and output.
    #[must_use]
    pub fn total(self) -> u64 {
        self.input.unwrap_or(0).saturating_add(self.output.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(body: &[u8]) -> Option<Usage> {
        find(Dialect::ChatCompletions, body)
    }

    fn usage(input: u64, output: u64, cached: Option<u64>, reasoning: Option<u64>) -> Usage {
        Usage { input: Some(input), output: Some(output), cached, reasoning, ..Usage::default() }
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
    fn reads_the_counts_of_geminis_own_api() {
        // The arguments of a call are an object.
        let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"usage":{"prompt_tokens":0,"completion_tokens":0}}}}]}}],"usageMetadata":{"promptTokenCount":900,"candidatesTokenCount":40}}"#;
        assert_eq!(find(Dialect::Gemini, call.as_bytes()), Some(usage(900, 40, None, None)));
        for (counts, found) in [
            (
                r#""promptTokenCount": 9,"candidatesTokenCount": 4,"totalTokenCount": 13"#,
                usage(9, 4, None, None),
            ),
            (
                r#""promptTokenCount":900,"cachedContentTokenCount":800,"candidatesTokenCount":4,"thoughtsTokenCount":30,"totalTokenCount":934,"promptTokensDetails":[{"modality":"TEXT","tokenCount":900}]"#,
                usage(900, 34, Some(800), Some(30)),
            ),
            (
                r#""promptTokenCount":9,"toolUsePromptTokenCount":5,"candidatesTokenCount":4,"totalTokenCount":18"#,
                usage(14, 4, None, None),
            ),
            (r#""promptTokenCount":9,"totalTokenCount":9"#, Usage { input: Some(9), ..Usage::default() }),
        ] {
            let body = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"\"usageMetadata\":{{}}"}}]}}}}],"usageMetadata": {{{counts}}},"modelVersion":"m"}}"#
            );
            let body = body.as_bytes();
            assert_eq!(read(body), Some(found), "{counts}");
            assert_eq!(
                (find(Dialect::Gemini, body), read_event(Dialect::Gemini, body)),
                (Some(found), Some(found))
            );
        }
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

    /// Several servers with Anthropic's dialect repeat `input_tokens` at the end, and as 0.
    #[test]
    fn counts_of_one_stream_only_grow() {
        let start = usage(25, 1, Some(5), None);
        let zero = br#"{"type":"message_delta","usage":{"input_tokens":0,"output_tokens":9,
            "cache_read_input_tokens":0}}"#;
        assert_eq!(start.merge(read(zero).unwrap()), usage(25, 9, Some(5), None));
        assert_eq!(start.merge(Usage::default()), start);
    }

    #[test]
    fn what_is_written_to_a_cache_is_input() {
        let reported = |details: &str| {
            let json = format!(r#"{{"usage":{{"input_tokens":3,"output_tokens":4{details}}}}}"#);
            let usage = read(json.as_bytes()).unwrap();
            assert_eq!(find_in(json.as_bytes()), Some(usage));
            (usage.with_cache_in_input(Dialect::Messages).input, usage.cache_write, usage.cache_write_1h)
        };
        assert_eq!(reported(""), (Some(3), None, None));
        assert_eq!(reported(r#","cache_creation_input_tokens":20000"#), (Some(20_003), Some(20_000), None));
        let both = r#","cache_creation_input_tokens":20000,"cache_read_input_tokens":100,
            "cache_creation":{"ephemeral_5m_input_tokens":15000,"ephemeral_1h_input_tokens":5000}"#;
        assert_eq!(reported(both), (Some(20_103), Some(20_000), Some(5000)));
        let parts = r#","cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2}"#;
        assert_eq!(reported(parts), (Some(6), Some(3), Some(2)));
        // OpenRouter and LiteLLM count it as a part of the input.
        for name in ["cache_write_tokens", "cache_creation_tokens"] {
            let chat = format!(
                r#"{{"usage":{{"prompt_tokens":30,"completion_tokens":4,"prompt_tokens_details":{{"{name}":20}}}}}}"#
            );
            let usage = read(chat.as_bytes()).unwrap().with_cache_in_input(Dialect::ChatCompletions);
            assert_eq!((usage.input, usage.cache_write), (Some(30), Some(20)));
        }
    }

    /// xAI counts reasoning beside the output and in the total, Gemini in the total alone, OpenAI as a part
    /// of the output.
    #[test]
    fn tokens_of_the_total_that_are_not_input_are_output() {
        let output = |counts: &str| read(format!(r#"{{"usage":{{{counts}}}}}"#).as_bytes()).unwrap().output;
        let xai = r#""prompt_tokens":213,"completion_tokens":2,"total_tokens":413,
            "completion_tokens_details":{"reasoning_tokens":198}"#;
        assert_eq!(output(xai), Some(200));
        assert_eq!(output(r#""prompt_tokens":10,"completion_tokens":20,"total_tokens":530"#), Some(520));
        let openai = r#""prompt_tokens":12,"completion_tokens":100,"total_tokens":112,
            "completion_tokens_details":{"reasoning_tokens":100}"#;
        assert_eq!(output(openai), Some(100));
        for small in [0, 5, 29] {
            let counts = format!(r#""prompt_tokens":10,"completion_tokens":20,"total_tokens":{small}"#);
            assert_eq!(output(&counts), Some(20));
        }
        assert_eq!(output(r#""prompt_tokens":10,"total_tokens":10"#), None);
    }

    #[test]
    fn reads_the_tokens_that_cohere_counts_and_not_those_that_it_bills() {
        let end =
            br#"{"type":"message-end","delta":{"usage":{"billed_units":{"input_tokens":7,"output_tokens":
            21},"tokens":{"input_tokens":502,"output_tokens":24},"cached_tokens":448}}}"#;
        assert_eq!(read(end), Some(usage(502, 24, Some(448), None)));
        assert_eq!(find_in(end), read(end));
    }

    #[test]
    fn finds_usage_in_a_whole_body_without_reading_it() {
        let body = br#"{"usage":{"prompt_tokens":9,"completion_tokens":4},"choices":[{"message":{"content":
            "say \"usage\":{\"prompt_tokens\":1}","kind":"usage"}}]}"#;
        assert_eq!(find_in(body), Some(usage(9, 4, None, None)));
        let spaced = br#"{"data":[],"usage" : {"prompt_tokens":9,"completion_tokens":4}, "x":1}"#;
        assert_eq!(find_in(spaced), read(spaced));
        for none in
            [&b"{}"[..], br#"{"usage":null}"#, br#"{"usage":{"#, br#""usage""#, br#"{"usage":{"a":1}}"#]
        {
            assert_eq!(find_in(none), None);
        }
    }

    /// A parser that reads each of them to the end would take hours.
    #[test]
    fn usage_within_usage_without_end_is_given_up() {
        assert_eq!(find_in(r#"{"usage":"#.repeat(1 << 20).as_bytes()), None);
    }

    #[test]
    fn what_is_no_count_says_nothing_and_hides_nothing() {
        let odd = br#"{"usage":{"prompt_tokens":"9","input_tokens":7,"completion_tokens":-1,"output_tokens":2.5,
            "prompt_tokens_details":[1,{"cached_tokens":3}],"input_tokens_details":{"x":{"cached_tokens":8},"cached_tokens":null},
            "cached_tokens":{"cached_tokens":1},"completion_tokens_details":null,"reasoning_tokens":true,"other":{}}}"#;
        assert_eq!(read(odd), Some(Usage { input: Some(7), ..Usage::default() }));
        assert_eq!(find_in(odd), read(odd));
    }

    #[test]
    fn a_whole_number_with_a_fraction_of_zero_is_a_count() {
        let json = br#"{"usage":{"prompt_tokens":10.0,"completion_tokens":5e0,"total_tokens":15.0}}"#;
        assert_eq!(
            (read(json), find_in(json)),
            (Some(usage(10, 5, None, None)), Some(usage(10, 5, None, None)))
        );
    }

    #[test]
    fn a_total_completes_the_counts() {
        let input = |input| Usage { input: Some(input), ..Usage::default() };
        for (json, found) in [
            (
                r#"{"usage":{"prompt_tokens":10,"completion_tokens":null,"total_tokens":15}}"#,
                usage(10, 5, None, None),
            ),
            (r#"{"data":[],"usage":{"total_tokens":33}}"#, usage(33, 0, None, None)),
            (r#"{"usage":{"prompt_tokens":10,"total_tokens":10}}"#, input(10)),
            (
                r#"{"results":[],"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":4}}}"#,
                input(4),
            ),
            (
                r#"{"meta":{"tokens":{"input_tokens":502,"output_tokens":24},"billed_units":{"input_tokens":7}}}"#,
                usage(502, 24, None, None),
            ),
        ] {
            assert_eq!(
                (read(json.as_bytes()), find_in(json.as_bytes())),
                (Some(found), Some(found)),
                "{json}"
            );
        }
        assert_eq!(
            find_in(br#"{"usage":{"total_tokens":0},"meta":{"billed_units":{"search_units":1}}}"#),
            None
        );
    }

    #[test]
    fn a_count_beyond_reason_is_cut() {
        let json =
            br#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":4,"prompt_tokens_details":
            {"cached_tokens":9223372036854775808},"reasoning_tokens":1099511627777}}"#;
        assert_eq!(read(json), Some(usage(MAX_COUNT, 4, Some(MAX_COUNT), Some(MAX_COUNT))));
        let total =
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":4,"total_tokens":18446744073709551615}}"#;
        assert_eq!(read(total), Some(usage(1, MAX_COUNT - 1, None, None)));
    }

    #[test]
    fn finds_none_where_there_is_none() {
        for json in
            [r#"{"usage":null}"#, r#"{"usage":{}}"#, r#"{"usage":{"prompt_tokens":-1}}"#, "[DONE]", ""]
        {
            assert_eq!(read(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn the_last_usage_is_found_at_every_distance_from_the_end() {
        let counts = r#""usage" : {"prompt_\u0074okens":9,"completion_tokens":4,"\ud83d":1}"#;
        for length in (0..2 * WINDOW + 64).step_by(3) {
            let text = "a".repeat(length);
            let json = format!(r#"{{"usage":{{"prompt_tokens":1}},{counts},"text":"{text}"}}"#);
            assert_eq!(find_in(json.as_bytes()), Some(usage(9, 4, None, None)), "{length}");
        }
        assert_eq!(find_in("a".repeat(5000).as_bytes()), None);
    }

    #[test]
    fn a_count_that_is_given_twice_is_no_count() {
        let twice = br#"{"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens":8}}"#;
        assert_eq!(find_in(twice), None);
    }
}
