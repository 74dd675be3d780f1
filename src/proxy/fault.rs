//! The errors that the gateway answers itself: the one file that turns a fault into status, error type, code
//! and message (S0.10, S2.12). Their JSON is made in `wire`.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    base::{DeadlineKind, Fault, FaultKind, Sent, Side, Stage, fault::NO_SOCKET},
    routing::NoPlan,
    wire::{Dialect, EnvelopeError, FailedStream, WireError},
};

/// The code of a provider's refusal of the gateway's own key.
pub(super) const KEY_REFUSED: &str = "upstream_key_refused";

/// An error that the gateway answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub kind: &'static str,
    pub code: &'static str,
    pub message: Cow<'static, str>,
    pub param: Option<Cow<'static, str>>,
    /// `Allow`, with a 405.
    pub allow: Option<&'static str>,
    /// When to come again, with a 429 or a 503.
    pub retry_after: Option<Duration>,
    /// The cause, for the log.
    pub fault: Fault,
}

impl Refusal {
    /// The request itself is at fault.
    pub fn request(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Box<Self> {
        let kind = Self::kind_of(status);
        let fault = Fault::client(Stage::Intake, FaultKind::Refused(code));
        Box::new(Self {
            status,
            kind,
            code,
            message: message.into(),
            param: None,
            allow: None,
            retry_after: None,
            fault,
        })
    }

    /// OpenAI's error type of a status.
    pub(super) const fn kind_of(status: u16) -> &'static str {
        match status {
            401 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            429 => "rate_limit_error",
            500..=599 => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The gateway cannot serve the request now, through no fault of the client.
    pub fn gateway(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Box<Self> {
        let mut refusal = Self::request(status, code, message);
        refusal.kind = "server_error";
        refusal
    }

    /// The client's own time is up before a provider has answered.
    pub(super) fn late() -> Box<Self> {
        let code = "all_providers_timed_out";
        let mut refusal = Self::gateway(504, code, "no provider answered in time");
        refusal.fault = Fault::provider(Stage::Head, FaultKind::Refused(code), Sent::Unknown);
        refusal
    }

    /// The drain's time was over when the request had come so far.
    pub(super) fn shutting_down(stage: Stage) -> Box<Self> {
        let fault = Fault::shutting_down(stage);
        let message = "the gateway is shutting down, and had no answer yet";
        let mut refusal = Self::gateway(503, fault.code(), message);
        refusal.fault = fault;
        refusal
    }

    /// No provider can serve the requested model (S3.8).
    #[must_use]
    pub fn no_plan(none: &NoPlan, model: &str) -> Box<Self> {
        let message = none.message(model);
        match none {
            NoPlan::Unknown(_) => Self::request(404, "model_not_found", message).of(Some("model")),
            NoPlan::NoEndpoint(_) => Self::request(404, "endpoint_not_found", message),
            NoPlan::AllResting { retry_after } => {
                let mut refusal = Self::gateway(503, "no_provider_available", message);
                refusal.retry_after = Some(*retry_after);
                refusal
            }
        }
    }

    /// A provider refuses the gateway's own key: the client's key is good. `words`: the provider's.
    #[must_use]
    pub(super) fn key_refused(provider: &str, has_key: bool, words: &str) -> Box<Self> {
        let reason = match has_key {
            true => "refuses the key that the gateway has for it, not that of this request",
            false => "asks for a key, and no key is configured for it in the gateway",
        };
        let separator = if words.is_empty() { "" } else { ": " };
        let message = format!("the provider `{provider}` {reason}{separator}{words}");
        // Agents that repeat a 502, whatever `x-should-retry` says, give up on a 401.
        let mut refusal = Self::request(401, KEY_REFUSED, message);
        refusal.fault = Fault::provider(Stage::Head, FaultKind::Refused(KEY_REFUSED), Sent::Some);
        refusal
    }

    /// The field at fault.
    #[must_use]
    pub fn of(mut self: Box<Self>, param: Option<&'static str>) -> Box<Self> {
        self.param = param.map(Cow::Borrowed);
        self
    }

    /// The value of `x-should-retry`, which Stainless' clients (OpenAI's, Anthropic's, and Claude Code) obey:
    /// a repeat cannot heal a mistake of the request, a rejected key or a redirection, and an answer that
    /// does not stream would be generated and paid once more. `None`: the client decides.
    #[must_use]
    pub fn should_retry(&self) -> Option<&'static str> {
        let total = matches!(self.fault.kind, FaultKind::Timeout(DeadlineKind::Total, _));
        let is_fixed = matches!(self.fault.kind, FaultKind::Redirect(_)) || self.code == KEY_REFUSED;
        match self.status {
            400..=405 | 413 | 415 | 426 | 431 => Some("false"),
            // Without a time no wait helps: the request alone is above the limit.
            429 if self.retry_after.is_none() => Some("false"),
            429 | 503 => Some("true"),
            502 if is_fixed => Some("false"),
            504 if total => Some("false"),
            _ => None,
        }
    }

    /// The error as a body of `dialect`.
    #[must_use]
    pub fn body(&self, dialect: Dialect) -> Bytes {
        dialect.error_body(&self.wire())
    }

    /// The error as a body of `dialect` that lists `problems`.
    #[must_use]
    pub fn body_with(&self, dialect: Dialect, problems: Vec<Value>) -> Bytes {
        dialect.error_body_with(&self.wire(), problems)
    }

    fn wire(&self) -> WireError<'_> {
        WireError {
            status: self.status,
            kind: self.kind,
            message: &self.message,
            param: self.param.as_deref(),
            code: Some(self.code),
            retry_after: self.retry_after,
        }
    }
}

/// After the commit point: the event that tells of `fault`. Its words are those by which clients recognize a
/// fault of transport, after which they repeat the request.
#[must_use]
pub fn event(dialect: Dialect, fault: &Fault, stream: &FailedStream<'_>) -> Bytes {
    let known = match fault.kind {
        FaultKind::Timeout(..) => "timed out",
        FaultKind::Unreachable(_)
        | FaultKind::Tls(_)
        | FaultKind::Reset
        | FaultKind::Garbage(_)
        | FaultKind::TooLarge { .. }
        | FaultKind::Status(_)
        | FaultKind::Redirect(_)
        | FaultKind::Truncated
        | FaultKind::Empty(_)
        | FaultKind::ErrorEvent
        | FaultKind::Gone
        | FaultKind::Refused(_) => "connection lost",
    };
    let mut refusal = Refusal::from(fault.clone());
    refusal.message = format!("provider returned error: {known} ({fault})").into();
    dialect.error_event(&refusal.wire(), stream)
}

impl From<EnvelopeError> for Box<Refusal> {
    fn from(error: EnvelopeError) -> Self {
        Refusal::request(400, "invalid_request", error.to_string()).of(error.param())
    }
}

impl From<Fault> for Box<Refusal> {
    fn from(fault: Fault) -> Self {
        Self::new(Refusal::from(fault))
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let (status, kind, code) = match fault.side {
            Side::Client => (client(&fault.kind), "invalid_request_error", fault.code()),
            Side::Provider | Side::Gateway => (provider(&fault.kind), "server_error", fault.code()),
        };
        let side = match fault.side {
            Side::Client => "the request",
            Side::Gateway => "the gateway",
            Side::Provider => "the provider",
        };
        let is_full = code == NO_SOCKET;
        let message = match is_full {
            true => "the gateway has no free socket or memory for a connection to the provider".into(),
            false => Cow::Owned(format!("{side}: {fault}")),
        };
        let retry_after = is_full.then_some(Duration::from_secs(1));
        Self { status, kind, code, message, param: None, allow: None, retry_after, fault }
    }
}

const fn client(kind: &FaultKind) -> u16 {
    match kind {
        FaultKind::Timeout(DeadlineKind::Write, _) | FaultKind::Gone | FaultKind::Reset => 499,
        FaultKind::Timeout(..) => 408,
        FaultKind::TooLarge { .. } => 413,
        FaultKind::Unreachable(_)
        | FaultKind::Tls(_)
        | FaultKind::Garbage(_)
        | FaultKind::Status(_)
        | FaultKind::Redirect(_)
        | FaultKind::Truncated
        | FaultKind::Empty(_)
        | FaultKind::ErrorEvent
        | FaultKind::Refused(_) => 400,
    }
}

const fn provider(kind: &FaultKind) -> u16 {
    match kind {
        FaultKind::Timeout(DeadlineKind::Pool, _) | FaultKind::Refused(_) => 503,
        FaultKind::Timeout(..) => 504,
        FaultKind::Unreachable(_)
        | FaultKind::Tls(_)
        | FaultKind::Reset
        | FaultKind::Gone
        | FaultKind::Garbage(_)
        | FaultKind::TooLarge { .. }
        | FaultKind::Status(_)
        | FaultKind::Redirect(_)
        | FaultKind::Truncated
        | FaultKind::Empty(_)
        | FaultKind::ErrorEvent => 502,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_deadline_has_an_error_of_its_own() {
        let second = Duration::from_secs(1);
        let told: Vec<_> = [
            DeadlineKind::Pool,
            DeadlineKind::Connect,
            DeadlineKind::FirstToken,
            DeadlineKind::Stream,
            DeadlineKind::Total,
        ]
        .map(|clock| Fault::provider(Stage::Head, FaultKind::Timeout(clock, second), Sent::Nothing))
        .map(Refusal::from)
        .into_iter()
        .map(|refusal| (refusal.status, refusal.code))
        .collect();
        assert_eq!(
            told,
            [
                (503, "pool_timeout"),
                (504, "connect_timeout"),
                (504, "first_token_timeout"),
                (504, "idle_timeout"),
                (504, "upstream_timeout")
            ]
        );
        let body = Fault::client(Stage::Intake, FaultKind::Timeout(DeadlineKind::Body, second));
        assert_eq!(Refusal::from(body).status, 408);
        let write = Fault::client(Stage::Body, FaultKind::Timeout(DeadlineKind::Write, second));
        assert_eq!(Refusal::from(write).code, "client_write_timeout");
    }

    #[test]
    fn a_gateway_without_sockets_says_so() {
        let kind = FaultKind::Refused(NO_SOCKET);
        let fault = Fault { side: Side::Gateway, stage: Stage::Connect, kind, sent: Sent::Nothing };
        let refusal = Refusal::from(fault);
        assert_eq!((refusal.status, refusal.code, refusal.should_retry()), (503, "no_socket", Some("true")));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
        assert!(refusal.message.starts_with("the gateway has no free socket"), "{}", refusal.message);
    }

    #[test]
    fn an_event_tells_the_fault_in_its_dialect() {
        let fault = Fault::provider(Stage::Body, FaultKind::Reset, Sent::Some);
        let event = event(Dialect::ChatCompletions, &fault, &FailedStream { id: "r", events: 0, at: 0 });
        let text = std::str::from_utf8(&event).unwrap();
        let json: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(json["error"]["code"], "upstream_reset");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("provider returned error: connection lost ("), "{message}");
        assert!(text.ends_with("\n\n"));
    }
}
