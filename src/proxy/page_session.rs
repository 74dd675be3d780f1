//! A page's session in the place of a key. It counts where a request shows no key, comes from a page of this
//! gateway ([`page_request`]), and asks for one of the paths that pages ask for; and for a link that is
//! opened in a tab, where its path only shows something. Nowhere else.

use std::{sync::Arc, time::Instant};

use http::{HeaderName, HeaderValue, Method, header};

use super::{fault::Refusal, snapshot::Snapshot};
use crate::auth::{
    Digest, Principal,
    page_request::{PAGE_HEADER, is_of_own_page, is_opened_in_a_tab, session_cookies},
    session::FoundSession,
};

use crate::base::RequestHead;

/// The requests that a session may make, beside changes of a key ([`KEY`]). The last is a leg of a
/// comparison.
pub const PATHS: [(Method, &str); 15] = [
    (Method::GET, "/session"),
    (Method::POST, "/session"),
    (Method::DELETE, "/session"),
    (Method::GET, "/v1/models"),
    (Method::GET, "/health"),
    (Method::GET, "/stats"),
    (Method::GET, "/metrics"),
    (Method::GET, "/events"),
    (Method::GET, "/streaming-compare"),
    (Method::GET, "/v1/keys"),
    (Method::POST, "/v1/keys"),
    (Method::GET, "/v1/configuration"),
    (Method::POST, "/v1/reload"),
    (Method::POST, "/v1/chat/completions"),
    (Method::POST, "/v1/chat/completions/asgi"),
];

/// The queries that figures of pages link to. A `GET` of them changes nothing, asks no provider and ends by
/// itself.
pub const LINKED: [&str; 6] =
    ["/stats", "/metrics", "/health", "/v1/models", "/v1/keys", "/v1/configuration"];

/// The key of a session, and its digest.
pub type SessionOwner = (Arc<Principal>, Digest);

/// The paths of a single key.
pub const KEY: &str = "/v1/keys/";

fn takes_session(method: &Method, path: &str) -> bool {
    let of_key = path.starts_with(KEY) && [Method::POST, Method::DELETE].contains(method);
    of_key || PATHS.iter().any(|(known, at)| known == method && *at == path)
}

/// Whether a session counts for the request: a page sent it, or a browser follows a link to a query.
fn counts(head: &RequestHead) -> bool {
    let (method, path) = (&head.method, head.uri.path());
    let is_link = *method == Method::GET && LINKED.contains(&path);
    (takes_session(method, path) && is_of_own_page(&head.uri, &head.headers))
        || (is_link && is_opened_in_a_tab(&head.headers))
}

/// Asks the other replicas for the sessions of a request for which one counts. `None`: there is nothing to
/// ask.
pub fn refresh(snapshot: &Snapshot, head: &RequestHead) -> Option<impl Future<Output = ()> + use<>> {
    let asks =
        snapshot.sessions.are_shared() && session_cookies(&head.headers).next().is_some() && counts(head);
    asks.then(|| {
        let (sessions, headers) = (snapshot.sessions.clone(), head.headers.clone());
        async move { sessions.refresh(session_cookies(&headers), Instant::now()).await }
    })
}

/// The session of a request, and its key if that is still good. `None`: it shows none that counts.
#[must_use]
pub fn find(snapshot: &Snapshot, head: &RequestHead) -> Option<(FoundSession, Arc<Principal>)> {
    let session = snapshot.sessions.find(session_cookies(&head.headers), Instant::now())?;
    let principal = snapshot.keys.find_by(&snapshot.tokens, &session.key)?;
    (!principal.has_expired()).then_some((session, principal))
}

/// The owner of the request's session, and the digest of its key. `None`: no session counts here, because
/// there is no cookie of one, or the request is none of a page's or a link's.
///
/// # Errors
/// The session, or its key, has ended (401).
pub(super) fn owner(snapshot: &Snapshot, head: &RequestHead) -> Option<Result<SessionOwner, Box<Refusal>>> {
    session_cookies(&head.headers).next()?;
    if !counts(head) {
        return None;
    }
    let ended =
        || Refusal::request(401, "session_ended", "the session, or its key, has ended: sign in again");
    Some(find(snapshot, head).map(|(session, principal)| (principal, session.key)).ok_or_else(ended))
}

/// The headers by which the gateway asks itself with the session of this request.
#[must_use]
pub fn own_headers(head: &RequestHead) -> Vec<(HeaderName, HeaderValue)> {
    let cookies = session_cookies(&head.headers).filter_map(|cookie| {
        let mut value = HeaderValue::from_bytes(&[b"thalweg-session=", cookie].concat()).ok()?;
        value.set_sensitive(true);
        Some((header::COOKIE, value))
    });
    cookies.chain([(PAGE_HEADER, HeaderValue::from_static("1"))]).collect()
}
