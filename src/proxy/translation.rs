//! The translation of one attempt: its provider is asked in another dialect than the client's. Nothing here
//! runs where both speak the same dialect.
//!
//! The body of a translated stream is a source of frames like the provider's own, so the tap, the commit
//! point and the end of an answer see the client's dialect.

use std::{
    borrow::Cow,
    cell::Cell,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{fault::Refusal, secret_mask::SecretMask};
use crate::{
    base::{ByteList, Endpoint, Fault, FaultKind, HeaderFields, RequestId, Sent, Stage},
    dialect::{
        ApiDialect,
        answer::{self, StreamTranslator, TokenUsage, WholeError},
        context::AnswerContext,
        reasoning::ReasoningOrigin,
        request::{self, EffortForm, RequestErrorKind, RequestOptions},
    },
    routing::FailureClass,
    upstream::{self, Target},
    wire::{Event, Scanner, Usage, provider_error, usage::MAX_COUNT},
};

/// A version that Anthropic's API demands; clients of other dialects send none.
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
const NO_ANSWER: &str = "an answer of another form";
pub(super) const DROPPED: &str = "x-thalweg-dropped";
/// Bytes of the header that lists dropped members.
const MAX_DROPPED: usize = 1024;

/// The dialect of an endpoint. `None`: it is not translated.
pub(super) const fn api_of(endpoint: Endpoint) -> Option<ApiDialect> {
    match endpoint {
        Endpoint::ChatCompletions => Some(ApiDialect::ChatCompletions),
        Endpoint::Responses => Some(ApiDialect::Responses),
        Endpoint::Messages => Some(ApiDialect::Messages),
        Endpoint::Gemini => Some(ApiDialect::Gemini),
        Endpoint::Completions
        | Endpoint::Embeddings
        | Endpoint::CountTokens
        | Endpoint::InputTokens
        | Endpoint::Compact
        | Endpoint::StoredResponse
        | Endpoint::Transcriptions
        | Endpoint::Translations
        | Endpoint::Speech
        | Endpoint::ImageGenerations
        | Endpoint::ImageEdits
        | Endpoint::ImageVariations
        | Endpoint::Moderations
        | Endpoint::Rerank
        | Endpoint::GeminiCount => None,
    }
}

/// The dialects of an attempt, and the facts of the request that its answer needs.
#[derive(Clone, Debug)]
pub(super) struct Translation {
    client: ApiDialect,
    provider: ApiDialect,
    context: AnswerContext,
    dropped: Vec<String>,
    id: RequestId,
}

/// The forms in which the hosts that refuse others take reasoning back.
/// <https://docs.mistral.ai/capabilities/reasoning>, <https://console.groq.com/docs/reasoning>,
/// <https://api-docs.deepseek.com/guides/thinking_mode>, <https://ai.google.dev/gemini-api/docs/openai>
const FORMS_OF_HOSTS: &[(&str, &[ReasoningOrigin])] = &[
    ("api.openai.com", &[]),
    ("api.mistral.ai", &[ReasoningOrigin::ChatThinkPart]),
    ("api.groq.com", &[ReasoningOrigin::ChatReasoning]),
    ("api.cerebras.ai", &[ReasoningOrigin::ChatReasoning]),
    ("api.deepseek.com", &[ReasoningOrigin::ChatReasoningContent]),
    ("generativelanguage.googleapis.com", &[ReasoningOrigin::CallSignature]),
];

/// The peculiarities of a provider, by its address.
pub(super) fn options<'a>(target: &Target, model: &'a str) -> RequestOptions<'a> {
    let host = &*target.base.host;
    let mut options = RequestOptions::new(model);
    if let Some((_, forms)) = FORMS_OF_HOSTS.iter().find(|(known, _)| host == *known) {
        options.reasoning_forms = forms;
        // The others refuse members that they do not know, or leave these out of their references.
        options.openai_members = host == "api.openai.com";
    }
    if host == "api.openai.com" || host.ends_with(".openai.azure.com") {
        // Its reasoning models refuse `max_tokens`, and know developer messages.
        RequestOptions { max_tokens_member: "max_completion_tokens", developer_role: true, ..options }
    } else if host == "openrouter.ai" {
        RequestOptions { effort: EffortForm::Structured, ..options }
    } else if host == "generativelanguage.googleapis.com" {
        // The models before take no signature but their own.
        let is_older = ["gemini-1", "gemini-2"].iter().any(|version| model.contains(version));
        RequestOptions { signs_calls: model.contains("gemini") && !is_older, ..options }
    } else if host == "api.mistral.ai" {
        // <https://docs.mistral.ai/api/#tag/chat>: other members and ids are a 422 and a 400.
        RequestOptions { seed_member: "random_seed", takes_user: false, short_ids: true, ..options }
    } else {
        options
    }
}

