//! The fields of a request body that the gateway needs, with their spans. The provider judges everything
//! else, which is forwarded unchanged.
//!
//! Refuses, with the position or the field: a body that is not one JSON object in UTF-8; a known field that
//! has the wrong type, is given twice (also with different escapes), or is spelt in another case. The last
//! two are refused because providers differ in which duplicate they use and some ignore case: the gateway
//! must check the same value that the provider serves.

use std::ops::Range;

use super::{
    cursor::{Cursor, JsonError},
    endpoint::ModelUse,
    field::{self, Field, FieldError, FieldObject, MAX_MODEL, MAX_MODELS},
    index::{self, Member},
    position::TextPosition,
};

/// The known fields of one request body. Spans are offsets into the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Empty: the request leaves it to the provider.
    model: Box<str>,
    /// The model is of the request's path, whatever the body says.
    is_given: bool,
    /// The rest of `models`.
    fallback_models: Vec<Box<str>>,
    stream: Option<bool>,
    asgi: Option<bool>,
    max_tokens: Option<u64>,
    choices: Option<u64>,
    asks_for_usage: bool,
    pub(super) spans: FieldSpans,
}

/// The spans that [`splice`](super::splice()) edits, and two that only identify a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSpans {
    /// The value of `model`, with its quotes. `None`: only `models` is given.
    pub(super) model: Option<Range<usize>>,
    /// The members `x_use_asgi_streaming` and `models`.
    pub(super) asgi: Option<GatewayMember>,
    pub(super) models: Option<GatewayMember>,
    pub(super) stream_options: StreamOptions,
    /// Offset of the body's last `}`.
    pub(super) close: usize,
    /// The value of `prompt_cache_key`, with its quotes.
    cache_key: Option<Range<usize>>,
    /// The value of `previous_response_id`, with its quotes.
    previous_response: Option<Range<usize>>,
    /// The value of `metadata`.
    metadata: Option<Range<usize>>,
    /// The value of `messages`, `input` or `prompt`.
    prompt: Option<Range<usize>>,
}

