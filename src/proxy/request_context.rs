//! The facts that all attempts of one request share. An attempt only reads them; the two cells are the
//! exception, because an attempt that is cancelled returns nothing.

use std::{
    borrow::Cow,
    cell::RefCell,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use memchr::memmem::Finder;
use tokio::time::Instant;

use super::{
    gemini_path, query,
    request_headers::TraceOptions,
    snapshot::{Provider, Snapshot},
    translation::{self, TranslatedCall, Translation, UntranslatedRequest, api_of},
};
use crate::{
    base::RequestHead,
    base::{
        ByteList, Endpoint, Moment, RequestId,
        origins::{OriginMaker, OriginNote},
    },
    dialect::{
        reasoning,
        request::{EffortForm, RequestOptions},
    },
    exchange::{RunningRequest, WastedAttempt},
    relay::{CommitPoint, Mode},
    routing::RefusedOptions,
    telemetry::LatencyMeter,
    upstream::{JSON, Upstream},
    wire::{
        Edits, Envelope, Form, envelope,
        minted::{self, MintedKind},
        own_seals::{self, UnsealedBody},
        splice,
    },
};

/// Finds the reasoning that this gateway has sealed.
static FIND_SEAL: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new(reasoning::SIGNATURE_MARK.as_bytes()));

/// A JSON body for a provider that knows the model by this name; empty: the request names none.
fn spliced(body: &Bytes, envelope: &Envelope, model: &str, request_usage: bool) -> ByteList {
    let model = Some(model).filter(|model| !model.is_empty());
    splice(body, envelope, &Edits { model, drop_gateway_members: true, request_usage })
}

/// The body's form, and the fields that were read from it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'a> {
    Json(&'a Envelope),
    Form(&'a Form),
    /// No body.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RequestContext<'a> {
    pub(super) upstream: &'a Upstream,
    /// The worker's meter of added latency.
    pub(super) meter: &'a LatencyMeter,
    pub(super) snapshot: &'a Snapshot,
    pub(super) id: &'a RequestId,
    /// When the request arrived.
    pub(super) started: Instant,
    pub(super) head: &'a RequestHead,
    /// The path below a base URL, with the query that goes along; of Gemini's the part behind the model.
    pub(super) path: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) payload: Payload<'a>,
    pub(super) endpoint: Endpoint,
    /// The client requested a stream.
    pub(super) streams: bool,
    pub(super) mode: Mode,
    pub(super) trace: TraceOptions,
    /// The key of the request.
    pub(super) key: &'a Arc<str>,
    /// How far the request has come, by the attempt that ended last; and its part that is looked at.
    pub(super) running: &'a RunningRequest,
    /// Attempts that ended without an answer for the client.
    pub(super) wasted: &'a RefCell<Vec<WastedAttempt>>,
    /// There is no other candidate: the answer passes as it comes.
    pub(super) is_sole: bool,
    /// The key has a limit that is charged by usage.
    pub(super) is_charged: bool,
    /// The client's deadline, or the race's. `None`: there is none.
    pub(super) deadline: Option<Moment>,
    /// The model's configured commit point. `None`: none is configured for it.
    pub(super) model_commit: Option<CommitPoint>,
}

