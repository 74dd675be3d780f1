//! The checks of a comparison, before its first request: everything that can refuse it, except a run under
//! way.

use super::{params::Params, run::Context};
use crate::{
    base::{Moment, RequestHead, Rng, Secret},
    proxy::{
        Refusal, Snapshot,
        admission::{self, ShownKey, accept},
        page_session,
    },
    routing::PlanRequest,
    upstream::Target,
};

/// Models that may be tried until one answers.
const MAX_MODELS_TRIED: usize = 8;

/// The parameters of a run.
///
/// # Errors
/// The query is wrong (400).
pub(in crate::web) fn parameters(head: &RequestHead) -> Result<Params, Box<Refusal>> {
    Params::parse(head.uri.query().unwrap_or_default())
        .map_err(|error| Refusal::request(400, "invalid_query", error.to_string()))
}

/// The models that the first one to answer is looked for in: those that are offered and that the key may use.
///
/// # Errors
/// The key is not accepted (401).
pub(in crate::web) fn offered_models(
    head: &RequestHead,
    snapshot: &Snapshot,
) -> Result<Vec<String>, Box<Refusal>> {
    let (principal, _) = accept(snapshot, head, |_| true)?;
    let offered = snapshot.catalog.offered();
    let names = offered.iter().map(|offered| offered.model.to_owned());
    Ok(names.filter(|model| snapshot.allows(&principal.limits, model)).take(MAX_MODELS_TRIED).collect())
}

/// The gateway's own listener, with the key or the session of the request that asks for the comparison; `own`
/// is its address.
///
/// # Errors
/// The key is not accepted (401).
pub(in crate::web) fn own_target(
    head: &RequestHead,
    snapshot: &Snapshot,
    own: &Target,
) -> Result<Target, Box<Refusal>> {
    let (_, key) = accept(snapshot, head, |_| true)?;
    let ShownKey::Text(key) = key else {
        return Ok(Target { headers: page_session::own_headers(head), ..Target::clone(own) });
    };
    let key = std::str::from_utf8(key).ok();
    Ok(Target { key: key.map(|key| Secret::new(key.to_owned())), ..Target::clone(own) })
}

/// The targets of a run.
///
/// # Errors
/// The key may not use the model (403), no provider serves it (404), or all of them rest (503).
pub(in crate::web) fn prepare(
    head: &RequestHead,
    snapshot: &Snapshot,
    own: &Target,
    params: &Params,
) -> Result<Context, Box<Refusal>> {
    let (principal, _) = accept(snapshot, head, |_| true)?;
    admission::check_models(snapshot, &principal, &params.model, &[])?;
    let plan = snapshot.catalog.plan(&PlanRequest::stream(&params.model), Moment::now(), &mut Rng::random());
    let plan = plan.map_err(|none| Refusal::no_plan(&none, &params.model))?;
    let first = plan.candidates().first();
    let no_provider = || Refusal::request(404, "model_not_found", "nobody serves this model");
    let first = first.ok_or_else(no_provider)?;
    let control = snapshot.providers.get(first.provider).ok_or_else(no_provider)?;
    Ok(Context {
        gateway: own_target(head, snapshot, own)?,
        control: Target::clone(&control.target),
        control_model: first.model.to_owned(),
        control_first_token_timeout: control.deadlines.first_token,
    })
}
