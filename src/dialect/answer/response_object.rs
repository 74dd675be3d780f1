//! The response object, as `response.created`, the last event and a whole answer have it.

use super::{
    error_body,
    fact::{ErrorCode, StopReason, TokenUsage},
    response_item::ResponseItem,
};
use crate::dialect::{ApiDialect, context::AnswerContext, json::JsonWrite};

#[derive(Debug)]
pub(super) struct ResponseObject<'a> {
    pub(super) id: &'a str,
    pub(super) created: u64,
    pub(super) context: &'a AnswerContext,
    pub(super) items: &'a [ResponseItem],
}

/// The end of a response.
#[derive(Debug)]
pub(super) enum AnswerOutcome<'a> {
    InProgress,
    Ended(StopReason, TokenUsage),
    Failed(ErrorCode, &'a str),
}

impl ResponseObject<'_> {
    pub(super) fn write(&self, outcome: &AnswerOutcome<'_>, out: &mut Vec<u8>) {
        out.raw(r#"{"id":"#).string(self.id).raw(r#","object":"response","created_at":"#);
        out.number(self.created).raw(r#","status":"#);
        let (incomplete, error, usage) = match outcome {
            AnswerOutcome::InProgress => (None, None, None),
            AnswerOutcome::Ended(reason, usage) => (incomplete_reason(*reason), None, Some(*usage)),
            AnswerOutcome::Failed(code, message) => (None, Some((*code, *message)), None),
        };
        out.string(match outcome {
            AnswerOutcome::InProgress => "in_progress",
            AnswerOutcome::Ended(..) if incomplete.is_some() => "incomplete",
            AnswerOutcome::Ended(..) => "completed",
            AnswerOutcome::Failed(..) => "failed",
        });
        out.raw(r#","error":"#);
        match error {
            Some((code, message)) => write_error(code, message, out),
            None => {
                out.raw("null");
            }
        }
        out.raw(r#","incomplete_details":"#);
        match incomplete {
            Some(reason) => out.raw(r#"{"reason":"#).string(reason).raw("}"),
            None => out.raw("null"),
        };
        out.raw(r#","model":"#).string(&self.context.model).raw(r#","output":["#);
        self.write_output(out);
        out.raw(r#"],"usage":"#);
        match usage {
            Some(usage) => write_usage(usage, out),
            None => {
                out.raw("null");
            }
        }
        self.write_echo(out);
        out.raw("}");
    }

    fn write_output(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for done in self.items.iter().filter_map(|item| item.done.as_deref()) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(done);
        }
    }

    /// The members of the request that a response repeats, or their defaults.
    fn write_echo(&self, out: &mut Vec<u8>) {
        for (name, default) in ECHO {
            let own = self.context.echo.iter().find(|(own, _)| own == name);
            out.raw(",").string(name).raw(":").raw(own.map_or(*default, |(_, json)| json));
        }
        let others = self.context.echo.iter().filter(|(name, _)| ECHO.iter().all(|(known, _)| known != name));
        for (name, json) in others.filter(|(name, _)| !OWN_MEMBERS.contains(name)) {
            out.raw(",").string(name).raw(":").raw(json);
        }
    }
}

const OWN_MEMBERS: [&str; 9] =
    ["id", "object", "created_at", "status", "error", "incomplete_details", "model", "output", "usage"];

const ECHO: &[(&str, &str)] = &[
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("store", "false"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
];

pub(super) const fn incomplete_reason(reason: StopReason) -> Option<&'static str> {
    match reason {
        StopReason::Length | StopReason::ContextWindow => Some("max_output_tokens"),
        StopReason::Filtered => Some("content_filter"),
        StopReason::Stop | StopReason::StopSequence | StopReason::ToolUse | StopReason::Paused => None,
    }
}

fn write_error(code: ErrorCode, message: &str, out: &mut Vec<u8>) {
    let (_, name) = error_body::openai_type(code);
    // The codes of a failed response are a closed list.
    let name = if matches!(code, ErrorCode::InvalidRequest | ErrorCode::TooLarge) {
        "invalid_prompt"
    } else if name.is_empty() {
        "server_error"
    } else {
        name
    };
    out.raw(r#"{"code":"#).string(name).raw(r#","message":"#);
    out.string(&error_body::words(ApiDialect::Responses, code, message)).raw("}");
}

fn write_usage(usage: TokenUsage, out: &mut Vec<u8>) {
    out.raw(r#"{"input_tokens":"#).number(usage.input).raw(r#","input_tokens_details":{"cached_tokens":"#);
    // OpenAI's types demand both counts.
    out.number(usage.cache_read).raw(r#","cache_write_tokens":"#).number(usage.cache_write);
    out.raw(r#"},"output_tokens":"#).number(usage.output);
    out.raw(r#","output_tokens_details":{"reasoning_tokens":"#).number(usage.reasoning);
    out.raw(r#"},"total_tokens":"#).number(usage.input.saturating_add(usage.output)).raw("}");
}