impl RequestContext<'_> {
    /// Usage is requested on the client's behalf where the dialect of `endpoint` and the provider have it and
    /// the client did not set it (B24); or refused it, and is charged by it.
    pub(super) fn requests_usage(&self, provider: &Provider, endpoint: Endpoint) -> bool {
        self.streams
            && provider.include_usage.unwrap_or(self.snapshot.stream.include_usage)
            && !provider.standing.refuses_usage_option()
            && endpoint.dialect().has_stream_options()
            && self.leaves_usage_open()
    }

    /// Whether a usage chunk of a translated stream is the gateway's own, which the client does not see.
    pub(super) fn hides_usage(&self) -> bool {
        self.streams && self.endpoint.dialect().has_stream_options() && self.leaves_usage_open()
    }

    fn leaves_usage_open(&self) -> bool {
        match self.payload {
            Payload::Json(envelope) => {
                let is_open = match envelope.include_usage() {
                    None => true,
                    Some(asked) => !asked && self.is_charged,
                };
                is_open && !envelope.asks_for_usage()
            }
            Payload::Form(_) | Payload::Nothing => false,
        }
    }

    /// Whether an answer of `endpoint` may be about a query of the client's own. It goes along if nothing is
    /// translated.
    pub(super) fn is_at_fault_by_query(&self, endpoint: Endpoint) -> bool {
        endpoint == self.endpoint && query::may_be_at_fault(self.head.uri.query())
    }

    /// The path below a base URL for a provider that knows the model by this name.
    pub(super) fn path_for(&self, model: &str) -> Cow<'_, str> {
        if self.endpoint.is_gemini() {
            gemini_path::of_model(model, self.path).into()
        } else {
            self.path.into()
        }
    }

    /// The body for a provider that knows the model by this name; empty: the request names none.
    pub(super) fn body_for(&self, model: &str, request_usage: bool) -> ByteList {
        match self.payload {
            Payload::Json(_) if self.endpoint.is_gemini() => self.body.clone().into(),
            Payload::Json(envelope) => spliced(self.body, envelope, model, request_usage),
            Payload::Form(form) => form.renamed(self.body, model),
            Payload::Nothing => ByteList::new(),
        }
    }

    /// The body for a provider that speaks the request's own dialect, and the members that were left out.
    /// Reasoning that this gateway has sealed stands for another provider's, and Anthropic and OpenAI refuse
    /// it; another thalweg, or the provider by which it was made, reads it.
    pub(super) fn native_body(
        &self,
        provider: &Provider,
        model: &str,
        request_usage: bool,
    ) -> (ByteList, Option<&'static str>) {
        let origins = self.snapshot.catalog.registry().origins();
        let is_maker = |maker| maker == OriginMaker::of(&provider.target.name);
        let is_known = |seal: &[u8]| {
            provider.standing.is_thalweg()
                || minted::token_of(seal).and_then(|token| origins.find(token)).is_some_and(is_maker)
        };
        let unsealed = match self.payload {
            Payload::Json(_) => own_seals::remove(self.endpoint.dialect(), self.body, &FIND_SEAL, is_known),
            Payload::Form(_) | Payload::Nothing => None,
        };
        if self.endpoint.is_gemini() {
            let UnsealedBody { body, dropped } = match unsealed {
                Some(unsealed) => unsealed,
                None => return (self.body.clone().into(), None),
            };
            return (body.into(), Some(dropped));
        }
        let envelope = |body: &Bytes| envelope::read_for(body, self.endpoint.model_use(), None).ok();
        let read = unsealed.and_then(|unsealed| Some((envelope(&unsealed.body)?, unsealed)));
        match &read {
            None => (self.body_for(model, request_usage), None),
            Some((envelope, UnsealedBody { body, dropped })) => {
                (spliced(body, envelope, model, request_usage), Some(dropped))
            }
        }
    }

    /// The request in the dialect of `endpoint`. `None`: that is its own.
    ///
    /// # Errors
    /// It is wrong in its own dialect, or cannot be said in the other.
    pub(super) fn translated_for(
        &self,
        asked: &Provider,
        (model, endpoint): (&str, Endpoint),
        requests_usage: bool,
        refused: RefusedOptions,
    ) -> Result<Option<TranslatedCall>, UntranslatedRequest> {
        if endpoint == self.endpoint {
            return Ok(None);
        }
        let (Some(client), Some(provider)) = (api_of(self.endpoint), api_of(endpoint)) else {
            return Ok(None);
        };
        let mut options = RequestOptions {
            key: Some(self.key),
            streams: self.streams,
            stream_usage: requests_usage,
            max_tokens_limit: refused.max_tokens,
            ..translation::options(&asked.target, model)
        }
        .of_model(provider);
        if refused.effort {
            options.effort = EffortForm::Never;
        }
        if refused.completion_tokens {
            options.max_tokens_member = "max_completion_tokens";
        }
        options.takes_sampling &= refused.sampling < 2;
        options.takes_sampling_beside_reasoning = refused.sampling == 0;
        options.gives_summaries &= !refused.summary;
        options.seals_reasoning &= !refused.sealed_reasoning;
        let request = (&self.head.headers, &**self.body);
        Translation::of_request((client, provider), request, &options, self.hides_usage(), self.id).map(Some)
    }

    /// The type of the body: a form's has the boundary.
    pub(super) fn content_type(&self) -> &[u8] {
        match self.payload {
            Payload::Json(_) => JSON,
            Payload::Form(_) => self.head.headers.get("content-type").unwrap_or_default(),
            Payload::Nothing => &[],
        }
    }

    /// Remembers `provider` as the maker of the things in its answer. `None`: the endpoint has no such
    /// things.
    pub(super) fn origin(&self, provider: &Provider) -> Option<OriginNote> {
        let makes_things = matches!(
            self.endpoint,
            Endpoint::Responses | Endpoint::Compact | Endpoint::StoredResponse | Endpoint::Messages
        );
        makes_things.then(|| OriginNote {
            table: Arc::clone(self.snapshot.catalog.registry().origins()),
            maker: OriginMaker::of(&provider.target.name),
            owner: (self.endpoint == Endpoint::Responses)
                .then(|| (Arc::clone(self.snapshot.catalog.registry().owners()), Arc::clone(self.key))),
        })
    }

    /// Notes the things that `provider` made in a whole answer.
    pub(super) fn note_whole(&self, provider: &Provider, body: &ByteList) {
        if let Some(origin) = self.origin(provider) {
            minted::in_body(self.endpoint.dialect(), &body.join(), |token, kind| match kind {
                MintedKind::SealedText => origin.put(token),
                MintedKind::Response | MintedKind::BackgroundResponse => origin.put_response(token),
            });
        }
    }

    /// The commit point by configuration: the model's, else the general one.
    pub(super) fn configured_commit(&self) -> Option<CommitPoint> {
        self.model_commit.or(self.snapshot.stream.commit)
    }

    /// Without another candidate, holding back past the first frame would only delay.
    pub(super) fn commit_point(&self) -> CommitPoint {
        let usual = if self.is_sole { CommitPoint::FirstFrame } else { CommitPoint::FirstContent };
        self.configured_commit().unwrap_or(usual)
    }
}
