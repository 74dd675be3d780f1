//! A completion without a connection of its own: an item of a batch. It goes the way of every completion
//! (key, model, limits, routing, a row, a log line), and its answer is collected.
//!
//! Dropping the future completes the request as one that its client left.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Uri, Version};
use http_body::{Frame, SizeHint};

use super::{
    Gateway,
    admission::admit,
    body::Body,
    fault::Refusal,
    handle::Addressed,
    intake::{self, Incoming, Intake, ReadBody},
};
use crate::{
    auth::Principal,
    base::{Endpoint, Fault, FaultKind, HandlerResponse, HeaderFields, RequestHead, RequestId, Sent, Stage},
    exchange::{ClientInfo, RequestRoute},
    wire::{ModelUse, envelope},
};

/// Bytes of a body whose sender has shown no key, and the time for it.
const SHORT_BODY: usize = 16 * 1024;
const SHORT_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers of the batch that are not its items': they are about its own body, answer or connection. A key of
/// idempotency would make all items one request at a provider that knows it.
const OWN_HEADERS: [&str; 13] = [
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "expect",
    "host",
    "accept",
    "accept-encoding",
    "origin",
    "x-request-id",
    "idempotency-key",
    "x-idempotency-key",
];

/// One completion to ask for.
#[derive(Debug)]
pub struct SingleRequest {
    pub id: RequestId,
    /// The client's headers, its key among them.
    pub headers: HeaderFields,
    pub client: ClientInfo,
    /// `None`: the key is one of the headers.
    pub principal: Option<Arc<Principal>>,
    pub endpoint: Endpoint,
    /// The endpoint's path, as logs name it.
    pub template: &'static str,
    pub body: Bytes,
}

/// Its answer, whatever the status.
#[derive(Debug)]
pub struct SingleAnswer {
    pub id: RequestId,
    pub status: StatusCode,
    pub headers: HeaderFields,
    /// An error, if the answer broke off.
    pub body: Result<Bytes, Fault>,
}

/// A body that is at hand.
#[derive(Debug)]
struct OneBody(Option<Bytes>);

impl http_body::Body for OneBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

impl Gateway {
    /// Reads the body of a request that is no completion, within the limits of all bodies.
    ///
    /// # Errors
    /// As for a completion: too large, too slow, broken off, no memory for it.
    pub async fn read_body(
        &self,
        principal: &Principal,
        head: &RequestHead,
        body: impl Incoming,
    ) -> Result<ReadBody, Box<Refusal>> {
        let memory = (&self.bodies, &principal.id);
        let intake = self.snapshot.load().intake;
        self.read_unless_ended(intake::read(body, &head.headers, intake, memory)).await
    }

    /// Reads a short body, whose sender has not shown a key yet.
    ///
    /// # Errors
    /// As for a completion.
    pub async fn read_short_body(
        &self,
        head: &RequestHead,
        body: impl Incoming,
    ) -> Result<ReadBody, Box<Refusal>> {
        let intake = self.snapshot.load().intake;
        let intake = Intake {
            body_size: intake.body_size.min(SHORT_BODY),
            body_timeout: intake.body_timeout.min(SHORT_BODY_TIMEOUT),
            ..intake
        };
        let memory = (&self.bodies, &"pages".into());
        self.read_unless_ended(intake::read(body, &head.headers, intake, memory)).await
    }

    async fn read_unless_ended(
        &self,
        reading: impl Future<Output = Result<ReadBody, Box<Refusal>>>,
    ) -> Result<ReadBody, Box<Refusal>> {
        let read = self.unless_ended(pin!(reading)).await;
        read.unwrap_or_else(|| Err(Refusal::shutting_down(Stage::Intake)))
    }

    /// Asks for one completion that does not stream. A body that asks for a stream is refused.
    pub async fn single(&self, request: SingleRequest) -> SingleAnswer {
        let SingleRequest { id, headers, client, principal, endpoint, template, body } = request;
        let mut head = head_of(&id, headers, template);
        let route = RequestRoute::Completion { template, endpoint };
        let mut call = self.open(&head, client.peer, route, endpoint.dialect());
        call.record().client = ClientInfo { request_bytes: body.len() as u64, ..client };
        let asks_for_stream = envelope::read_for(&body, ModelUse::Optional, None)
            .is_ok_and(|envelope| envelope.stream() == Some(true));
        let response = if asks_for_stream {
            let admitted = principal.map_or_else(|| admit(&self.snapshot.load(), &head), Ok);
            let refusal = match admitted {
                Ok(principal) => {
                    call.note_key(&principal);
                    let message = "`stream` must not be true in a batch: each answer comes as a whole";
                    Refusal::request(400, "invalid_request", message).of(Some("stream"))
                }
                Err(refusal) => refusal,
            };
            call.refuse(&refusal)
        } else {
            let addressed = Addressed { endpoint, asgi: false, model: None, rest: "", streams: None };
            let body = OneBody(Some(body));
            match principal {
                Some(principal) => {
                    Box::pin(self.complete_for(principal, call, &mut head, body, addressed)).await
                }
                None => Box::pin(self.complete(call, &mut head, body, addressed)).await,
            }
        };
        let HandlerResponse { status, headers, body } = response;
        let limit = self.snapshot().stream.max_response_size;
        SingleAnswer { id, status, headers, body: collect(body, limit).await }
    }
}

fn head_of(id: &RequestId, mut headers: HeaderFields, path: &'static str) -> RequestHead {
    headers.retain(|name, _| !OWN_HEADERS.contains(&name));
    headers.append("content-type", "application/json");
    headers.append("accept", "application/json");
    headers.append("x-request-id", id.as_str());
    RequestHead { method: Method::POST, uri: Uri::from_static(path), version: Version::HTTP_11, headers }
}

/// All of an answer of no more than `limit` bytes. A whole one has been measured before; events, which a
/// provider may answer with as well, have not.
async fn collect(body: Body, limit: u64) -> Result<Bytes, Fault> {
    let mut all = BytesMut::new();
    let mut add = |frame: Bytes| {
        all.extend_from_slice(&frame);
        match all.len() as u64 > limit {
            true => Err(Fault::provider(Stage::Body, FaultKind::TooLarge { limit }, Sent::Some)),
            false => Ok(()),
        }
    };
    match body {
        Body::Whole(mut whole) => {
            let first = whole.pop().unwrap_or_default();
            if whole.is_empty() {
                return Ok(first);
            }
            add(first)?;
            while let Some(bytes) = whole.pop() {
                add(bytes)?;
            }
        }
        Body::Stream(mut stream) => {
            while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
                add(frame?)?;
            }
        }
        Body::Cache(mut stream) => {
            while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
                add(frame?)?;
            }
        }
    }
    Ok(all.freeze())
}
