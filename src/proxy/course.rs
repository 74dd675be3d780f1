//! The course of a request through its candidates, until an answer is good enough to be committed.

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
    verdict::{self, Verdict},
};
use crate::{
    relay::{Mode, Outcome, Story},
    routing::Plan,
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
    pub(super) plan: &'a Plan<'a>,
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
    pub(super) async fn attempt(&self, call: &mut Call, wish: &Wish<'_>) -> Result<Answer, Box<Refusal>> {
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
            sole: wish.plan.providers.len() == 1 || !wish.snapshot.failover,
        };
        let last = wish.plan.providers.len().saturating_sub(1);
        call.asked = Some(Instant::now());
        for (turn, index) in wish.plan.providers.iter().enumerate() {
            let Some(provider) = wish.snapshot.providers.get(*index) else { continue };
            let attempts = note_attempt(story.as_deref_mut(), provider);
            let bad = match errand.ask(provider, wish.plan.model).await {
                Ok(good) => {
                    provider.health.note(true);
                    return Ok(settle(call, good, provider, attempts));
                }
                Err(bad) => bad,
            };
            let stop = turn == last || !wish.snapshot.failover;
            match bad {
                Bad::Fault(fault) => {
                    if verdict::is_trouble(&fault) {
                        provider.health.note(false);
                    }
                    tracing::debug!(id = %errand.id, provider = %provider.target.name, %fault, "attempt failed");
                    if stop || verdict::of_fault(&fault) == Verdict::Stop {
                        return Err(fault.into());
                    }
                }
                Bad::Error(lament) => {
                    let status = lament.status.as_u16();
                    provider.health.note(verdict::is_alive(status));
                    let said = complaint::read(&lament.told);
                    tracing::debug!(id = %errand.id, provider = %provider.target.name, status, ?said, "attempt failed");
                    if stop || is_the_callers(&lament) {
                        let good = errand.pass(*lament).await?;
                        return Ok(settle(call, good, provider, attempts));
                    }
                }
            }
        }
        Err(Refusal::request(503, "no_provider", "no provider is configured for this model"))
    }
}

fn is_the_callers(lament: &Lament) -> bool {
    !lament.status.is_success() && verdict::of_status(lament.status.as_u16()) == Verdict::Stop
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