/// A request that cannot be said in the provider's dialect, or is wrong in its own.
#[derive(Debug)]
pub(super) struct UntranslatedRequest {
    pub(super) class: FailureClass,
    pub(super) refusal: Box<Refusal>,
}

/// A body that is no whole answer.
pub(super) enum NoAnswer {
    Fault(Fault),
    /// An error, as the provider's dialect has it.
    Error(Bytes),
}

/// A request in the provider's dialect.
pub(super) struct TranslatedCall {
    pub(super) body: ByteList,
    pub(super) headers: HeaderFields,
    pub(super) translation: Translation,
}

impl Translation {
    /// Translates a request to `client` for an attempt at `provider`.
    ///
    /// # Errors
    /// The request is wrong in its own dialect, or cannot be said in the other.
    pub(super) fn of_request(
        (client, provider): (ApiDialect, ApiDialect),
        (headers, body): (&HeaderFields, &[u8]),
        options: &RequestOptions<'_>,
        hides_usage: bool,
        id: &RequestId,
    ) -> Result<TranslatedCall, UntranslatedRequest> {
        let translated = request::translate(client, provider, body, options).map_err(|error| {
            let mut refusal = Refusal::request(400, "invalid_request", error.message);
            refusal.param = error.param.map(Cow::Owned);
            let class = match error.kind {
                RequestErrorKind::Invalid => FailureClass::CallerMistake,
                RequestErrorKind::Unsayable => FailureClass::Unsayable,
            };
            UntranslatedRequest { class, refusal }
        })?;
        let mut context = translated.context;
        context.wants_usage |= hides_usage;
        let mut headers = headers.clone();
        if provider == ApiDialect::Messages {
            let (name, value) = ANTHROPIC_VERSION;
            if !headers.contains(name) {
                headers.append(name, value);
            }
        }
        let translation = Self { client, provider, context, dropped: translated.dropped, id: id.clone() };
        let mut body = ByteList::new();
        translated.body.into_iter().for_each(|piece| body.push(piece));
        Ok(TranslatedCall { body, headers, translation })
    }

    /// Says in the answer's headers that it was translated, and what of the request was left out.
    pub(super) fn sign(&self, headers: &mut HeaderFields) {
        let dialects = format!("{}>{}", self.client.as_str(), self.provider.as_str());
        headers.insert("x-thalweg-dialect", dialects);
        let mut dropped = self.dropped.join(", ");
        dropped.truncate(dropped.floor_char_boundary(MAX_DROPPED));
        if !dropped.is_empty() && dropped.is_ascii() {
            headers.insert(DROPPED, dropped);
        }
        headers.remove("content-length");
    }

