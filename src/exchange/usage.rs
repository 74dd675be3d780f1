//! The tokens that a request used: reported by its provider, completed by an estimate where the provider
//! reported too little; their cost; and the lease on its key's limits, settled with them.
//!
//! A failure is not charged: only usage that a provider reported before it is booked, and the rest of the
//! lease is given back. A client that leaves is charged for the part that it was sent, as far as its key's
//! limits go, the budget among them; the usage that is booked for it follows the policy [`OnDisconnect`]
//! (B6). A response that is made in the background is charged by estimate, and corrected when it is read. A
//! key's limits are also charged for attempts that were cancelled, which no row has.

use std::time::Duration;

use super::{
    background::BackgroundCharge,
    completed::Outcome,
    record::{OnDisconnect, RequestRecord},
    stats::{StreamStats, UsageSource},
};
use crate::{
    auth::limit::Use,
    base::{ByteList, Endpoint, Sent, Side, Stage},
    ledger::{PricedTokens, Prices},
    wire::{Dialect, Usage, usage},
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
    /// Notes the usage of an answer that does not stream: that in its body, unless it was `read` before.
    pub fn note_whole(&mut self, dialect: Dialect, body: &ByteList, read: bool) {
        if !read {
            self.usage = find_usage(dialect, body);
        }
        let text = body.len().saturating_sub(ENVELOPE_BYTES) / TOKEN_BYTES;
        self.passed_tokens = u32::try_from(text).unwrap_or(u32::MAX);
    }
}

