//! The checks of a comparison, before its first request: everything that can refuse it, except a run under
//! way.

use http::request::Parts;

use super::{params::Params, run::Context};
use crate::{
    base::{Moment, Rng, Secret},
    proxy::{Refusal, Snapshot, admission::accept},
    routing::PlanRequest,
    upstream::Target,
};

/// The parameters and targets of a run; `own` is this gateway's own address.
///
/// # Errors
/// The query is wrong (400), no provider serves the model (404), or all of them rest (503).
pub(in crate::web) fn prepare(
    head: &Parts,
    snapshot: &Snapshot,
    own: &Target,
) -> Result<(Params, Context), Box<Refusal>> {
    let params = Params::parse(head.uri.query().unwrap_or_default())
        .map_err(|error| Refusal::request(400, "invalid_query", error.to_string()))?;
    let plan = snapshot.catalog.plan(&PlanRequest::stream(&params.model), Moment::now(), &mut Rng::random());
    let plan = plan.map_err(|none| Refusal::no_plan(&none, &params.model))?;
    let first = plan.candidates().first();
    let no_provider = || Refusal::request(404, "model_not_found", "nobody serves this model");
    let first = first.ok_or_else(no_provider)?;
    let control = snapshot.providers.get(first.provider).ok_or_else(no_provider)?;
    let (_, key) = accept(snapshot, &head.headers, |_| true)?;
    let key = std::str::from_utf8(key).ok();
    let context = Context {
        gateway: Target { key: key.map(|key| Secret::new(key.to_owned())), ..Target::clone(own) },
        control: Target::clone(&control.target),
        control_model: first.model.to_owned(),
        control_first_token_timeout: control.deadlines.first_token,
    };
    Ok((params, context))
}