/// A member that only the gateway reads, and the offsets of the commas on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GatewayMember {
    pub(super) span: Range<usize>,
    pub(super) before: Option<usize>,
    pub(super) after: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum StreamOptions {
    #[default]
    Absent,
    /// `null`, at this span.
    Null(Range<usize>),
    Object(StreamOptionsSpan),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamOptionsSpan {
    /// Offset of its `}`.
    pub(super) close: usize,
    pub(super) empty: bool,
    /// Its value (`None`: `null`) and the span of that value.
    pub(super) include_usage: Option<(Option<bool>, Range<usize>)>,
}

/// Why a body is refused (400, `invalid_request_error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the body is not valid JSON: {reason} at {position}")]
    Syntax { position: TextPosition, reason: &'static str },
    #[error("`{0}` is missing")]
    Missing(Field),
    #[error("{} at {position}", field.describe(*error))]
    Field { field: Field, error: FieldError, position: TextPosition },
}

/// Reads the envelope of one request body.
///
/// # Errors
/// [`EnvelopeError`]: the reason, and the position or the field.
pub fn read(body: &[u8]) -> Result<Envelope, EnvelopeError> {
    read_for(body, ModelUse::Required, None)
}

/// Reads the envelope of one request body whose model may be missing, or is `given` by the request's path.
///
/// # Errors
/// As [`read`].
pub fn read_for(body: &[u8], model_use: ModelUse, given: Option<&str>) -> Result<Envelope, EnvelopeError> {
    parse(body, model_use, given).map_err(|refusal| match refusal {
        EnvelopeRefusal::Syntax(JsonError { at, reason }) => {
            EnvelopeError::Syntax { position: TextPosition::of(body, at), reason }
        }
        EnvelopeRefusal::Missing(field) => EnvelopeError::Missing(field),
        EnvelopeRefusal::Field { field, error, at } => {
            EnvelopeError::Field { field, error, position: TextPosition::of(body, at) }
        }
    })
}

/// Reads the envelope of a request of Gemini's, whose path names the model and says whether the answer
/// streams.
///
/// # Errors
/// The body is not one JSON object in UTF-8, or the model's name is too long.
pub fn read_gemini(body: &[u8], model: &str, streams: bool) -> Result<Envelope, EnvelopeError> {
    let syntax =
        |JsonError { at, reason }| EnvelopeError::Syntax { position: TextPosition::of(body, at), reason };
    check_utf8(body).map_err(syntax)?;
    let (mut spans, mut settings) = (FieldSpans::default(), None);
    let members = index::members(body, |Member { key, value, .. }| {
        match body.get(key) {
            Some(b"contents") => spans.prompt = Some(value),
            Some(b"generationConfig" | b"generation_config") => settings = Some(value),
            Some(_) | None => {}
        }
        Ok::<_, JsonError>(())
    });
    spans.close = members.map_err(syntax)?;
    if !(1..=MAX_MODEL).contains(&model.len()) {
        let position = TextPosition::of(body, 0);
        return Err(EnvelopeError::Field { field: Field::Model, error: FieldError::Type, position });
    }
    let (mut max_tokens, mut choices) = (None, None);
    let settings = settings.and_then(|span| body.get(span)).unwrap_or_default();
    // Settings of another type are the provider's to judge.
    let _ = index::members(settings, |Member { key, value, .. }| {
        let value = settings.get(value).and_then(field::integer);
        match settings.get(key) {
            Some(b"maxOutputTokens" | b"max_output_tokens") => max_tokens = value,
            Some(b"candidateCount" | b"candidate_count") => choices = value,
            Some(_) | None => {}
        }
        Ok::<_, JsonError>(())
    });
    Ok(Envelope {
        model: model.into(),
        is_given: true,
        fallback_models: Vec::new(),
        stream: Some(streams),
        asgi: None,
        max_tokens,
        choices,
        asks_for_usage: false,
        spans,
    })
}

fn check_utf8(body: &[u8]) -> Result<&str, JsonError> {
    simdutf8::basic::from_utf8(body).map_err(|_| {
        let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        JsonError { at: valid, reason: "not UTF-8" }
    })
}

impl Envelope {
    /// The model's name, unescaped; the first of `models` if `model` is not given. Empty: it was read with
    /// [`ModelUse::Optional`], and the request names none.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the body itself names this model.
    pub(super) fn names(&self, model: &str) -> bool {
        !self.is_given && *self.model == *model
    }

    /// The names to try after [`Envelope::model`], in order.
    #[must_use]
    pub fn fallback_models(&self) -> &[Box<str>] {
        &self.fallback_models
    }

    /// The client's `prompt_cache_key`, as written: requests with the same key share a prompt prefix. `None`:
    /// not given.
    #[must_use]
    pub fn cache_key<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        body.get(self.spans.cache_key.clone()?)
    }

    /// The id of the response that this request follows, as written. `None`: not given.
    #[must_use]
    pub fn previous_response<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        let value = body.get(self.spans.previous_response.clone()?)?;
        value.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// The client's `metadata.user_id`, as written. `None`: not given.
    #[must_use]
    pub fn user_id<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        let metadata = body.get(self.spans.metadata.clone()?)?;
        let mut found = None;
        let _ = index::members(metadata, |member| {
            if metadata.get(member.key) == Some(b"user_id") {
                found = metadata.get(member.value);
            }
            Ok::<_, JsonError>(())
        });
        found.filter(|id| id.starts_with(b"\""))
    }

    /// The first message of the prompt, as written, at most `length` bytes: it stays the same as the
    /// conversation goes on. `None`: there is no prompt.
    #[must_use]
    pub fn prompt<'a>(&self, body: &'a [u8], length: usize) -> Option<&'a [u8]> {
        let prompt = body.get(self.spans.prompt.clone()?)?;
        let mut cursor = Cursor::new(prompt);
        if cursor.peek() == Some(b'[') {
            cursor.advance();
            cursor.skip_whitespace();
            // An empty array has no value.
            cursor.value().ok()?;
        }
        let first = prompt.get(..cursor.at()).filter(|first| !first.is_empty()).unwrap_or(prompt);
        Some(first.get(..length).unwrap_or(first))
    }

    /// The value of `stream`. `None`: not given, which means `false`.
    #[must_use]
    pub const fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// The mode requested in the body. `None`: not given.
    #[must_use]
    pub const fn x_use_asgi_streaming(&self) -> Option<bool> {
        self.asgi
    }

    /// Whether the client requests usage in OpenRouter's way: `"usage": {"include": true}`.
    #[must_use]
    pub const fn asks_for_usage(&self) -> bool {
        self.asks_for_usage
    }

    /// The client's `stream_options.include_usage`. `None`: not given.
    #[must_use]
    pub const fn include_usage(&self) -> Option<bool> {
        match &self.spans.stream_options {
            StreamOptions::Object(StreamOptionsSpan { include_usage: Some((asked, _)), .. }) => *asked,
            StreamOptions::Object(_) | StreamOptions::Null(_) | StreamOptions::Absent => None,
        }
    }

    /// The largest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`. `None`: none is given.
    #[must_use]
    pub const fn max_tokens(&self) -> Option<u64> {
        self.max_tokens
    }

    /// The larger of `n` and `best_of`, because each choice is generated and billed. `None`: neither is
    /// given.
    #[must_use]
    pub const fn choices(&self) -> Option<u64> {
        self.choices
    }
}

