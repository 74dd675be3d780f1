//! Requests to further endpoints: counting tokens, stored responses, sound, images, moderations, rerank. They
//! go through the same door as completions: key, model, limits, a row. Their bodies go up as they came.
//!
//! Candidates are asked one after the other, in the order that completions of the model would have. Success
//! and failure here say nothing about completions, so nothing is written down but the providers that have or
//! lack an endpoint. A request without a model (a stored response, a model of the provider's own choice) asks
//! all providers in the configuration's order; the first good answer counts.
//!
//! `fields` reads a request's body; `token_count` estimates a count.

mod fields;
mod token_count;

use std::{borrow::Cow, pin::pin, sync::Arc};

use http::Method;
use tokio::time::{Instant, timeout};

use fields::Fields;
use token_count::{counting_dialect, estimated_count};

use super::{
    Gateway,
    admission::{self, TokenEstimate, admit},
    answer::Answer,
    attempt_result::{AttemptError, Success},
    body::Body,
    call::Call,
    failures::{FailedAttempt, FailedAttempts},
    fault::Refusal,
    gemini_path,
    handle::Addressed,
    intake::{self, Incoming, ReadBody},
    planning::own_response,
    query::with_query,
    recall::{directive, not_cached},
    request_context::RequestContext,
    request_headers::RequestHeaders,
    snapshot::{Provider, Snapshot},
};
use crate::{
    auth::Principal,
    base::{
        Endpoint, HandlerResponse, Moment, RequestHead, Sent,
        origins::{OriginMaker, OriginToken},
    },
    exchange::{BackgroundPart, RequestRecord, ResponseMode},
    relay::CommitPoint,
    routing::{
        Candidate, FailureClass, NoPlan, PlanRequest, ResponseKind, candidate_stats::Admission,
        class::NextStep, endpoint_memory::EndpointKnowledge,
    },
    wire::ModelUse,
};

/// Bytes of a response's id.
const MAX_ID: usize = 256;

/// A provider to ask, by its index, and the model's name there; empty: none is named.
type AskedProvider<'a> = (usize, &'a str);

/// The error that the client is given when no provider has an answer.
struct KeptError<'a> {
    error: AttemptError,
    class: FailureClass,
    provider: (&'a Provider, usize),
    model: &'a str,
    /// Another provider may have what this one lacks. Such an error says less than any other.
    is_elsewhere: bool,
}

impl Gateway {
    /// Answers one request to a further endpoint. Dropping the future or the body completes it.
    pub async fn forward(
        &self,
        mut call: Call,
        head: &mut RequestHead,
        body: impl Incoming,
        addressed: Addressed<'_>,
    ) -> HandlerResponse<Body> {
        let snapshot = self.snapshot.load_full();
        self.trace(&mut call, head);
        let answered = {
            let answering = pin!(self.ask_providers(&mut call, &snapshot, head, body, addressed));
            self.unless_ended(answering).await
        };
        let outcome = answered.unwrap_or_else(|| Err(Refusal::shutting_down(call.completion.stage().get())));
        self.finish(call, &snapshot, head, outcome)
    }

