//! The attempts of a request over real sockets: starts those that routing's [`AttemptPlan`] names, as many at
//! once as it names, and reports each result to it, until an answer is good enough to be committed.
//!
//! Invariant: the other attempts are cancelled before an answer is returned, so no byte of it goes down while
//! they run.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    answer::Answer,
    attempt_result::{Success, UsagePlace},
    attempt_set::AttemptSet,
    classify,
    committed_attempt::CommittedAttempt,
    failures::{FailedAttempt, FailedAttempts},
    fault::Refusal,
    request_context::RequestContext,
    snapshot::{Provider, Snapshot},
};
use crate::{
    base::{Endpoint, Moment, RequestId},
    exchange::{RequestRecord, RunningRequest},
    routing::{Action, Attempt, AttemptPlan, Candidate, CheckMethod},
};

/// The answer for the client, and its provider.
pub(super) struct ChosenAnswer<'c> {
    success: Box<Success>,
    /// When the attempt ended.
    ended: Moment,
    provider: usize,
    /// The model's name at the provider, and the endpoint at which it was asked.
    model: &'c str,
    endpoint: Endpoint,
    /// `None`: an error that is passed on.
    winner: Option<Attempt<'c>>,
}

/// Runs attempts, from `now` on, until one answer is good enough or must be given to the client whatever it
/// is.
pub(super) async fn run_attempts<'c>(
    context: &RequestContext<'_>,
    plan: &mut AttemptPlan<'c>,
    recorder: &mut AttemptRecorder<'_>,
    mut now: Moment,
) -> Result<ChosenAnswer<'c>, Box<Refusal>> {
    let first = match plan.next(now) {
        Action::Start(attempt) => Some((recorder.begin(&attempt)?, attempt)),
        // The plan says the same again.
        Action::Wait(_) | Action::Done => None,
    };
    let place = pin!(first.as_ref().map(|(provider, attempt)| {
        context.attempt(provider, (attempt.candidate.model, attempt.candidate.endpoint))
    }));
    let mut running = AttemptSet::new(first.map(|(_, attempt)| attempt), place);
    let mut failures = FailedAttempts::default();
    loop {
        let until = match plan.next(now) {
            Action::Start(attempt) => {
                let provider = recorder.begin(&attempt)?;
                let at = (attempt.candidate.model, attempt.candidate.endpoint);
                running.add(attempt, Box::pin(context.attempt(provider, at)));
                continue;
            }
            Action::Wait(until) => until,
            Action::Done => {
                failures.add_late(plan.is_past_deadline(now));
                let slow: Vec<_> = running.cancel().collect();
                failures.add_slow(slow.iter().filter_map(|attempt| recorder.provider_name(attempt)));
                // They took this long at least, which the next choice ought to know.
                slow.into_iter().for_each(|attempt| plan.lost(attempt, now));
                recorder.record.race.late = failures.are_late();
                return Err(failures.refusal(context.endpoint.path()));
            }
        };
        let noted = context.wasted.borrow().len();
        let next = next_result(&mut running, until).await;
        now = Moment::now();
        let Some((attempt, result)) = next else { continue };
        let Candidate { provider, model, endpoint, .. } = attempt.candidate;
        let error = match result {
            Ok(success) => {
                cancel_slower(&mut running, plan, recorder).await;
                context.running.stage().set(success.answer.stage());
                let winner = Some(attempt);
                return Ok(ChosenAnswer { success, ended: now, provider, model, endpoint, winner });
            }
            Err(error) => error,
        };
        let failure = FailedAttempt::of(recorder.provider(&attempt), model, &error);
        let passes = plan.forwards_error(&attempt, failure.class, failure.retry_after, now)
            && context.understands(failure.class, &error);
        failure.log(context.id);
        if let Some(alive) = classify::is_alive(failure.class) {
            attempt.candidate.stats.provider().record_check(alive, CheckMethod::Traffic, now);
        }
        let class = failure.class;
        plan.learn_absence(!context.is_at_fault_by_query(endpoint));
        plan.failed(attempt, class, failure.retry_after, failure.sent, now);
        failures.add(failure);
        if passes {
            // A stream that is passed on is accounted for as the answer.
            let own = context.wasted.borrow_mut().split_off(noted);
            cancel_slower(&mut running, plan, recorder).await;
            let asked = recorder.snapshot.providers.get(provider).ok_or_else(no_provider)?;
            // Boxed: it must not enlarge the future of every request.
            let success = Box::pin(context.pass_error(error, class, asked)).await;
            if !success.as_ref().is_ok_and(|success| matches!(success.answer, Answer::Stream(..))) {
                context.wasted.borrow_mut().extend(own);
            }
            let success = success?;
            context.running.stage().set(success.answer.stage());
            return Ok(ChosenAnswer { success, ended: now, provider, model, endpoint, winner: None });
        }
    }
}