impl EnvelopeError {
    /// The invalid field, for an error's `param`. `None`: the body is not JSON.
    #[must_use]
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Syntax { .. } => None,
            Self::Missing(field) | Self::Field { field, .. } => Some(field.path()),
        }
    }
}

/// An [`EnvelopeError`] with a byte offset instead of a line and a column.
enum EnvelopeRefusal {
    Syntax(JsonError),
    Missing(Field),
    Field { field: Field, error: FieldError, at: usize },
}

impl From<JsonError> for EnvelopeRefusal {
    fn from(syntax: JsonError) -> Self {
        Self::Syntax(syntax)
    }
}

/// The fields seen so far.
#[derive(Default)]
struct EnvelopeBuilder {
    /// A bit for each field.
    seen: u16,
    model: Option<Box<str>>,
    models: Vec<Box<str>>,
    stream: Option<bool>,
    asgi: Option<bool>,
    max_tokens: Option<u64>,
    choices: Option<u64>,
    asks_for_usage: bool,
    spans: FieldSpans,
}

fn parse(body: &[u8], model_use: ModelUse, given: Option<&str>) -> Result<Envelope, EnvelopeRefusal> {
    let text = check_utf8(body)?;
    let mut builder = EnvelopeBuilder::default();
    builder.spans.close = index::members(body, |member| builder.member(text, member))?;
    let EnvelopeBuilder { model, models, stream, asgi, max_tokens, choices, asks_for_usage, spans, .. } =
        builder;
    let mut fallback_models = models.into_iter();
    let own = model.or_else(|| fallback_models.next());
    let is_given = given.is_some();
    let model = match (given, own, model_use) {
        (Some(given), _, _) => given.into(),
        (None, Some(own), _) => own,
        (None, None, ModelUse::Required) => return Err(EnvelopeRefusal::Missing(Field::Model)),
        (None, None, ModelUse::Optional | ModelUse::None) => Box::default(),
    };
    // A path names one model, and no other is tried.
    let fallback_models = fallback_models.filter(|other| !is_given && *other != model).collect();
    Ok(Envelope {
        model,
        is_given,
        fallback_models,
        stream,
        asgi,
        max_tokens,
        choices,
        asks_for_usage,
        spans,
    })
}