    async fn ask_providers(
        &self,
        call: &mut Call,
        snapshot: &Snapshot,
        head: &RequestHead,
        body: impl Incoming,
        addressed: Addressed<'_>,
    ) -> Result<Answer, Box<Refusal>> {
        let endpoint = addressed.endpoint;
        let principal = admit(snapshot, head)?;
        let key = Arc::clone(&principal.id);
        call.note_key(&principal);
        call.record().on_disconnect = snapshot.stream.on_disconnect;
        let headers = RequestHeaders::of(&head.headers);
        let trace = headers.trace_options(&snapshot.telemetry);
        call.digests = trace.digests && !self.gauges.meter.sheds();
        let path = upstream_path(&addressed, head)?;
        if endpoint == Endpoint::StoredResponse {
            self.own_stored(call, snapshot, &principal, (&addressed, head))?;
        }
        // Answers of these endpoints are never stored.
        if directive(&headers)?.only_if_cached {
            return Err(not_cached());
        }
        admission::enter(call, snapshot, &principal).await?;
        let read = if head.method == Method::GET {
            ReadBody::EMPTY
        } else {
            let memory = (&self.bodies, &principal.id);
            intake::read(body, &head.headers, snapshot.intake, memory).await?
        };
        let body = &read.bytes;
        call.record().client.request_bytes = body.len() as u64;

        let fields = Fields::read(endpoint, head, body, addressed.model)?;
        let (model, streams) = (fields.model(), fields.stream() || asks_for_events(endpoint, head));
        let record = call.record();
        record.model = (!model.is_empty()).then(|| model.into());
        record.mode = Some(if streams { ResponseMode::Asgi } else { ResponseMode::NonStreaming });
        check_model(snapshot, &principal, endpoint, &fields)?;
        if let Fields::Json(envelope) = &fields {
            own_response(snapshot, &principal, endpoint, (envelope, body))?;
        }
        let estimate = if endpoint.is_free() { TokenEstimate::default() } else { fields.estimate(body) };
        admission::lease(call, snapshot, principal, model, estimate).await?;
        self.check_ended()?;
        tracing::debug!(id = %call.id, path = endpoint.path(), model, "request");

        let maker = match &fields {
            _ if endpoint == Endpoint::StoredResponse => snapshot.maker_of_id(addressed.rest),
            Fields::Json(envelope) => snapshot.maker(endpoint.dialect(), envelope, body),
            Fields::Form(_) | Fields::Nothing => None,
        };
        let stops = match self.stops(snapshot, &fields, (endpoint, streams), maker) {
            Err(refusal) => return estimated_count(refusal, snapshot, (endpoint, model), body),
            Ok(stops) => stops,
        };
        call.completion.show_model();
        let (record, running, wasted) = call.completion.parts();
        let began = Instant::now();
        call.asked = Some(began);
        let within = headers.timeout();
        let context = RequestContext {
            upstream: &self.upstream,
            meter: &self.gauges.meter,
            snapshot,
            id: &call.id,
            started: call.started,
            head,
            path: &path,
            body,
            payload: fields.payload(),
            endpoint,
            streams,
            mode: snapshot.stream.mode,
            trace,
            key: &key,
            running,
            wasted,
            is_sole: stops.len() == 1,
            // No stream of these has the option that requests usage.
            is_charged: false,
            deadline: within.map(|within| Moment::now() + within),
            // Any answer counts, so there is nothing to wait for.
            model_commit: Some(CommitPoint::FirstFrame),
        };
        let asking = context.ask_in_turn(&stops, record);
        let asked = match within {
            None => asking.await,
            Some(within) => timeout(within, asking).await.unwrap_or_else(|_| Err(Refusal::late())),
        };
        let (success, provider) = match asked {
            Err(refusal) => return estimated_count(refusal, snapshot, (endpoint, model), body),
            Ok(asked) => asked,
        };
        record.answered_after = Some(success.times.answered - began);
        record.connection_wait = Some(success.times.connection_wait);
        let attempts = record.attempts;
        let mut answer = success.answer;
        let name = snapshot.providers.get(provider).map(|provider| &*provider.target.name);
        answer.sign(name, attempts);
        Ok(answer)
    }

