//! The access that routes require, and its check. An operator is a request with an administrator's key, or
//! one that came through the operators' listener (`admin_listen`) while no administrator's key exists.
//! Without a key and that listener, administration is closed.
//!
//! Invariant: the operators' listener asks for no key only after the stored keys have been read and none of
//! them is an administrator's.

use std::sync::Arc;

use http::header;

use super::routes::Access;
use crate::auth::{
    Principal,
    page_request::{is_local_name, is_of_own_page},
};
use crate::proxy::{
    AdminAccess, Refusal, Snapshot,
    admission::{accept, admit, unavailable},
};

use crate::base::RequestHead;

/// The listener of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerRole {
    /// The listener of clients.
    #[default]
    Public,
    /// The listener of operators (`admin_listen`): no completions.
    Administration {
        /// The listener is on loopback: no key is required while no administrator's key exists.
        open: bool,
    },
}

/// Checks the access that a route requires. [`crate::proxy`] checks the key of a completion itself, because
/// it needs the key's principal.
///
/// # Errors
/// No accepted key (401), no administrator's key or administration is closed (401, 403), or the keys have not
/// been read (503).
pub(super) fn authorize(
    access: Access,
    listener: ListenerRole,
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Result<(), Box<Refusal>> {
    match access {
        Access::Anyone => Ok(()),
        Access::Key => admit(snapshot, head).map(|_| ()),
        Access::OperatorUnlessPublic if snapshot.telemetry.public_metrics => Ok(()),
        Access::Operator | Access::OperatorUnlessPublic => administrate(listener, snapshot, head),
        Access::OperatorOrKey => key_scope(listener, snapshot, head).map(|_| ()),
    }
}

/// The scope of events that a request may see: those of this key id. `None`: the events of all keys.
///
/// # Errors
/// As [`key_scope`].
pub(super) fn event_scope(
    listener: ListenerRole,
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Result<Option<Arc<str>>, Box<Refusal>> {
    Ok(key_scope(listener, snapshot, head)?.map(|principal| Arc::clone(&principal.id)))
}

/// The key whose facts alone a request may see. `None`: it may see those of all keys.
///
/// # Errors
/// No accepted key (401), or the keys have not been read (503).
pub(super) fn key_scope(
    listener: ListenerRole,
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Result<Option<Arc<Principal>>, Box<Refusal>> {
    match administrate(listener, snapshot, head) {
        Ok(()) => Ok(None),
        Err(refusal) if listener != ListenerRole::Public => Err(refusal),
        Err(_) => admit(snapshot, head).map(Some),
    }
}

/// The details that a request may see.
#[derive(Debug)]
pub(super) enum DetailScope {
    None,
    /// Of the models that this key may use.
    OfKey(Arc<Principal>),
    All,
}

/// The details that a request may see: an accepted key's, or an operator's.
pub(super) fn detail(listener: ListenerRole, snapshot: &Snapshot, head: &RequestHead) -> DetailScope {
    match admit(snapshot, head) {
        Ok(principal) if principal.admin || principal.limits.models.is_empty() => DetailScope::All,
        Ok(principal) => DetailScope::OfKey(principal),
        Err(_) if administrate(listener, snapshot, head).is_ok() => DetailScope::All,
        Err(_) => DetailScope::None,
    }
}

/// Checks that a request is an operator's.
///
/// # Errors
/// Administration is closed or served by another listener (403), no administrator's key was shown (401, 403),
/// or the stored keys, which may include one, have not been read (503).
fn administrate(listener: ListenerRole, snapshot: &Snapshot, head: &RequestHead) -> Result<(), Box<Refusal>> {
    if (listener, snapshot.administration) == (ListenerRole::Public, AdminAccess::Apart) {
        let message = "administration is served at the address of `admin_listen` only";
        return Err(Refusal::request(403, "administration_elsewhere", message));
    }
    if !snapshot.tokens.has_admin() && !snapshot.keys.has_admin() {
        match listener {
            ListenerRole::Administration { open: true } if snapshot.keys.are_known() => {
                return refuse_web_pages(head);
            }
            // A stored administrator's key would close the listener, so no request passes before the keys are
            // read.
            ListenerRole::Administration { open: true } => {
                return Err(unavailable("whether administration takes a key could not be read yet"));
            }
            // The store may hold an administrator's key: the shown key is checked below.
            ListenerRole::Administration { open: false } | ListenerRole::Public
                if !snapshot.keys.are_known() => {}
            ListenerRole::Administration { open: false } | ListenerRole::Public => return Err(closed()),
        }
    }
    if accept(snapshot, head, |principal| principal.admin)?.0.admin {
        return Ok(());
    }
    Err(Refusal::request(403, "not_an_administrator", "this API key may not administrate"))
}

/// How a listener serves administration, as pages show it: `key` (by an administrator's key), `open` (without
/// one), `closed` (there is no such key), `elsewhere`.
pub(super) fn access_word(listener: ListenerRole, snapshot: &Snapshot) -> &'static str {
    let has_admin = snapshot.tokens.has_admin() || snapshot.keys.has_admin();
    match listener {
        ListenerRole::Public if snapshot.administration == AdminAccess::Apart => "elsewhere",
        ListenerRole::Public | ListenerRole::Administration { .. }
            if has_admin || !snapshot.keys.are_known() =>
        {
            "key"
        }
        ListenerRole::Administration { open: true } => "open",
        ListenerRole::Public | ListenerRole::Administration { open: false } => "closed",
    }
}

/// Whether a request passes as an operator's without any key.
pub(super) fn needs_no_key(listener: ListenerRole, snapshot: &Snapshot, head: &RequestHead) -> bool {
    access_word(listener, snapshot) == "open" && refuse_web_pages(head).is_ok()
}

fn closed() -> Box<Refusal> {
    let message = "administration is closed: set THALWEG_ADMIN_KEY, a token with `\"admin\": true`, or `admin_listen`, or make a key \
         with `thalweg keys create --admin`";
    Refusal::request(403, "administration_closed", message)
}

/// Refuses requests of web pages but the gateway's own where no key is required: a page in an operator's
/// browser reaches loopback, either from another origin (it sends `origin`) or under its own name, which DNS
/// rebinding points here (`host` is not local).
fn refuse_web_pages(head: &RequestHead) -> Result<(), Box<Refusal>> {
    let (uri, headers) = (&head.uri, &head.headers);
    if is_local_name(uri, headers) && (!headers.contains(header::ORIGIN) || is_of_own_page(uri, headers)) {
        return Ok(());
    }
    let message = "without an administrator's key, administration is not for web pages or under other names";
    Err(Refusal::request(403, "administration_closed", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_in_a_browser_does_not_pass_without_a_key() {
        let asked = |name: &'static str, value: &'static str| {
            let (head, ()) = http::Request::builder().header(name, value).body(()).unwrap().into_parts();
            refuse_web_pages(&head.into()).is_ok()
        };
        for host in ["127.0.0.1:9001", "[::1]:9001", "localhost", "LOCALHOST:1"] {
            assert!(asked("host", host), "{host}");
        }
        for host in ["evil.example:9001", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!asked("host", host), "{host}");
        }
        assert!(!asked("origin", "http://localhost"));
    }
}
