//! Errors by which a provider refuses an option of a translated request as such, whatever its value is. The
//! client cannot help it: its own dialect has the option, and its own provider takes it.

use memchr::memmem;

use super::{attempt_result::AttemptError, classify};
use crate::routing::{FailureClass, RefusedOptions};

/// Ways of providers to say that they do not know a member, without the case of the first letter.
const REFUSALS: &[&[u8]] = &[
    b"nrecognized request argument",
    b"nsupported parameter",
    b"not supported",
    b"not support",
    b"nputs are not permitted",
    b"xtra_forbidden",
    b"nknown parameter",
    b"nknown field",
    b"nknown name",
    b"nexpected keyword",
];
const EFFORTS: &[&[u8]] =
    &[b"reasoning_effort", b"reasoning.effort", b"reasoningEffort", b"output_config", b"thinking"];
/// The whole words of a refusal, because an error may repeat the request, or list what is supported.
const SAMPLING: &[&[u8]] = &[
    b"nsupported parameter: 'temperature'",
    b"nsupported parameter: 'top_p'",
    b"'temperature' is not supported",
    b"'top_p' is not supported",
    b"`temperature` is not supported",
    b"`top_p` is not supported",
];
/// Of a model that takes one value.
const ONE_VALUE: &[&[u8]] = &[b"'temperature' does not support", b"'top_p' does not support"];
const DEFAULT: &[&[u8]] = &[b"default (1)"];
/// OpenAI gives a summary of its reasoning to organizations that have shown their identity.
/// <https://platform.openai.com/docs/guides/reasoning#reasoning-summaries>
const SUMMARIES: &[&[u8]] = &[b"reasoning.summary", b"reasoning summaries"];
const VERIFIED: &[&[u8]] = &[b"must be verified"];
const SEALED: &[&[u8]] = &[b"ncrypted content"];
/// The name of the answer's length that is refused, and the one that replaces it.
const MAX_TOKENS: &[&[u8]] = &[b"'max_tokens'"];
const COMPLETION_TOKENS: &[&[u8]] = &[b"'max_completion_tokens'"];
const LENGTHS: &[&[u8]] = &[b"max_tokens", b"max_completion_tokens", b"max_output_tokens"];
/// The words before the longest answer that a model gives.
const BOUNDS: &[&[u8]] = &[
    b"at most ",
    b"less than or equal to ",
    b" > ",
    b" <= ",
    b"[1, ",
    b"maximum value is ",
    b"maximum of ",
    b"up to ",
];
/// Words of a refusal that is about one value, or about another part of the request.
const CONDITIONS: &[&[u8]] = &[b"upported value", b"nvalid value", b"tool_choice", b"stream"];
/// A shorter one is an error of another kind.
const MIN_LENGTH: u64 = 256;

/// `body`: the client's, whose words an error may repeat; those prove nothing.
pub(super) fn find(error: &AttemptError, model: &str, body: &[u8]) -> Option<RefusedOptions> {
    let AttemptError::Error(error) = error else { return None };
    let (status, text) = (error.status.as_u16(), &error.text[..]);
    if !matches!(status, 400 | 422) || classify::of_error(status, text, model) != FailureClass::CallerMistake
    {
        return None;
    }
    let says = |words: &[&[u8]]| words.iter().any(|word| memmem::find(text, word).is_some());
    let says_itself = |words: &[&[u8]]| {
        words.iter().any(|word| memmem::find(text, word).is_some() && memmem::find(body, word).is_none())
    };
    let refuses = says_itself(REFUSALS);
    // Options that the client does not depend on, whichever value is refused.
    let lost = RefusedOptions {
        sampling: u8::from(says_itself(SAMPLING) || says_itself(ONE_VALUE) && says(DEFAULT)),
        summary: says(SUMMARIES) && (refuses || says_itself(VERIFIED)),
        sealed_reasoning: says(SEALED) && refuses,
        completion_tokens: says_itself(MAX_TOKENS) && says_itself(COMPLETION_TOKENS) && refuses,
        ..RefusedOptions::default()
    };
    let refused = if lost != RefusedOptions::default() {
        lost
    } else if says(CONDITIONS) {
        return None;
    } else {
        let max_tokens = if says(LENGTHS) { bound(text) } else { None };
        RefusedOptions { effort: says(EFFORTS) && refuses, max_tokens, ..lost }
    };
    (refused != RefusedOptions::default()).then_some(refused)
}

/// The largest number behind one of the words for a bound.
fn bound(text: &[u8]) -> Option<u64> {
    let numbers = BOUNDS.iter().flat_map(|words| {
        memmem::find_iter(text, words).filter_map(|at| number(text.get(at + words.len()..)?))
    });
    numbers.filter(|number| *number >= MIN_LENGTH).max()
}

/// `16384`, `16,384` or one in backquotes.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"`").unwrap_or(text);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b',');
    let digits: String = digits.filter(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_an_answers_length_is_found() {
        for (text, found) in [
            (
                "max_tokens is too large: 32000. This model supports at most 16384 completion tokens",
                Some(16384),
            ),
            (
                "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-3-5",
                Some(64000),
            ),
            (
                "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens`",
                Some(8192),
            ),
            ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", Some(8192)),
            ("max_tokens must be greater than thinking.budget_tokens", None),
            ("max_tokens must be at most 8", None),
            ("max_tokens at most ", None),
        ] {
            assert_eq!(bound(text.as_bytes()), found, "{text}");
        }
    }
}
