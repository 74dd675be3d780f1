//! `/session`: signing in to the pages with a key or with the link of the start-up lines, the session as it
//! is, and signing out.
//!
//! A sign-in always makes a new cookie, and ends the sessions of the cookies that it came with. The cookie
//! has no path: browsers then keep it for the folder of `/session`, wherever a proxy serves it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    admin::{self, ListenerRole},
    managed::{ManagedReply, not_of_a_page},
    site::Site,
};
use crate::{
    auth::{
        Digest, Principal,
        page_request::{cookie_name, is_local_name, is_of_own_page, session_cookies},
        session::SESSION_LIFE,
    },
    base::{HeaderFields, RequestHead},
    exchange::client_address::client_address,
    proxy::{Call, Incoming, Refusal, Snapshot, admission::unavailable, page_session},
};

/// The body of a sign-in: a key, or the code of a link.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum SignIn {
    Key { key: String },
    Code { code: String },
}

impl Site {
    /// `GET /session`: whether a page is signed in, and as which key. Never an error, because it is asked
    /// first.
    pub(super) fn session(&self, head: &RequestHead) -> ManagedReply {
        let snapshot = self.gateway.snapshot();
        let is_own = is_of_own_page(&head.uri, &head.headers);
        let found = page_session::find(&snapshot, head).filter(|_| is_own);
        if let Some((session, principal)) = found {
            return self.signed_in(&snapshot, &principal, session.rest.as_secs()).into();
        }
        let listener = self.parts.listener;
        let needs_none = admin::needs_no_key(listener, &snapshot, head);
        let administration = admin::access_word(listener, &snapshot);
        let value = json!({
            "signed_in": needs_none,
            "key": null,
            "admin": needs_none,
            "administration": administration,
        });
        value.into()
    }

    /// `POST /session`.
    ///
    /// # Errors
    /// No page sent it (403), its body is wrong (400), the key or the code is not good (401), as are too many
    /// before it (429), or the keys have not been read (503).
    pub(super) async fn sign_in(
        &self,
        call: &mut Call,
        head: &RequestHead,
        body: impl Incoming,
    ) -> Result<ManagedReply, Box<Refusal>> {
        if !is_of_own_page(&head.uri, &head.headers) {
            return Err(not_of_a_page());
        }
        let body = self.gateway.read_short_body(head, body).await?;
        let sign_in: SignIn = serde_json::from_slice(&body.bytes).map_err(|_| {
            let message = "a sign-in is {\"key\": \"…\"}, or {\"code\": \"…\"} with the code of a link";
            Refusal::request(400, "invalid_request", message)
        })?;
        let (snapshot, now) = (self.gateway.snapshot(), Instant::now());
        let address = client_address(&call.record().client, &snapshot.trusted_proxies);
        let (digest, principal) = owner(&snapshot, head, &sign_in, now).map_err(|refusal| {
            // The gateway's own failure is none of the client's.
            let counted =
                if refusal.status == 401 { snapshot.sessions.guard().count(address, now) } else { Ok(()) };
            counted.map_or_else(too_many_sign_ins, |()| refusal)
        })?;
        call.note_key(&principal);
        snapshot.sessions.close(session_cookies(&head.headers)).await;
        let cookie = snapshot.sessions.open(digest, now).await.map_err(|error| {
            tracing::error!(%error, "no session was opened");
            unavailable("the system gave no random bytes for a session")
        })?;
        let value = self.signed_in(&snapshot, &principal, SESSION_LIFE.as_secs());
        let is_secure = self.is_secure(&snapshot, call, &head.headers);
        let cookie = set_cookie(head, cookie.expose(), SESSION_LIFE.as_secs(), is_secure);
        Ok(ManagedReply { value, cookie: Some(cookie) })
    }

    /// `DELETE /session`.
    ///
    /// # Errors
    /// No page sent it (403).
    pub(super) async fn sign_out(&self, head: &RequestHead) -> Result<ManagedReply, Box<Refusal>> {
        if !is_of_own_page(&head.uri, &head.headers) {
            return Err(not_of_a_page());
        }
        let snapshot = self.gateway.snapshot();
        snapshot.sessions.close(session_cookies(&head.headers)).await;
        let value = json!({
            "signed_in": false,
            "key": null,
            "admin": false,
            "administration": admin::access_word(self.parts.listener, &snapshot),
        });
        Ok(ManagedReply { value, cookie: Some(set_cookie(head, "", 0, false)) })
    }

    fn signed_in(&self, snapshot: &Snapshot, principal: &Principal, rest: u64) -> Value {
        let administration = admin::access_word(self.parts.listener, snapshot);
        json!({
            "signed_in": true,
            "key": {"id": &*principal.id, "name": &*principal.name},
            // As far as this listener serves administration at all.
            "admin": principal.admin && administration != "elsewhere",
            "administration": administration,
            "expires_in": rest,
        })
    }

    /// Whether the browser speaks TLS: with this listener, or with a proxy, by the word of the browser itself
    /// or of a trusted proxy.
    fn is_secure(&self, snapshot: &Snapshot, call: &mut Call, headers: &HeaderFields) -> bool {
        let begins = |name: &str, scheme: &str| {
            headers.get(name).is_some_and(|value| value.starts_with(scheme.as_bytes()))
        };
        let peer = call.record().client.peer;
        let trusts = || {
            peer.is_some_and(|peer| {
                snapshot.trusted_proxies.iter().any(|network| network.contains(peer.to_canonical()))
            })
        };
        let by_listener = self.parts.listener == ListenerRole::Public && self.parts.telemetry.tls;
        by_listener || begins("origin", "https://") || (begins("x-forwarded-proto", "https") && trusts())
    }
}

fn too_many_sign_ins(after: Duration) -> Box<Refusal> {
    let message = "too many sign-ins have failed, and this one, too; try again later";
    let mut refusal = Refusal::request(429, "too_many_sign_ins", message);
    refusal.retry_after = Some(after);
    refusal
}

/// The key of a sign-in.
fn owner(
    snapshot: &Snapshot,
    head: &RequestHead,
    sign_in: &SignIn,
    now: Instant,
) -> Result<(Digest, std::sync::Arc<Principal>), Box<Refusal>> {
    let digest = match sign_in {
        SignIn::Key { key } => Digest::of(key.trim().as_bytes()),
        SignIn::Code { code } => {
            let is_local = is_local_name(&head.uri, &head.headers);
            let taken = is_local.then(|| snapshot.sessions.take_code(code.as_bytes(), now)).flatten();
            let message = "this link was used before, or is older than ten minutes: sign in with a key";
            taken.ok_or_else(|| Refusal::request(401, "link_used", message))?
        }
    };
    let Some(principal) = snapshot.keys.find_by(&snapshot.tokens, &digest) else {
        if !snapshot.keys.are_known() {
            return Err(unavailable("the keys could not be read yet"));
        }
        return Err(Refusal::request(401, "invalid_api_key", "this gateway knows no such key"));
    };
    if principal.has_expired() {
        return Err(Refusal::request(401, "key_expired", "this key has expired"));
    }
    Ok((digest, principal))
}

/// The header that sets the cookie for this long; for no time it removes the cookie.
fn set_cookie(head: &RequestHead, value: &str, seconds: u64, is_secure: bool) -> String {
    let name = cookie_name(&head.uri, &head.headers);
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={value}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}