fn find_usage(dialect: Dialect, body: &ByteList) -> Option<Usage> {
    match (body.iter().next(), body.iter().last()) {
        (Some(only), Some(_)) if body.iter().count() == 1 => usage::find(dialect, only),
        (Some(_), Some(last)) => {
            usage::find(dialect, last.get(last.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default())
                .or_else(|| (body.len() <= MAX_JOINED).then(|| usage::find(dialect, &body.join())).flatten())
        }
        _ => None,
    }
}

/// The usage that is booked, where it comes from, and the usage that the key's limits are charged with.
#[derive(Default)]
struct Accounting {
    booked: Option<Usage>,
    source: Option<UsageSource>,
    charged: Option<Usage>,
}

impl Accounting {
    /// Only the usage that the provider reported.
    fn reported(reported: Option<Usage>) -> Self {
        Self::new(reported, UsageSource::Partial)
    }

    fn new(usage: Option<Usage>, source: UsageSource) -> Self {
        Self { booked: usage, source: usage.map(|_| source), charged: usage }
    }
}

impl RequestRecord {
    /// Notes the usage that is booked and settles the lease, unless it is settled. Called once, when the
    /// request completes after `elapsed`.
    pub(super) fn account(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.settle(outcome, elapsed);
        let Accounting { booked, source, charged } = self.accounting(outcome).unwrap_or_default();
        if let (Some(part), Some(response)) = (&self.background, self.stats.background)
            && source != Some(UsageSource::Reported)
            && part.reads.is_none()
        {
            let charge = BackgroundCharge {
                provider: self.provider.clone(),
                model: self.upstream_model.clone(),
                booked: booked.unwrap_or_default(),
                charged: charged.unwrap_or_default(),
            };
            part.charges.keep(response, charge);
        }
        self.stats.usage = booked;
        self.stats.usage_source = source;
    }

    /// Takes the charge of the response that was read, if the response has ended: its usage is complete.
    fn correct(&mut self) {
        let is_good = self.status.is_none_or(|status| status.is_success());
        let Some(part) = &mut self.background else { return };
        if part.corrected.is_some() || !is_good || !self.stats.usage.is_some_and(Usage::is_complete) {
            return;
        }
        let Some(charge) = part.reads.and_then(|response| part.charges.take(response)) else { return };
        self.upstream_model.clone_from(&charge.model);
        self.provider = charge.provider.clone().or_else(|| self.provider.take());
        part.corrected = Some(charge);
    }

    /// Settles the lease, if there is one, with all that the request has used.
    pub(super) fn settle(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.correct();
        let Some(lease) = self.lease.take() else { return };
        if let (Some(charge), Some(usage)) = (self.corrected(), self.stats.usage) {
            let cost = |usage| payable(self.prices.as_ref().and_then(|prices| self.cost_of(usage, prices)));
            let tokens = usage.total().saturating_sub(charge.charged.total());
            let cost = cost(usage).saturating_sub(cost(charge.charged));
            return lease.settle(Use { tokens, cost }, elapsed);
        }
        // A reused answer counts as a request, and as no tokens.
        if self.reuse.is_some() || self.is_free() && self.attempts > 0 {
            return lease.settle(Use::default(), elapsed);
        }
        let answer = self.accounting(outcome);
        if answer.is_none() && self.wasted.is_empty() {
            // No provider was reached: the lease goes back whole.
            return;
        }
        // What an answer that has not begun may have used is with the wasted attempts.
        let answer = answer.and_then(|answer| answer.charged).filter(|_| self.answered_after.is_some());
        let mut used = answer.map_or_else(Use::default, |usage| {
            let cost = self.prices.as_ref().and_then(|prices| self.cost_of(usage, prices));
            Use { tokens: usage.total(), cost: payable(cost) }
        });
        for wasted in &self.wasted {
            let usage = self.with_cache_in_input(wasted.usage(self.prompt_tokens));
            let cost = self
                .prices
                .as_ref()
                .and_then(|prices| prices.cost(&wasted.provider, &wasted.model, priced(&usage)));
            used.tokens = used.tokens.saturating_add(usage.total());
            used.cost = used.cost.saturating_add(payable(cost));
        }
        lease.settle(used, elapsed);
    }

    /// The cost of the booked usage, in micro-units of the currency. `None`: no usage is known, or no price.
    #[must_use]
    pub fn cost(&self, prices: &Prices) -> Option<u64> {
        self.route.dialect()?;
        if self.reuse.is_some() {
            return Some(0);
        }
        self.cost_of(self.stats.usage?, prices)
    }

    /// The usage that the statistics count: of a corrected charge, the part that they have not counted.
    #[must_use]
    pub fn counted_usage(&self) -> Usage {
        let usage = self.stats.usage.unwrap_or_default();
        self.corrected().map_or(usage, |charge| usage.beyond(charge.booked))
    }

    /// The cost that an earlier row has for the same response.
    #[must_use]
    pub fn cost_before(&self, prices: &Prices) -> u64 {
        self.corrected().and_then(|charge| self.cost_of(charge.booked, prices)).unwrap_or(0)
    }

    /// The cost of an answer with this usage.
    fn cost_of(&self, usage: Usage, prices: &Prices) -> Option<u64> {
        let model = self.upstream_model.as_deref().or(self.model.as_deref()).unwrap_or_default();
        prices.cost(self.provider.as_deref()?, model, priced(&usage))
    }

    /// Tokens that attempts without an answer for the client are known to have used.
    #[must_use]
    pub fn wasted_tokens(&self) -> u64 {
        let reported = self.wasted.iter().filter_map(|wasted| wasted.reported);
        reported.fold(0, |sum, usage| sum.saturating_add(self.with_cache_in_input(usage).total()))
    }

    fn with_cache_in_input(&self, usage: Usage) -> Usage {
        self.route.dialect().map_or(usage, |dialect| usage.with_cache_in_input(dialect))
    }

    fn is_free(&self) -> bool {
        self.route.endpoint().is_some_and(Endpoint::is_free)
    }

    /// `None`: no provider was reached, or none asks for money.
    fn accounting(&self, outcome: &Outcome) -> Option<Accounting> {
        // A response that is read by its id repeats the usage of the request that made it.
        if self.corrected().is_some() {
            return Some(Accounting::new(self.stats.usage, UsageSource::Reported));
        }
        if self.attempts == 0 || self.is_free() || self.reuse.is_some() {
            return None;
        }
        let reported = self.stats.usage.map(|usage| self.with_cache_in_input(usage));
        Some(match outcome {
            Outcome::Complete if self.status.is_none_or(|status| status.as_u16() < 400) => {
                self.account_answer(reported)
            }
            // A provider's error, passed on.
            Outcome::Complete => Accounting::reported(reported),
            Outcome::Gone(_) if self.drained || self.has_whole_answer() => self.account_answer(reported),
            Outcome::Gone(stage) if !was_sent(*stage) && self.answered_after.is_none() => return None,
            Outcome::Gone(_) => self.account_part(reported),
            Outcome::Fault(fault) if fault.sent == Sent::Nothing && reported.is_none() => return None,
            // The client stopped reading: it is charged for the part that it was sent.
            Outcome::Fault(fault) if fault.side == Side::Client && self.answered_after.is_some() => {
                self.account_part(reported)
            }
            Outcome::Fault(_) => Accounting::reported(reported),
        })
    }

    /// An answer that came whole. One that does not stream has reported all that it will.
    fn account_answer(&self, reported: Option<Usage>) -> Accounting {
        let is_whole = self.has_whole_answer();
        if reported.is_some_and(|usage| usage.is_complete() || is_whole && usage.input.is_some()) {
            return Accounting::new(reported, UsageSource::Reported);
        }
        Accounting::new(Some(reported.unwrap_or_default().or(self.estimate())), source(reported))
    }

    /// An answer to a client that left. Providers that report usage as they go have reported less than they
    /// generated.
    fn account_part(&self, reported: Option<Usage>) -> Accounting {
        let estimate = self.estimate();
        let known = reported.unwrap_or_default().at_least_output(self.stats.passed_tokens.into());
        let charged = Some(known.or(estimate));
        match self.on_disconnect {
            OnDisconnect::Cancel => Accounting { charged, ..Accounting::reported(reported) },
            OnDisconnect::Drain { .. } | OnDisconnect::Estimate => Accounting::new(charged, source(reported)),
        }
    }

    /// The answer did not stream, so its provider has generated all of it.
    const fn has_whole_answer(&self) -> bool {
        self.stats.frames == 0 && self.stats.bytes > 0
    }

    fn estimate(&self) -> Usage {
        let has_text = self.route.endpoint().is_none_or(Endpoint::answers_text);
        let output = if has_text { self.stats.passed_tokens.into() } else { 0 };
        let input = self.prompt_tokens.into();
        Usage { input: Some(input), output: Some(output), ..Usage::default() }
    }
}

/// The source of usage that an estimate completed.
fn source(reported: Option<Usage>) -> UsageSource {
    if reported.is_some() { UsageSource::Partial } else { UsageSource::Estimated }
}

fn priced(usage: &Usage) -> PricedTokens {
    PricedTokens {
        input: usage.input.unwrap_or(0),
        output: usage.output.unwrap_or(0),
        cached: usage.cached.unwrap_or(0),
        cache_write: usage.cache_write.unwrap_or(0),
        cache_write_1h: usage.cache_write_1h.unwrap_or(0),
    }
}

/// The charge to a key's budget. A request without a price is free; a cost beyond the number's range is
/// charged in full range.
fn payable(cost: Option<u64>) -> i64 {
    cost.map_or(0, |cost| i64::try_from(cost).unwrap_or(i64::MAX))
}

/// Whether a provider may have begun to work.
const fn was_sent(stage: Stage) -> bool {
    match stage {
        Stage::Intake | Stage::Pool | Stage::Connect => false,
        Stage::Send | Stage::Head | Stage::FirstToken | Stage::Body => true,
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, sync::Arc};

    use http::StatusCode;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        auth::limit::{LimitMeter, LimitValues, Reservation},
        base::{Fault, FaultKind, id::IdSource},
        exchange::{Completion, CompletionQueue, RequestRoute, WastedAttempt},
        ledger::Price,
        wire::Dialect,
    };

    #[test]
    fn a_cost_beyond_the_range_is_not_free() {
        assert_eq!([None, Some(7), Some(u64::MAX)].map(payable), [0, 7, i64::MAX]);
    }

    /// The end of one request, and all that its providers reported.
    #[derive(Clone, Debug)]
    struct History {
        dialect: Dialect,
        outcome: Outcome,
        /// The answer: its status, its usage, its frames. `None`: there was none.
        answer: Option<(u16, Option<Usage>, u32)>,
        passed_tokens: u32,
        drained: bool,
        policy: OnDisconnect,
        /// Usage of the other attempts, and the tokens that came of a cancelled one.
        wasted: Vec<(Option<Usage>, Option<u32>)>,
        /// The limits are settled before the last bytes.
        settled_early: bool,
    }

    fn reported() -> impl Strategy<Value = Usage> {
        let count = || proptest::option::weighted(0.8, 0..2000_u64);
        (count(), count(), count(), count()).prop_map(|(input, output, cached, cache_write)| Usage {
            input,
            output,
            cached,
            cache_write,
            ..Usage::default()
        })
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let fault =
            |side, sent| Outcome::Fault(Fault { side, stage: Stage::Body, kind: FaultKind::Reset, sent });
        prop_oneof![
            4 => Just(Outcome::Complete),
            2 => Just(Outcome::Gone(Stage::Body)),
            1 => Just(Outcome::Gone(Stage::Head)),
            1 => Just(Outcome::Gone(Stage::Connect)),
            2 => Just(fault(Side::Provider, Sent::Some)),
            1 => Just(fault(Side::Provider, Sent::Nothing)),
            1 => Just(fault(Side::Client, Sent::Some)),
            1 => Just(fault(Side::Gateway, Sent::Unknown)),
        ]
    }

    fn history() -> impl Strategy<Value = History> {
        let drain = OnDisconnect::Drain { time: Duration::from_secs(1), tokens: 100 };
        let option = proptest::option::of::<BoxedStrategy<Usage>>;
        let answer = (prop_oneof![9 => Just(200_u16), 1 => Just(500)], option(reported().boxed()), 0..3_u32);
        let wasted = (option(reported().boxed()), proptest::option::of(0..50_u32));
        (
            prop_oneof![Just(Dialect::ChatCompletions), Just(Dialect::Messages)],
            outcome(),
            proptest::option::weighted(0.8, answer),
            0..50_u32,
            any::<bool>(),
            prop_oneof![Just(OnDisconnect::Cancel), Just(OnDisconnect::Estimate), Just(drain)],
            proptest::collection::vec(wasted, 0..4),
            any::<bool>(),
        )
            .prop_map(
                |(dialect, outcome, answer, passed_tokens, drained, policy, wasted, settled_early)| History {
                    dialect,
                    outcome,
                    answer,
                    passed_tokens,
                    drained,
                    policy,
                    wasted,
                    settled_early,
                },
            )
    }

    impl History {
        /// The tokens and the millionths that its key is charged.
        fn charge(&self) -> (u64, i64) {
            let meter = Arc::<LimitMeter>::default();
            let limits =
                LimitValues { tokens: Some(u32::MAX), budget: Some(i64::MAX), ..LimitValues::default() };
            let route =
                RequestRoute::Completion { template: self.dialect.path(), endpoint: self.dialect.endpoint() };
            let mut record = RequestRecord::new(IdSource::default().make(), Instant::now(), route);
            record.lease = meter.lease(&limits, &Reservation::default(), Duration::ZERO).ok().map(Box::new);
            let price = Price { input: 1_000_000, output: 1_000_000, ..Price::default() };
            let price = Price { cache_write: Some(1_000_000), ..price };
            record.prices = Some(Arc::new(Prices::new([("*".to_owned(), price)])));
            (record.attempts, record.prompt_tokens) = (1 + self.wasted.len() as u8, 7);
            (record.provider, record.upstream_model) = (Some("p".into()), Some("m".into()));
            (record.drained, record.on_disconnect) = (self.drained, self.policy);
            record.wasted = (self.wasted.iter())
                .map(|(reported, passed_tokens)| WastedAttempt {
                    provider: "p".into(),
                    model: "m".into(),
                    reported: *reported,
                    passed_tokens: *passed_tokens,
                })
                .collect();
            let mut stats = StreamStats { passed_tokens: self.passed_tokens, ..StreamStats::default() };
            if let Some((status, usage, frames)) = self.answer {
                record.status = StatusCode::from_u16(status).ok();
                record.answered_after = Some(Duration::ZERO);
                (stats.usage, stats.frames, stats.bytes) = (usage, frames, 1);
            }
            record.stats = stats.clone();
            let mut completion = Completion::new(record, Rc::<CompletionQueue>::default());
            if self.settled_early {
                completion.settle(&self.outcome, stats);
            }
            completion.complete(self.outcome.clone());
            (meter.tokens.used(Duration::ZERO), meter.spent())
        }

        /// The tokens that all providers reported.
        fn reported(&self) -> u64 {
            let answer = self.answer.and_then(|(_, usage, _)| usage);
            let wasted = self.wasted.iter().filter_map(|(usage, _)| *usage);
            answer
                .into_iter()
                .chain(wasted)
                .map(|usage| usage.with_cache_in_input(self.dialect).total())
                .sum()
        }

        /// It ended well, and its provider reported all.
        fn is_good(&self) -> bool {
            let is_reported = |(status, usage, _): (u16, Option<Usage>, u32)| {
                status == 200 && usage.is_some_and(Usage::is_complete)
            };
            self.outcome == Outcome::Complete
                && self.wasted.is_empty()
                && self.answer.is_some_and(is_reported)
        }
    }

    proptest! {
        /// However a request ends, its key is charged no less than its providers reported for it, and exactly
        /// that when it ended well.
        #[test]
        fn no_end_is_cheaper_than_its_providers_say(history in history()) {
            let (tokens, money) = history.charge();
            let reported = history.reported();
            prop_assert_eq!(i64::try_from(tokens).unwrap(), money);
            prop_assert!(tokens >= reported, "{} of {}", tokens, reported);
            if history.is_good() {
                prop_assert_eq!(tokens, reported);
            }
        }

        /// What is charged does not depend on the policy for the books.
        #[test]
        fn the_policy_for_the_books_changes_no_charge(history in history()) {
            let cancel = History { policy: OnDisconnect::Cancel, ..history.clone() };
            prop_assert_eq!(history.charge(), cancel.charge());
        }
    }
}
