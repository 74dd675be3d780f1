//! One attempt after another until an answer is good enough to be committed. Nothing has reached the client while this
//! runs; dropping it cancels the attempt at the provider.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use tokio::time::Instant;

use super::{
    Corridor,
    answer::{Carriage, carriage, declared_length, forbid_buffering, pass_down},
    call::{Body, Call},
    fault::{self, Refusal},
    snapshot::{Provider, Snapshot},
    verdict::{self, Verdict},
};
use crate::{
    base::{ByteList, Clock, Fault, Kind, Sent, Stage},
    relay::{CommitPoint, Manner, Mode, Outcome, Uncommitted, whole},
    routing::Plan,
    telemetry::Held,
    upstream::{self, Deadline, Request},
    wire::{Edits, Envelope, splice},
};

/// What all attempts of one request have in common.
#[derive(Debug)]
pub struct Wish<'a> {
    pub snapshot: &'a Snapshot,
    pub head: &'a Parts,
    pub body: &'a Bytes,
    pub envelope: &'a Envelope,
    pub plan: &'a Plan<'a>,
    pub mode: Mode,
}

impl Wish<'_> {
    fn streams(&self) -> bool {
        self.envelope.stream() == Some(true)
    }
}

/// What is good enough for the client.
#[derive(Debug)]
pub enum Answer {
    Whole(StatusCode, HeaderMap, ByteList),
    Stream(StatusCode, HeaderMap, Uncommitted<upstream::Body>),
}

impl Answer {
    /// The commit: from here on the client sees it.
    pub fn give(self, call: Call, counted: impl FnOnce() -> Held) -> Response<Body> {
        let dialect = call.dialect;
        match self {
            Self::Whole(status, headers, body) => call.whole(status, headers, body, Outcome::Complete),
            Self::Stream(status, headers, stream) => {
                call.stream(status, headers, |ending| stream.commit(dialect, fault::event, ending, counted()))
            }
        }
    }
}

/// Why an attempt came to nothing.
enum Bad {
    Fault(Fault),
    Status(u16),
}

impl Corridor {
    /// Tries the plan's providers in order (S3.2); the last one's own answer is given whatever it is.
    pub(super) async fn attempt(&self, call: &mut Call, wish: &Wish<'_>) -> Result<Answer, Box<Refusal>> {
        let last = wish.plan.providers.len().saturating_sub(1);
        for (turn, index) in wish.plan.providers.iter().enumerate() {
            let Some(provider) = wish.snapshot.providers.get(*index) else { continue };
            let final_turn = turn == last || !wish.snapshot.failover;
            call.note(|story| {
                story.attempts = story.attempts.saturating_add(1);
                story.provider = Some(provider.target.name.clone());
            });
            match self.attempt_one(call, wish, provider, final_turn).await {
                Ok(answer) => return Ok(answer),
                Err(Bad::Fault(fault)) => {
                    if verdict::is_trouble(&fault) {
                        provider.health.note(false);
                    }
                    tracing::debug!(id = %call.id, provider = %provider.target.name, %fault, "attempt failed");
                    if final_turn || verdict::of_fault(&fault) == Verdict::Stop {
                        return Err(fault.into());
                    }
                }
                Err(Bad::Status(status)) => {
                    tracing::debug!(id = %call.id, provider = %provider.target.name, status, "attempt failed");
                }
            }
        }
        Err(Refusal::request(503, "no_provider", "no provider is configured for this model"))
    }

    async fn attempt_one(
        &self,
        call: &mut Call,
        wish: &Wish<'_>,
        provider: &Provider,
        final_turn: bool,
    ) -> Result<Answer, Bad> {
        let target = &*provider.target;
        let deadline = if wish.streams() {
            Deadline::new(Clock::FirstToken, target.clocks.first_token)
        } else {
            Deadline::new(Clock::Total, target.clocks.total)
        };
        let ask_usage = self.asks_usage(call, wish);
        let edits = Edits { model: Some(wish.plan.model), drop_asgi: true, ask_usage };
        let body = splice(wish.body, wish.envelope, &edits);
        let accept = if wish.streams() { "text/event-stream" } else { "application/json" };
        let request =
            Request { method: Method::POST, path: call.dialect.path(), headers: &wish.head.headers, accept };
        call.asked.get_or_insert_with(Instant::now);
        tracing::debug!(id = %call.id, provider = %target.name, "connecting");
        let sent = self.upstream.send_noting(target, &request, body, deadline, call.ending.stage()).await;
        let mut response = sent.map_err(Bad::Fault)?;
        call.answered = Some(Instant::now());
        call.note(|story| story.connected_after = response.connected_after);
        let status = response.status;
        tracing::debug!(id = %call.id, status = status.as_u16(), "connected");
        provider.health.note(verdict::is_alive(status.as_u16()));
        if !final_turn && verdict::of_status(status.as_u16()) == Verdict::Next {
            return Err(Bad::Status(status.as_u16()));
        }
        let attempts = call.ending.story().map_or(1, |story| story.attempts);
        let declared = declared_length(&response.headers);
        pass_down(&mut response.headers, provider, attempts);
        let carried = carriage(&response.headers, wish.streams());
        if carried == Carriage::Whole || !status.is_success() {
            call.ending.stage().set(Stage::Body);
            let collected = collect(response.body, declared, wish, deadline).await.map_err(Bad::Fault)?;
            return Ok(Answer::Whole(status, response.headers, collected));
        }
        let manner = Manner {
            dialect: call.dialect,
            mode: wish.mode,
            events: carried == Carriage::Events,
            strip_usage: ask_usage,
            first_token: (deadline.at, deadline.after),
            idle: target.clocks.idle,
            total: target.clocks.stream_total.map(|given| (call.started + given, given)),
        };
        call.ending.stage().set(Stage::FirstToken);
        let point = wish.snapshot.stream.commit.unwrap_or(if final_turn {
            CommitPoint::FirstFrame
        } else {
            CommitPoint::FirstContent
        });
        let stream =
            Uncommitted::new(response.body, &manner, &wish.snapshot.stream, call.started, call.id.clone());
        let stream = stream.reach(point).await.map_err(Bad::Fault)?;
        if manner.events {
            forbid_buffering(&mut response.headers);
        }
        Ok(Answer::Stream(status, response.headers, stream))
    }

    /// Usage is asked for on the client's behalf where that exists and the client did not say (B24).
    fn asks_usage(&self, call: &Call, wish: &Wish<'_>) -> bool {
        wish.streams()
            && wish.snapshot.stream.include_usage
            && call.dialect.has_stream_options()
            && wish.envelope.include_usage().is_none()
    }
}

/// The whole of a body within its limit, whether its length says that it is beyond or its bytes do (S2.9).
async fn collect(
    body: upstream::Body,
    declared: Option<u64>,
    wish: &Wish<'_>,
    deadline: Deadline,
) -> Result<ByteList, Fault> {
    let limit = wish.snapshot.stream.max_response_size;
    if declared.is_some_and(|length| length > limit) {
        return Err(Fault::provider(Stage::Body, Kind::TooLarge { limit }, Sent::Some));
    }
    let collecting = whole::collect(body, limit);
    match tokio::time::timeout_at(deadline.at, collecting).await {
        Ok(collected) => collected,
        Err(_) => Err(deadline.fault(Stage::Body)),
    }
}
