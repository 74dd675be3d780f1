//! The answer cache on a request's way: whether the request is concerned, the answer that it is given from
//! there, and the place where its own answer is kept.
//!
//! Invariant: an answer that is given from the cache was made by a candidate of the request's own plan, so
//! that no key is given what it could not have asked for itself.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use tokio::time::{Instant, timeout_at};

use super::{
    answer::Answer,
    answer_place::{AnswerPlace, CACHE, CachedAnswer, JoinedAnswer, JoinedBody},
    cache_key::KeyedRequest,
    call::Call,
    fault::Refusal,
    gemini_path,
    request_headers::RequestHeaders,
};
use crate::{
    auth::Principal,
    base::{ByteList, Endpoint},
    cache::{
        AnswerKey, AnswerMaker, CacheDirective, FlightRole, MakerPlace, StoredAnswer,
        flight::{FlightEnd, FlightFollower, FlightFrame},
    },
};

/// Requests that one follows in turn before it asks by itself: they may leave, or end in errors.
const MAX_LEADERS: usize = 2;

/// What a request finds.
pub(super) enum Recalled {
    Answer(Answer),
    /// One may be on its way: see [`AwaitedAnswer::resolve`].
    Awaited(Box<AwaitedAnswer>),
    /// Nothing: it goes to a provider. Its answer is kept if its call has a place.
    Nothing,
}

/// An answer that is not in memory.
pub(super) struct AwaitedAnswer {
    key: AnswerKey,
    /// The greatest age of a stored answer.
    max_age: Duration,
    is_only_wish: bool,
    /// An equal request is under way. `None`: other replicas may have the answer.
    follower: Option<FlightFollower>,
    /// The end of the client's own patience.
    deadline: Option<Instant>,
}

/// Looks for an answer; one with a trace comment (`has_comment`) is a request's own.
///
/// # Errors
/// The header is wrong (400), or only a stored answer is wanted and there is none (504).
pub(super) fn recall(
    call: &mut Call,
    request: &KeyedRequest<'_>,
    headers: &RequestHeaders<'_>,
    principal: &Principal,
    has_comment: bool,
) -> Result<Recalled, Box<Refusal>> {
    let directive = directive(headers)?;
    let (policy, answers) = (&request.snapshot.cache, &request.snapshot.answers);
    let model = request.plan.rule.and_then(|rule| request.snapshot.catalog.settings().models.get(rule));
    let by_model = model.map(|rule| &*rule.name);
    let is_concerned = policy.is_in_use
        && policy.concerns(principal.limits.cache, by_model)
        && !directive.no_store
        && !has_comment
        && may_be_cached(request);
    if is_concerned {
        let key = request.key();
        let settings = &policy.settings;
        let max_age = directive.max_age.unwrap_or(settings.max_age).min(settings.max_age);
        if let Some(answer) = remember(request, &key, max_age) {
            return Ok(Recalled::Answer(begun(call, answer)));
        }
        let max_size = settings.max_entry_size;
        let (cache, dialect, makers) = (answers.clone(), request.endpoint.dialect(), makers(request));
        let place = AnswerPlace { key, cache, max_age: settings.max_age, max_size, dialect, makers };
        call.place = Some(Box::new(place));
        let mut follower = None;
        if settings.coalesce && !directive.only_if_cached {
            match join_flight(call, request, key, max_age) {
                JoinedFlight::Ended(answer) => {
                    call.place = None;
                    return Ok(Recalled::Answer(begun(call, answer)));
                }
                JoinedFlight::Led => {}
                JoinedFlight::Followed(joined) => follower = Some(joined),
            }
        }
        // The first of equal requests asks for all of them. Nothing is as new as a new answer.
        if follower.is_some() || answers.may_fetch() && !max_age.is_zero() {
            let is_only_wish = directive.only_if_cached;
            let deadline = headers.timeout().map(|patience| call.started + patience);
            let awaited = AwaitedAnswer { key, max_age, is_only_wish, follower, deadline };
            return Ok(Recalled::Awaited(Box::new(awaited)));
        }
        answers.note_miss();
    }
    if directive.only_if_cached { Err(not_cached()) } else { Ok(Recalled::Nothing) }
}

