//! The gateway or provider that a command sends its requests to, and the key. Keys are never shown, not even
//! in errors.
//!
//! HTTP/1.1 is used unless `--http2` is given.

use std::{convert::Infallible, future::poll_fn, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use tokio::runtime::{Builder, LocalOptions};

use super::Failure;
use crate::{
    base::{ByteList, DeadlineKind, HeaderFields, Secret},
    telemetry::WorkerGauges,
    upstream::{
        BaseUrl, Deadline, JSON, KeyHeader, PoolSettings, Protocol, Request, Response, SharedPools, Target,
        Upstream,
    },
    wire::Dialect,
};

/// Bytes of a response that are read.
const MAX_RESPONSE_SIZE: usize = 4 << 20;
/// Bytes of an error body that are read.
const MAX_ERROR_BODY: usize = 64 * 1024;

#[derive(clap::Args, Debug)]
pub(super) struct Destination {
    /// Base URL of the gateway or provider
    #[arg(long, default_value = "http://localhost:9000/v1", value_name = "URL")]
    url: String,
    /// Its key
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true, value_name = "KEY", value_parser = GivenKey::of)]
    api_key: Option<GivenKey>,
    /// Certificates to trust instead of the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Speak HTTP/2 (by prior knowledge on a plain port)
    #[arg(long)]
    http2: bool,
}

impl Destination {
    /// # Errors
    /// The URL is not valid.
    pub(super) fn target(&self, dialect: Dialect) -> Result<Target, Failure> {
        let anthropic = dialect == Dialect::Messages;
        let version = (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
        Ok(Target {
            protocol: if self.http2 { Protocol::Http2 } else { Protocol::Http1 },
            key_header: if anthropic { KeyHeader::XApiKey } else { KeyHeader::Bearer },
            key: GivenKey::read(self.api_key.as_ref())?,
            headers: if anthropic { vec![version] } else { Vec::new() },
            ca_file: self.ca_file.clone(),
            ..target(&self.url)?
        })
    }
}

/// A gateway or provider with this base URL and no key.
///
/// # Errors
/// The URL is not valid.
pub(super) fn target(url: &str) -> Result<Target, Failure> {
    let base = BaseUrl::parse(url).map_err(|_| format!("not a base URL: {url}"))?;
    Ok(Target { protocol: Protocol::Http1, ..Target::plain("destination", base) })
}

/// Sends one request without a body to a running gateway, on a runtime of its own. Gives the status and the
/// body.
///
/// # Errors The gateway was not reached, or answered too much or too late.
pub(super) fn ask(
    target: &Target,
    method: Method,
    path: &str,
    timeout: Duration,
) -> Result<(u16, Vec<u8>), Failure> {
    let headers = HeaderFields::new();
    let request = Request { method, path, headers: &headers, accept: "application/json", content_type: JSON };
    let exchange = async {
        let upstream =
            Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
        let deadline = Deadline::new(DeadlineKind::Total, timeout);
        let sent = upstream.send(target, &request, ByteList::new(), deadline).await;
        let mut response = sent.map_err(|fault| format!("{}: {fault}", target.base))?;
        let mut body = Vec::new();
        while let Some(frame) = poll_fn(|cx| response.body.poll_frame(cx)).await {
            body.extend_from_slice(&frame?);
            if body.len() > MAX_RESPONSE_SIZE {
                return Err("the answer is longer than any of a gateway's".into());
            }
        }
        Ok((response.status.as_u16(), body))
    };
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?.block_on(exchange)
}

/// A key as a flag or a variable gives it. It is read after the command line, because an error of that would
/// show it.
#[derive(Clone, Debug)]
pub(super) struct GivenKey(Secret<String>);

impl GivenKey {
    #[expect(clippy::unnecessary_wraps, reason = "the form of clap's parsers")]
    pub(super) fn of(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// The key without blanks around it; an empty one counts as none, as an empty variable does.
    ///
    /// # Errors
    /// It does not fit into a header. The error does not show it.
    pub(super) fn read(given: Option<&Self>) -> Result<Option<Secret<String>>, &'static str> {
        let text = given.map_or("", |given| given.0.expose().trim());
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a key is made of visible ASCII characters alone, without blanks");
        }
        Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
    }
}

/// The error message of an answer that is not good, or else its status.
pub(super) async fn error_message(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|cx| response.body.poll_frame(cx)).await {
        body.extend_from_slice(&frame);
        if body.len() > MAX_ERROR_BODY {
            break;
        }
    }
    let error: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let message = error.as_ref().and_then(|error| error["error"]["message"].as_str());
    let status = response.status.as_u16();
    message.map_or_else(|| format!("answered {status}"), |message| format!("{message} ({status})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(url: &str) -> Destination {
        let api_key = GivenKey::of("sk-t").ok();
        Destination { url: url.into(), api_key, ca_file: None, http2: false }
    }

    #[test]
    fn each_dialect_shows_the_key_in_its_own_header() {
        let target = destination("http://localhost:1").target(Dialect::Messages).unwrap();
        assert_eq!((target.key_header, target.headers.len()), (KeyHeader::XApiKey, 1));
        let target = destination("http://localhost:1").target(Dialect::ChatCompletions).unwrap();
        assert_eq!((target.key_header, target.headers.len()), (KeyHeader::Bearer, 0));
        assert!(destination("localhost").target(Dialect::Responses).is_err());
    }

    #[test]
    fn a_key_that_would_break_the_head_is_refused_and_none_is_shown() {
        let read = |text| GivenKey::read(GivenKey::of(text).ok().as_ref());
        assert!(read("sk\r\nx: y").is_err_and(|error| !error.contains("sk")));
        assert!(read(" ").unwrap().is_none() && GivenKey::read(None).unwrap().is_none());
        assert_eq!(read(" sk-t\r\n").unwrap().map(|key| key.expose().clone()).as_deref(), Some("sk-t"));
        assert!(!format!("{:?}", destination("http://localhost")).contains("sk-t"));
    }
}
