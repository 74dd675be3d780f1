//! The course of a request over real sockets: asks whom routing's [`AttemptPlan`] says, as many at once as it says, and tells
//! it what came of each, until an answer is good enough to be committed.
//!
//! Invariant: the others have been given up before an answer is returned, so no byte of it goes down while they run.

use std::{cell::Cell, future::Future, pin::pin, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::{
    Gateway,
    answer::sign,
    attempt::{Answer, Errand, Success},
    attempt_set::AttemptSet,
    call::{Body, Call},
    classify,
    failures::{FailedAttempt, FailedAttempts},
    fault::{self, Refusal},
    request_headers::RequestHeaders,
    snapshot::{Provider, Snapshot},
    tracked_body::CommittedAttempt,
};
use crate::{
    base::{Moment, RequestId},
    exchange::{Digests, Outcome, RequestRecord},
    relay::{DetachedStreams, Mode},
    routing::{Action, Attempt, AttemptPlan, CheckMethod},
    telemetry::GaugeGuard,
    wire::Envelope,
};

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) head: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) envelope: &'a Envelope,
    pub(super) mode: Mode,
    pub(super) preference: RequestHeaders<'a>,
}

impl Answer {
    /// The commit: from here on the client sees it.
    pub fn give(self, call: Call, counted: impl FnOnce() -> (GaugeGuard, DetachedStreams)) -> Response<Body> {
        let dialect = call.dialect;
        match self {
            Self::Whole(status, headers, body) => {
                let mut call = call;
                if status.is_success() {
                    call.record().stats.note_whole(&body);
                }
                if call.digests {
                    call.record().stats.digests = Some(Digests::of(&body));
                }
                call.whole(status, headers, body, Outcome::Complete)
            }
            Self::Stream(status, headers, stream) => call.stream(status, headers, |completion, in_flight| {
                let (counted, orphans) = counted();
                stream.commit(dialect, fault::event, completion, (in_flight, counted, orphans))
            }),
        }
    }

    fn sign(&mut self, provider: Option<&str>, attempts: u8) {
        let (Self::Whole(_, headers, _) | Self::Stream(_, headers, _)) = self;
        sign(headers, provider, attempts);
    }

    fn watch(&mut self, watch: CommittedAttempt) {
        if let Self::Stream(_, _, stream) = self
            && let Some(flow) = stream.source()
        {
            flow.watch(watch);
        }
    }
}

impl Gateway {
    /// Walks `course` to its end.
    pub(super) async fn attempt(
        &self,
        call: &mut Call,
        wish: &Wish<'_>,
        mut course: AttemptPlan<'_>,
    ) -> Result<Answer, Box<Refusal>> {
        let (record, stage) = call.completion.parts();
        let waste = Cell::new(0);
        let errand = Errand {
            upstream: &self.upstream,
            snapshot: wish.snapshot,
            head: wish.head,
            body: wish.body,
            envelope: wish.envelope,
            dialect: call.dialect,
            mode: wish.mode,
            telling: wish.preference.telling(&wish.snapshot.telemetry),
            id: &call.id,
            started: call.started,
            stage,
            waste: &waste,
            meter: &self.gauges.meter,
            sole: course.plan().candidates().len() == 1
                || (!wish.snapshot.failover && !course.may_run_several()),
            until: course.deadline(),
            commit: wish.snapshot.commit_of(course.plan()),
        };
        let began = Instant::now();
        call.asked = Some(began);
        let mut notes = Notes { record, id: &call.id, snapshot: wish.snapshot, began };
        notes.begin(&course);
        let walked = walk(&errand, &mut course, &mut notes).await;
        notes.record.wasted_tokens = waste.get();
        let given = walked?;
        call.answered = Some(given.good.times.answered);
        let answer = notes.settle(given, &mut course);
        let after = call.answered.zip(call.asked).map(|(answered, asked)| answered - asked);
        call.record().answered_after = after;
        Ok(answer)
    }
}

/// What the client is given, by whom.
struct FinalAnswer<'c> {
    good: Success,
    provider: usize,
    /// `None`: an error that is passed on.
    won: Option<Attempt<'c>>,
}