    /// A whole answer in the client's dialect, and the usage that its provider reported, in the counts of
    /// that dialect.
    ///
    /// # Errors
    /// It is no complete answer of the provider's dialect, or an error in spite of its status.
    pub(super) fn whole(&self, body: &[u8]) -> Result<(ByteList, Option<Usage>), NoAnswer> {
        let mut out = Vec::with_capacity(body.len());
        let id = self.id.to_string();
        let written = answer::whole(self.provider, self.client, body, &self.context, &id, now(), &mut out);
        match written {
            Ok(reported) => {
                Ok((Bytes::from(out).into(), reported.map(|tokens| counts_for(self.client, tokens))))
            }
            Err(WholeError::Failed { .. }) if provider_error::is_error(body) => {
                Err(NoAnswer::Error(Bytes::copy_from_slice(body)))
            }
            Err(WholeError::Failed { code, message, .. }) => {
                let mut out = Vec::new();
                answer::own_error(self.provider, code, &message, &mut out);
                Err(NoAnswer::Error(out.into()))
            }
            Err(WholeError::NotJson | WholeError::Incomplete) => {
                let kind = FaultKind::Garbage(NO_ANSWER.into());
                Err(NoAnswer::Fault(Fault::provider(Stage::Body, kind, Sent::Some)))
            }
        }
    }

    /// An error in the client's dialect, and its status. `wait`: when to come again, if that is known.
    pub(super) fn error(&self, status: u16, body: &[u8], wait: Option<Duration>) -> (u16, ByteList) {
        let mut out = Vec::new();
        let dialects = (self.provider, self.client);
        let status = answer::error_with_wait(dialects, status, body, wait, &mut out);
        (status, Bytes::from(out).into())
    }

    /// The stream `body`, of which `first` has been read.
    pub(super) fn stream(
        self,
        first: Bytes,
        body: upstream::Body,
        max_line: usize,
        secrets: Arc<SecretMask>,
    ) -> AnswerBody {
        let id = self.id.to_string();
        let translator = StreamTranslator::new(self.provider, self.client, self.context, &id, now());
        AnswerBody::Translated(Box::new(TranslatedBody {
            first,
            body,
            secrets,
            scanner: Scanner::of_whole_events(max_line),
            translator,
            client: self.client,
            has_ended: false,
            fault: None,
        }))
    }
}

/// The counts of a provider as an answer in the client's dialect has them.
fn counts_for(client: ApiDialect, tokens: TokenUsage) -> Usage {
    let TokenUsage { input, cache_read, cache_write, cache_write_1h, output, reasoning } = tokens;
    let cached = if client == ApiDialect::Messages { cache_read.saturating_add(cache_write) } else { 0 };
    let count = |tokens: u64| Some(tokens.min(MAX_COUNT));
    Usage {
        input: count(input.saturating_sub(cached)),
        output: count(output),
        cached: count(cache_read),
        cache_write: count(cache_write),
        cache_write_1h: count(cache_write_1h),
        reasoning: count(reasoning),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The body of an answer: the provider's as it comes, or translated.
#[derive(Debug)]
pub enum AnswerBody {
    /// With the secrets that its error events may quote.
    Native(upstream::Body, Arc<SecretMask>),
    Translated(Box<TranslatedBody>),
}

impl AnswerBody {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self {
            Self::Native(body, _) => body.poll_frame(cx),
            Self::Translated(body) => body.poll_frame(cx),
        }
    }

    /// The provider's body.
    pub(super) fn source(&mut self) -> &mut upstream::Body {
        match self {
            Self::Native(body, _) => body,
            Self::Translated(translated) => &mut translated.body,
        }
    }

    pub(super) fn secrets(&self) -> &SecretMask {
        match self {
            Self::Native(_, secrets) => secrets,
            Self::Translated(body) => &body.secrets,
        }
    }

    /// The usage that the provider has reported, in the counts of the client's dialect. `in_frames`: usage in
    /// the frames so far.
    pub(super) fn reported_usage(&self, in_frames: Option<Usage>) -> Option<Usage> {
        match self {
            Self::Native(..) => in_frames,
            Self::Translated(translated) => {
                translated.translator.usage().map(|tokens| counts_for(translated.client, tokens))
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Native(body, _) => body.is_done(),
            Self::Translated(translated) => translated.has_ended && translated.fault.is_none(),
        }
    }
}

/// A provider's stream in the client's dialect. The output of an event leaves in the poll that read it.
#[derive(Debug)]
pub struct TranslatedBody {
    /// The provider's bytes that were read before the translation began.
    first: Bytes,
    body: upstream::Body,
    secrets: Arc<SecretMask>,
    scanner: Scanner,
    translator: StreamTranslator,
    client: ApiDialect,
    has_ended: bool,
    /// The reason of the end, behind the output of the events before it.
    fault: Option<Fault>,
}

/// Bytes of output that the thread keeps room for.
const MAX_KEPT_OUTPUT: usize = 64 << 10;

thread_local! {
    /// A frame is written here and copied into its own size. Empty between two polls.
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl TranslatedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let mut out = OUTPUT.take();
        let polled = self.poll_into(cx, &mut out);
        if out.capacity() <= MAX_KEPT_OUTPUT {
            out.clear();
            OUTPUT.set(out);
        }
        polled
    }

    fn poll_into(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Option<Result<Bytes, Fault>>> {
        while !self.has_ended {
            let first = std::mem::take(&mut self.first);
            let frame = if first.is_empty() { ready!(self.body.poll_frame(cx)) } else { Some(Ok(first)) };
            match frame {
                Some(Ok(frame)) => {
                    let Self { scanner, translator, client, .. } = self;
                    let scanned = scanner.scan(&frame, |event| translate(translator, &event, *client, out));
                    if let Err(too_long) = scanned {
                        self.has_ended = true;
                        let kind = FaultKind::TooLarge { limit: too_long.limit as u64 };
                        self.fault = Some(Fault::provider(Stage::Body, kind, Sent::Some));
                    }
                }
                Some(Err(fault)) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(fault)));
                }
                None => {
                    self.has_ended = true;
                    let Self { scanner, translator, client, .. } = self;
                    scanner.finish(|event| translate(translator, &event, *client, out));
                    // An answer that was cut short gets no end here, so the tap finds it cut short.
                    let _ = translator.finish(out);
                }
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Bytes::copy_from_slice(out))));
            }
        }
        Poll::Ready(self.fault.take().map(Err))
    }
}