impl AwaitedAnswer {
    /// The answer. `None`: there is none, and the request goes to a provider.
    ///
    /// # Errors
    /// Only a stored answer is wanted and there is none (504), or the client's patience has ended (504).
    pub(super) async fn resolve(
        self,
        call: &mut Call,
        request: KeyedRequest<'_>,
    ) -> Result<Option<Answer>, Box<Refusal>> {
        let (answers, settings) = (&request.snapshot.answers, &request.snapshot.cache.settings);
        let Self { key, max_age, is_only_wish, follower, deadline } = self;
        let found = if let Some(mut follower) = follower {
            let mut found = None;
            for _ in 0..MAX_LEADERS {
                // The leader may wait for its provider for longer than this client does.
                let joined = match deadline {
                    Some(deadline) => {
                        timeout_at(deadline, join(follower)).await.map_err(|_| Refusal::late())?
                    }
                    None => join(follower).await,
                };
                if let Some(answer) = joined {
                    answers.note_miss();
                    answers.note_coalesced();
                    return Ok(Some(begun(call, answer)));
                }
                // The request that it followed may have found one elsewhere.
                found = remember(&request, &key, max_age);
                if found.is_some() {
                    break;
                }
                // It has left, or has no answer to share: one of its followers asks for the others.
                match join_flight(call, &request, key, max_age) {
                    JoinedFlight::Ended(answer) => {
                        found = Some(answer);
                        break;
                    }
                    JoinedFlight::Led => break,
                    JoinedFlight::Followed(next) => follower = next,
                }
            }
            found
        } else {
            let bounds = (settings.max_age, settings.max_entry_size);
            let fetched = answers.fetch(&key, bounds, |answer| is_candidate(&request, &answer.maker)).await;
            fetched
                .filter(|answer| answer.age(SystemTime::now()) <= max_age)
                .map(|answer| give(&request, answer))
        };
        if let Some(answer) = found {
            call.place = None;
            // Equal requests that follow find it in memory.
            call.flight = None;
            return Ok(Some(begun(call, answer)));
        }
        answers.note_miss();
        if is_only_wish { Err(not_cached()) } else { Ok(None) }
    }
}

/// The request is at its answer from here on.
fn begun(call: &Call, answer: Answer) -> Answer {
    call.completion.stage().set(answer.stage());
    answer
}

/// The flight of an equal request, as a request that found no answer in memory joins it.
enum JoinedFlight {
    /// It has just ended, and this is its answer.
    Ended(Answer),
    /// There is none: others follow this request.
    Led,
    Followed(FlightFollower),
}

fn join_flight(
    call: &mut Call,
    request: &KeyedRequest<'_>,
    key: AnswerKey,
    max_age: Duration,
) -> JoinedFlight {
    match request.snapshot.flights.join(key, request.snapshot.cache.settings.max_entry_size) {
        FlightRole::Follower(follower) => JoinedFlight::Followed(follower),
        // An answer is stored before its flight ends.
        FlightRole::Leader(leader) => match remember(request, &key, max_age) {
            Some(answer) => JoinedFlight::Ended(answer),
            None => {
                call.flight = Some(Box::new(leader));
                JoinedFlight::Led
            }
        },
    }
}

/// An answer that is in memory.
fn remember(request: &KeyedRequest<'_>, key: &AnswerKey, max_age: Duration) -> Option<Answer> {
    let answers = &request.snapshot.answers;
    let found = answers.find(key, max_age, |answer| is_candidate(request, &answer.maker))?;
    Some(give(request, found))
}

fn give(request: &KeyedRequest<'_>, answer: Arc<StoredAnswer>) -> Answer {
    request.snapshot.answers.note_hit(answer.tokens);
    Answer::Cached(Box::new(CachedAnswer::new(answer, request.snapshot.cache.settings.pace)))
}

