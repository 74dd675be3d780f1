//! A provider in the file: `"name|base_url|api_key"`, or an object with all options. Both forms give the same
//! checked [`ProviderSettings`]; problems in a string are reported under the names of its parts. Headers that
//! frame a request are refused, because they would break its framing.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::{
    document::Value,
    forward,
    http_proxy::{self, ProxyChoice},
    problem::ValueError,
    scalar,
    section::{Located, ReadContext, Section},
    settings::ProviderSettings,
};
use crate::{
    base::{Deadlines, Endpoint, EndpointSet, Secret, pem},
    upstream::{
        BaseUrl, BaseUrlError, ClientCertificate, ForwardedHeaders, KeyHeader, Protocol, ProxyServer, Target,
        basic_authorization, check_client_certificate,
    },
};

const PROTOCOLS: [(&str, Protocol); 3] =
    [("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];

const KEY_HEADERS: [(&str, KeyHeader); 4] = [
    ("bearer", KeyHeader::Bearer),
    ("x-api-key", KeyHeader::XApiKey),
    ("api-key", KeyHeader::ApiKey),
    ("x-goog-api-key", KeyHeader::XGoogApiKey),
];

/// Paths of endpoints, which are not a part of a base URL; the longer ones first.
const ENDPOINTS: [&str; 15] = [
    "/chat/completions",
    "/messages/count_tokens",
    "/audio/transcriptions",
    "/audio/translations",
    "/audio/speech",
    "/images/generations",
    "/images/edits",
    "/images/variations",
    "/completions",
    "/embeddings",
    "/responses",
    "/moderations",
    "/messages",
    "/models",
    "/rerank",
];
/// A beginning of an endpoint's path, which is a mistake behind a version alone.
const HALF_AN_ENDPOINT: &str = "/v1/chat";

/// Headers that frame a request or its connection; no configuration may set them.
const FRAMING_HEADERS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// The file's own defaults for all providers.
#[derive(Clone, Default)]
pub(super) struct ProviderDefaults {
    pub(super) deadlines: Deadlines,
    pub(super) forwarded: ForwardedHeaders,
    pub(super) proxy: ProxyChoice,
}

/// `None`: a problem has been reported.
pub(super) fn read(field: &mut Located<'_, '_, '_>, defaults: &ProviderDefaults) -> Option<ProviderSettings> {
    match field.value {
        Value::Text(text) => from_string(field, text, defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
            field.section(|section| from_object(section, defaults.clone())).flatten()
        }
    }
}

/// Only the first two bars separate, because a key may hold bars. The key may be empty or absent.
fn from_string(
    field: &mut Located<'_, '_, '_>,
    text: &str,
    defaults: &ProviderDefaults,
) -> Option<ProviderSettings> {
    let mut parts = text.splitn(3, '|');
    let (Some(name_part), Some(base_part)) = (parts.next(), parts.next()) else {
        field.report("expected \"name|base_url|api_key\"");
        return None;
    };
    let env = field.context.env;
    let name = field.part("name", name(name_part));
    let base = field.part("base_url", env.resolve(base_part).and_then(|text| base(&text)));
    let key = field.part("api_key", env.resolve(parts.next().unwrap_or_default()).and_then(key));
    let forwarded = defaults.forwarded.clone();
    let (base, user) = base?;
    let proxy = proxy(&defaults.proxy, &base, field.context);
    let (key, mut headers) = (key?, Vec::new());
    if let Some(user) = user {
        let header = basic_header(user, key.is_some());
        headers.push(field.part("base_url", header)?);
    }
    let target = Target { key, headers, forwarded, proxy, ..Target::plain(name?, base) };
    Some(ProviderSettings::plain(target).with_deadlines(defaults.deadlines).with_gemini())
}

fn from_object(section: &mut Section<'_, '_, '_>, defaults: ProviderDefaults) -> Option<ProviderSettings> {
    let ProviderDefaults { mut deadlines, mut forwarded, proxy: mut choice } = defaults;
    let name = section.required("name").and_then(|mut field| field.read(|value| name(scalar::text(value)?)));
    let base = section.required("base_url").and_then(|mut field| {
        let text = field.resolved()?;
        field.read(|_| base(&text))
    });
    let key = section.field("api_key").map(|mut field| {
        let text = field.resolved()?;
        field.read(|_| key(text))
    });
    let models = section.field("models").map(|mut field| models(&mut field));
    read_deadlines(section, &mut deadlines);
    let mut protocol = Protocol::default();
    section.set("protocol", &mut protocol, scalar::choice(&PROTOCOLS));
    let mut key_header = KeyHeader::default();
    section.set("key_header", &mut key_header, scalar::choice(&KEY_HEADERS));
    let mut headers = section.field("headers").map_or_else(Vec::new, |mut field| headers(&mut field));
    http_proxy::read(section, &mut choice);
    let path = section.read("path", |value| path(scalar::text(value)?));
    forward::read(section, &mut forwarded);
    let folder = section.context.folder.clone();
    let ca_file = section.read("ca_file", |value| {
        let file = scalar::file(folder.as_deref())(value)?;
        if folder.is_some() {
            pem::certificates(&file).map_err(|error| error.reason.to_string())?;
        }
        Ok(file)
    });
    let client_certificate = client_certificate(section);
    let weight = section.read("weight", scalar::integer(1..=1_000_000)).unwrap_or(1);
    let region = section.read("region", scalar::label).map(Arc::from);
    let include_usage = section.read("include_usage", scalar::boolean);
    let dialects = section.field("dialects").map(|mut field| dialects(&mut field));
    let translate = section.read("translate", scalar::boolean);
    // An absent key means no key; a wrong one has been reported.
    let key = key.unwrap_or(Some(None));
    let (key, (mut base, user)) = (key?, base?);
    if let Some(path) = path {
        base.path = path;
    }
    if let Some(user) = user {
        let is_taken = key.is_some() && key_header == KeyHeader::Bearer;
        headers.push(basic_header(user, is_taken).map_err(|error| section.report("base_url", error)).ok()?);
    }
    if client_certificate.is_some() && !base.tls {
        section.report("client_certificate", "needs a base_url that starts with https://");
    }
    let proxy = proxy(&choice, &base, section.context);
    let plain = Target { client_certificate, proxy, ..Target::plain(name?, base) };
    let target = Target { key, protocol, key_header, headers, forwarded, ca_file, ..plain };
    let settings = ProviderSettings {
        models,
        weight,
        region,
        include_usage,
        dialects,
        translate,
        ..ProviderSettings::plain(target)
    };
    Some(settings.with_deadlines(deadlines).with_gemini())
}

/// Reads the deadlines that the file may set for all providers, and each provider for itself.
pub(super) fn read_deadlines(section: &mut Section<'_, '_, '_>, deadlines: &mut Deadlines) {
    section.set("connect_timeout", &mut deadlines.connect, scalar::duration);
    section.set("pool_timeout", &mut deadlines.pool, scalar::duration);
    section.set("write_timeout", &mut deadlines.write, scalar::duration);
    section.set("first_token_timeout", &mut deadlines.first_token, scalar::duration);
    section.set("stream_timeout", &mut deadlines.stream, scalar::duration);
    section.set("non_stream_timeout", &mut deadlines.non_stream, scalar::duration);
    if let Some(total) = section.read("stream_total_timeout", scalar::duration) {
        deadlines.stream_total = Some(total);
    }
}

fn models(field: &mut Located<'_, '_, '_>) -> Vec<String> {
    let mut models = Vec::new();
    field.items(|mut item| models.extend(item.read(scalar::label)));
    if matches!(field.value, Value::List(items) if items.is_empty()) {
        field.report("lists no model; leave it out and the provider is asked");
    }
    models
}

fn dialects(field: &mut Located<'_, '_, '_>) -> EndpointSet {
    let words = Endpoint::MAIN.map(|endpoint| (endpoint.as_str(), endpoint));
    let mut endpoints = Vec::new();
    field.items(|mut item| endpoints.extend(item.read(scalar::choice(&words))));
    if matches!(field.value, Value::List(items) if items.is_empty()) {
        field.report("lists no dialect; leave it out and the provider's answers show them");
    }
    endpoints.into_iter().collect()
}

pub(super) fn headers(field: &mut Located<'_, '_, '_>) -> Vec<(HeaderName, HeaderValue)> {
    let (mut headers, mut is_wrong) = (Vec::new(), false);
    field.members(|name, mut field| {
        let Ok(known) = HeaderName::try_from(name) else {
            is_wrong = true;
            return;
        };
        if FRAMING_HEADERS.contains(&known) {
            field.report("is set by thalweg itself");
        } else if let Some(text) = field.resolved() {
            headers.extend(field.read(|_| Ok((known, header_value(&text)?))));
        }
    });
    if is_wrong {
        field.report("holds a name that no header has");
    }
    headers
}

/// Marked sensitive, because it may hold a secret key and must not be printed.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, ValueError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "holds characters that cannot stand in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

/// A provider's name is used in `provider/model`, in logs and in metrics, so some characters are refused.
fn name(text: &str) -> Result<Arc<str>, ValueError> {
    let text = text.trim();
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.chars().any(|letter| letter.is_control() || matches!(letter, '/' | '|' | '"' | '\\')) {
        return Err("must hold no slash, bar, quote, backslash or control character".into());
    }
    Ok(text.into())
}

/// The proxy to `base`. A problem of the environment is reported once.
fn proxy(choice: &ProxyChoice, base: &BaseUrl, context: &mut ReadContext<'_>) -> Option<ProxyServer> {
    choice.server(base, context.env).unwrap_or_else(|problem| {
        if !context.problems.contains(&problem) {
            context.problems.push(problem);
        }
        None
    })
}

/// User and password of a base URL as a header; `is_taken`: the key goes into it.
fn basic_header(user: Secret<String>, is_taken: bool) -> Result<(HeaderName, HeaderValue), ValueError> {
    if is_taken {
        return Err(
            "holds a user, whose header (authorization) api_key needs; set key_header, or leave out one"
                .into(),
        );
    }
    Ok((header::AUTHORIZATION, header_value(user.expose())?))
}

/// The path of all requests, in place of the base URL's; empty: the root.
fn path(text: &str) -> Result<Box<str>, ValueError> {
    match text.trim().trim_end_matches('/') {
        "" => Ok("".into()),
        text if text.starts_with('/') && !text.contains('?') => {
            Ok(base_url(&format!("http://h{text}"))?.path)
        }
        _ => Err("must be empty, or start with a slash and hold no query".into()),
    }
}

/// `client_certificate` and `client_key`, which may be one file. `None`: there is none, or a problem has been
/// reported.
fn client_certificate(section: &mut Section<'_, '_, '_>) -> Option<ClientCertificate> {
    let folder = section.context.folder.clone();
    let certificate = section.read("client_certificate", scalar::file(folder.as_deref()));
    let key = section.field("client_key").map(|mut field| field.read(scalar::file(folder.as_deref())));
    if certificate.is_none() && key.is_some() {
        section.report("client_key", "needs client_certificate");
    }
    let certificate = certificate?;
    let files = ClientCertificate { key: key.unwrap_or_else(|| Some(certificate.clone()))?, certificate };
    if folder.is_some()
        && let Err(error) = check_client_certificate(&files)
    {
        section.report("client_certificate", error.to_string());
        return None;
    }
    Some(files)
}

/// A provider's base URL: the part that is common to its endpoints; and its user information.
fn base(text: &str) -> Result<(BaseUrl, Option<Secret<String>>), ValueError> {
    let (text, user) = basic_authorization(text.trim());
    Ok((base_without_user(&text)?, user))
}

pub(super) fn base_without_user(text: &str) -> Result<BaseUrl, ValueError> {
    let mut base = base_url(text)?;
    if base.path.ends_with("/anthropic") {
        // Providers document it so for Anthropic's libraries, which add the version by themselves.
        base.path = format!("{}/v1", base.path).into();
    }
    let path = base.path.to_ascii_lowercase();
    let half = || path.ends_with(HALF_AN_ENDPOINT).then_some("/chat");
    match ENDPOINTS.iter().copied().find(|endpoint| path.ends_with(*endpoint)).or_else(half) {
        Some(endpoint) => {
            let rest = base.path.len() - endpoint.len();
            let shown = base.path.get(..rest).unwrap_or_default();
            let message = format!("ends in the endpoint {endpoint}, which thalweg adds by itself");
            let suggestion =
                (!shown.is_empty()).then(|| BaseUrl { path: shown.into(), ..base.clone() }.to_string());
            Err(ValueError { message, suggestion })
        }
        None => Ok(base),
    }
}

pub(super) fn base_url(text: &str) -> Result<BaseUrl, ValueError> {
    BaseUrl::parse(text.trim()).map_err(|error| {
        ValueError::from(match error {
            BaseUrlError::Scheme => "must start with http:// or https://",
            BaseUrlError::Host => "has no host, or one with characters that no host has",
            BaseUrlError::Port => "has a port that is no number from 1 to 65535",
            BaseUrlError::Path => "has a fragment, or characters that cannot stand in a path or a query",
        })
    })
}

/// `Ok(None)`: an empty key means no key.
fn key(text: String) -> Result<Option<Secret<String>>, ValueError> {
    match secret(text)? {
        text if text.expose().is_empty() => Ok(None),
        text => Ok(Some(text)),
    }
}

/// A key or token: visible ASCII, so that it fits into a header after `Bearer`.
pub(super) fn secret(text: String) -> Result<Secret<String>, ValueError> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err("holds characters that cannot stand in a key: spaces, or others than visible ASCII".into())
    }
}
