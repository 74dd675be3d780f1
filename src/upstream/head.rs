//! Heads of messages to and from a provider: builds a request's head from the headers that may pass
//! ([`super::forwarded_headers`]), parses a response's head by httparse and checks it. Reads and writes no
//! socket.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::target::{BaseUrl, KeyHeader, Target};
use crate::{
    base::{HeaderFields, field_number, field_text},
    http1::BodyFraming,
};

/// Bytes of a response head.
pub(super) const MAX_HEAD_SIZE: usize = 64 * 1024;
/// Header fields of a response.
const MAX_HEADERS: usize = 128;
/// Header fields that the gateway adds to those that go to the client.
const OWN_HEADERS: usize = 8;

/// The options of `Connection` headers: names of hop-by-hop headers, `close`, `keep-alive`.
pub fn named_by_connection(headers: &HeaderFields) -> impl Iterator<Item = &str> {
    headers.get_all("connection").filter_map(field_text).flat_map(|value| value.split(',')).map(str::trim)
}

/// A request to a provider.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: Method,
    /// Path below the target's base URL, with a leading slash; it may have a query.
    pub path: &'a str,
    /// The client's headers; those that may not pass are left out.
    pub headers: &'a HeaderFields,
    /// The `Accept` header to the provider.
    pub accept: &'static str,
    /// The body's type; empty: there is no body.
    pub content_type: &'a [u8],
}

/// The type of nearly all bodies.
pub const JSON: &[u8] = b"application/json";

/// The client's headers that pass to `target`, and the target's own, in the order they are sent, behind those
/// that are the gateway's.
pub(super) fn for_each_header<'a>(
    target: &'a Target,
    request: &'a Request<'_>,
    mut emit: impl FnMut(&'a str, &'a [u8]),
) {
    let hop_by_hop: Vec<&str> = named_by_connection(request.headers).collect();
    let is_replaced = |name: &str| target.headers.iter().any(|(own, _)| own == name);
    for (name, value) in request.headers.iter() {
        let is_hop = hop_by_hop.iter().any(|option| option.eq_ignore_ascii_case(name));
        if target.forwarded.pass_up(name) && !is_hop && !is_replaced(name) {
            emit(name, value);
        }
    }
    for (name, value) in &target.headers {
        emit(name.as_str(), value.as_bytes());
    }
}

/// The name of the key's header, and the text before the key.
pub(super) const fn key_header(target: &Target) -> (&'static str, &'static str) {
    match target.key_header {
        KeyHeader::Bearer => ("authorization", "Bearer "),
        KeyHeader::XApiKey => ("x-api-key", ""),
        KeyHeader::ApiKey => ("api-key", ""),
        KeyHeader::XGoogApiKey => ("x-goog-api-key", ""),
    }
}

/// The bytes of an HTTP/1.1 request head, framed by `Content-Length`.
pub(super) fn write_request(target: &Target, request: &Request<'_>, body_length: usize) -> Bytes {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    for_each_part(&target.base, request.path, |part| head.extend_from_slice(part.as_bytes()));
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    put_authority(&mut head, &target.base);
    if request.method != Method::GET {
        head.extend_from_slice(b"\r\ncontent-length: ");
        head.extend_from_slice(itoa::Buffer::new().format(body_length).as_bytes());
    }
    if let Some(key) = &target.key {
        let (name, prefix) = key_header(target);
        for part in ["\r\n", name, ": ", prefix, key.expose()] {
            head.extend_from_slice(part.as_bytes());
        }
    }
    head.extend_from_slice(b"\r\naccept: ");
    head.extend_from_slice(request.accept.as_bytes());
    head.extend_from_slice(b"\r\naccept-encoding: identity");
    if !request.content_type.is_empty() {
        head.extend_from_slice(b"\r\ncontent-type: ");
        head.extend_from_slice(request.content_type);
    }
    for_each_header(target, request, |name, value| {
        for part in [b"\r\n", name.as_bytes(), b": ", value] {
            head.extend_from_slice(part);
        }
    });
    head.extend_from_slice(b"\r\n\r\n");
    head.into()
}