pub(super) fn not_cached() -> Box<Refusal> {
    let message = "no stored answer fits this request (x-thalweg-cache: only-if-cached)";
    Refusal::request(504, "not_cached", message)
}

/// The answer of the equal request, as soon as it has begun. `None`: it has none to share.
pub(super) async fn join(mut follower: FlightFollower) -> Option<Answer> {
    let head = poll_fn(|cx| follower.poll_head(cx)).await?;
    let mut headers = head.headers;
    headers.insert(CACHE, "coalesced");
    let body = if head.is_stream { JoinedBody::Stream(follower) } else { whole(&mut follower).await? };
    Some(Answer::Joined(Box::new(JoinedAnswer { headers, body })))
}

/// All of an answer that does not stream.
async fn whole(follower: &mut FlightFollower) -> Option<JoinedBody> {
    let mut body = ByteList::new();
    loop {
        match poll_fn(|cx| follower.poll_frame(cx)).await {
            FlightFrame::Frame(frame) => body.push(frame),
            FlightFrame::Last(frame, FlightEnd::Complete(tokens)) => {
                body.push(frame);
                return Some(JoinedBody::Whole(body, tokens));
            }
            FlightFrame::End(FlightEnd::Complete(tokens)) => return Some(JoinedBody::Whole(body, tokens)),
            FlightFrame::Last(..) | FlightFrame::End(_) | FlightFrame::Behind => return None,
        }
    }
}

pub(super) fn directive(headers: &RequestHeaders<'_>) -> Result<CacheDirective, Box<Refusal>> {
    // Lines of one name are one list (RFC 9110 section 5.3).
    let lines: Vec<&[u8]> = headers.cache().collect();
    if lines.is_empty() {
        return Ok(CacheDirective::default());
    }
    CacheDirective::parse(&lines.join(&b", "[..])).map_err(|_| {
        let message =
            "the header `x-thalweg-cache` must be `no-store`, `only-if-cached` or `max-age=SECONDS`";
        Refusal::request(400, "invalid_header", message)
    })
}

/// Whether the provider is one that the request may be sent to, under the same name of the model.
fn is_candidate(request: &KeyedRequest<'_>, maker: &AnswerMaker) -> bool {
    request.plan.candidates().iter().any(|candidate| {
        let provider = request.snapshot.providers.get(candidate.provider);
        *candidate.model == *maker.model
            && provider.is_some_and(|provider| {
                provider.target.name == maker.provider && provider.place == maker.place
            })
    })
}

/// The providers that the request may be sent to.
fn makers(request: &KeyedRequest<'_>) -> Box<[(Arc<str>, MakerPlace)]> {
    let candidates = request.plan.candidates().iter();
    let providers = candidates.filter_map(|candidate| request.snapshot.providers.get(candidate.provider));
    providers.map(|provider| (Arc::clone(&provider.target.name), provider.place)).collect()
}

/// Whether an equal request may be given the same answer: nothing is left at the provider by it, and all of
/// its answer is the provider's.
fn may_be_cached(request: &KeyedRequest<'_>) -> bool {
    let is_array = request.endpoint.is_gemini()
        && request.envelope.stream() == Some(true)
        && !gemini_path::asks_for_events(request.query);
    // A provider may answer a key that it has seen with the answer to another body.
    let is_once = ["idempotency-key", "x-idempotency-key"].iter().any(|name| request.headers.contains(*name));
    !is_array && !is_once && (request.endpoint != Endpoint::Responses || leaves_nothing(request.body))
}

/// Members of a request for a response that act at the provider.
#[derive(Deserialize)]
struct ActingMembers {
    #[serde(default)]
    background: Option<bool>,
    #[serde(default)]
    conversation: Option<IgnoredAny>,
}

/// Whether a response is made before its answer ends, and is added to no conversation.
fn leaves_nothing(body: &Bytes) -> bool {
    let members: Result<ActingMembers, _> = serde_json::from_slice(body);
    members.is_ok_and(|members| members.background != Some(true) && members.conversation.is_none())
}