fn translate(translator: &mut StreamTranslator, event: &Event<'_>, client: ApiDialect, out: &mut Vec<u8>) {
    if event.comment_only {
        // A keepalive of the provider keeps the client's connection, too. Google's Python client takes a
        // comment for an answer that is no JSON, and raises.
        out.extend_from_slice(if client == ApiDialect::Gemini { b"" } else { b":\n\n" });
    } else if let Some(data) = event.data {
        translator.event(event.name, data, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_clients_dialect() {
        let tokens = TokenUsage {
            input: 303,
            cache_write: 300,
            cache_write_1h: 200,
            output: 9,
            ..TokenUsage::default()
        };
        for (client, input) in [(ApiDialect::Messages, 3), (ApiDialect::ChatCompletions, 303)] {
            let counts = counts_for(client, tokens);
            assert_eq!(
                (counts.input, counts.cache_write, counts.cache_write_1h),
                (Some(input), Some(300), Some(200))
            );
        }
    }

    #[test]
    fn a_host_gets_the_forms_that_it_takes() {
        let of = |url: &str| {
            let target = Target::plain("p", upstream::BaseUrl::parse(url).unwrap());
            options(&target, "gemini-3-pro")
        };
        let google = of("https://generativelanguage.googleapis.com/v1beta/openai");
        assert_eq!(google.reasoning_forms, [ReasoningOrigin::CallSignature]);
        assert!(!google.openai_members && google.signs_calls);
        let openai = of("https://api.openai.com/v1");
        assert_eq!((openai.reasoning_forms, openai.openai_members), (&[][..], true));
        let mistral = of("https://api.mistral.ai/v1");
        let is_plain = !mistral.takes_user && mistral.short_ids && !mistral.openai_members;
        assert_eq!((mistral.seed_member, is_plain), ("random_seed", true));
        let own = of("http://localhost:8080/v1");
        assert_eq!((own.reasoning_forms.len(), own.openai_members, own.signs_calls), (5, true, false));
    }
}
