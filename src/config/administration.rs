//! `admin_listen`: the address of the administration listener, separate from the clients'. An address beyond
//! this machine is refused unless an administrator's key is configured. The configured keys are checked after
//! all sources have been read.

use std::net::IpAddr;

use super::{
    env::Env,
    problem::{Problem, ValueError},
    root,
    settings::Settings,
};
use crate::server::Listen;

/// The environment variable of the same setting.
const VARIABLE: &str = "THALWEG_ADMIN_LISTEN";

/// Parses `host:port`, `[address]:port`, `:port` or a port alone; without a host, loopback.
pub(super) fn listen(text: &str) -> Result<Listen, ValueError> {
    let text = text.trim();
    let (host, port) = match text.rsplit_once(':') {
        None => ("", text),
        Some((host, port)) => (host, port),
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { root::host(host)? };
    let port = port.parse().map_err(|_| "expected \"host:port\"")?;
    Ok(Listen { host, port, tls: None })
}

/// Applies the variable, which precedes the file, and checks the address. Without an administrator's key, any
/// client that reaches the address may administrate: beyond this machine a key is required.
pub(super) fn finish(env: &Env, settings: &mut Settings, problems: &mut Vec<Problem>) {
    if let Some(text) = env.variable(VARIABLE) {
        match listen(text) {
            Ok(listen) => settings.admin_listen = Some(listen),
            Err(error) => problems.push(Problem::new(VARIABLE, error)),
        }
    }
    let Some(listen) = &settings.admin_listen else { return };
    if !is_loopback(listen) && !settings.tokens.iter().any(|token| token.admin) {
        let message = "is not loopback, so an administrator's key is needed: THALWEG_ADMIN_KEY, or a token with \
                       \"admin\": true";
        problems.push(Problem::new("admin_listen", message));
    }
}

/// Whether only this machine can reach it.
#[must_use]
pub fn is_loopback(listen: &Listen) -> bool {
    listen.host.eq_ignore_ascii_case("localhost")
        || listen.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_host() {
        let read = |text| listen(text).map(|listen| (listen.host, listen.port)).ok();
        for (text, host, port) in [
            ("127.0.0.1:9001", "127.0.0.1", 9001),
            ("[::1]:9001", "::1", 9001),
            (":9001", "localhost", 9001),
            ("9001", "localhost", 9001),
            ("admin.internal:0", "admin.internal", 0),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["", "localhost", "::1", "a b:1", "x:70000", "http://localhost:1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