/// Asks until one answer is good enough, or is the client's whatever it is.
async fn walk<'c>(
    errand: &Errand<'_>,
    course: &mut AttemptPlan<'c>,
    notes: &mut Notes<'_>,
) -> Result<FinalAnswer<'c>, Box<Refusal>> {
    let place = pin!(None);
    let mut pack = AttemptSet::new(place);
    let mut failures = FailedAttempts::default();
    loop {
        let until = match course.next(Moment::now()) {
            Action::Start(turn) => {
                let provider = notes.asked(&turn)?;
                let model = turn.candidate.model;
                pack.add(turn, errand.ask(provider, model));
                continue;
            }
            Action::Wait(until) => until,
            Action::Done => {
                failures.add_late(course.is_past_deadline(Moment::now()));
                failures.add_slow(pack.give_up().filter_map(|turn| notes.name(&turn)));
                notes.over(&failures);
                return Err(failures.refusal());
            }
        };
        let Some((turn, outcome)) = event(&mut pack, until).await else { continue };
        let (provider, now) = (turn.candidate.provider, Moment::now());
        let bad = match outcome {
            Ok(good) => {
                give_up(&mut pack, course, notes).await;
                return Ok(FinalAnswer { good, provider, won: Some(turn) });
            }
            Err(bad) => bad,
        };
        let failure = FailedAttempt::of(notes.name(&turn), &bad);
        let passes = course.forwards_error(&turn, failure.class, failure.hint, now);
        failure.log(notes.id);
        if let Some(alive) = classify::is_alive(failure.class) {
            turn.candidate.stats.provider().record_check(alive, CheckMethod::Traffic, now);
        }
        course.failed(turn, failure.class, failure.hint, failure.sent, now);
        failures.add(failure);
        if passes {
            give_up(&mut pack, course, notes).await;
            let good = errand.pass(bad).await?;
            return Ok(FinalAnswer { good, provider, won: None });
        }
    }
}

/// What happens next: an attempt ends. `None`: it is time to ask the course again.
async fn event<T, F: Future>(
    pack: &mut AttemptSet<'_, T, F>,
    until: Option<Moment>,
) -> Option<(T, F::Output)> {
    match until {
        None => Some(pack.next().await),
        Some(until) => timeout_at(Instant::now() + until.since(Moment::now()), pack.next()).await.ok(),
    }
}

/// Cancels whoever was slower.
async fn give_up<'c, F: Future>(
    pack: &mut AttemptSet<'_, Attempt<'c>, F>,
    course: &mut AttemptPlan<'c>,
    notes: &mut Notes<'_>,
) {
    let mut resets = false;
    for turn in pack.give_up() {
        resets |= notes.overtaken(&turn);
        course.lost(turn, Moment::now());
    }
    if resets {
        // A stream of HTTP/2 is reset by its connection's task, which is to have its turn before the answer goes down.
        yield_now().await;
    }
}

/// What the request's story is told on the way.
struct Notes<'a> {
    record: &'a mut RequestRecord,
    id: &'a RequestId,
    snapshot: &'a Snapshot,
    /// When the first one was asked.
    began: Instant,
}

impl<'a> Notes<'a> {
    fn begin(&mut self, course: &AttemptPlan<'_>) {
        self.record.race.is_race = course.is_race();
    }

    fn provider(&self, turn: &Attempt<'_>) -> Option<&'a Provider> {
        self.snapshot.providers.get(turn.candidate.provider)
    }

    fn name(&self, turn: &Attempt<'_>) -> Option<Arc<str>> {
        Some(Arc::clone(&self.provider(turn)?.target.name))
    }

    /// Somebody is asked.
    fn asked(&mut self, turn: &Attempt<'_>) -> Result<&'a Provider, Box<Refusal>> {
        let provider = self.provider(turn);
        let provider =
            provider.ok_or_else(|| Refusal::request(503, "no_provider", "there is no such provider"))?;
        let record = &mut *self.record;
        record.attempts = turn.number;
        record.provider = Some(Arc::clone(&provider.target.name));
        record.upstream_model = Some(turn.candidate.model.into());
        record.race.hedges = record.race.hedges.saturating_add(u8::from(turn.hedge));
        Ok(provider)
    }

    /// Nobody is left to be asked.
    fn over(&mut self, failures: &FailedAttempts) {
        self.record.race.late = failures.are_late();
    }

    /// Somebody was too slow; whether that is told to it on a connection that stays.
    fn overtaken(&mut self, turn: &Attempt<'_>) -> bool {
        self.record.cancelled_attempts = self.record.cancelled_attempts.saturating_add(1);
        let Some(provider) = self.provider(turn) else { return false };
        tracing::debug!(id = %self.id, provider = %provider.target.name, "given up");
        provider.target.may_multiplex()
    }

    /// Notes who answered, and signs the answer.
    fn settle<'c>(&mut self, given: FinalAnswer<'c>, course: &mut AttemptPlan<'c>) -> Answer {
        let FinalAnswer { good, provider, won } = given;
        let mut answer = good.answer;
        if let Some(turn) = won {
            let now = Moment::now();
            if self.record.attempts > 1 {
                self.record.upstream_model = Some(turn.candidate.model.into());
            }
            let (record, asked) = (Arc::clone(turn.candidate.stats), turn.started);
            self.record.race.by_hedge = turn.hedge;
            self.record.race.won = Some(good.times.answered - self.began);
            record.provider().record_check(true, CheckMethod::Traffic, now);
            let under_way = course.won(turn, now.since(asked), now);
            let breaker = self.snapshot.catalog.settings().breaker;
            answer.watch(CommittedAttempt { record, asked, breaker, under_way });
        }
        let name = self.snapshot.providers.get(provider).map(|provider| &provider.target.name);
        self.record.provider = name.map(Arc::clone);
        self.record.connection_wait = Some(good.times.connected_after);
        answer.sign(name.map(|name| &**name), course.attempts());
        answer
    }
}