/// The head of an HTTP/2 request. Its key is marked sensitive and enters no compression table.
///
/// # Errors
/// A value is not valid in a head.
pub(super) fn build_request(
    target: &Target,
    request: &Request<'_>,
    body_length: usize,
) -> http::Result<http::Request<()>> {
    let mut path = String::new();
    for_each_part(&target.base, request.path, |part| path.push_str(part));
    let uri = Uri::builder()
        .scheme(if target.base.tls { "https" } else { "http" })
        .authority(target.base.authority())
        .path_and_query(path)
        .build()?;
    let mut built = http::Request::builder().method(request.method.clone()).uri(uri).body(())?;
    let headers = built.headers_mut();
    if request.method != Method::GET {
        headers.insert(header::CONTENT_LENGTH, body_length.into());
    }
    if let Some(key) = &target.key {
        let (name, prefix) = key_header(target);
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(format!("{prefix}{}", key.expose())))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static(request.accept));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if !request.content_type.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_bytes(request.content_type)?);
    }
    let mut outcome = Ok(());
    for_each_header(target, request, |name, value| {
        let name = HeaderName::from_bytes(name.as_bytes());
        match (name, HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => drop(headers.append(name, value)),
            (Err(error), _) => outcome = Err(error.into()),
            (_, Err(error)) => outcome = Err(http::Error::from(error)),
        }
    });
    outcome?;
    Ok(built)
}

/// The parts of a request's target: the base URL's path, the path below it, the base URL's query, and the
/// other parameters of `path`: the configuration takes precedence.
fn for_each_part(base: &BaseUrl, path: &str, mut emit: impl FnMut(&str)) {
    emit(&base.path);
    let Some(fixed) = &base.query else { return emit(path) };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let name = |parameter| str::split(parameter, '=').next();
    for part in [path, "?", fixed.expose()] {
        emit(part);
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        if !fixed.expose().split('&').any(|known| name(known) == name(parameter)) {
            emit("&");
            emit(parameter);
        }
    }
}

/// [`BaseUrl::authority`] without an allocation, because every request needs it.
fn put_authority(head: &mut Vec<u8>, base: &BaseUrl) {
    if base.host.contains(':') {
        return head.extend_from_slice(base.authority().as_bytes());
    }
    head.extend_from_slice(base.host.as_bytes());
    if !base.has_default_port() {
        head.push(b':');
        head.extend_from_slice(itoa::Buffer::new().format(base.port).as_bytes());
    }
}

/// A response head, checked.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderFields,
    pub framing: BodyFraming,
    /// The connection can carry another request.
    pub keep_alive: bool,
}

/// Parses a head from the start of `bytes`. `None` while it is incomplete, else the head and its length in
/// bytes. A 1xx head is returned like any other; the caller skips it.
///
/// # Errors
/// The part that is not valid HTTP.
pub fn parse_response(bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, Cow<'static, str>> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields)
        .map_err(|error| Cow::Owned(error.to_string()))?;
    let length = match status {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("bad status")?;
    let head = bytes.get(..length).unwrap_or_default();
    let headers = HeaderFields::of_parsed(head, parsed.headers, OWN_HEADERS).ok_or("bad header name")?;
    let http11 = parsed.version == Some(1);
    let (framing, is_clear) = framing(status, &headers)?;
    // HTTP/1.0 has no transfer codings (RFC 9112 section 6.1): the sender of one may mean another end of the
    // body.
    let is_clear = is_clear && (http11 || framing != BodyFraming::Chunked);
    let keep_alive = is_clear && framing != BodyFraming::UntilClose && stays_open(http11, &headers);
    Ok(Some((ResponseHead { status, headers, framing, keep_alive }, length)))
}

/// The body's framing (RFC 9112 section 6.3). `false`: the head names two framings, so the connection must
/// not be reused.
fn framing(status: StatusCode, headers: &HeaderFields) -> Result<(BodyFraming, bool), Cow<'static, str>> {
    if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok((BodyFraming::Length(0), true));
    }
    let length = content_length(headers)?;
    let mut codings = headers.get_all("transfer-encoding");
    match (codings.next(), codings.next()) {
        (None, _) => Ok((length.map_or(BodyFraming::UntilClose, BodyFraming::Length), true)),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
            Ok((BodyFraming::Chunked, length.is_none()))
        }
        (Some(_), _) => Err("a transfer-encoding that is not chunked".into()),
    }
}

/// The single value of all `Content-Length` headers.
fn content_length(headers: &HeaderFields) -> Result<Option<u64>, Cow<'static, str>> {
    let mut found = None;
    for value in headers.get_all("content-length") {
        let length = field_number(value).ok_or("bad content-length")?;
        if found.is_some_and(|found| found != length) {
            return Err("two content-lengths".into());
        }
        found = Some(length);
    }
    Ok(found)
}

fn stays_open(http11: bool, headers: &HeaderFields) -> bool {
    let has = |option: &str| named_by_connection(headers).any(|name| name.eq_ignore_ascii_case(option));
    !has("close") && (http11 || has("keep-alive"))
}

#[cfg(test)]
mod tests;