impl EnvelopeBuilder {
    fn member(&mut self, whole: &str, member: Member) -> Result<(), EnvelopeRefusal> {
        let body = whole.as_bytes();
        let Some(field) = known_field(FieldObject::Body, &mut self.seen, body, &member)? else {
            self.note_affinity_member(body, member);
            return Ok(());
        };
        let gateway_member =
            GatewayMember { span: member.span(), before: member.before, after: member.after };
        let Member { value, .. } = member;
        let text = body.get(value.clone()).unwrap_or_default();
        let type_error = EnvelopeRefusal::Field { field, error: FieldError::Type, at: value.start };
        match field {
            Field::Model => {
                self.model = Some(model(whole, value.clone()).ok_or(type_error)?);
                self.spans.model = Some(value);
            }
            Field::Models if text == b"null" => self.spans.models = Some(gateway_member),
            Field::Models => {
                self.models = models(text).ok_or(type_error)?;
                self.spans.models = Some(gateway_member);
            }
            Field::Stream => self.stream = field::boolean(text).ok_or(type_error)?,
            Field::Asgi => {
                self.asgi = field::lenient_boolean(text).ok_or(type_error)?;
                self.spans.asgi = Some(gateway_member);
            }
            Field::StreamOptions => {
                self.spans.stream_options = match text {
                    b"null" => StreamOptions::Null(value),
                    [b'{', ..] => StreamOptions::Object(options(body, value)?),
                    _ => return Err(type_error),
                }
            }
            Field::MaxTokens | Field::MaxCompletionTokens | Field::MaxOutputTokens => {
                self.max_tokens = self.max_tokens.max(field::integer(text));
            }
            Field::N | Field::BestOf => self.choices = self.choices.max(field::integer(text)),
            Field::PreviousResponse => self.spans.previous_response = Some(value),
            // Has no meaning at the top level.
            Field::IncludeUsage => {}
        }
        Ok(())
    }

    /// Notes the members by which requests of one conversation are recognised. Any value is accepted.
    fn note_affinity_member(&mut self, body: &[u8], Member { key, value, .. }: Member) {
        match body.get(key) {
            Some(b"prompt_cache_key") => self.spans.cache_key = Some(value),
            Some(b"metadata") => self.spans.metadata = Some(value),
            Some(b"usage") => self.asks_for_usage = includes_usage(body.get(value).unwrap_or_default()),
            Some(b"messages" | b"input" | b"prompt") => self.spans.prompt = Some(value),
            Some(_) | None => {}
        }
    }
}

fn options(body: &[u8], object: Range<usize>) -> Result<StreamOptionsSpan, EnvelopeRefusal> {
    let base = object.start;
    let body = body.get(..object.end).unwrap_or_default();
    let inner = body.get(base..).unwrap_or_default();
    let mut found = StreamOptionsSpan { close: 0, empty: true, include_usage: None };
    let mut seen = 0;
    let close = index::members(inner, |member| {
        found.empty = false;
        let member = member.shift(base);
        if known_field(FieldObject::StreamOptions, &mut seen, body, &member)?.is_some() {
            let span = member.value;
            let text = body.get(span.clone()).unwrap_or_default();
            let type_error = EnvelopeRefusal::Field {
                field: Field::IncludeUsage,
                error: FieldError::Type,
                at: span.start,
            };
            found.include_usage = Some((field::boolean(text).ok_or(type_error)?, span));
        }
        Ok::<_, EnvelopeRefusal>(())
    })?;
    Ok(StreamOptionsSpan { close: base + close, ..found })
}

fn includes_usage(value: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct UsageRequest {
        include: bool,
    }
    serde_json::from_slice(value).is_ok_and(|UsageRequest { include }| include)
}

/// The field of the object that this member is. Refuses a field that is already in `seen` (one bit each) or
/// is spelt in another case.
fn known_field(
    object: FieldObject,
    seen: &mut u16,
    body: &[u8],
    member: &Member,
) -> Result<Option<Field>, EnvelopeRefusal> {
    // A key with a lone surrogate is no known field.
    let by_key = member.name(body).and_then(|key| Field::by_key(object, &key));
    let Some((field, exact)) = by_key else { return Ok(None) };
    let bit = 1 << field as u16;
    let refuse = |error| Err(EnvelopeRefusal::Field { field, error, at: member.key.start });
    if !exact {
        return refuse(FieldError::Case);
    }
    if *seen & bit != 0 {
        return refuse(FieldError::Duplicate);
    }
    *seen |= bit;
    Ok(Some(field))
}

fn model(body: &str, quoted: Range<usize>) -> Option<Box<str>> {
    let inner = body.get(quoted.clone())?.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = !inner.as_bytes().contains(&b'\\');
    let name = if is_plain { inner.into() } else { field::unescape(body.as_bytes(), quoted)? };
    (1..=MAX_MODEL).contains(&name.len()).then(|| name.into())
}

