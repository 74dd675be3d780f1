//! A provider's address, protocol, key and headers, and the limits of the pools. Built by the configuration
//! and compared by value: a target that did not change keeps its pool over a reload. Opens nothing.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::forwarded_headers::{ForwardedHeaders, names_a_secret};
use crate::base::{Deadlines, Secret, base64};

/// A provider's base URL, parsed once. `path` has no trailing slash and may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: Box<str>,
    pub port: u16,
    pub path: Box<str>,
    /// Goes with every request (Azure's `api-version`). May hold a key, so it is not displayed.
    pub query: Option<Secret<Box<str>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseUrlError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// No host, or one with characters that are not valid in a host (user information included).
    Host,
    /// Not a number from 1 to 65535.
    Port,
    /// A fragment, or characters that are not valid in a request line.
    Path,
}

impl BaseUrl {
    /// Parses `http[s]://host[:port][/path][?query]`. An empty path becomes `/v1`, because base URLs are
    /// written with and without it.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(BaseUrlError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BaseUrlError::Host);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or(BaseUrlError::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| BaseUrlError::Host)?;
                (host, after.strip_prefix(':').or(if after.is_empty() { None } else { Some("x") }))
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(host_byte) {
            return Err(BaseUrlError::Host);
        }
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BaseUrlError::Port)?,
        };
        let path = path.trim_end_matches('/');
        let is_invalid = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'"');
        if path.bytes().chain(query.bytes()).any(is_invalid) {
            return Err(BaseUrlError::Path);
        }
        let path = if path.is_empty() { "/v1" } else { path };
        let query = (!query.is_empty()).then(|| Secret::new(query.into()));
        Ok(Self { tls, host: host.into(), port, path: path.into(), query })
    }

    /// The `Host` header and `:authority`, with the port unless it is the scheme's default.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if self.has_default_port() { host } else { format!("{host}:{}", self.port) }
    }

    pub(super) const fn has_default_port(&self) -> bool {
        self.port == if self.tls { 443 } else { 80 }
    }
}

impl BaseUrl {
    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.query.iter().flat_map(|query| query.expose().split('&'))
    }

    /// The query without parameters whose names name a secret.
    pub fn public_parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters().filter(|pair| !names_a_secret(pair.split('=').next().unwrap_or_default()))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// The HTTP version to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/2 if ALPN negotiates it, else HTTP/1.1.
    #[default]
    Auto,
    Http1,
    /// HTTP/2 by prior knowledge on a plain port, by ALPN on TLS.
    Http2,
}

/// The header that carries a provider's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHeader {
    /// `Authorization: Bearer`
    #[default]
    Bearer,
    /// `x-api-key` (Anthropic)
    XApiKey,
    /// `api-key` (Azure)
    ApiKey,
    /// `x-goog-api-key` (Gemini)
    XGoogApiKey,
}

/// A proxy through which a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyServer {
    /// Host name or address, without brackets.
    pub host: Box<str>,
    pub port: u16,
    /// The value of `proxy-authorization`. `None`: it is not sent.
    pub authorization: Option<Secret<String>>,
}

impl ProxyServer {
    /// Parses `[http://][user[:password]@]host[:port][/]`; without a port 80.
    ///
    /// # Errors
    /// The part that is wrong. `Scheme`: another than `http`.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(BaseUrlError::Scheme),
            None => text,
        };
        let (url, authorization) = basic_authorization(&format!("http://{}", rest.trim_end_matches('/')));
        let base = BaseUrl::parse(&url)?;
        Ok(Self { host: base.host, port: base.port, authorization })
    }
}

/// `url` without its user information, and the latter as the value of an authorization header.
#[must_use]
pub fn basic_authorization(url: &str) -> (String, Option<Secret<String>>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let Some((user, host)) = authority.rsplit_once('@') else { return (url.to_owned(), None) };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
    credentials.push(b':');
    credentials.extend(percent_encoding::percent_decode_str(password));
    let value = format!("Basic {}", base64::encode(&credentials));
    (format!("{scheme}://{host}{path}"), Some(Secret::new(value)))
}

/// PEM files of a certificate and its key; both may be one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// All that a request to one provider needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The provider's configured name.
    pub name: Arc<str>,
    pub base: BaseUrl,
    pub protocol: Protocol,
    pub key_header: KeyHeader,
    /// `None`: no key is sent (a local Ollama needs none).
    pub key: Option<Secret<String>>,
    /// Sent with every request, in place of the client's headers of the same names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers that pass besides the built-in ones.
    pub forwarded: ForwardedHeaders,
    /// PEM file of the roots to trust. `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Shown to the provider. `None`: no certificate is.
    pub client_certificate: Option<ClientCertificate>,
    /// `None`: the provider is connected to itself.
    pub proxy: Option<ProxyServer>,
    /// [`Deadlines::connect`].
    pub connect_timeout: Duration,
    /// [`Deadlines::pool`].
    pub pool_timeout: Duration,
    /// [`Deadlines::write`].
    pub write_timeout: Duration,
}

impl Target {
    /// An address with the defaults: no key, no headers.
    #[must_use]
    pub fn plain(name: impl Into<Arc<str>>, base: BaseUrl) -> Self {
        let Deadlines { connect, pool, write, .. } = Deadlines::default();
        Self {
            name: name.into(),
            base,
            protocol: Protocol::default(),
            key_header: KeyHeader::default(),
            key: None,
            headers: Vec::new(),
            forwarded: ForwardedHeaders::default(),
            ca_file: None,
            client_certificate: None,
            proxy: None,
            connect_timeout: connect,
            pool_timeout: pool,
            write_timeout: write,
        }
    }

