//! A request's head: parsed by httparse, and refused where another parser might find another end of the
//! request or another host in the same bytes, which is how requests are smuggled (RFC 9112 section 11.2).

use std::{cell::RefCell, mem::MaybeUninit};

use http::{Method, Uri, Version};

use crate::{
    base::{HeaderFields, RequestHead, field_number},
    http1::BodyFraming,
    server::{
        host::names_hosts_only,
        refusal::{Ambiguity, RefusalReason},
    },
};

/// Header fields that are parsed on the stack.
const FIELDS_ON_STACK: usize = 100;
/// Bytes of a request target beyond which it is no [`Uri`].
const MAX_TARGET: usize = u16::MAX as usize - 1;
/// Bytes of a target that is kept for the next request.
const MAX_KEPT_TARGET: usize = 256;

/// A request's head, and what it says about the connection.
#[derive(Debug)]
pub struct ParsedHead {
    pub head: RequestHead,
    pub framing: BodyFraming,
    /// The client lets the connection carry another request.
    pub persists: bool,
    /// The client sends the body once it has a 100 (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
}

/// A head that is not served.
#[derive(Debug)]
pub struct RefusedHead {
    pub reason: RefusalReason,
    /// `None`: its target was not understood.
    pub target: Option<Uri>,
}

impl From<RefusalReason> for RefusedHead {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, target: None }
    }
}

/// Whether the beginning of a head may be that of an HTTP/1.1 request.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        // How many there may be is decided once all have arrived.
        Ok(_) | Err(httparse::Error::TooManyHeaders) => true,
        Err(_) => false,
    }
}

/// Parses a head that has arrived whole.
///
/// # Errors
/// It is not a request's, is ambiguous, or has more than `header_count` fields.
pub(super) fn parse(bytes: &[u8], header_count: usize) -> Result<ParsedHead, RefusedHead> {
    let mut on_stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut on_heap = Vec::new();
    let fields = match on_stack.get_mut(..header_count) {
        Some(fields) => fields,
        None => {
            on_heap.resize(header_count, MaybeUninit::uninit());
            &mut *on_heap
        }
    };
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, fields) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(RefusalReason::BadHead.into()),
        Err(httparse::Error::TooManyHeaders) => return Err(RefusalReason::HeadTooLarge.into()),
        Err(_) => return Err(RefusalReason::BadHead.into()),
    }
    let (method, uri, version) = request_line(&parsed)?;
    match read_fields(bytes, parsed.headers, version, &uri) {
        Ok((headers, fields)) => {
            let persists = if version == Version::HTTP_11 { !fields.closes } else { fields.keeps };
            let expects_continue = fields.expects_continue && version == Version::HTTP_11;
            let head = RequestHead { method, uri, version, headers };
            Ok(ParsedHead { head, framing: fields.framing, persists, expects_continue })
        }
        Err(reason) => Err(RefusedHead { reason, target: Some(uri) }),
    }
}

fn request_line(parsed: &httparse::Request<'_, '_>) -> Result<(Method, Uri, Version), RefusalReason> {
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| RefusalReason::BadHead)?;
    if target.len() > MAX_TARGET {
        return Err(RefusalReason::HeadTooLarge);
    }
    let uri = parse_target(target).ok_or(RefusalReason::BadHead)?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    Ok((method, uri, version))
}

/// A request's target. The last path is kept, because most requests of a worker have the same one. None with
/// a query is kept, because a query may hold a key.
fn parse_target(target: &str) -> Option<Uri> {
    thread_local! {
        static LAST: RefCell<Uri> = RefCell::default();
    }
    LAST.with_borrow_mut(|last| {
        if last.path() == target {
            return Some(last.clone());
        }
        let uri = Uri::try_from(target).ok()?;
        if target.len() <= MAX_KEPT_TARGET && uri.path() == target {
            last.clone_from(&uri);
        }
        Some(uri)
    })
}

/// What the fields say about the message and the connection.
struct HeadFields {
    framing: BodyFraming,
    closes: bool,
    keeps: bool,
    expects_continue: bool,
}

fn read_fields(
    bytes: &[u8],
    parsed: &[httparse::Header<'_>],
    version: Version,
    uri: &Uri,
) -> Result<(HeaderFields, HeadFields), RefusalReason> {
    let mut fields =
        HeadFields { framing: BodyFraming::Length(0), closes: false, keeps: false, expects_continue: false };
    let (mut framings, mut hosts) = (0, 0);
    let headers = HeaderFields::of_parsed(bytes, parsed, 0).ok_or(RefusalReason::HeadTooLarge)?;
    for (name, value) in headers.iter() {
        match name {
            "content-length" => {
                framings += 1;
                fields.framing = BodyFraming::Length(field_number(value).ok_or(RefusalReason::BadHead)?);
            }
            "transfer-encoding" => {
                framings += 1;
                let is_chunked = value.eq_ignore_ascii_case(b"chunked");
                // HTTP/1.0 has no transfer codings (RFC 9112 section 6.1).
                if framings == 1 && !(is_chunked && version == Version::HTTP_11) {
                    return Err(RefusalReason::Ambiguous(Ambiguity::Coding));
                }
                fields.framing = BodyFraming::Chunked;
            }
            "host" => hosts += 1,
            "connection" => {
                let has = |wanted: &[u8]| options(value).any(|option| option.eq_ignore_ascii_case(wanted));
                fields.closes |= has(b"close");
                fields.keeps |= has(b"keep-alive");
            }
            "expect" => fields.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }
    fields.keeps &= !fields.closes;
    if framings > 1 {
        return Err(RefusalReason::Ambiguous(Ambiguity::TwoLengths));
    }
    if hosts > 1
        || (hosts == 0 && version == Version::HTTP_11)
        || !names_hosts_only(uri, headers.get_all("host"))
    {
        return Err(RefusalReason::Ambiguous(Ambiguity::Host));
    }
    Ok((headers, fields))
}

fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of one request changes nothing for the next.
    #[test]
    fn a_target_is_the_same_at_every_time() {
        let long = format!("/{}", "x".repeat(MAX_KEPT_TARGET));
        let targets = [
            "/a",
            "/a?key=k",
            "/a?",
            "/a#b",
            "/",
            "*",
            "",
            "/b",
            "http://h/a",
            "http://h",
            "h:1",
            "a b",
            &long[..],
        ];
        for first in targets {
            for second in targets {
                for target in [first, second, first, second] {
                    let parsed = Uri::try_from(target).ok();
                    assert_eq!(format!("{:?}", parse_target(target)), format!("{parsed:?}"));
                }
            }
        }
    }
}
