//! A request's end as a trace has it: the request as it was served and, within it, the call to the model, by the
//! conventions for generative AI of OpenTelemetry (`gen_ai.*`; still in development there). No prompt and no answer.

use std::time::SystemTime;

use super::row;
use crate::{
    relay::{Completed, Outcome},
    telemetry::{
        Trace,
        otlp::{Span, SpanKind, SpanSender},
    },
};

/// Puts both spans of `end` into the queue, if it is to be exported.
pub(super) fn put(end: &Completed, spans: &SpanSender) {
    let Some(trace) = end.story.trace.filter(|trace| trace.sampled) else { return };
    spans.put(served(end, trace));
    if end.story.attempts > 0 {
        spans.put(called(end, trace));
    }
}

fn served(end: &Completed, trace: Trace) -> Span {
    let story = &end.story;
    let failed = story.status >= 500 || matches!(&end.outcome, Outcome::Fault(_) if story.status < 400);
    Span {
        trace: trace.id,
        id: trace.server,
        parent: trace.parent,
        name: format!("POST {}", story.path),
        kind: SpanKind::Server,
        start: arrival(end),
        length: end.total,
        attributes: vec![
            ("http.request.method", "POST".into()),
            ("http.route", story.path.into()),
            ("http.response.status_code", u64::from(story.status).into()),
            ("thalweg.request.id", story.id.as_str().into()),
            ("thalweg.key", story.principal.as_deref().into()),
            ("thalweg.mode", story.mode.into()),
        ],
        error: error(&end.outcome).filter(|_| failed),
    }
}

fn called(end: &Completed, trace: Trace) -> Span {
    let (story, figures) = (&end.story, &end.story.figures);
    let operation = row::operation(story.path);
    let usage = figures.usage.unwrap_or_default();
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    let added = figures.added();
    let error = error(&end.outcome);
    Span {
        trace: trace.id,
        id: trace.client,
        parent: Some(trace.server),
        name: format!("{operation} {}", story.model),
        kind: SpanKind::Client,
        start: arrival(end) + story.intake,
        length: end.total.saturating_sub(story.intake),
        attributes: vec![
            ("gen_ai.operation.name", operation.into()),
            ("gen_ai.provider.name", story.provider.as_deref().into()),
            ("gen_ai.request.model", (&*story.model).into()),
            ("gen_ai.response.model", story.served.as_deref().into()),
            ("gen_ai.usage.input_tokens", usage.input.into()),
            ("gen_ai.usage.output_tokens", usage.output.into()),
            ("gen_ai.usage.cache_read.input_tokens", usage.cached.into()),
            ("error.type", error.as_deref().into()),
            ("thalweg.time_to_first_token", figures.first_token.map(seconds).into()),
            ("thalweg.connection_wait", seconds(story.connected_after).into()),
            ("thalweg.added.p50", added.map(|added| seconds(added.p50)).into()),
            ("thalweg.added.p99", added.map(|added| seconds(added.p99)).into()),
            ("thalweg.added.first_byte", story.added_first().map(seconds).into()),
            ("thalweg.strategy", story.strategy.into()),
            ("thalweg.attempts", u64::from(story.attempts).into()),
        ],
        error,
    }
}

fn arrival(end: &Completed) -> SystemTime {
    SystemTime::now().checked_sub(end.story.started.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Complete => None,
        Outcome::Gone(_) => Some("client_gone".to_owned()),
        Outcome::Fault(_) => row::trouble(outcome).0.map(str::to_owned),
    }
}
