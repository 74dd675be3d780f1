//! The things that pages manage, by requests that may have a body: sessions and keys. Answers are
//! never stored.

use std::rc::Rc;

use http::{Method, StatusCode};
use serde_json::Value;

use super::{Body, routes::ManagedPage, site::Site};
use crate::{
    base::{HandlerResponse, HeaderFields, RequestHead},
    exchange::Outcome,
    proxy::{Call, Incoming, Refusal},
};

/// An answer, and a cookie to set.
pub(super) struct ManagedReply {
    pub(super) value: Value,
    pub(super) cookie: Option<String>,
}

impl Site {
    pub(super) async fn managed(
        self: Rc<Self>,
        (page, rest): (ManagedPage, &str),
        mut call: Call,
        head: RequestHead,
        body: impl Incoming,
    ) -> HandlerResponse<Body> {
        let reply = match page {
            ManagedPage::Session if head.method == Method::POST => self.sign_in(&mut call, &head, body).await,
            ManagedPage::Session if head.method == Method::DELETE => self.sign_out(&head).await,
            ManagedPage::Session => Ok(self.session(&head)),
            ManagedPage::Keys if head.method == Method::POST => self.make_key(&head, body).await,
            ManagedPage::Keys => self.list_keys(&head).await,
            ManagedPage::Key if head.method == Method::DELETE => self.revoke_key(&head, rest).await,
            ManagedPage::Key => self.limit_key(&head, rest, body).await,
            ManagedPage::KeyRotation => self.rotate_key(&head, rest, body).await,
        };
        match reply {
            Ok(reply) => reply.answer(call),
            Err(refusal) => call.refuse(&refusal).map(Body::from),
        }
    }
}

impl ManagedReply {
    fn answer(self, call: Call) -> HandlerResponse<Body> {
        let mut headers = HeaderFields::new();
        headers.insert("content-type", "application/json");
        headers.insert("cache-control", "no-store");
        if let Some(cookie) = self.cookie {
            headers.insert("set-cookie", cookie);
        }
        let body = bytes::Bytes::from(self.value.to_string()).into();
        call.whole(StatusCode::OK, headers, body, Outcome::Complete).map(Body::from)
    }
}

impl From<Value> for ManagedReply {
    fn from(value: Value) -> Self {
        Self { value, cookie: None }
    }
}

/// Refuses a change of a session that no page of this gateway asks for.
pub(super) fn not_of_a_page() -> Box<Refusal> {
    let message = "sessions are for the gateway's own pages (x-thalweg-page, from the same origin); \
                   programs show their key with each request";
    Refusal::request(403, "not_same_origin", message)
}
