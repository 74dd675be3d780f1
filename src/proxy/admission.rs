//! Admission: the key, the models that it may use, and a lease on its limits. All of it happens in memory,
//! and a key without limits leases nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{call::Call, fault::Refusal, limit_headers::LimitHeaders, page_session, snapshot::Snapshot};
use crate::{
    auth::{
        self, Digest, Principal,
        limit::{Exceeded, Limit, LimitValues, Reservation, wait::Refused},
    },
    base::RequestHead,
    ledger::{PricedTokens, Prices},
    routing::Plan,
    wire::{Dialect, Envelope, estimate},
};

/// Estimated tokens of an answer that the request does not bound.
const DEFAULT_ANSWER_TOKENS: u32 = 512;

/// The key of a request, as it is shown.
#[derive(Clone, Copy, Debug)]
pub enum ShownKey<'h> {
    Text(&'h [u8]),
    /// By a page's session, which names the key by its digest.
    Digest(Digest),
}

impl ShownKey<'_> {
    /// The same for both.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Text(text) => Digest::of(text),
            Self::Digest(digest) => *digest,
        }
    }
}

/// S2.7: every completion needs a key. Each that is shown is tried; the first valid one counts.
///
/// # Errors
/// The key is missing, unknown or expired (401), or the keys have not been read since the start (503).
pub fn admit(snapshot: &Snapshot, head: &RequestHead) -> Result<Arc<Principal>, Box<Refusal>> {
    accept(snapshot, head, |_| true).map(|(principal, _)| principal)
}

/// The first valid key that is `wanted`, else the first valid one; and the key as shown. Without any key
/// presented, a page's session is looked for.
///
/// # Errors
/// As [`admit`].
pub fn accept<'h>(
    snapshot: &Snapshot,
    head: &'h RequestHead,
    wanted: impl Fn(&Principal) -> bool,
) -> Result<(Arc<Principal>, ShownKey<'h>), Box<Refusal>> {
    let (mut other, mut has_any, mut has_expired, mut has_unknown) = (None, false, false, false);
    for presented in auth::presented(&head.headers) {
        has_any = true;
        match snapshot.keys.find(&snapshot.tokens, presented) {
            Some(principal) if principal.has_expired() => has_expired = true,
            Some(principal) if wanted(&principal) => return Ok((principal, ShownKey::Text(presented))),
            Some(principal) => other = other.or(Some((principal, ShownKey::Text(presented)))),
            None => has_unknown = true,
        }
    }
    if !has_any && let Some(found) = page_session::owner(snapshot, head) {
        return found.map(|(principal, key)| (principal, ShownKey::Digest(key)));
    }
    other.ok_or_else(|| {
        let (code, message) = if !has_any {
            ("missing_api_key", "no API key: send it as `Authorization: Bearer …` or `x-api-key`")
        } else if has_unknown && !snapshot.keys.are_known() {
            return unavailable("the keys could not be read yet");
        } else if has_expired {
            ("key_expired", "this API key has expired")
        } else {
            ("invalid_api_key", "this API key is not valid")
        };
        Refusal::request(401, code, message)
    })
}

/// The store has not been read since the start (503).
#[must_use]
pub fn unavailable(message: &'static str) -> Box<Refusal> {
    let mut refusal = Refusal::gateway(503, "keys_unavailable", message);
    refusal.retry_after = Some(Duration::from_secs(1));
    refusal
}

/// Takes the part of a request's lease that does not depend on its body: a place among the requests at once,
/// and one of the requests per minute. A spent budget is refused here, too.
///
/// # Errors
/// A limit is reached (429, 402), or the key's spending is not known yet (503).
pub(super) async fn enter(
    call: &mut Call,
    snapshot: &Snapshot,
    principal: &Arc<Principal>,
) -> Result<(), Box<Refusal>> {
    let Some(meter) = principal.meter.clone() else { return Ok(()) };
    let now = snapshot.keys.moment(call.started.into_std());
    let allowance = principal.limits.allowance;
    if allowance.budget.is_some() && !snapshot.keys.is_spending_known(principal) {
        return Err(unavailable("what this API key has spent could not be read yet"));
    }
    let entered = match snapshot.keys.hub() {
        Some(hub) => Box::pin(hub.enter(&meter, &allowance)).await,
        None => meter.enter(&allowance, now).map_err(Refused::Exceeded),
    };
    call.limits = Some(LimitHeaders { principal: Arc::clone(principal), meter, began: now });
    call.record().lease = Some(Box::new(entered.map_err(|refused| refuse_for(&allowance, refused))?));
    Ok(())
}

