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
    check_known(from, body, &options);
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
        let body_of_provider = translated.body.concat();
        let written = serde_json::from_slice::<Value>(&body_of_provider);
        assert!(written.is_ok_and(|written| written.is_object()));
        assert!(body_of_provider.len() <= 10_000 + MAX_GROWTH * body.len(), "too much");
        assert!(translated.dropped.len() <= MAX_DROPPED);
        assert!(translated.dropped.iter().all(|path| path.bytes().all(|byte| byte.is_ascii_graphic())));
        let other = if to == ApiDialect::Messages { ApiDialect::Responses } else { ApiDialect::Messages };
        if let Err(error) = translate(to, other, &body_of_provider, &options) {
            let text = String::from_utf8_lossy(&body_of_provider);
            assert_eq!(error.kind, RequestErrorKind::Unsayable, "{to:?}: {error} in {text}");
        }
    }
}

/// Turns that are known change nothing: neither in a request that comes again, nor in one that grew, nor in
/// those of the inputs before, which begin alike and have the same key.
fn check_known(from: ApiDialect, body: &[u8], options: &RequestOptions<'_>) {
    let Some(long) = lengthened(from, body) else { return };
    let grown = grown(from, &long);
    for to in ALL.into_iter().filter(|to| *to != from) {
        for body in [&long, &long, &grown, &long] {
            let facts = |key| {
                let translated = translate(from, to, body, &RequestOptions { key, ..*options });
                translated.map(|translated| (translated.body.concat(), translated.context, translated.dropped))
            };
            assert_eq!(facts(Some("key")), facts(None), "{}", String::from_utf8_lossy(body));
        }
    }
}

/// The body with a long turn before its turns, and in it the list of tools of an agent's length, if it has a
/// list of them.
fn lengthened(from: ApiDialect, body: &[u8]) -> Option<Vec<u8>> {
    let list: &[u8] = if from == ApiDialect::Responses { b"\"input\":[" } else { b"\"messages\":[" };
    let after = |bytes: &[u8], name: &[u8]| Some(memmem(bytes, name)? + name.len());
    let turn = format!(r#"{{"role":"user","content":"{}"}},"#, "a river\\n".repeat(900));
    let tool = format!(r#"{{"x":"{}"}}"#, "t".repeat(3000));
    let mut long = body.to_vec();
    let at = after(&long, list)?;
    long.splice(at..at, turn.into_bytes());
    if let Some(at) = after(&long, b"\"parameters\":").or_else(|| after(&long, b"\"input_schema\":")) {
        let end = at + long.get(at..)?.iter().position(|byte| *byte == b'}')? + 1;
        long.splice(at..end, tool.into_bytes());
    }
    Some(long)
}

/// The body with a turn behind the last list in it, which may be its turns.
fn grown(from: ApiDialect, body: &[u8]) -> Vec<u8> {
    let turn: &[u8] = match from {
        ApiDialect::Messages => br#",{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}"#,
        _ => br#",{"role":"assistant","content":"more"}"#,
    };
    let end = body.iter().rposition(|byte| *byte == b']').unwrap_or(body.len());
    let mut grown = body.to_vec();
    grown.splice(end..end, turn.iter().copied());
    grown
}

fn memmem(bytes: &[u8], name: &[u8]) -> Option<usize> {
    bytes.windows(name.len()).position(|part| part == name)
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
