//! A completed request in its trace: the request as it was served and, within it, the call to the model, by
//! OpenTelemetry's conventions for generative AI (`gen_ai.*`; still in development there). No prompt and no
//! answer.

use std::time::{Duration, SystemTime};

use crate::{
    base::Endpoint,
    exchange::{Completed, Outcome, RequestRoute},
    telemetry::{
        Trace,
        otlp::{Span, SpanKind, SpanSender},
    },
};

/// Puts both spans of a request into the queue, if its trace is to be exported. `tls`: clients use TLS.
pub(super) fn put(completed: &Completed, spans: &SpanSender, tls: bool) {
    let Some((trace, path)) = completed.record.trace.as_deref().filter(|(trace, _)| trace.sampled) else {
        return;
    };
    spans.put(server_span(completed, (trace, path), tls));
    if completed.record.attempts > 0 {
        spans.put(model_span(completed, trace));
    }
}

/// By the conventions for HTTP a server's span has an error for a status from 500 on: one below is the
/// client's.
fn server_span(completed: &Completed, (trace, path): (&Trace, &str), tls: bool) -> Span {
    let (record, status) = (&completed.record, completed.status());
    let failed = status >= 500 || matches!(&completed.outcome, Outcome::Fault(_) if status < 400);
    let error = error(completed).filter(|_| failed);
    let template = record.route.template();
    Span {
        trace: trace.id,
        id: trace.server,
        parent: trace.parent,
        name: format!("POST {template}"),
        kind: SpanKind::Server,
        start: arrival(completed),
        length: completed.total,
        attributes: vec![
            ("http.request.method", "POST".into()),
            ("http.route", template.into()),
            ("url.path", path.into()),
            ("url.scheme", if tls { "https" } else { "http" }.into()),
            ("error.type", error.as_deref().into()),
            ("http.response.status_code", u64::from(status).into()),
            ("thalweg.request.id", record.id.as_str().into()),
            ("thalweg.key", record.key_name.as_deref().into()),
            ("thalweg.mode", record.mode.map_or("-", |mode| mode.as_str()).into()),
        ],
        error,
    }
}

fn model_span(completed: &Completed, trace: &Trace) -> Span {
    let (record, stats) = (&completed.record, &completed.record.stats);
    let operation = operation(record.route);
    let model = record.model.as_deref().unwrap_or_default();
    let usage = stats.usage.unwrap_or_default();
    let added = stats.added_latency();
    let error = error(completed);
    let intake = record.intake.unwrap_or_default();
    Span {
        trace: trace.id,
        id: trace.client,
        parent: Some(trace.server),
        name: format!("{operation} {model}"),
        kind: SpanKind::Client,
        start: arrival(completed) + intake,
        length: completed.total.saturating_sub(intake),
        attributes: vec![
            ("gen_ai.operation.name", operation.into()),
            ("gen_ai.provider.name", record.provider.as_deref().into()),
            ("gen_ai.request.model", model.into()),
            ("gen_ai.response.model", record.upstream_model.as_deref().into()),
            ("gen_ai.usage.input_tokens", usage.input.into()),
            ("gen_ai.usage.output_tokens", usage.output.into()),
            ("gen_ai.usage.cache_read.input_tokens", usage.cached.into()),
            ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write.into()),
            ("error.type", error.as_deref().into()),
            ("thalweg.time_to_first_token", stats.first_token.map(seconds).into()),
            ("thalweg.connection_wait", seconds(record.connection_wait.unwrap_or_default()).into()),
            ("thalweg.added.p50", added.map(|added| seconds(added.p50)).into()),
            ("thalweg.added.p99", added.map(|added| seconds(added.p99)).into()),
            ("thalweg.added.first_byte", record.added_first().map(seconds).into()),
            ("thalweg.strategy", record.strategy.unwrap_or("-").into()),
            ("thalweg.attempts", u64::from(record.attempts).into()),
        ],
        error,
    }
}

/// The operation of a route, in the words of OpenTelemetry.
const fn operation(route: RequestRoute) -> &'static str {
    match route.endpoint() {
        Some(Endpoint::ChatCompletions | Endpoint::Messages | Endpoint::Responses) | None => "chat",
        Some(Endpoint::Completions) => "text_completion",
        Some(other) => other.as_str(),
    }
}

fn arrival(completed: &Completed) -> SystemTime {
    SystemTime::now().checked_sub(completed.record.started.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The error's code: of a fault, or the status of a provider's error that passed as it came.
fn error(completed: &Completed) -> Option<String> {
    match &completed.outcome {
        Outcome::Complete => {
            Some(completed.status()).filter(|status| *status >= 400).map(|it| it.to_string())
        }
        Outcome::Gone(_) => Some("client_gone".to_owned()),
        Outcome::Fault(fault) => Some(fault.code().to_owned()),
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
