//! Asking: every leg once per round, in an order that turns from round to round so that no leg always follows the same
//! one. The connections are the run's own and are kept between rounds.

use std::{cell::RefCell, time::Duration};

use http::HeaderMap;
use tokio::time::timeout;

use super::{
    leg::{Leg, LegRequest},
    leg_run::LegRun,
    params::Params,
    report::CompareReport,
    sum::{self, Repeats},
};
use crate::{
    base::Deadlines,
    load::{LoadInstant, LoadRequest, Prompt},
    telemetry::WorkerGauges,
    upstream::{PoolSettings, SharedPools, Target, Upstream},
    wire::Dialect,
};

/// Tokens that each answer may have.
pub const MAX_TOKENS: u32 = 256;
/// The longest that one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a comparison runs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The gateway's own listener, with the token of whoever asked.
    pub gateway: Target,
    pub control: Target,
    /// The model's name at the control.
    pub control_model: String,
    /// The control's own deadline; a leg through the gateway has the default.
    pub control_first_token_timeout: Duration,
}

/// How far a run has come: this leg is about to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunProgress {
    pub leg: Leg,
    /// Requests that are done, of how many.
    pub done: usize,
    pub of: usize,
}

/// Runs a comparison; dropping the future ends it. `watch` is told before each request.
pub async fn run(params: Params, context: Context, mut watch: impl FnMut(RunProgress)) -> CompareReport {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let prompt = Prompt {
        model: params.model.clone(),
        text: params.prompt.clone(),
        max_tokens: MAX_TOKENS,
        stream: true,
    };
    let mut runs = Leg::ALL.map(|leg| Repeats { leg, courses: Vec::new() });
    let of = usize::from(params.repeats) * runs.len();
    let mut done = 0;
    for round in 0..usize::from(params.repeats) {
        for turn in 0..runs.len() {
            let index = (round + turn) % runs.len();
            let Some(Repeats { leg, courses }) = runs.get_mut(index) else { continue };
            watch(RunProgress { leg: *leg, done, of });
            let ask = leg.ask(&prompt, &context.gateway, &context.control, &context.control_model);
            let first_token_timeout = match leg {
                Leg::Control => context.control_first_token_timeout,
                Leg::AsgiParameter
                | Leg::AsgiHeader
                | Leg::AsgiEndpoint
                | Leg::Buffered
                | Leg::NonStreaming => Deadlines::default().first_token,
            };
            courses.push(measure(&upstream, &ask, first_token_timeout).await);
            done += 1;
        }
    }
    sum::report(&params, &context.control.name, MAX_TOKENS, &runs)
}

async fn measure(upstream: &Upstream, ask: &LegRequest, first_token_timeout: Duration) -> LegRun {
    let from = LoadInstant::now();
    let course = RefCell::new(LegRun::new(from));
    let headers = HeaderMap::new();
    let call = LoadRequest {
        target: &ask.target,
        dialect: Dialect::ChatCompletions,
        path: ask.path,
        headers: &headers,
        body: ask.body.clone(),
        first_token_timeout,
        stream: ask.stream,
    };
    let outcome = timeout(PATIENCE, call.perform(upstream, from, &course)).await;
    let total = LoadInstant::now().since(from);
    let mut course = course.into_inner();
    match outcome {
        Ok(Ok(answer)) => {
            let connect = u64::try_from(answer.connected_after.as_nanos()).unwrap_or(u64::MAX);
            course.close(total, connect, answer.hearing);
        }
        Ok(Err(fault)) => course.fault = Some(fault.to_string()),
        Err(_) => course.fault = Some(format!("not complete after {} s", PATIENCE.as_secs())),
    }
    course
}
