//! A request's end as the ledger keeps it, and what it cost. Runs on the thread that settles.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::HeaderValue;

use super::{fault::Refusal, settle::phase, snapshot::Snapshot};
use crate::{
    base::{Network, Side, time::unix_micros},
    ledger::{PricedTokens, Row, RowIds, RowOutcome as Word, row::cut},
    relay::{ClientInfo, Completed, Digests, Outcome, UsageSource},
    upstream::KeyHeader,
    wire::{Dialect, Usage},
};

/// A row costs no more, in micro-units: what a mistaken price makes of it must leave room for a month's sums.
const DEAREST: u64 = 1 << 53;

/// Requests for a completion have a row, others have none.
pub(super) fn is_booked(end: &Completed) -> bool {
    dialect(end.story.path).is_some()
}

/// The row of a request for a completion; others have none.
pub(super) fn row(end: &Completed, cost: Option<u64>, snapshot: &Snapshot, ids: &mut RowIds) -> Option<Row> {
    let story = &end.story;
    let dialect = dialect(story.path)?;
    let at = unix_micros(arrival(story.started.elapsed()));
    let provider = story.provider.as_deref();
    let known = provider.and_then(|name| snapshot.providers.iter().find(|known| &*known.target.name == name));
    let (fault, side, phase) = trouble(&end.outcome);
    let (figures, added) = (&story.figures, story.figures.added());
    let usage = whole_input(dialect, figures.usage.unwrap_or_default());
    let streamed = figures.frames > 0;
    Some(Row {
        request_id: Some(story.id.as_str().to_owned()),
        principal: story.principal.as_deref().map(str::to_owned),
        key_id: story.key.as_deref().map(str::to_owned),
        model_asked: (!story.model.is_empty()).then(|| cut(&story.model)),
        model: story.served.as_deref().map(cut),
        path: Some(story.path.to_owned()),
        dialect: Some(word(dialect).to_owned()),
        provider: provider.map(str::to_owned),
        provider_kind: known.map(|known| kind(known.target.key_header).to_owned()),
        region: known.and_then(|known| known.region.as_deref()).map(str::to_owned),
        strategy: (story.attempts > 0).then(|| story.strategy.to_owned()),
        attempts: Some(story.attempts.into()),
        wasted: Some(story.wasted.into()),
        wasted_tokens: (story.wasted_tokens > 0).then(|| number(story.wasted_tokens)),
        mode: (story.mode != "-").then(|| story.mode.to_owned()),
        status: Some(story.status.into()),
        outcome: Some(outcome(end).as_str().to_owned()),
        fault: fault.map(str::to_owned),
        fault_side: side.map(str::to_owned),
        phase: phase.map(str::to_owned),
        first_byte_us: figures.first_byte.map(span),
        ttft_us: figures.first_token.map(span),
        total_us: Some(span(end.total)),
        queue_us: (story.attempts > 0).then(|| span(story.connected_after)),
        upstream_us: story.answered_after.map(|after| span(after.saturating_sub(story.connected_after))),
        added_first_ns: story.added_first().map(nanos),
        added_p50_ns: added.map(|added| nanos(added.p50)),
        added_p99_ns: added.map(|added| nanos(added.p99)),
        added_max_ns: added.map(|added| nanos(added.max)),
        frames: streamed.then(|| figures.frames.into()),
        events: streamed.then(|| figures.events.into()),
        request_bytes: Some(number(story.caller.bytes)),
        bytes: (streamed || figures.bytes > 0).then(|| number(figures.bytes)),
        digest_up: figures.digests.map(|digests| Digests::hex(&digests.received)),
        digest_down: figures.digests.map(|digests| Digests::hex(&digests.given)),
        tokens_in: usage.input.map(number),
        tokens_out: usage.output.map(number),
        tokens_cached: usage.cached.map(number),
        tokens_reasoning: usage.reasoning.map(number),
        usage_source: figures.source.map(|source| UsageSource::as_str(source).to_owned()),
        cost: cost.map(|cost| number(cost.min(DEAREST))),
        client: address(&story.caller, &snapshot.trusted_proxies).map(|address| address.to_string()),
        user_agent: story.caller.agent.as_ref().map(|agent| cut(&String::from_utf8_lossy(agent.as_bytes()))),
        trace_id: story.trace.map(|trace| format!("{:032x}", trace.id)),
        ..Row::new(ids.make(at), at)
    })
}

/// What a route does, in the words of OpenTelemetry.
pub(super) fn operation(path: &str) -> &'static str {
    match dialect(path) {
        Some(Dialect::ChatCompletions | Dialect::Messages | Dialect::Responses) | None => "chat",
        Some(Dialect::Completions) => "text_completion",
        Some(Dialect::Embeddings) => "embeddings",
    }
}

/// What a request cost, in micro-units. `None`: it used nothing that was told, or nobody said what that costs.
pub(super) fn cost(end: &Completed, snapshot: &Snapshot) -> Option<u64> {
    let story = &end.story;
    let usage = whole_input(dialect(story.path)?, story.figures.usage?);
    let tokens = PricedTokens {
        input: usage.input.unwrap_or(0),
        output: usage.output.unwrap_or(0),
        cached: usage.cached.unwrap_or(0),
    };
    let model = story.served.as_deref().unwrap_or(&story.model);
    snapshot.prices.cost(story.provider.as_deref()?, model, tokens)
}

fn dialect(path: &str) -> Option<Dialect> {
    match path {
        "/v1/chat/completions" | "/v1/chat/completions/asgi" => Some(Dialect::ChatCompletions),
        "/v1/completions" => Some(Dialect::Completions),
        "/v1/embeddings" => Some(Dialect::Embeddings),
        "/v1/responses" => Some(Dialect::Responses),
        "/v1/messages" => Some(Dialect::Messages),
        _ => None,
    }
}

