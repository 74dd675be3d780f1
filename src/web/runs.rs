//! A kept comparison: `/compare/ID`, a page; `/compare/ID.json` and `/compare/ID.svg`, its report and
//! picture.

use bytes::Bytes;
use http::StatusCode;

use super::{
    Body,
    compare::{params, picture},
    pages::Document,
    site::Site,
};
use crate::{
    base::{HandlerResponse, HeaderFields, RequestHead},
    exchange::Outcome,
    proxy::{Call, Refusal},
};

/// A picture runs nothing, and its style sheet is its own.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
pub(super) const PICTURE: &str = "image/svg+xml";

impl Site {
    /// `name`: the number, with or without an ending.
    pub(super) fn kept_run(&self, call: Call, name: &str, head: &RequestHead) -> HandlerResponse<Body> {
        let Some((id, form)) = name.split_once('.') else { return self.document(call, Document::Run, head) };
        let found = self.parts.runs.find(id).and_then(|run| match form {
            "json" => Some(("application/json", serde_json::to_vec(&*run).unwrap_or_default())),
            "svg" => Some((PICTURE, picture::svg(&run, params::wanted_width(head.uri.query())).into_bytes())),
            _ => None,
        });
        let Some((content_type, bytes)) = found else {
            let message = "this run is not kept here; the last ones are, until the gateway stops";
            return call.refuse(&Refusal::request(404, "run_not_found", message)).map(Body::from);
        };
        answer(call, content_type, bytes.into())
    }
}

/// Answers with a report or its picture.
pub(super) fn answer(call: Call, content_type: &'static str, body: Bytes) -> HandlerResponse<Body> {
    let mut headers = HeaderFields::new();
    headers.insert("content-type", content_type);
    headers.insert("cache-control", "no-store");
    headers.insert("content-security-policy", PICTURE_POLICY);
    headers.insert("referrer-policy", "no-referrer");
    headers.insert("x-robots-tag", "noindex");
    call.whole(StatusCode::OK, headers, body.into(), Outcome::Complete).map(Body::from)
}
