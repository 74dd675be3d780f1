//! The head of a request as its handler sees it, whatever the protocol that it came by.

use http::{Method, Uri, Version, request::Parts};

use super::HeaderFields;

#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderFields,
}

impl From<Parts> for RequestHead {
    fn from(parts: Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers: HeaderFields::from(&headers) }
    }
}