/// Anthropic counts what came from its cache beside the input, everybody else as a part of it. The ledger counts it as a
/// part, so that sums over providers mean something.
fn whole_input(dialect: Dialect, usage: Usage) -> Usage {
    match dialect {
        Dialect::Messages => {
            Usage { input: usage.input.map(|input| input.saturating_add(usage.cached.unwrap_or(0))), ..usage }
        }
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Responses => usage,
    }
}

const fn word(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::ChatCompletions => "chat",
        Dialect::Completions => "completions",
        Dialect::Embeddings => "embeddings",
        Dialect::Responses => "responses",
        Dialect::Messages => "messages",
    }
}

const fn kind(key_header: KeyHeader) -> &'static str {
    match key_header {
        KeyHeader::Bearer => "openai",
        KeyHeader::XApiKey => "anthropic",
        KeyHeader::ApiKey => "azure",
    }
}

fn outcome(end: &Completed) -> Word {
    match &end.outcome {
        Outcome::Gone(_) => Word::Gone,
        Outcome::Fault(fault) if fault.side == Side::Client => Word::Refused,
        Outcome::Fault(_) => Word::Failed,
        Outcome::Complete if end.story.status >= 500 => Word::Failed,
        Outcome::Complete if end.story.status >= 400 => Word::Refused,
        Outcome::Complete => Word::Ok,
    }
}

/// The error's code, whose it was, and how far the request had come.
pub(super) fn trouble(
    outcome: &Outcome,
) -> (Option<&'static str>, Option<&'static str>, Option<&'static str>) {
    match outcome {
        Outcome::Complete => (None, None, None),
        Outcome::Gone(stage) => (None, None, Some(phase(*stage))),
        Outcome::Fault(fault) => {
            let side = match fault.side {
                Side::Client => "client",
                Side::Gateway => "gateway",
                Side::Provider => "provider",
            };
            let code = match fault.kind {
                crate::base::FaultKind::Refused(code) => code,
                crate::base::FaultKind::Unreachable(_)
                | crate::base::FaultKind::Tls(_)
                | crate::base::FaultKind::Timeout(..)
                | crate::base::FaultKind::Reset
                | crate::base::FaultKind::Garbage(_)
                | crate::base::FaultKind::TooLarge { .. }
                | crate::base::FaultKind::Status(_)
                | crate::base::FaultKind::ErrorEvent
                | crate::base::FaultKind::Gone => Refusal::from(fault.clone()).code,
            };
            (Some(code), Some(side), Some(phase(fault.stage)))
        }
    }
}

/// The client's address: the last one that no trusted proxy stands for (S3.6). Whoever is not trusted says what he likes.
fn address(caller: &ClientInfo, trusted: &[Network]) -> Option<IpAddr> {
    let believed = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut known = caller.peer?.to_canonical();
    let lines = caller.forwarded.iter().rev().filter_map(|line| line.to_str().ok());
    for hop in lines.flat_map(|line| line.rsplit(',')) {
        if !believed(known) {
            break;
        }
        match bare(hop.trim()).parse::<IpAddr>() {
            Ok(address) => known = address.to_canonical(),
            // Behind what is no address nothing can be believed.
            Err(_) => break,
        }
    }
    Some(known)
}

/// An address without the brackets and the port that some proxies write.
fn bare(hop: &str) -> &str {
    match hop.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => {
            hop.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(hop, |(address, _)| address)
        }
    }
}

/// `X-Forwarded-For` and `User-Agent` of a request.
pub(super) fn caller(peer: Option<IpAddr>, headers: &http::HeaderMap) -> ClientInfo {
    let forwarded: Vec<HeaderValue> = headers.get_all("x-forwarded-for").iter().cloned().collect();
    ClientInfo { peer, forwarded, agent: headers.get(http::header::USER_AGENT).cloned(), bytes: 0 }
}

fn arrival(ago: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(ago).unwrap_or(now)
}

fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_last_that_nobody_trusted_stands_for() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).into();
        for (peer, lines, wanted) in [
            ("9.9.9.9", &["1.1.1.1"][..], "9.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1", "10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &["10.3.3.3"], "10.3.3.3"),
            ("10.0.0.1", &["1.1.1.1, rubbish"], "10.0.0.1"),
            ("::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["1.1.1.1:80"], "1.1.1.1"),
            ("::1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            let caller = ClientInfo {
                peer: peer.parse().ok(),
                forwarded: lines.iter().map(|line| HeaderValue::from_static(line)).collect(),
                ..ClientInfo::default()
            };
            assert_eq!(address(&caller, &trusted), wanted.parse().ok(), "{peer} {lines:?}");
        }
        assert_eq!(address(&ClientInfo::default(), &trusted), None);
    }

    #[test]
    fn only_completions_are_booked() {
        for path in ["/v1/chat/completions", "/v1/chat/completions/asgi", "/v1/messages", "/v1/embeddings"] {
            assert!(dialect(path).is_some(), "{path}");
        }
        for path in ["/health", "/v1/models", "/v1/reload", "other", "/"] {
            assert!(dialect(path).is_none(), "{path}");
        }
    }

    #[test]
    fn cached_input_is_a_part_of_all_input() {
        let told = Usage { input: Some(10), cached: Some(90), ..Usage::default() };
        assert_eq!(whole_input(Dialect::Messages, told).input, Some(100));
        assert_eq!(whole_input(Dialect::ChatCompletions, told).input, Some(10));
    }
}
