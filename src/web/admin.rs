//! Who may ask for what is the operator's alone: a reload, statistics, events. Either an administrator's key is shown, or
//! the request came through the listener that serves nothing else (`admin_listen`). Without either it is closed; and that
//! listener is open only once it is known that there is no administrator's key.

use std::sync::Arc;

use http::{HeaderMap, Uri, header, request::Parts};

use super::routes::Access;
use crate::proxy::{
    AdminAccess, Refusal, Snapshot,
    admission::{admit, unavailable},
};

/// Which listener a corridor answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerRole {
    /// Where clients are served.
    #[default]
    Public,
    /// `admin_listen`: no completions.
    Administration {
        /// Where there is known to be no administrator's key, none is asked for.
        open: bool,
    },
}

/// Applies the required access of a route.
///
/// Completions and events need the key's owner, and check it themselves.
///
/// # Errors
/// No accepted key was shown, or no administrator's.
pub(super) fn authorize(
    access: Access,
    listener: ListenerRole,
    snapshot: &Snapshot,
    head: &Parts,
) -> Result<(), Box<Refusal>> {
    match access {
        Access::Anyone => Ok(()),
        Access::Key => admit(snapshot, &head.headers).map(|_| ()),
        Access::OperatorUnlessPublic if snapshot.telemetry.public_metrics => Ok(()),
        Access::Operator | Access::OperatorUnlessPublic => administrate(listener, snapshot, head),
        Access::OperatorOrKey => event_scope(listener, snapshot, head).map(|_| ()),
    }
}

/// The key whose events the request may see; `None`: it may see all of them.
///
/// # Errors
/// No accepted key was shown.
pub(super) fn event_scope(
    listener: ListenerRole,
    snapshot: &Snapshot,
    head: &Parts,
) -> Result<Option<Arc<str>>, Box<Refusal>> {
    match administrate(listener, snapshot, head) {
        Ok(()) => Ok(None),
        Err(refusal) if listener != ListenerRole::Public => Err(refusal),
        Err(_) => admit(snapshot, &head.headers).map(|principal| Some(Arc::clone(&principal.id))),
    }
}

/// Whether an accepted key was shown, or the request is an operator's.
pub(super) fn is_known(listener: ListenerRole, snapshot: &Snapshot, head: &Parts) -> bool {
    admit(snapshot, &head.headers).is_ok() || administrate(listener, snapshot, head).is_ok()
}

/// Lets an administrator pass.
///
/// # Errors
/// It is closed or elsewhere (403), no administrator's key was shown (401, 403), or it is not known whether there is one
/// (503).
fn administrate(entrance: ListenerRole, snapshot: &Snapshot, head: &Parts) -> Result<(), Box<Refusal>> {
    if (entrance, snapshot.administration) == (ListenerRole::Public, AdminAccess::Apart) {
        let message = "administration is served at the address of `admin_listen` only";
        return Err(Refusal::request(403, "administration_elsewhere", message));
    }
    if !snapshot.tokens.has_admin() && !snapshot.keys.has_admin() {
        match entrance {
            ListenerRole::Administration { open: true } if snapshot.keys.are_known() => {
                return undisguised(head);
            }
            // An administrator's key in the store closes this: whoever is let in before it is read may be nobody's.
            ListenerRole::Administration { open: true } => {
                return Err(unavailable("whether administration takes a key could not be read yet"));
            }
            // There may be one in the store: what is shown is looked at.
            ListenerRole::Administration { open: false } | ListenerRole::Public
                if !snapshot.keys.are_known() => {}
            ListenerRole::Administration { open: false } | ListenerRole::Public => return Err(closed()),
        }
    }
    if admit(snapshot, &head.headers)?.admin {
        return Ok(());
    }
    Err(Refusal::request(403, "not_an_administrator", "this API key may not administrate"))
}

fn closed() -> Box<Refusal> {
    let message = "administration is closed: set THALWEG_ADMIN_KEY, a token with `\"admin\": true`, or `admin_listen`, or make a key \
         with `thalweg keys create --admin`";
    Refusal::request(403, "administration_closed", message)
}

/// Where no key is asked for, a browser's page must not get in by way of its user: neither openly from another origin,
/// nor under a name that it has had point here.
fn undisguised(head: &Parts) -> Result<(), Box<Refusal>> {
    if !head.headers.contains_key(header::ORIGIN) && is_local_name(&head.uri, &head.headers) {
        return Ok(());
    }
    let message = "without an administrator's key, administration is not for web pages or under other names";
    Err(Refusal::request(403, "administration_closed", message))
}

fn is_local_name(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.or_else(|| uri.authority().map(http::uri::Authority::as_str)) else {
        return true;
    };
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_in_a_browser_does_not_pass_without_a_key() {
        let asked = |name: &'static str, value: &'static str| {
            let (head, ()) = http::Request::builder().header(name, value).body(()).unwrap().into_parts();
            undisguised(&head).is_ok()
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
