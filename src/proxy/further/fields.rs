//! The fields of a request to a further endpoint: of JSON, of a form, or of no body.

use bytes::Bytes;

use crate::{
    base::{Endpoint, RequestHead},
    proxy::{admission::TokenEstimate, fault::Refusal, request_context::Payload},
    wire::{self, Envelope, Form, FormError, ModelUse, estimate},
};

/// The fields of a request's body.
#[derive(Debug)]
pub(super) enum Fields {
    Json(Box<Envelope>),
    Form(Form),
    Nothing,
}

impl Fields {
    /// `given`: the model that the path names.
    pub(super) fn read(
        endpoint: Endpoint,
        head: &RequestHead,
        body: &Bytes,
        given: Option<&str>,
    ) -> Result<Self, Box<Refusal>> {
        if let Some(model) = given.filter(|_| endpoint.is_gemini()) {
            return Ok(Self::Json(Box::new(wire::envelope::read_gemini(body, model, false)?)));
        }
        let content_type = head.headers.get("content-type").unwrap_or_default();
        let model_use = endpoint.model_use();
        if body.is_empty() && model_use == ModelUse::None {
            return Ok(Self::Nothing);
        }
        if !wire::form::is_form(content_type) {
            let envelope = wire::envelope::read_for(body, model_use, given)?;
            return Ok(Self::Json(Box::new(envelope)));
        }
        let form = wire::form::read(content_type, body)?;
        match (form.model(), given, model_use) {
            (None, _, ModelUse::Required) => Err(FormError::NoModel.into()),
            // A field cannot be put into a form without a copy of all of it.
            (own, Some(given), _) if own != Some(given) => {
                let message = "the form must name the model that its path names";
                Err(Refusal::request(400, "invalid_request", message).of(Some("model")))
            }
            _ => Ok(Self::Form(form)),
        }
    }

    pub(super) fn model(&self) -> &str {
        match self {
            Self::Json(envelope) => envelope.model(),
            Self::Form(form) => form.model().unwrap_or_default(),
            Self::Nothing => "",
        }
    }

    pub(super) fn fallback_models(&self) -> &[Box<str>] {
        match self {
            Self::Json(envelope) => envelope.fallback_models(),
            Self::Form(_) | Self::Nothing => &[],
        }
    }

    pub(super) fn stream(&self) -> bool {
        match self {
            Self::Json(envelope) => envelope.stream() == Some(true),
            Self::Form(form) => form.stream(),
            Self::Nothing => false,
        }
    }

    pub(super) const fn payload(&self) -> Payload<'_> {
        match self {
            Self::Json(envelope) => Payload::Json(envelope),
            Self::Form(form) => Payload::Form(form),
            Self::Nothing => Payload::Nothing,
        }
    }

    /// The tokens to set aside. The answer's length is not bounded by a field that all endpoints share.
    pub(super) fn estimate(&self, body: &[u8]) -> TokenEstimate {
        match self {
            Self::Json(envelope) => TokenEstimate::of(estimate::prompt_tokens(body), envelope),
            Self::Form(form) => TokenEstimate { prompt: form.prompt_tokens(), answer: 0 },
            Self::Nothing => TokenEstimate::default(),
        }
    }
}

impl From<FormError> for Box<Refusal> {
    fn from(error: FormError) -> Self {
        let param = matches!(error, FormError::Model | FormError::NoModel).then_some("model");
        Refusal::request(400, "invalid_request", error.to_string()).of(param)
    }
}
