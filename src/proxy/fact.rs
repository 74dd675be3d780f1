//! What the statistics are told of an end. Names that a client chose do not become labels: a model is named only if a
//! list has it.

use super::{settle::phase, snapshot::Snapshot};
use crate::{
    base::{Side, Stage},
    relay::{Completed, Outcome},
    telemetry::{RequestFacts, RequestOutcome, TokenCounts},
};

/// One end in the terms of the statistics.
#[must_use]
pub(super) fn of<'a>(end: &'a Completed, snapshot: &'a Snapshot) -> RequestFacts<'a> {
    let (story, figures) = (&*end.story, &end.story.figures);
    let provider = story.provider.as_deref();
    let tokens = figures.usage.unwrap_or_default();
    let count = |tokens: Option<u64>| tokens.unwrap_or(0);
    RequestFacts {
        path: story.path,
        verdict: verdict(&end.outcome),
        status: story.status,
        provider,
        model: provider.and_then(|provider| {
            let listed = |name| snapshot.catalog.listed(name, provider);
            story.served.as_deref().and_then(listed).or_else(|| listed(&story.model))
        }),
        key: story.principal.as_deref(),
        attempts: story.attempts,
        contest: story.contest,
        served: match &end.outcome {
            Outcome::Complete => story.status < 400,
            Outcome::Gone(stage) => *stage == Stage::Body,
            Outcome::Fault(_) => false,
        },
        total: end.total,
        first_token: figures.first_token,
        added_first: story.added_first(),
        waited: (story.attempts > 0).then_some(story.connected_after),
        shape: figures.shape.as_deref(),
        frames: figures.frames,
        bytes: figures.bytes,
        tokens: TokenCounts {
            input: count(tokens.input),
            output: count(tokens.output),
            cached: count(tokens.cached),
        },
    }
}

fn verdict(outcome: &Outcome) -> RequestOutcome {
    match outcome {
        Outcome::Complete => RequestOutcome::Done,
        Outcome::Gone(stage) => RequestOutcome::Gone(phase(*stage)),
        Outcome::Fault(fault) if fault.side == Side::Client => RequestOutcome::Refused,
        Outcome::Fault(_) => RequestOutcome::Failed,
    }
}