/// Checks the size of a request against the limits of `principal`, and takes the rest of its lease. A race
/// counts as often as it asks.
///
/// # Errors
/// Its budget is spent (402) or may be (503), or a limit is reached (429).
pub(super) async fn grant(
    call: &mut Call,
    snapshot: &Snapshot,
    principal: Arc<Principal>,
    (body, envelope): (&Bytes, &Envelope),
    plan: &Plan<'_>,
) -> Result<(), Box<Refusal>> {
    let mut estimate = TokenEstimate::of(estimate::prompt_tokens(body), envelope);
    if call.dialect == Dialect::Embeddings {
        estimate.answer = 0;
    }
    take(call, snapshot, principal, (plan.width(), estimate), |tokens| cost(snapshot, plan, tokens)).await
}

/// The same for one attempt, whatever strategy the plan has.
///
/// # Errors
/// As [`grant`].
pub(super) async fn grant_one(
    call: &mut Call,
    snapshot: &Snapshot,
    principal: Arc<Principal>,
    (body, envelope): (&Bytes, &Envelope),
    plan: &Plan<'_>,
) -> Result<(), Box<Refusal>> {
    let estimate = TokenEstimate::of(estimate::prompt_tokens(body), envelope);
    take(call, snapshot, principal, (1, estimate), |tokens| cost(snapshot, plan, tokens)).await
}

/// The estimated tokens of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenEstimate {
    pub(super) prompt: u32,
    pub(super) answer: u32,
}

impl TokenEstimate {
    /// With the bounds that the request sets to its answers.
    pub(super) fn of(prompt: u32, envelope: &Envelope) -> Self {
        let bound = envelope.max_tokens();
        let answer = bound.map_or(DEFAULT_ANSWER_TOKENS, |bound| u32::try_from(bound).unwrap_or(u32::MAX));
        let answers = u32::try_from(envelope.choices().unwrap_or(1)).unwrap_or(u32::MAX);
        Self { prompt, answer: answer.saturating_mul(answers.max(1)) }
    }
}

/// The key may use all models of a list, because a later one is tried when an earlier one fails.
///
/// # Errors
/// It may not use this one (403).
pub fn check_models(
    snapshot: &Snapshot,
    principal: &Principal,
    model: &str,
    fallback_models: &[Box<str>],
) -> Result<(), Box<Refusal>> {
    let mut models = std::iter::once(model).chain(fallback_models.iter().map(|other| &**other));
    if let Some(model) = models.find(|model| !snapshot.allows(&principal.limits, model)) {
        let message = format!("this API key may not ask for the model `{model}`");
        return Err(Refusal::request(403, "model_not_allowed", message).of(Some("model")));
    }
    Ok(())
}

/// Takes the rest of the lease of a request for a model by name.
///
/// # Errors
/// As [`grant`].
pub(super) async fn lease(
    call: &mut Call,
    snapshot: &Snapshot,
    principal: Arc<Principal>,
    model: &str,
    estimate: TokenEstimate,
) -> Result<(), Box<Refusal>> {
    let cost = |tokens| cost_by_name(&snapshot.prices, model, tokens);
    take(call, snapshot, principal, (1, estimate), cost).await
}

