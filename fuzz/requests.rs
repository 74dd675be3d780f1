//! Translates a client's request, any bytes of it, for each kind of provider: it is refused, or the result is
//! a request that the reader of the provider's dialect takes. serde_json and the gateway read the same bodies
//! as JSON.

use serde_json::Value;
use thalweg::dialect::{
    ApiDialect,
    request::{EffortForm, HostedTools, RequestErrorKind, RequestOptions, count_tokens, translate},
};

const ALL: [ApiDialect; 4] =
    [ApiDialect::ChatCompletions, ApiDialect::Responses, ApiDialect::Messages, ApiDialect::Gemini];
const MAX_DEPTH: usize = 100;
const MAX_GROWTH: usize = 40;
const MAX_DROPPED: usize = 32;
const NOT_JSON: &str = "the body is not valid JSON";

/// Input: the provider's peculiarities, the body.
pub fn check(from: ApiDialect, input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    let options = options(*kind);
    let is_json = serde_json::from_slice::<Value>(body).is_ok();
    let is_deep = body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() >= MAX_DEPTH;
    let _ = count_tokens(from, body);
    for to in ALL.into_iter().filter(|to| *to != from) {
        let translated = match translate(from, to, body, &options) {
            Ok(translated) => translated,
            Err(error) => {
                assert!(is_deep || error.message.starts_with(NOT_JSON) != is_json, "{error}");
                assert!(!error.message.is_empty());
                continue;
            }
        };
        assert!(is_json);
        let written = serde_json::from_slice::<Value>(&translated.body);
        assert!(written.is_ok_and(|written| written.is_object()));
        assert!(translated.body.len() <= 10_000 + MAX_GROWTH * body.len(), "too much");
        assert!(translated.dropped.len() <= MAX_DROPPED);
        assert!(translated.dropped.iter().all(|path| path.bytes().all(|byte| byte.is_ascii_graphic())));
        let other = if to == ApiDialect::Messages { ApiDialect::Responses } else { ApiDialect::Messages };
        if let Err(error) = translate(to, other, &translated.body, &options) {
            let text = String::from_utf8_lossy(&translated.body);
            assert_eq!(error.kind, RequestErrorKind::Unsayable, "{to:?}: {error} in {text}");
        }
    }
}

fn options(kind: u8) -> RequestOptions<'static> {
    let is = |bit: u8| kind & (1 << bit) != 0;
    let mut options = RequestOptions {
        streams: is(0),
        max_tokens_member: if is(1) { "max_completion_tokens" } else { "max_tokens" },
        effort: [EffortForm::Named, EffortForm::Structured, EffortForm::Never][usize::from(kind >> 6) % 3],
        developer_role: is(3),
        strict_turns: is(4),
        openai_members: !is(5),
        signs_calls: is(5),
        takes_sampling: !is(1),
        hides_thinking: is(4),
        hosted_tools: if is(2) { HostedTools::Refuse } else { HostedTools::Drop },
        max_tokens_limit: is(3).then_some(1000),
        ..RequestOptions::new("m")
    };
    if is(2) {
        options.reasoning_forms = &[];
    }
    options
}
