//! `POST /v1/chat/completions/batch`: many chat completions in one request (S1.11).

use std::rc::Rc;

use bytes::Bytes;

use super::{Body, pages::accepted, site::Site, streams::forbid_buffering};
use crate::{
    auth::Principal,
    base::{Endpoint, HandlerResponse, HeaderFields, RequestHead, RequestId},
    batch::{BatchAnswer, BatchForm, BatchRun, ItemFuture},
    proxy::{Call, Incoming, Refusal, SingleRequest, admission::admit},
    wire::batch_item::{self, BatchError},
};

impl Site {
    /// Answers a batch. Its request completes with the last line; items complete one by one.
    pub(super) async fn batch(
        self: Rc<Self>,
        mut call: Call,
        head: RequestHead,
        body: impl Incoming,
    ) -> HandlerResponse<Body> {
        let prepared = self.prepare(&mut call, &head, body).await;
        let batch = match prepared {
            Ok(batch) => batch,
            Err(refusal) => return call.refuse(&refusal).map(Body::from),
        };
        let mut headers = HeaderFields::new();
        let content_type = batch.form.content_type();
        headers.insert("content-type", content_type);
        forbid_buffering(&mut headers);
        call.with_body(headers, |completion, in_flight| {
            Body::Batch(Box::new(BatchAnswer::new(batch, completion, in_flight)))
        })
    }

    async fn prepare(
        self: Rc<Self>,
        call: &mut Call,
        head: &RequestHead,
        body: impl Incoming,
    ) -> Result<BatchRun, Box<Refusal>> {
        let principal = admit(&self.gateway.snapshot(), head)?;
        call.note_key(&principal);
        let body = self.gateway.read_body(&principal, head, body).await?;
        call.record().client.request_bytes = body.bytes.len() as u64;
        let settings = self.parts.batch;
        let list = batch_item::read_list(&body.bytes, settings.max_items)?;
        let width = width(list.max_concurrency, settings.max_concurrency, &principal);
        let (client, headers) = (call.record().client.clone(), head.headers.clone());
        let run = move |id: RequestId, body: Bytes| -> ItemFuture {
            let request = SingleRequest {
                id,
                headers: headers.clone(),
                client: client.clone(),
                principal: None,
                endpoint: Endpoint::ChatCompletions,
                template: "/v1/chat/completions",
                body,
            };
            let site = Rc::clone(&self);
            Box::pin(async move { site.gateway.single(request).await })
        };
        Ok(BatchRun {
            id: call.id.clone(),
            form: form(&head.headers),
            items: list.items,
            body,
            width,
            max_held: settings.max_response_bytes,
            run: Box::new(run),
        })
    }
}

/// Items at once: as asked for, but no more than the setting, or than the key's requests at once.
fn width(asked: Option<u32>, most: u32, principal: &Principal) -> usize {
    let of_key = principal.limits.allowance.concurrent.unwrap_or(u32::MAX);
    usize::try_from(asked.unwrap_or(most).min(most).min(of_key).max(1)).unwrap_or(1)
}

/// The form of the greatest weight, of equal ones the first; without a word of any, a document (RFC 9110
/// section 12.5.1).
fn form(headers: &HeaderFields) -> BatchForm {
    let (mut best, mut most) = (BatchForm::Document, 0.0);
    for (name, weight) in accepted(headers) {
        let form = match &*name {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => BatchForm::Lines,
            "text/event-stream" => BatchForm::Events,
            "application/json" => BatchForm::Document,
            _ => continue,
        };
        if weight > most {
            (best, most) = (form, weight);
        }
    }
    best
}

impl From<BatchError> for Box<Refusal> {
    fn from(error: BatchError) -> Self {
        let mut refusal = Refusal::request(400, error.code, error.message);
        refusal.param = (!error.path.is_empty()).then(|| error.path.into());
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_greatest_weight_is_given() {
        let of = |accept: &'static str| form(&[("accept", accept)].into_iter().collect()).content_type();
        for (accept, form) in [
            ("*/*", BatchForm::Document),
            ("application/x-ndjson, application/json", BatchForm::Lines),
            ("text/event-stream;q=0", BatchForm::Document),
            ("application/x-ndjson;q=0, application/json", BatchForm::Document),
            ("application/json;q=0.5, text/event-stream", BatchForm::Events),
        ] {
            assert_eq!(of(accept), form.content_type(), "{accept}");
        }
    }
}
