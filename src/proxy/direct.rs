//! A request that goes to a provider past the relay, as the control of a comparison does. It passes the same
//! door as a completion: its key's models and limits, a row, a charge.
//!
//! Invariant: a [`DirectCall`] that is dropped counts as one that its client left.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Duration;

use super::{
    Gateway,
    admission::{self, admit},
    call::Call,
    fault::Refusal,
};
use crate::{
    base::{Endpoint, Fault, Moment, RequestHead, Stage},
    exchange::{ClientInfo, Outcome, RequestRoute, ResponseMode, StreamStats},
    routing::PlanRequest,
    wire::{self, Dialect, Usage},
};

/// The route of a direct request: a path of the gateway, at which a provider is asked in the dialect of chat
/// completions.
const DIALECT: Dialect = Dialect::ChatCompletions;

/// The end of a direct request's answer.
#[derive(Clone, Copy, Debug)]
pub struct DirectAnswer {
    pub status: StatusCode,
    /// Reported by the provider. `None`: it reported none.
    pub usage: Option<Usage>,
    /// Tokens of output that have come, estimated.
    pub passed_tokens: u32,
    pub bytes: u64,
}

/// A direct request under way.
#[derive(Debug)]
pub struct DirectCall(Call);

impl Gateway {
    /// Admits a streaming request with this `body` to `provider`, where the model is `upstream_model`. `head`
    /// is that of the client's request, which came at the path `template`.
    ///
    /// # Errors
    /// As for a completion: the key, its models, its limits.
    pub async fn direct(
        &self,
        (head, client): (&RequestHead, &ClientInfo),
        template: &'static str,
        body: &Bytes,
        (provider, upstream_model): (&Arc<str>, &str),
    ) -> Result<DirectCall, Box<Refusal>> {
        let snapshot = self.snapshot();
        let principal = admit(&snapshot, head)?;
        let route = RequestRoute::Completion { template, endpoint: Endpoint::ChatCompletions };
        // Each has an id of its own.
        let mut own = head.clone();
        own.headers.remove("x-request-id");
        let mut call = self.open(&own, client.peer, route, DIALECT);
        call.note_key(&principal);
        let envelope = wire::envelope::read(body)?;
        let record = call.record();
        record.client = ClientInfo { request_bytes: body.len() as u64, ..client.clone() };
        record.on_disconnect = snapshot.stream.on_disconnect;
        record.model = Some(envelope.model().into());
        record.mode = Some(ResponseMode::Asgi);
        admission::check_models(&snapshot, &principal, envelope.model(), envelope.fallback_models())?;
        let request = PlanRequest::stream(envelope.model());
        let planned = snapshot.catalog.plan(&request, Moment::now(), &mut self.rng.borrow_mut());
        let plan = planned.map_err(|none| Refusal::no_plan(&none, request.model))?;
        admission::grant_one(&mut call, &snapshot, principal, (body, &envelope), &plan).await?;
        let record = call.record();
        record.attempts = 1;
        (record.provider, record.upstream_model) = (Some(Arc::clone(provider)), Some(upstream_model.into()));
        // From here on the provider may count it, whatever becomes of its answer.
        record.answered_after = Some(Duration::ZERO);
        call.completion.stage().set(Stage::Head);
        call.completion.show();
        Ok(DirectCall(call))
    }
}

impl DirectCall {
    /// The answer has come, or the exchange has ended by a fault.
    pub fn end(self, result: Result<DirectAnswer, Fault>) {
        let Self(mut call) = self;
        let outcome = match result {
            Ok(DirectAnswer { status, usage, passed_tokens, bytes }) => {
                let record = call.record();
                record.status = Some(status);
                record.stats =
                    StreamStats { frames: 1, bytes, usage, passed_tokens, ..StreamStats::default() };
                Outcome::Complete
            }
            Err(fault) => Outcome::Fault(fault),
        };
        call.completion.complete(outcome);
    }
}