/// Takes a lease for `width` attempts at once, each of this size.
async fn take(
    call: &mut Call,
    snapshot: &Snapshot,
    principal: Arc<Principal>,
    (width, TokenEstimate { prompt, answer }): (u32, TokenEstimate),
    cost: impl FnOnce(PricedTokens) -> Option<u64>,
) -> Result<(), Box<Refusal>> {
    if call.record().lease.is_none() {
        enter(call, snapshot, &principal).await?;
    }
    let record = call.record();
    record.prompt_tokens = prompt;
    let Some(mut lease) = record.lease.take() else { return Ok(()) };
    // The body may have taken a while: tokens count from now on.
    let now = snapshot.keys.moment(Instant::now().into_std());
    let allowance = principal.limits.allowance;
    let tokens = PricedTokens { input: prompt.into(), output: answer.into(), ..PricedTokens::default() };
    let cost = allowance.budget.and_then(|_| cost(tokens)).unwrap_or(0).saturating_mul(width.into());
    let further_prompts = prompt.saturating_mul(width.saturating_sub(1));
    let ask = Reservation {
        requests: width,
        prompt,
        answer: answer.saturating_mul(width).saturating_add(further_prompts),
        cost: i64::try_from(cost).unwrap_or(i64::MAX),
    };
    let extended = match snapshot.keys.hub() {
        Some(hub) => Box::pin(hub.extend(*lease, &allowance, &ask)).await,
        None => lease.extend(&allowance, &ask, now).map_err(Refused::Exceeded),
    };
    *lease = extended.map_err(|refused| refuse_for(&allowance, refused))?;
    let record = call.record();
    record.lease = Some(lease);
    record.prices = allowance.budget.map(|_| Arc::clone(&snapshot.prices));
    Ok(())
}

/// Cost of these tokens at the most expensive candidate. `None`: no candidate has a price.
fn cost(snapshot: &Snapshot, plan: &Plan<'_>, tokens: PricedTokens) -> Option<u64> {
    let costs = plan.candidates().iter().filter_map(|candidate| {
        let provider = snapshot.providers.get(candidate.provider)?;
        snapshot.prices.cost(&provider.target.name, candidate.model, tokens)
    });
    costs.max()
}

/// Cost of these tokens where the provider is not chosen yet.
fn cost_by_name(prices: &Prices, requested: &str, tokens: PricedTokens) -> Option<u64> {
    let (provider, model) = requested.split_once('/').unwrap_or(("", requested));
    prices.cost(provider, model, tokens).or_else(|| prices.cost("", requested, tokens))
}

/// Claude Code and OpenAI's Node client ignore a longer `retry-after`, and a limit per minute has room again
/// by then or within the next second.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

fn refuse_for(allowance: &LimitValues, refused: Refused) -> Box<Refusal> {
    match refused {
        Refused::Exceeded(exceeded) => refuse(allowance, exceeded),
        Refused::Closed => {
            let message = "the limits of this API key are counted in Redis, which does not answer";
            let mut refusal = Refusal::gateway(503, "limits_unavailable", message);
            refusal.retry_after = Some(Duration::from_secs(1));
            refusal
        }
    }
}

/// A refusal that names the limit.
fn refuse(allowance: &LimitValues, exceeded: Exceeded) -> Box<Refusal> {
    let figure = |limit: Option<u32>| limit.unwrap_or_default();
    let (param, reached) = match exceeded.limit {
        Limit::Budget if exceeded.after.is_none() => {
            let message = "the budget of this API key is spent";
            return Refusal::request(402, "budget_exceeded", message).of(Some("budget"));
        }
        Limit::Budget => {
            let reached = "the rest of the budget is set aside for requests that are under way";
            ("budget", reached.to_owned())
        }
        Limit::Requests => ("rpm", format!("{} requests per minute", figure(allowance.requests))),
        Limit::Tokens => ("tpm", format!("{} tokens per minute", figure(allowance.tokens))),
        Limit::Concurrent => ("concurrent", format!("{} requests at once", figure(allowance.concurrent))),
    };
    let advice = match exceeded.after {
        Some(after) => format!("try again in {:.3} s", after.as_secs_f64()),
        None => "this request alone is larger than that".to_owned(),
    };
    let message = format!("rate limit reached ({param}): {reached}; {advice}");
    let mut refusal = Refusal::request(429, "rate_limit_exceeded", message).of(Some(param));
    refusal.retry_after = exceeded.after.map(|after| after.min(MAX_RETRY_AFTER));
    refusal
}
