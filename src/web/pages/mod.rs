//! Pages for people (B1): HTML, style sheets and scripts that are a part of the program. A page shows the
//! answers of the gateway's own paths, for which its script asks with a key that the reader gives; the files
//! themselves hold nothing secret, so anyone gets them. Without a request for them they cost no memory.
//!
//! Invariant: no page runs code or takes a style that is not one of these files, and none asks another host.
//!
//! - [`file`]: the files, their digests and compressed forms
//! - `preference`: whether a request comes from a browser

mod file;
mod preference;

use http::{Method, StatusCode};

pub(super) use file::Document;
pub(super) use preference::{accepted, prefers_html};

use super::{Body, site::Site};
use crate::{
    base::{HandlerResponse, HeaderFields, RequestHead},
    exchange::Outcome,
    proxy::{Call, Refusal, encode::takes_gzip},
};
use file::PreparedFile;

/// A page takes scripts, styles and answers from its own origin alone, and is in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// The address of a file holds the digest of all of them, so that a new version has new addresses.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Kept, and asked for again with its digest.
const ASK_AGAIN: &str = "no-cache";

impl Site {
    /// A page, in HTML.
    pub(super) fn document(
        &self,
        call: Call,
        document: Document,
        head: &RequestHead,
    ) -> HandlerResponse<Body> {
        let mut headers = HeaderFields::new();
        headers.insert("content-security-policy", POLICY);
        headers.insert("x-frame-options", "DENY");
        headers.append("vary", "accept");
        self.prepared(call, document.prepared(), (headers, ASK_AGAIN), head)
    }

    /// A file of the pages: `rest` is its digest and its name.
    pub(super) fn asset(&self, call: Call, rest: &str, head: &RequestHead) -> HandlerResponse<Body> {
        let found = rest.split_once('/').and_then(|(digest, name)| Some((digest, file::find(name)?)));
        let Some((digest, found)) = found else {
            let refusal = Refusal::request(404, "not_found", "the pages have no such file");
            return call.refuse(&refusal).map(Body::from);
        };
        // A page of another version, from a gateway beside this one, gets a file that it does not keep.
        let lasts = if digest == file::digest() { FOR_EVER } else { ASK_AGAIN };
        self.prepared(call, found.prepared(), (HeaderFields::new(), lasts), head)
    }

    fn prepared(
        &self,
        call: Call,
        file: &PreparedFile,
        (mut headers, lasts): (HeaderFields, &'static str),
        head: &RequestHead,
    ) -> HandlerResponse<Body> {
        let coded = self.gateway.snapshot().compression.enabled && takes_gzip(&head.headers);
        let tag = if coded { &file.tag_of_gzip } else { &file.tag };
        headers.insert("cache-control", lasts);
        headers.append("vary", "accept-encoding");
        headers.insert("referrer-policy", "no-referrer");
        headers.insert("etag", tag);
        if head.method == Method::GET && is_known(&head.headers, tag) {
            let body = bytes::Bytes::new().into();
            return call.whole(StatusCode::NOT_MODIFIED, headers, body, Outcome::Complete).map(Body::from);
        }
        headers.insert("content-type", file.content_type);
        let body = if coded {
            headers.insert("content-encoding", "gzip");
            file.gzip.clone()
        } else {
            file.plain.clone()
        };
        call.whole(StatusCode::OK, headers, body.into(), Outcome::Complete).map(Body::from)
    }
}

/// Whether the client has the form with this tag (RFC 9110 section 13.1.2).
fn is_known(request: &HeaderFields, tag: &str) -> bool {
    let tags = request.get_all("if-none-match");
    tags.flat_map(|value| value.split(|byte| *byte == b',')).any(|known| {
        let known = known.trim_ascii();
        known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_compared_weakly_and_among_others() {
        let known = |value: &'static str| {
            let request = [("if-none-match", value)].into_iter().collect();
            is_known(&request, "\"a\"")
        };
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(known(value), "{value}");
        }
        assert!(!known("\"b\"") && !known("a"));
    }
}