/// The next attempt that ends. `None`: `until` has come, and the plan must be consulted again.
async fn next_result<T, F: Future>(
    running: &mut AttemptSet<'_, T, F>,
    until: Option<Moment>,
) -> Option<(T, F::Output)> {
    match until {
        None => Some(running.next().await),
        Some(until) => timeout_at(Instant::now() + until.since(Moment::now()), running.next()).await.ok(),
    }
}

/// Cancels the attempts that were slower than the one that ends the search.
async fn cancel_slower<'c, F: Future>(
    running: &mut AttemptSet<'_, Attempt<'c>, F>,
    plan: &mut AttemptPlan<'c>,
    recorder: &mut AttemptRecorder<'_>,
) {
    if running.is_empty() {
        return;
    }
    let mut resets = false;
    for attempt in running.cancel() {
        resets |= recorder.cancelled(&attempt);
        plan.lost(attempt, Moment::now());
    }
    if resets {
        // An HTTP/2 stream is reset by its connection's task, which must run before the answer goes down.
        yield_now().await;
    }
}

fn no_provider() -> Box<Refusal> {
    Refusal::request(503, "no_provider", "there is no such provider")
}

/// `None`: the candidate's endpoint is the one that the client asked for.
fn translated_to(record: &RequestRecord, endpoint: Endpoint) -> Option<Endpoint> {
    Some(endpoint).filter(|endpoint| record.route.endpoint() != Some(*endpoint))
}

/// Writes the attempts into the request's record.
pub(super) struct AttemptRecorder<'a> {
    pub(super) record: &'a mut RequestRecord,
    pub(super) running: &'a RunningRequest,
    pub(super) id: &'a RequestId,
    pub(super) snapshot: &'a Snapshot,
    /// When the first attempt began.
    pub(super) began: Instant,
}

impl<'a> AttemptRecorder<'a> {
    fn provider(&self, attempt: &Attempt<'_>) -> Option<&'a Provider> {
        self.snapshot.providers.get(attempt.candidate.provider)
    }

    fn provider_name(&self, attempt: &Attempt<'_>) -> Option<Arc<str>> {
        Some(Arc::clone(&self.provider(attempt)?.target.name))
    }

    /// An attempt begins.
    fn begin(&mut self, attempt: &Attempt<'_>) -> Result<&'a Provider, Box<Refusal>> {
        let provider = self.provider(attempt);
        let provider = provider.ok_or_else(no_provider)?;
        let record = &mut *self.record;
        record.attempts = attempt.number;
        record.provider = Some(Arc::clone(&provider.target.name));
        record.upstream_model = Some(attempt.candidate.model.into());
        record.translated_to = translated_to(record, attempt.candidate.endpoint);
        record.race.hedges = record.race.hedges.saturating_add(u8::from(attempt.hedge));
        Ok(provider)
    }

    /// An attempt was cancelled because another won. True if its connection may stay, so that the provider is
    /// sent a reset on it.
    fn cancelled(&mut self, attempt: &Attempt<'_>) -> bool {
        self.record.cancelled_attempts = self.record.cancelled_attempts.saturating_add(1);
        let Some(provider) = self.provider(attempt) else { return false };
        tracing::debug!(id = %self.id, provider = %provider.target.name, "given up");
        provider.target.may_multiplex()
    }

    /// Records the answer's provider and names it in the answer's headers. A stream is observed from here on.
    pub(super) fn finish<'c>(&mut self, chosen: ChosenAnswer<'c>, plan: &mut AttemptPlan<'c>) -> Answer {
        let ChosenAnswer { success, ended: now, provider, model, endpoint, winner } = chosen;
        let Success { mut answer, times, usage } = *success;
        self.record.answered_after = Some(times.answered - self.began);
        if self.record.attempts > 1 {
            // The last attempt that began may be another one.
            self.record.upstream_model = Some(model.into());
            self.record.translated_to = translated_to(self.record, endpoint);
        }
        if let Some(attempt) = winner {
            let (stats, began) = (Arc::clone(attempt.candidate.stats), attempt.started);
            self.record.race.by_hedge = attempt.hedge;
            self.record.race.won = self.record.answered_after;
            stats.provider().record_check(true, CheckMethod::Traffic, now);
            let under_way = plan.won(attempt, now.since(began), now);
            let settings = Arc::clone(self.snapshot.catalog.settings());
            let caller = plan.plan().caller;
            let is_well = false;
            answer.observe(CommittedAttempt {
                stats,
                endpoint,
                caller,
                began,
                settings,
                _under_way: under_way,
                is_well,
            });
        }
        let name = self.snapshot.providers.get(provider).map(|provider| &provider.target.name);
        self.record.provider = name.map(Arc::clone);
        if self.record.attempts > 1 {
            self.running.show_provider(name);
        }
        if let UsagePlace::Translation(reported) = usage {
            (self.record.stats.usage, self.record.usage_is_read) = (reported, true);
        }
        self.record.connection_wait = Some(times.connection_wait);
        answer.sign(name.map(|name| &**name), plan.attempts());
        answer
    }
}
