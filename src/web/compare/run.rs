//! The rounds of a comparison: every leg once per round, in an order that rotates from round to round, so
//! that no leg always follows the same other one. Connections belong to the run and are kept between rounds.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    leg::{Leg, LegRequest},
    leg_run::LegRun,
    params::Params,
    report::CompareReport,
    sum::{self, Repeats},
};
use crate::{
    base::{Deadlines, HeaderFields},
    load::{LoadInstant, LoadRequest, LoadResponse, Prompt, StreamOutcome},
    proxy::{DirectAnswer, DirectCall},
    telemetry::WorkerGauges,
    upstream::{PoolSettings, SharedPools, Target, Upstream},
    wire::Dialect,
};

/// Largest number of tokens of an answer.
pub const MAX_TOKENS: u32 = 256;
/// Tokens of an answer that only shows that a model answers.
const SHORT_ANSWER: u32 = 16;
/// Longest time of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The targets of a comparison.
#[derive(Clone, Debug)]
pub struct Context {
    /// The gateway's own listener, with the key of the request that asks for the comparison.
    pub gateway: Target,
    pub control: Target,
    /// The model's name at the control.
    pub control_model: String,
    /// The control's own deadline; a leg through the gateway has the default.
    pub control_first_token_timeout: Duration,
}

/// The progress of a run: the request of `leg` comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunProgress {
    pub leg: Leg,
    /// Requests that have ended.
    pub done: usize,
    /// Requests of the whole run.
    pub of: usize,
}

/// Runs a comparison; dropping the future ends it. `admit` admits each request of the control, whose body it
/// is given, and says why not; `watch` is called before each request, and gets the report so far if it asks.
pub async fn run(
    params: Params,
    context: Context,
    admit: impl AsyncFn(&Bytes) -> Result<DirectCall, String>,
    mut watch: impl FnMut(RunProgress, &dyn Fn() -> CompareReport),
) -> CompareReport {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let prompt = Prompt {
        model: params.model.clone(),
        text: params.prompt.clone(),
        max_tokens: MAX_TOKENS,
        stream: true,
    };
    let mut legs = Leg::ALL.map(|leg| Repeats { leg, runs: Vec::new() });
    let of = usize::from(params.repeats) * legs.len();
    let mut done = 0;
    for round in 0..usize::from(params.repeats) {
        for turn in 0..legs.len() {
            let index = (round + turn) % legs.len();
            let Some(leg) = legs.get(index).map(|repeats| repeats.leg) else { continue };
            let so_far = || sum::report(&params, &context.control.name, MAX_TOKENS, &legs);
            watch(RunProgress { leg, done, of }, &so_far);
            let request = leg.request(&prompt, &context.gateway, &context.control, &context.control_model);
            let first_token_timeout = match leg {
                Leg::Control => context.control_first_token_timeout,
                Leg::AsgiParameter
                | Leg::AsgiHeader
                | Leg::AsgiEndpoint
                | Leg::Buffered
                | Leg::NonStreaming => Deadlines::default().first_token,
            };
            let admitted = match leg {
                Leg::Control => admit(&request.body).await.map(Some),
                Leg::AsgiParameter
                | Leg::AsgiHeader
                | Leg::AsgiEndpoint
                | Leg::Buffered
                | Leg::NonStreaming => Ok(None),
            };
            let run = match admitted {
                Ok(call) => measure(&upstream, &request, first_token_timeout, call).await,
                Err(refused) => LegRun::refused(refused),
            };
            if let Some(repeats) = legs.get_mut(index) {
                repeats.runs.push(run);
            }
            done += 1;
        }
    }
    sum::report(&params, &context.control.name, MAX_TOKENS, &legs)
}

/// The first of these models that answers a short request through `gateway`. `None`: none does.
pub(in crate::web) async fn first_that_answers(models: Vec<String>, gateway: &Target) -> Option<String> {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    for model in models {
        let text = "Say hello.".to_owned();
        let prompt = Prompt { model, text, max_tokens: SHORT_ANSWER, stream: false };
        let request = Leg::NonStreaming.request(&prompt, gateway, gateway, &prompt.model);
        if measure(&upstream, &request, Deadlines::default().first_token, None).await.works() {
            return Some(prompt.model);
        }
    }
    None
}

/// `call`: the control's, which is past the gateway.
async fn measure(
    upstream: &Upstream,
    request: &LegRequest,
    first_token_timeout: Duration,
    call: Option<DirectCall>,
) -> LegRun {
    let from = LoadInstant::now();
    let run = RefCell::new(LegRun::new(from));
    let headers = HeaderFields::new();
    let load = LoadRequest {
        target: &request.target,
        dialect: Dialect::ChatCompletions,
        path: request.path,
        headers: &headers,
        body: request.body.clone(),
        first_token_timeout,
        stream: request.stream,
    };
    let outcome = timeout(REQUEST_TIMEOUT, load.perform(upstream, from, &run)).await;
    let total = LoadInstant::now().since(from);
    let mut run = run.into_inner();
    match outcome {
        Ok(Ok(answer)) => {
            if let Some(call) = call {
                let passed_tokens = u32::try_from(run.events.len()).unwrap_or(u32::MAX);
                let LoadResponse { status, outcome: StreamOutcome { usage, .. }, .. } = answer;
                call.end(Ok(DirectAnswer { status, usage, passed_tokens, bytes: run.bytes }));
            }
            let connect = u64::try_from(answer.connected_after.as_nanos()).unwrap_or(u64::MAX);
            run.close(total, connect, answer.outcome);
        }
        Ok(Err(fault)) => {
            run.fault = Some(fault.to_string());
            if let Some(call) = call {
                call.end(Err(fault));
            }
        }
        // The call is dropped: its client, the comparison, has left it.
        Err(_) => run.fault = Some(format!("not complete after {} s", REQUEST_TIMEOUT.as_secs())),
    }
    run
}
