//! The environment of the process: its variables, and whether an address accepts connections. Passed as a
//! value, so that tests and fuzzing provide their own. `Debug` shows names only, because values may be
//! secret.

use std::{
    collections::BTreeMap,
    fmt,
    net::{TcpStream, ToSocketAddrs},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use super::{problem::ValueError, suggestion::nearest};
use crate::{base::Secret, telemetry::instance};

/// Longer than a connect to loopback takes, too short to delay a start noticeably.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Clone)]
pub struct Env {
    variables: BTreeMap<String, Secret<String>>,
    listens: fn(host: &str, port: u16) -> bool,
    /// This host's name; empty: not known.
    host: String,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Env {
    /// This process's variables (those that are UTF-8) and its network.
    #[must_use]
    pub fn of_process() -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::new(std::env::vars_os().filter_map(utf8), accepts_connections).on_host(&instance::host())
    }

    /// An environment of these variables; `listens` replaces the network.
    pub fn new(
        variables: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
        listens: fn(host: &str, port: u16) -> bool,
    ) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name.into(), Secret::new(value.into()))).collect();
        Self { variables, listens, host: String::new() }
    }

    /// No variables, and no address accepts connections.
    #[must_use]
    pub fn empty() -> Self {
        Self { variables: BTreeMap::new(), listens: |_, _| false, host: String::new() }
    }

    /// `None`: not set, or empty, because a compose file unsets a variable in this way.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.expose().trim()).filter(|value| !value.is_empty())
    }

    /// The same on a host of this name.
    #[must_use]
    pub fn on_host(self, name: &str) -> Self {
        Self { host: name.to_owned(), ..self }
    }

    pub(super) fn is_own_name(&self, name: &str) -> bool {
        !self.host.is_empty() && self.host.eq_ignore_ascii_case(name)
    }

    pub(super) fn listens(&self, host: &str, port: u16) -> bool {
        (self.listens)(host, port)
    }

    /// Replaces every `${NAME}` in `text`, or the whole text if it is `env.NAME` or `os.environ/NAME`.
    pub(super) fn resolve(&self, text: &str) -> Result<String, ValueError> {
        if let Some(name) = named_alone(text) {
            return self.required(name).map(str::to_owned);
        }
        // A shell's form is a slip of the pen: `$` and a name is no key.
        if let Some(name) =
            text.split(' ').filter_map(|word| word.strip_prefix('$')).find(|name| is_name(name))
        {
            return Err(format!("${name} is not replaced here; write ${{{name}}}").into());
        }
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("a ${ is not closed by }")?;
            if !is_name(name) {
                return Err("what stands in ${…} is not the name of an environment variable".into());
            }
            resolved.push_str(before);
            resolved.push_str(self.required(name)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn required(&self, name: &str) -> Result<&str, ValueError> {
        self.variable(name).ok_or_else(|| ValueError {
            message: format!("the environment variable {name} is not set"),
            suggestion: nearest(name, self.variables.keys().map(String::as_str)),
        })
    }
}

/// The variable of a text that is `env.NAME` or `os.environ/NAME`.
fn named_alone(text: &str) -> Option<&str> {
    let name = text.strip_prefix("env.").or_else(|| text.strip_prefix("os.environ/"))?;
    is_name(name).then_some(name)
}

/// Whether a text consists of references to variables, and so holds nothing itself.
pub(super) fn is_reference(text: &str) -> bool {
    let is_one = |part: &str| part.strip_prefix("${").is_some_and(is_name);
    named_alone(text).is_some() || text.strip_suffix('}').is_some_and(|parts| parts.split('}').all(is_one))
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Whether the address accepts a connection within [`PROBE_TIMEOUT`]. Runs on its own thread, because the
/// lookup of an unknown name takes much longer to fail.
fn accepts_connections(host: &str, port: u16) -> bool {
    let (sender, receiver) = sync_channel(1);
    let host = host.to_owned();
    let probe = move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        let found = addresses.is_ok_and(|mut addresses| {
            addresses.any(|address| TcpStream::connect_timeout(&address, PROBE_TIMEOUT).is_ok())
        });
        let _ = sender.send(found);
    };
    thread::Builder::new().name("probe".to_owned()).spawn(probe).is_ok()
        && receiver.recv_timeout(PROBE_TIMEOUT) == Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use super::*;
    use crate::base::free_port::free_port;

    #[test]
    fn a_probe_sees_who_listens_and_never_waits_long() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(accepts_connections("127.0.0.1", port));
        assert!(!accepts_connections("127.0.0.1", free_port()));
        let begun = Instant::now();
        assert!(!accepts_connections("no-such-host.invalid", 1));
        assert!(begun.elapsed() < 10 * PROBE_TIMEOUT);
    }

    #[test]
    fn references_are_replaced_in_all_their_forms() {
        let env = Env::new([("A", "1"), ("B_2", "2")], |_, _| false);
        for (text, resolved) in [
            ("plain", "plain"),
            ("${A}", "1"),
            ("x-${A}-${B_2}$", "x-1-2$"),
            ("env.A", "1"),
            ("os.environ/B_2", "2"),
            ("env.sk-1", "env.sk-1"),
            ("", ""),
        ] {
            assert_eq!(env.resolve(text).unwrap(), resolved, "{text}");
        }
        for text in ["${A", "${}", "${A-B}", "${1}", "${MISSING}", "env.MISSING", "$A", "Bearer $A"] {
            assert!(env.resolve(text).is_err(), "{text}");
        }
        assert_eq!(env.resolve("$A").unwrap_err().message, "$A is not replaced here; write ${A}");
        for text in ["a$A", "$1", "$", "$A-b", "pa$$word"] {
            assert_eq!(env.resolve(text).unwrap(), text, "a key may hold a dollar");
        }
    }
}