    /// A key reads, cancels and deletes its own responses. The one that it reads may have a charge to
    /// correct.
    ///
    /// # Errors
    /// It is another key's, or its key is not known while there are several.
    fn own_stored(
        &self,
        call: &mut Call,
        snapshot: &Snapshot,
        principal: &Principal,
        (addressed, head): (&Addressed<'_>, &RequestHead),
    ) -> Result<(), Box<Refusal>> {
        let id = addressed.rest.split('/').next().unwrap_or_default();
        if !snapshot.may_name(principal, id.as_bytes()) {
            let message = format!("Response with id '{id}' not found.");
            return Err(Refusal::request(404, "response_not_found", message));
        }
        if head.method != Method::DELETE {
            let read = OriginToken::of(id.as_bytes());
            call.record().background = Some(BackgroundPart::new(&self.background, Some(read)));
        }
        Ok(())
    }

    /// The providers to ask, in order.
    fn stops<'a>(
        &self,
        snapshot: &'a Snapshot,
        fields: &'a Fields,
        (endpoint, streams): (Endpoint, bool),
        maker: Option<OriginMaker>,
    ) -> Result<Vec<AskedProvider<'a>>, Box<Refusal>> {
        let model = fields.model();
        if model.is_empty() {
            return providers_having(snapshot, endpoint, maker);
        }
        let request = PlanRequest {
            model,
            fallback_models: fields.fallback_models(),
            strategy: None,
            session: None,
            kind: ResponseKind::of(streams),
            endpoint,
            caller: 0,
            may_translate: false,
        };
        let plan = snapshot
            .catalog
            .plan_for(&request, || maker, Moment::now(), &mut self.rng.borrow_mut())
            .map_err(|none| Refusal::no_plan(&none, model))?;
        // An estimate takes the place of an answer that is known to be none.
        let is_spared = |candidate: &&Candidate<'_>| {
            matches!(endpoint, Endpoint::CountTokens | Endpoint::InputTokens)
                && snapshot.catalog.is_known_to_lack(candidate, endpoint, Moment::now())
        };
        let now = Moment::now();
        let mut candidates: Vec<_> =
            plan.candidates().iter().filter(|candidate| !is_spared(candidate)).collect();
        // Those that rest come last.
        candidates.sort_by_key(|candidate| {
            matches!(candidate.stats.admission_to(endpoint, now), Admission::Closed { .. })
        });
        let mut stops: Vec<AskedProvider<'a>> =
            candidates.iter().map(|candidate| (candidate.provider, candidate.model)).collect();
        if stops.is_empty() {
            return Err(Refusal::no_plan(&NoPlan::NoEndpoint(endpoint), model));
        }
        stops.truncate(if snapshot.failover { stops.len() } else { 1 });
        Ok(stops)
    }
}

impl RequestContext<'_> {
    /// Asks one provider after the other. The answer, and its provider.
    async fn ask_in_turn(
        self,
        stops: &[AskedProvider<'_>],
        record: &mut RequestRecord,
    ) -> Result<(Box<Success>, usize), Box<Refusal>> {
        let mut failures = FailedAttempts::default();
        let mut kept: Option<KeptError<'_>> = None;
        for (number, (index, model)) in stops.iter().copied().enumerate() {
            let Some(provider) = self.snapshot.providers.get(index) else { continue };
            record.attempts = record.attempts.saturating_add(1);
            record.provider = Some(Arc::clone(&provider.target.name));
            record.upstream_model = (!model.is_empty()).then(|| model.into());
            let is_last = number + 1 == stops.len();
            let context = RequestContext { is_sole: is_last, ..self };
            let (began, memory) = (Moment::now(), provider.standing.endpoints());
            let error = match context.attempt(provider, (model, self.endpoint)).await {
                Ok(success) => {
                    memory.answered(self.endpoint, began);
                    self.running.stage().set(success.answer.stage());
                    return Ok((success, index));
                }
                Err(error) => error,
            };
            let failure = FailedAttempt::of(Some(provider), model, &error);
            failure.log(self.id);
            // A path with an unknown id is missing, too.
            let may_learn =
                self.endpoint != Endpoint::StoredResponse && !self.is_at_fault_by_query(self.endpoint);
            if failure.class == FailureClass::EndpointMissing && may_learn {
                let now = Moment::now();
                memory.missing(self.endpoint, now + failure.class.consequence().rest, now);
            }
            let class = failure.class;
            let is_elsewhere = self.is_elsewhere(&error, class);
            let may_be_done = failure.sent == Sent::Unknown && self.snapshot.catalog.settings().retry.safe;
            let is_final = may_be_done || !is_elsewhere && class.consequence().next_step == NextStep::Stop;
            failures.add(failure);
            if is_final || kept.as_ref().is_none_or(|kept| kept.is_elsewhere) {
                kept = Some(KeptError { error, class, provider: (provider, index), model, is_elsewhere });
            }
            if is_final {
                break;
            }
        }
        match kept {
            Some(KeptError { error: AttemptError::Fault(fault), .. }) if stops.len() == 1 => {
                Err(fault.into())
            }
            Some(KeptError { error: error @ AttemptError::Error(_), class, provider, model, .. })
                if self.understands(class, &error)
                    && (class != FailureClass::EndpointMissing
                        || counting_dialect(self.endpoint).is_none()) =>
            {
                let (provider, index) = provider;
                // A later one may have been asked since.
                record.provider = Some(Arc::clone(&provider.target.name));
                record.upstream_model = (!model.is_empty()).then(|| model.into());
                let success = self.pass_error(error, class, provider).await?;
                self.running.stage().set(success.answer.stage());
                Ok((success, index))
            }
            Some(_) | None => Err(failures.refusal(self.path.split('?').next().unwrap_or_default())),
        }
    }

    /// Whether an error says that another provider may have what this one lacks: the endpoint, the model, or
    /// the response of this id. Providers know each other's ids for malformed ones.
    fn is_elsewhere(&self, error: &AttemptError, class: FailureClass) -> bool {
        let AttemptError::Error(response) = error else { return false };
        match response.status.as_u16() {
            404 | 405 | 410 | 501 => true,
            400 | 422 => self.endpoint == Endpoint::StoredResponse,
            _ => matches!(
                class,
                FailureClass::ModelMissing | FailureClass::ModelElsewhere | FailureClass::EndpointMissing
            ),
        }
    }
}

