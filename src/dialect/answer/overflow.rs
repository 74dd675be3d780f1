//! Prompts that are too long: known by an error's code or words, and their numbers.
//!
//! Each provider has its own words; the numbers are found by the words before them.

pub(super) fn is_overflow(kind: &str, code: &str, message: &str) -> bool {
    const CODES: [&str; 3] =
        ["context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded"];
    const WORDS: [&str; 10] = [
        "maximum context length",
        "prompt is too long",
        "exceed context limit",
        "exceeds the available context size",
        "maximum prompt length",
        "context window",
        "exceeds the maximum number of tokens",
        "context_length_exceeded",
        "too many tokens",
        "reduce the length of the messages",
    ];
    if CODES.iter().any(|known| *known == kind || *known == code) {
        return true;
    }
    let message = message.to_ascii_lowercase();
    WORDS.iter().any(|words| message.contains(words))
}

/// The tokens of a prompt that is too long, and the maximum, out of an error's words.
pub(super) fn tokens(message: &str) -> Option<(u64, u64)> {
    const BEFORE_MAXIMUM: [&str; 11] = [
        "maximum context length is",
        "maximum context length of",
        "maximum context length:",
        "maximum prompt length is",
        "available context size (",
        "maximum number of tokens allowed (",
        "context window of",
        "context limit of",
        "context length of",
        "maximum of",
        "must be <=",
    ];
    let numbers = numbers(message);
    let lower = message.to_ascii_lowercase();
    let stated = BEFORE_MAXIMUM.iter().find_map(|words| {
        let from = lower.find(words)? + words.len();
        numbers.iter().find(|(at, _)| *at >= from && *at <= from + 4).copied()
    });
    if let Some((at, maximum)) = stated {
        let asked = numbers.iter().filter(|(other, number)| *other != at && *number > maximum);
        return asked.map(|(_, number)| (*number, maximum)).next();
    }
    // `190000 + 20000 > 200000`, `210000 tokens > 200000 maximum`
    if let Some((left, right)) = message.split_once('>') {
        let asked: u64 = self::numbers(left).iter().map(|(_, number)| *number).fold(0, u64::saturating_add);
        let maximum = self::numbers(right).first().map(|(_, number)| *number);
        return maximum.filter(|maximum| asked > *maximum).map(|maximum| (asked, maximum));
    }
    let asked = numbers.iter().map(|(_, number)| *number).max()?;
    let maximum = numbers.iter().map(|(_, number)| *number).filter(|number| *number < asked).max()?;
    (maximum >= 256).then_some((asked, maximum))
}

/// The tokens of a prompt and of `max_tokens` that are too many only together, and the maximum. Here a
/// smaller `max_tokens` helps, if it is not too small to be of use.
pub(super) fn by_output(message: &str) -> Option<(u64, u64, u64)> {
    const USEFUL_OUTPUT: u64 = 4096;
    let lower = message.to_ascii_lowercase();
    let numbers = numbers(message);
    let before = |words: &str| {
        let at = lower.find(words)?;
        numbers.iter().rev().find(|(start, _)| *start < at).map(|(_, number)| *number)
    };
    let after = |words: &str| {
        let at = lower.find(words)? + words.len();
        numbers.iter().find(|(start, _)| *start >= at).map(|(_, number)| *number)
    };
    let maximum = after("maximum context length is")?;
    let prompt = before(" in the messages").or_else(|| before(" input tokens"))?;
    let output = before(" in the completion").or_else(|| after("too large:"))?;
    let is_both = prompt.checked_add(output)? > maximum;
    (is_both && prompt.checked_add(USEFUL_OUTPUT)? <= maximum).then_some((prompt, output, maximum))
}

/// Whole numbers with their places; `1,024` is one.
fn numbers(text: &str) -> Vec<(usize, u64)> {
    let mut numbers = Vec::new();
    let mut at = 0;
    for run in text.split(|character: char| !character.is_ascii_digit() && character != ',') {
        let digits: String = run.chars().filter(char::is_ascii_digit).collect();
        let is_number = run.starts_with(|first: char| first.is_ascii_digit());
        if let Some(number) = digits.parse().ok().filter(|_| is_number) {
            numbers.push((at, number));
        }
        let rest = text.get(at + run.len()..).unwrap_or_default();
        at += run.len() + rest.chars().next().map_or(0, char::len_utf8);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::{
        super::{errors::classify, fact::ErrorCode},
        *,
    };

    #[test]
    fn overflows_are_read() {
        for (message, expected) in [
            (
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 210000 tokens.",
                Some((210_000, 128_000)),
            ),
            (
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion).",
                Some((9000, 8192)),
            ),
            ("prompt is too long: 210000 tokens > 200000 maximum", Some((210_000, 200_000))),
            (
                "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease",
                Some((210_000, 200_000)),
            ),
            ("request (5000 tokens) exceeds the available context size (4096 tokens)", Some((5000, 4096))),
            (
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
                Some((40_000, 32_768)),
            ),
            (
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                Some((1_200_000, 1_048_576)),
            ),
            (
                "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
                Some((537_812, 131_072)),
            ),
            (
                "The prompt is too long: 140000, model maximum context length: 131071",
                Some((140_000, 131_071)),
            ),
            ("Please reduce the length of the messages or completion.", None),
        ] {
            assert_eq!(classify(Some(400), "", "", message), ErrorCode::ContextOverflow, "{message}");
            assert_eq!(tokens(message), expected, "{message}");
        }
    }

    #[test]
    fn numbers_are_found() {
        assert_eq!(numbers("é 1,024, then 12."), [(3, 1024), (15, 12)]);
        assert_eq!(numbers(", x 99999999999999999999999"), []);
    }
}