    /// The texts by which requests are authorized: the key, and the values of headers and of the base URL's
    /// query whose names say so.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let parameters = self.base.parameters().filter_map(|pair| pair.split_once('='));
        let parameters = parameters.filter(|(name, _)| names_a_secret(name)).map(|(_, value)| value);
        let headers = self.headers.iter().filter(|(name, _)| names_a_secret(name.as_str()));
        let values = headers.filter_map(|(_, value)| value.to_str().ok());
        let values = values.map(|value| value.split_once(' ').map_or(value, |(_scheme, secret)| secret));
        self.key.iter().map(|key| key.expose().as_str()).chain(values).chain(parameters)
    }

    /// Whether it is asked with the key, headers, query and certificates of the other.
    #[must_use]
    pub fn identifies_as(&self, other: &Self) -> bool {
        self.key == other.key
            && self.key_header == other.key_header
            && self.headers == other.headers
            && self.base.query == other.base.query
            && self.client_certificate == other.client_certificate
            && self.ca_file == other.ca_file
    }

    /// Whether anything authorizes its requests.
    #[must_use]
    pub fn has_credential(&self) -> bool {
        self.secrets().next().is_some()
    }

    /// Whether its connections may carry several requests at once.
    #[must_use]
    pub const fn may_multiplex(&self) -> bool {
        match self.protocol {
            Protocol::Auto => self.base.tls,
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        }
    }

    /// Both use the same connections.
    #[must_use]
    pub fn shares_connections(&self, other: &Self) -> bool {
        self.base == other.base
            && self.protocol == other.protocol
            && self.ca_file == other.ca_file
            && self.client_certificate == other.client_certificate
            && self.proxy == other.proxy
    }
}

/// Limits of the connection pools, per base URL, over all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections in use.
    pub max_connections: usize,
    /// Idle connections, besides those in use.
    pub max_keepalive: usize,
    /// How long an idle connection is kept.
    pub keepalive_expiry: Duration,
    /// From one PING on an HTTP/2 connection to the next, while streams run on it. `None`: no PINGs, because
    /// some providers close a connection that sends them.
    pub http2_ping: Option<Duration>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_connections: 100,
            max_keepalive: 20,
            keepalive_expiry: Duration::from_secs(30),
            http2_ping: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_base_urls() {
        let url = BaseUrl::parse("https://api.example.com/v1/").unwrap();
        assert_eq!((url.tls, &*url.host, url.port, &*url.path), (true, "api.example.com", 443, "/v1"));
        assert_eq!(url.authority(), "api.example.com");
        let url = BaseUrl::parse("http://[::1]:11434").unwrap();
        assert_eq!((&*url.host, url.port, &*url.path), ("::1", 11434, "/v1"));
        assert_eq!(url.to_string(), "http://[::1]:11434/v1");
        for (text, path) in [("http://h/v2/?a=b/c&key=sk-1", "/v2"), ("http://h?a=b/c&key=sk-1", "/v1")] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!(
                (&*url.path, url.query.as_ref().map(|query| &**query.expose())),
                (path, Some("a=b/c&key=sk-1"))
            );
            assert!(!format!("{url} {url:?}").contains("sk-1"));
        }
        assert_eq!(BaseUrl::parse("http://h/v1?").unwrap().query, None);
        assert_eq!(&*BaseUrl::parse("http://h/antigravity/v1").unwrap().path, "/antigravity/v1");
    }

    #[test]
    fn says_what_is_wrong_with_a_base_url() {
        for (text, error) in [
            ("api.example.com", BaseUrlError::Scheme),
            ("ftp://h", BaseUrlError::Scheme),
            ("http://", BaseUrlError::Host),
            ("http://user:pw@h", BaseUrlError::Host),
            ("http://[zz]", BaseUrlError::Host),
            ("http://h:0", BaseUrlError::Port),
            ("http://h:99999", BaseUrlError::Port),
            ("http://[::1]x", BaseUrlError::Port),
            ("http://h/a b", BaseUrlError::Path),
            ("http://h/v1#x", BaseUrlError::Path),
            ("http://h/v1?a b", BaseUrlError::Path),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn reads_proxies() {
        let read = |text| {
            ProxyServer::parse(text).map(|proxy| {
                (proxy.host.to_string(), proxy.port, proxy.authorization.map(|a| a.expose().clone()))
            })
        };
        let plain = |host: &str, port| Ok((host.to_owned(), port, None));
        assert_eq!(read("http://proxy:3128"), plain("proxy", 3128));
        assert_eq!(read("proxy:3128/"), plain("proxy", 3128));
        assert_eq!(read("HTTP://[::1]"), plain("::1", 80));
        let basic = Some("Basic dXNlcjpwQHNz".to_owned());
        assert_eq!(read("http://user:p%40ss@proxy"), Ok(("proxy".to_owned(), 80, basic)));
        assert_eq!(read("socks5://proxy:1080"), Err(BaseUrlError::Scheme));
        assert_eq!(read("https://proxy"), Err(BaseUrlError::Scheme));
        assert_eq!(read("http://"), Err(BaseUrlError::Host));
    }
}
