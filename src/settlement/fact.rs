//! The entry of a completed request in the statistics. Names that a client chose do not become labels: a
//! model is named only if a list of its provider has it.

use super::config::SettlementConfig;
use crate::{
    base::{Side, Stage},
    exchange::{Completed, Outcome, phase},
    telemetry::{RequestFacts, RequestOutcome, TokenCounts},
};

/// The names of models as lists have them. The last one is remembered, because most requests of a batch ask
/// for the same.
#[derive(Default)]
pub(super) struct ListedNames<'a>(Option<ListedName<'a>>);

#[derive(Clone, Copy)]
struct ListedName<'a> {
    model: &'a str,
    provider: &'a str,
    listed: Option<&'a str>,
}

impl<'a> ListedNames<'a> {
    fn of(
        &mut self,
        (model, provider): (&'a str, &'a str),
        config: &'a impl SettlementConfig,
    ) -> Option<&'a str> {
        match self.0 {
            Some(last) if (last.model, last.provider) == (model, provider) => last.listed,
            _ => {
                let listed = config.listed_model(model, provider);
                self.0 = Some(ListedName { model, provider, listed });
                listed
            }
        }
    }
}

#[must_use]
pub(super) fn of<'a>(
    completed: &'a Completed,
    config: &'a impl SettlementConfig,
    names: &mut ListedNames<'a>,
) -> RequestFacts<'a> {
    let (record, stats) = (&*completed.record, &completed.record.stats);
    let provider = record.provider.as_deref();
    let tokens = completed.record.counted_usage();
    let count = |tokens: Option<u64>| tokens.unwrap_or(0);
    let status = completed.status();
    RequestFacts {
        path: record.route.template(),
        outcome: outcome(completed),
        status,
        provider,
        model: provider.and_then(|provider| {
            let mut listed = |name| names.of((name, provider), config);
            let of_provider = record.upstream_model.as_deref().and_then(&mut listed);
            of_provider.or_else(|| listed(record.model.as_deref()?))
        }),
        key: record.key_name.as_deref(),
        attempts: record.attempts,
        race: record.race,
        served: match &completed.outcome {
            Outcome::Complete => status < 400,
            Outcome::Gone(stage) => *stage == Stage::Body,
            Outcome::Fault(_) => false,
        },
        total: completed.total,
        first_token: stats.first_token,
        added_first: record.added_first(),
        waited: (record.attempts > 0).then(|| record.connection_wait.unwrap_or_default()),
        frame_timings: stats.frame_timings.as_deref(),
        frames: stats.frames,
        bytes: stats.bytes,
        tokens: TokenCounts {
            input: count(tokens.input),
            output: count(tokens.output),
            cached: count(tokens.cached),
        },
    }
}

/// The outcome in rows, sums and metrics. An error that came from the provider and passed as it was counts by
/// the status that the client got.
pub(super) fn outcome(completed: &Completed) -> RequestOutcome {
    match &completed.outcome {
        Outcome::Complete if completed.status() >= 500 => RequestOutcome::Failed,
        Outcome::Complete if completed.status() >= 400 => RequestOutcome::Refused,
        Outcome::Complete => RequestOutcome::Done,
        Outcome::Gone(stage) => RequestOutcome::Gone(phase(*stage)),
        Outcome::Fault(fault) if fault.side == Side::Client => RequestOutcome::Refused,
        Outcome::Fault(_) => RequestOutcome::Failed,
    }
}
