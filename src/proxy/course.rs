//! The course of a request through its candidates, until an answer is good enough to be committed.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Response, request::Parts};
use tokio::time::Instant;

use super::{
    Corridor,
    answer::sign,
    attempt::{Answer, Bad, Errand, Good, Lament},
    call::{Body, Call},
    fault::{self, Refusal},
    snapshot::{Provider, Snapshot},
    verdict,
};
use crate::{
    base::{Dice, Moment, Sent},
    relay::{Mode, Outcome, Story},
    routing::{Class, Course, Means, Move, Plan, Terms, class::Then, hint},
    telemetry::Held,
    wire::{Envelope, complaint},
};

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) head: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) envelope: &'a Envelope,
    pub(super) mode: Mode,
}

impl Answer {
    /// The commit: from here on the client sees it.
    pub fn give(self, call: Call, counted: impl FnOnce() -> Held) -> Response<Body> {
        let dialect = call.dialect;
        match self {
            Self::Whole(status, headers, body) => {
                let mut call = call;
                if status.is_success() {
                    call.note(|story| story.figures.note_whole(&body));
                }
                call.whole(status, headers, body, Outcome::Complete)
            }
            Self::Stream(status, headers, stream) => {
                call.stream(status, headers, |ending| stream.commit(dialect, fault::event, ending, counted()))
            }
        }
    }

    fn sign(&mut self, provider: &Provider, attempts: u8) {
        let (Self::Whole(_, headers, _) | Self::Stream(_, headers, _)) = self;
        sign(headers, Some(&provider.target.name), attempts);
    }
}

impl Corridor {
    /// Tries the plan's providers in order (S3.2); the last one's own answer is given whatever it is.
    pub(super) async fn attempt(
        &self,
        call: &mut Call,
        wish: &Wish<'_>,
        plan: Plan<'_>,
        dice: Dice,
    ) -> Result<Answer, Box<Refusal>> {
        let (mut story, stage) = call.ending.parts();
        let errand = Errand {
            upstream: &self.upstream,
            snapshot: wish.snapshot,
            head: wish.head,
            body: wish.body,
            envelope: wish.envelope,
            dialect: call.dialect,
            mode: wish.mode,
            id: &call.id,
            started: call.started,
            stage,
            meter: &self.gauges.meter,
            sole: plan.candidates().len() == 1 || !wish.snapshot.failover,
        };
        let terms = Terms {
            settings: wish.snapshot.catalog.settings(),
            budgets: wish.snapshot.catalog.records().budgets(),
            failover: wish.snapshot.failover,
            deadline: None,
        };
        let mut course = Course::new(plan, terms, dice, Moment::now());
        call.asked = Some(Instant::now());
        loop {
            let turn = match course.next(Moment::now()) {
                Move::Ask(turn) => turn,
                Move::Wait(Some(at)) => {
                    tokio::time::sleep(at.since(Moment::now())).await;
                    continue;
                }
                Move::Wait(None) | Move::Over => break,
            };
            let Some(provider) = wish.snapshot.providers.get(turn.candidate.provider) else { break };
            let attempts = note_attempt(story.as_deref_mut(), provider);
            let bad = match errand.ask(provider, turn.candidate.model).await {
                Ok(good) => {
                    let now = Moment::now();
                    provider.standing.note(true, Means::Traffic, now);
                    let after = now.since(turn.asked);
                    let _flight = course.won(turn, after, now);
                    return Ok(settle(call, good, provider, attempts));
                }
                Err(bad) => bad,
            };
            let (stop, now) = (course.is_last(&turn), Moment::now());
            match bad {
                Bad::Fault(fault) => {
                    if verdict::is_trouble(&fault) {
                        provider.standing.note(false, Means::Traffic, now);
                    }
                    tracing::debug!(id = %errand.id, provider = %provider.target.name, %fault, "attempt failed");
                    let class = verdict::of_fault(&fault);
                    course.failed(turn, class, None, fault.sent, now);
                    if stop || class.consequence().then == Then::Stop {
                        return Err(fault.into());
                    }
                }
                Bad::Error(lament) => {
                    let status = lament.status.as_u16();
                    provider.standing.note(verdict::is_alive(status), Means::Traffic, now);
                    let said = complaint::read(&lament.told);
                    tracing::debug!(id = %errand.id, provider = %provider.target.name, status, ?said, "attempt failed");
                    let class = of_lament(&lament);
                    let hint = hint::of(&lament.headers, &lament.told, SystemTime::now());
                    course.failed(turn, class, hint, Sent::Some, now);
                    if stop || class.consequence().then == Then::Stop {
                        let good = errand.pass(*lament).await?;
                        return Ok(settle(call, good, provider, attempts));
                    }
                }
            }
        }
        Err(Refusal::request(503, "no_provider", "no provider is configured for this model"))
    }
}

fn of_lament(lament: &Lament) -> Class {
    if lament.status.is_success() { Class::ErrorEvent } else { verdict::of_status(lament.status.as_u16()) }
}

fn note_attempt(story: Option<&mut Story>, provider: &Provider) -> u8 {
    let Some(story) = story else { return 1 };
    story.attempts = story.attempts.saturating_add(1);
    story.provider = Some(provider.target.name.clone());
    story.attempts
}

/// Notes who answered, and signs the answer.
fn settle(call: &mut Call, good: Good, provider: &Provider, attempts: u8) -> Answer {
    call.answered = Some(good.times.answered);
    call.note(|story| story.connected_after = good.times.connected_after);
    let mut answer = good.answer;
    answer.sign(provider, attempts);
    answer
}
