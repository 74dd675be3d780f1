//! What a request used: what its provider reported, completed where it did not by an estimate from what passed, and what
//! the lease on its key's limits is settled with.
//!
//! A failure is not charged: only what a provider reported before it is booked, and the rest of the lease is given back.
//! A client that leaves is charged for what it was sent, as far as its key's limits go; what is booked for it is the
//! policy's to say (B6).

use std::time::Duration;

use super::{
    end::{Outcome, RequestRecord},
    settings::OnDisconnect,
};
use crate::{
    base::{ByteList, Sent, Side, Stage},
    wire::{Usage, usage},
};

/// Where token counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The provider told them.
    Reported,
    /// Made up from the sizes of what was asked and of what passed.
    Estimated,
    /// The provider told some, or told them before the end; the rest is estimated or missing.
    Partial,
}

impl UsageSource {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Partial => "partial",
        }
    }
}

/// Bytes that one token stands for.
const TOKEN: usize = 4;
/// Bytes of an answer that are not its text.
const ENVELOPE: usize = 300;
/// Bytes at an answer's end among which most providers tell usage.
const TAIL: usize = 4096;
/// Beyond this an answer in several pieces is looked at by its tail alone.
const WHOLE: usize = 1 << 20;

impl super::StreamStats {
    /// Notes what an answer that does not stream used.
    pub fn note_whole(&mut self, body: &ByteList) {
        self.usage = match (body.iter().next(), body.iter().last()) {
            (Some(only), Some(_)) if body.iter().count() == 1 => usage::find(only),
            (Some(_), Some(last)) => {
                usage::find(last.get(last.len().saturating_sub(TAIL)..).unwrap_or_default())
                    .or_else(|| (body.len() <= WHOLE).then(|| usage::find(&body.join())).flatten())
            }
            _ => None,
        };
        let text = body.len().saturating_sub(ENVELOPE) / TOKEN;
        self.passed_tokens = u32::try_from(text).unwrap_or(u32::MAX);
    }
}

impl RequestRecord {
    /// Settles the lease and says what was used. Called once, when the end is told.
    pub(super) fn reckon(&mut self, outcome: &Outcome, elapsed: Duration) {
        if self.attempts == 0 {
            // Nobody was asked: the lease, if there is one, goes back whole.
            self.lease = None;
            return;
        }
        let reported = self.figures.usage;
        let (booked, source, charged) = match outcome {
            Outcome::Complete if self.status < 400 => self.of_an_answer(reported),
            // A provider's error, passed on.
            Outcome::Complete => (reported, UsageSource::Partial, reported),
            Outcome::Gone(_) if self.drained => self.of_an_answer(reported),
            Outcome::Gone(stage) if !was_sent(*stage) => {
                self.lease = None;
                return;
            }
            Outcome::Gone(_) => self.of_a_part(reported),
            Outcome::Fault(fault) if fault.sent == Sent::Nothing && reported.is_none() => {
                self.lease = None;
                return;
            }
            // It stopped reading: what it was sent it was sent.
            Outcome::Fault(fault) if fault.side == Side::Client => self.of_a_part(reported),
            Outcome::Fault(_) => (reported, UsageSource::Partial, reported),
        };
        self.figures.usage = booked;
        self.figures.source = booked.map(|_| source);
        if let Some(lease) = self.lease.take() {
            self.bill = lease.settle(charged.map_or(0, total), elapsed);
        }
    }

    /// It came whole. An answer that does not stream has told all that it will.
    fn of_an_answer(&self, reported: Option<Usage>) -> (Option<Usage>, UsageSource, Option<Usage>) {
        let in_one_piece = self.figures.frames == 0;
        let is_whole = |usage: &Usage| usage.input.is_some() && (usage.output.is_some() || in_one_piece);
        if reported.is_some_and(|usage| is_whole(&usage)) {
            return (reported, UsageSource::Reported, reported);
        }
        let completed = Some(self.estimate().merge(reported.unwrap_or_default()));
        (completed, source(reported), completed)
    }

    /// Its client left. Providers that tell usage as they go have told less than they did.
    fn of_a_part(&self, reported: Option<Usage>) -> (Option<Usage>, UsageSource, Option<Usage>) {
        let estimate = self.estimate();
        let told = reported.unwrap_or_default();
        let output = told.output.max(estimate.output);
        let charged = Some(Usage { output, ..estimate.merge(told) });
        match self.on_disconnect {
            OnDisconnect::Cancel => (reported, UsageSource::Partial, charged),
            OnDisconnect::Drain { .. } | OnDisconnect::Estimate => (charged, source(reported), charged),
        }
    }

    fn estimate(&self) -> Usage {
        let (input, output) = (self.prompt_tokens.into(), self.figures.passed_tokens.into());
        Usage { input: Some(input), output: Some(output), ..Usage::default() }
    }
}

fn source(reported: Option<Usage>) -> UsageSource {
    if reported.is_some() { UsageSource::Partial } else { UsageSource::Estimated }
}

fn total(usage: Usage) -> u64 {
    usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0))
}

/// A provider may have begun to work.
const fn was_sent(stage: Stage) -> bool {
    match stage {
        Stage::Intake | Stage::Pool | Stage::Connect => false,
        Stage::Send | Stage::Head | Stage::FirstToken | Stage::Body => true,
    }
}
