//! The tokens that a request used: reported by its provider, completed by an estimate where the provider
//! reported too little; and the lease on its key's limits, settled with them.
//!
//! A failure is not charged: only usage that a provider reported before it is booked, and the rest of the
//! lease is given back. A client that leaves is charged for the part that it was sent, as far as its key's
//! limits go; the usage that is booked for it follows the policy [`OnDisconnect`] (B6).

use std::time::Duration;

use super::{
    completed::Outcome,
    record::{OnDisconnect, RequestRecord},
    stats::{StreamStats, UsageSource},
};
use crate::{
    base::{ByteList, Sent, Side, Stage},
    wire::{Usage, usage},
};

/// Bytes of text that one token stands for.
const TOKEN_BYTES: usize = 4;
/// Bytes of a whole answer that are not its text.
const ENVELOPE_BYTES: usize = 300;
/// Bytes at an answer's end among which most providers report usage.
const TAIL_BYTES: usize = 4096;
/// Of an answer in several pieces that is larger than this only the tail is searched for usage.
const MAX_JOINED: usize = 1 << 20;

impl StreamStats {
    /// Notes the usage of an answer that does not stream.
    pub fn note_whole(&mut self, body: &ByteList) {
        self.usage = match (body.iter().next(), body.iter().last()) {
            (Some(only), Some(_)) if body.iter().count() == 1 => usage::find(only),
            (Some(_), Some(last)) => {
                usage::find(last.get(last.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default())
                    .or_else(|| (body.len() <= MAX_JOINED).then(|| usage::find(&body.join())).flatten())
            }
            _ => None,
        };
        let text = body.len().saturating_sub(ENVELOPE_BYTES) / TOKEN_BYTES;
        self.passed_tokens = u32::try_from(text).unwrap_or(u32::MAX);
    }
}

/// The usage that is booked, where it comes from, and the usage that the key's limits are charged with.
struct Accounting {
    booked: Option<Usage>,
    source: UsageSource,
    charged: Option<Usage>,
}

impl Accounting {
    /// Only the usage that the provider reported.
    const fn reported(reported: Option<Usage>) -> Self {
        Self { booked: reported, source: UsageSource::Partial, charged: reported }
    }
}

impl RequestRecord {
    /// Notes the usage that is booked and settles the lease. Called once, when the request completes after
    /// `elapsed`.
    pub(super) fn account(&mut self, outcome: &Outcome, elapsed: Duration) {
        if self.attempts == 0 {
            // No provider was reached: the lease, if there is one, goes back whole.
            self.lease = None;
            return;
        }
        let dialect = self.route.dialect();
        let reported =
            self.stats.usage.map(|usage| dialect.map_or(usage, |dialect| usage.with_cache_in_input(dialect)));
        let Accounting { booked, source, charged } = match outcome {
            Outcome::Complete if self.status.is_none_or(|status| status.as_u16() < 400) => {
                self.account_answer(reported)
            }
            // A provider's error, passed on.
            Outcome::Complete => Accounting::reported(reported),
            Outcome::Gone(_) if self.drained => self.account_answer(reported),
            Outcome::Gone(stage) if !was_sent(*stage) => {
                self.lease = None;
                return;
            }
            Outcome::Gone(_) => self.account_part(reported),
            Outcome::Fault(fault) if fault.sent == Sent::Nothing && reported.is_none() => {
                self.lease = None;
                return;
            }
            // The client stopped reading: it is charged for the part that it was sent.
            Outcome::Fault(fault) if fault.side == Side::Client => self.account_part(reported),
            Outcome::Fault(_) => Accounting::reported(reported),
        };
        self.stats.usage = booked;
        self.stats.usage_source = booked.map(|_| source);
        if let Some(lease) = self.lease.take() {
            self.charge = lease.settle(charged.map_or(0, Usage::total), elapsed);
        }
    }

    /// An answer that came whole. One that does not stream has reported all that it will.
    fn account_answer(&self, reported: Option<Usage>) -> Accounting {
        let is_whole = self.stats.frames == 0;
        let is_complete = |usage: &Usage| usage.input.is_some() && (usage.output.is_some() || is_whole);
        if reported.is_some_and(|usage| is_complete(&usage)) {
            return Accounting { source: UsageSource::Reported, ..Accounting::reported(reported) };
        }
        let completed = Some(reported.unwrap_or_default().or(self.estimate()));
        Accounting { booked: completed, source: source(reported), charged: completed }
    }

    /// An answer to a client that left. Providers that report usage as they go have reported less than they
    /// generated.
    fn account_part(&self, reported: Option<Usage>) -> Accounting {
        let estimate = self.estimate();
        let known = reported.unwrap_or_default();
        let output = known.output.max(estimate.output);
        let charged = Some(Usage { output, ..known.or(estimate) });
        match self.on_disconnect {
            OnDisconnect::Cancel => Accounting { charged, ..Accounting::reported(reported) },
            OnDisconnect::Drain { .. } | OnDisconnect::Estimate => {
                Accounting { booked: charged, source: source(reported), charged }
            }
        }
    }

    fn estimate(&self) -> Usage {
        let (input, output) = (self.prompt_tokens.into(), self.stats.passed_tokens.into());
        Usage { input: Some(input), output: Some(output), ..Usage::default() }
    }
}

/// The source of usage that an estimate completed.
fn source(reported: Option<Usage>) -> UsageSource {
    if reported.is_some() { UsageSource::Partial } else { UsageSource::Estimated }
}

/// Whether a provider may have begun to work.
const fn was_sent(stage: Stage) -> bool {
    match stage {
        Stage::Intake | Stage::Pool | Stage::Connect => false,
        Stage::Send | Stage::Head | Stage::FirstToken | Stage::Body => true,
    }
}