fn models(text: &[u8]) -> Option<Vec<Box<str>>> {
    let names: Vec<Box<str>> = serde_json::from_slice(text).ok()?;
    let fit = names.iter().all(|name| (1..=MAX_MODEL).contains(&name.len()));
    ((1..=MAX_MODELS).contains(&names.len()) && fit).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (Option<&'static str>, String) {
        let error = read(body.as_bytes()).unwrap_err();
        (error.param(), error.to_string())
    }

    #[test]
    fn reads_what_is_known_and_passes_over_the_rest() {
        let body = r#"{ "messages":[{"role":"user","content":"{\"model\":\"no\"}"}], "mod\u0065l" : "a\/b",
            "stream":true,"max_tokens":5,"max_completion_tokens":7,"n":2,"best_of":4,"seed":123456789012345678901234567890,
            "x_use_asgi_streaming":"true","stream_options":{"include_obfuscation":false,"include_usage":false},
            "metadata":{"stream":"yes","lone":"\ud83d"} }"#;
        let envelope = read(body.as_bytes()).unwrap();
        assert_eq!(envelope.model(), "a/b");
        assert_eq!((envelope.stream(), envelope.x_use_asgi_streaming()), (Some(true), Some(true)));
        assert_eq!((envelope.include_usage(), envelope.max_tokens()), (Some(false), Some(7)));
        assert_eq!(envelope.choices(), Some(4));
        assert!(!envelope.asks_for_usage());
        for (usage, asks) in
            [(r#"{"include":true}"#, true), (r#"{"include":false}"#, false), ("true", false), ("[{}]", false)]
        {
            let body = format!(r#"{{"model":"m","usage":{usage}}}"#);
            assert_eq!(read(body.as_bytes()).unwrap().asks_for_usage(), asks, "{usage}");
        }
        assert_eq!(&body[envelope.spans.model.clone().unwrap()], r#""a\/b""#);
        assert_eq!(envelope.spans.close, body.len() - 1);
    }

    #[test]
    fn reads_a_list_of_models() {
        for (body, names) in [
            (r#"{"models":["a","b"],"model":"m"}"#, &["m", "a", "b"][..]),
            (r#"{"model":"b","models":["a","b"]}"#, &["b", "a"]),
            (r#"{"models":["a","b\u0063"]}"#, &["a", "bc"]),
            (r#"{"model":"m","models":null}"#, &["m"]),
        ] {
            let envelope = read(body.as_bytes()).unwrap();
            let tried = std::iter::once(&envelope.model).chain(envelope.fallback_models());
            assert_eq!(tried.map(|name| &**name).collect::<Vec<_>>(), names, "{body}");
        }
    }

    #[test]
    fn tells_what_requests_may_have_in_common() {
        let body = br#"{"model":"m","prompt_cache_key":"k","messages":[{"role":"user"},{"role":"system"}]}"#;
        let envelope = read(body).unwrap();
        assert_eq!(envelope.cache_key(body), Some(&br#""k""#[..]));
        assert_eq!(envelope.prompt(body, 9), Some(&br#"[{"role":"#[..]));
        assert_eq!(envelope.prompt(body, 900), Some(&br#"[{"role":"user"}"#[..]));
        for (body, prompt) in [
            (r#"{"model":"m","input":"say"}"#, Some(r#""say""#)),
            (r#"{"model":"m","input":[]}"#, None),
            (r#"{"model":"m"}"#, None),
        ] {
            let found = read(body.as_bytes()).unwrap().prompt(body.as_bytes(), 9);
            assert_eq!(found, prompt.map(str::as_bytes), "{body}");
        }
    }

    #[test]
    fn a_request_of_geminis_is_read_by_its_path_and_its_settings() {
        let body = br#"{"contents":[{"parts":[{"text":"a"}]},{}],"model":5,"Stream":1,"generationConfig":{"maxOutputTokens":7,"candidateCount":2,"temperature":1.0}}"#;
        let envelope = read_gemini(body, "tunedModels/a", true).unwrap();
        assert_eq!((envelope.model(), envelope.stream()), ("tunedModels/a", Some(true)));
        assert_eq!((envelope.max_tokens(), envelope.choices()), (Some(7), Some(2)));
        assert_eq!(envelope.prompt(body, 900), Some(&br#"[{"parts":[{"text":"a"}]}"#[..]));
        let snake = br#"{"contents":[],"generation_config":{"max_output_tokens":7}}"#;
        assert_eq!(read_gemini(snake, "m", false).unwrap().max_tokens(), Some(7));
        for body in [&br#"{"contents":[]"#[..], b"[]", b"{\"a\":\"\xff\"}", b""] {
            assert!(matches!(read_gemini(body, "m", false), Err(EnvelopeError::Syntax { .. })));
        }
        assert!(read_gemini(br#"{"generationConfig":[7]}"#, "m", false).is_ok());
        assert!(read_gemini(b"{}", &"m".repeat(300), false).is_err());
    }

    #[test]
    fn takes_null_for_not_given() {
        let envelope =
            read(br#"{"model":"m","stream":null,"stream_options":null,"x_use_asgi_streaming":null,"max_tokens":null}"#)
                .unwrap();
        assert_eq!((envelope.stream(), envelope.x_use_asgi_streaming()), (None, None));
        assert_eq!((envelope.include_usage(), envelope.max_tokens()), (None, None));
        assert_eq!(envelope.choices(), None);
        assert!(envelope.spans.asgi.is_some());
    }

    #[test]
    fn names_the_field_at_fault() {
        let cases = [
            (r#"{"messages":[]}"#, "model", "`model` is missing"),
            (
                r#"{"model":5}"#,
                "model",
                "`model` must be a string of 1 to 256 bytes at line 1 column 10 (byte 9)",
            ),
            (r#"{"model":""}"#, "model", "must be"),
            (r#"{"model":"\ud83d"}"#, "model", "must be"),
            (r#"{"model":"m","stream":"yes"}"#, "stream", "`stream` must be a boolean"),
            (r#"{"model":"m","x_use_asgi_streaming":1}"#, "x_use_asgi_streaming", "must be a boolean"),
            (r#"{"model":"m","stream_options":[]}"#, "stream_options", "must be an object"),
            (
                r#"{"model":"m","stream_options":{"include_usage":0}}"#,
                "stream_options.include_usage",
                "byte 47",
            ),
            (r#"{"model":"m","mod\u0065l":"n"}"#, "model", "given twice"),
            (r#"{"stream":true,"model":"m","stream":true}"#, "stream", "given twice"),
            (r#"{"model":"m","Model":"n"}"#, "model", "lower case"),
            (r#"{"model":"m","models":"n"}"#, "models", "must be an array of 1 to 16"),
            (r#"{"model":"m","models":[]}"#, "models", "must be an array"),
            (r#"{"models":["n",1]}"#, "models", "must be an array"),
            (r#"{"models":null}"#, "model", "`model` is missing"),
            (r#"{"model":"m","STREAM":true}"#, "stream", "lower case"),
        ];
        for (body, param, message) in cases {
            let (at, text) = refusal(body);
            assert_eq!(at, Some(param), "{body}");
            assert!(text.contains(message), "{body}: {text}");
        }
    }

    #[test]
    fn says_where_the_json_breaks() {
        let (param, text) = refusal("{\"model\":\"m\",\n \"messages\":[{\"content\":tru}]}");
        assert_eq!(
            (param, &*text),
            (None, "the body is not valid JSON: expected a value at line 2 column 25 (byte 38)")
        );
        let not_utf8 = read(b"{\"model\":\"m\",\"x\":\"\xff\"}").unwrap_err();
        assert_eq!(
            not_utf8.to_string(),
            "the body is not valid JSON: not UTF-8 at line 1 column 19 (byte 18)"
        );
        let deep = format!("{{\"model\":\"m\",\"x\":{}{}}}", "[".repeat(300), "]".repeat(300));
        assert!(refusal(&deep).1.contains("nested too deeply"));
    }
}