/// The key may use the model. A key for some models must name one, because a provider's own choice might be
/// another.
fn check_model(
    snapshot: &Snapshot,
    principal: &Principal,
    endpoint: Endpoint,
    fields: &Fields,
) -> Result<(), Box<Refusal>> {
    let model = fields.model();
    if model.is_empty() {
        if endpoint.model_use() == ModelUse::None || principal.limits.models.is_empty() {
            return Ok(());
        }
        let message = "this API key is for certain models, so a request must name its `model`";
        return Err(Refusal::request(403, "model_not_allowed", message).of(Some("model")));
    }
    admission::check_models(snapshot, principal, model, fields.fallback_models())
}

/// The path below a provider's base URL.
fn upstream_path<'a>(addressed: &Addressed<'a>, head: &RequestHead) -> Result<Cow<'a, str>, Box<Refusal>> {
    let path = addressed.endpoint.path();
    let query = head.uri.query();
    if addressed.endpoint.is_gemini() {
        return Ok(gemini_path::method(addressed.endpoint, false, query));
    }
    if addressed.endpoint != Endpoint::StoredResponse {
        return Ok(with_query(path.into(), query));
    }
    let id = addressed.rest.split('/').next().unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'=' | b':');
    // A path must not lead out of its endpoint.
    if id.len() > MAX_ID || !id.bytes().all(fits) || id.bytes().all(|byte| byte == b'.') {
        return Err(Refusal::request(404, "response_not_found", "this is no id of a response"));
    }
    Ok(with_query(format!("{path}/{}", addressed.rest).into(), query))
}

/// The maker of the thing that the request is about; else all providers that may have an endpoint, in the
/// configuration's order: those that rest, or have said that they lack it, come last.
fn providers_having<'a>(
    snapshot: &Snapshot,
    endpoint: Endpoint,
    maker: Option<OriginMaker>,
) -> Result<Vec<AskedProvider<'a>>, Box<Refusal>> {
    let now = Moment::now();
    if let Some(maker) = maker
        && let Some(index) =
            (0..snapshot.providers.len()).find(|index| snapshot.catalog.is_maker(*index, maker))
    {
        return Ok(vec![(index, "")]);
    }
    let mut found: Vec<(bool, usize)> = snapshot
        .providers
        .iter()
        .enumerate()
        .filter_map(|(index, provider)| {
            let is_late = match snapshot.catalog.knowledge(index, endpoint, now) {
                EndpointKnowledge::Configured(false) => return None,
                EndpointKnowledge::Missing { .. } | EndpointKnowledge::Known(false) => true,
                EndpointKnowledge::Configured(true)
                | EndpointKnowledge::Known(true)
                | EndpointKnowledge::Answered
                | EndpointKnowledge::Unknown => provider.standing.resting_until() > now,
            };
            Some((is_late, index))
        })
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        let message = format!("no provider has the endpoint `{}`", endpoint.path());
        return Err(Refusal::request(404, "endpoint_not_found", message));
    }
    Ok(found.into_iter().map(|(_, index)| (index, "")).collect())
}

/// Whether the query of a stored response asks for its events.
fn asks_for_events(endpoint: Endpoint, head: &RequestHead) -> bool {
    let mut pairs = head.uri.query().unwrap_or_default().split('&');
    endpoint == Endpoint::StoredResponse && pairs.any(|pair| pair.eq_ignore_ascii_case("stream=true"))
}
