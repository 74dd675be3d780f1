//! The HTTP proxy through which a provider is reached: by its own `proxy`, else by the file's, else by the
//! variables that other programs read (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). Addresses of
//! this machine are never reached through a proxy of the environment.

use std::net::IpAddr;

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    section::Section,
};
use crate::{
    base::Network,
    upstream::{BaseUrl, BaseUrlError, ProxyServer},
};

/// Variables by scheme, the first that is set counts.
const SECURE_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const PLAIN_VARIABLES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What `proxy` says.
#[derive(Clone, Default)]
pub(super) enum ProxyChoice {
    /// Nothing: the environment decides.
    #[default]
    Environment,
    /// `false`: none.
    Direct,
    Through(ProxyServer),
}

/// Reads `proxy`: an address, or `false`.
pub(super) fn read(section: &mut Section<'_, '_, '_>, choice: &mut ProxyChoice) {
    let Some(mut field) = section.field("proxy") else { return };
    if matches!(field.value, Value::Bool(false)) {
        *choice = ProxyChoice::Direct;
    } else if let Some(text) = field.resolved()
        && let Some(server) = field.read(|_| parse(&text))
    {
        *choice = ProxyChoice::Through(server);
    }
}

impl ProxyChoice {
    /// The proxy to `base`.
    ///
    /// # Errors
    /// The environment's cannot be used.
    pub(super) fn server(&self, base: &BaseUrl, env: &Env) -> Result<Option<ProxyServer>, Problem> {
        match self {
            Self::Environment => from_environment(base, env),
            Self::Direct => Ok(None),
            Self::Through(server) => Ok(Some(server.clone())),
        }
    }
}

fn from_environment(base: &BaseUrl, env: &Env) -> Result<Option<ProxyServer>, Problem> {
    let variables = if base.tls { SECURE_VARIABLES } else { PLAIN_VARIABLES };
    let set = variables.into_iter().find_map(|name| Some((name, env.variable(name)?)));
    let Some((name, text)) = set.filter(|_| !is_here(&base.host) && !is_excepted(base, env)) else {
        return Ok(None);
    };
    parse(text).map(Some).map_err(|error| Problem::new(name, error))
}

fn parse(text: &str) -> Result<ProxyServer, ValueError> {
    ProxyServer::parse(text.trim()).map_err(|error| {
        ValueError::from(match error {
            BaseUrlError::Scheme => "must start with http://; other kinds of proxies are not supported",
            BaseUrlError::Host | BaseUrlError::Path => "has no host, or one with characters that no host has",
            BaseUrlError::Port => "has a port that is no number from 1 to 65535",
        })
    })
}

fn is_here(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether `NO_PROXY` lists the host: its name, a domain above it, its address or a range, or `*`; with a
/// port or without.
fn is_excepted(base: &BaseUrl, env: &Env) -> bool {
    let list = EXCEPTIONS.into_iter().find_map(|name| env.variable(name)).unwrap_or_default();
    let host = base.host.to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let (Some(address), Ok(network)) = (address, entry.trim_matches(['[', ']']).parse::<Network>()) {
            return network.contains(address);
        }
        let with_port =
            entry.rsplit_once(':').and_then(|(name, port)| Some((name, Some(port.parse::<u16>().ok()?))));
        let (name, port) = with_port.unwrap_or((&entry, None));
        let domain = name.trim_start_matches('*').trim_start_matches('.').trim_matches(['[', ']']);
        let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        !domain.is_empty() && is_below && port.is_none_or(|port| port == base.port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_who_is_reached_through_a_proxy() {
        let env = Env::new(
            [
                ("HTTPS_PROXY", "http://secure:3128"),
                ("http_proxy", "plain:8080"),
                ("NO_PROXY", "internal.example, .corp.example,10.0.0.0/8 odd.example:8443"),
            ],
            |_, _| false,
        );
        for (base, proxy) in [
            ("https://api.example.com/v1", Some("secure")),
            ("http://api.example.com/v1", Some("plain")),
            ("https://localhost/v1", None),
            ("https://127.0.0.1/v1", None),
            ("http://[::1]:1/v1", None),
            ("https://internal.example/v1", None),
            ("https://llm.internal.example/v1", None),
            ("https://notinternal.example/v1", Some("secure")),
            ("https://llm.corp.example/v1", None),
            ("https://10.1.2.3/v1", None),
            ("https://11.1.2.3/v1", Some("secure")),
            ("https://odd.example:8443/v1", None),
            ("https://odd.example/v1", Some("secure")),
        ] {
            let base = BaseUrl::parse(base).unwrap();
            let server = ProxyChoice::Environment.server(&base, &env).unwrap();
            assert_eq!(server.as_ref().map(|server| &*server.host), proxy, "{base}");
            assert_eq!(ProxyChoice::Direct.server(&base, &env), Ok(None));
        }
        let env = Env::new([("ALL_PROXY", "socks5://user:secret@h")], |_, _| false);
        let base = BaseUrl::parse("https://api.example.com").unwrap();
        let problem = ProxyChoice::Environment.server(&base, &env).unwrap_err();
        assert_eq!(problem.path, "ALL_PROXY");
        assert!(!problem.to_string().contains("secret"));
    }
}
