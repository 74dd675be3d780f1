//! The legs of a comparison: path, headers and body of each leg's request.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::{load::Prompt, upstream::Target, wire::Dialect};

const FIELD: &str = "x_use_asgi_streaming";
const HEADER: HeaderName = HeaderName::from_static("x-use-asgi-streaming");
const CACHE_HEADER: HeaderName = HeaderName::from_static("x-thalweg-cache");

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// The request goes to the provider itself.
    Control,
    /// `"x_use_asgi_streaming": true` in the body (S0.2).
    AsgiParameter,
    /// `x-use-asgi-streaming: true` (S0.3).
    AsgiHeader,
    /// `/v1/chat/completions/asgi` (S0.4).
    AsgiEndpoint,
    /// `"x_use_asgi_streaming": false` (S0.5).
    Buffered,
    NonStreaming,
}

/// The request of one leg.
#[derive(Clone, Debug)]
pub(super) struct LegRequest {
    pub(super) target: Target,
    pub(super) path: &'static str,
    pub(super) body: Bytes,
    pub(super) stream: bool,
}

impl Leg {
    /// All legs; the control first.
    pub const ALL: [Self; 6] = [
        Self::Control,
        Self::AsgiParameter,
        Self::AsgiHeader,
        Self::AsgiEndpoint,
        Self::Buffered,
        Self::NonStreaming,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Control => "provider itself",
            Self::AsgiParameter => "asgi, by parameter",
            Self::AsgiHeader => "asgi, by header",
            Self::AsgiEndpoint => "asgi, by endpoint",
            Self::Buffered => "buffered",
            Self::NonStreaming => "non-streaming",
        }
    }

    /// The instruction to a client that wants this mode.
    #[must_use]
    pub const fn how(self) -> &'static str {
        match self {
            Self::Control => "ask the provider itself",
            Self::AsgiParameter => "put \"x_use_asgi_streaming\": true into the body",
            Self::AsgiHeader => "send the header x-use-asgi-streaming: true",
            Self::AsgiEndpoint => "post to /v1/chat/completions/asgi",
            Self::Buffered => "put \"x_use_asgi_streaming\": false into the body",
            Self::NonStreaming => "leave \"stream\" out of the body",
        }
    }

    #[must_use]
    pub const fn is_stream(self) -> bool {
        match self {
            Self::NonStreaming => false,
            Self::Control | Self::AsgiParameter | Self::AsgiHeader | Self::AsgiEndpoint | Self::Buffered => {
                true
            }
        }
    }

    /// Whether the leg uses the ASGI mode.
    #[must_use]
    pub const fn is_asgi(self) -> bool {
        match self {
            Self::AsgiParameter | Self::AsgiHeader | Self::AsgiEndpoint => true,
            Self::Control | Self::Buffered | Self::NonStreaming => false,
        }
    }

    /// The leg's request. The control goes to `control` with the model name `control_model`, all others to
    /// `gateway` with the model name of the prompt.
    pub(super) fn request(
        self,
        prompt: &Prompt,
        gateway: &Target,
        control: &Target,
        control_model: &str,
    ) -> LegRequest {
        let dialect = Dialect::ChatCompletions;
        let prompt = Prompt { stream: self.is_stream(), ..prompt.clone() };
        let (mut target, mut path, mut body) = (gateway.clone(), dialect.path(), None);
        // A cached answer, or one shared with another leg, has no time of a provider.
        target.headers.push((CACHE_HEADER, HeaderValue::from_static("no-store")));
        match self {
            Self::Control => {
                target = control.clone();
                body = Some(Prompt { model: control_model.to_owned(), ..prompt.clone() }.body(dialect));
            }
            Self::AsgiParameter => body = Some(prompt.body_with(dialect, FIELD, true.into())),
            Self::AsgiHeader => target.headers.push((HEADER, HeaderValue::from_static("true"))),
            Self::AsgiEndpoint => path = "/chat/completions/asgi",
            Self::Buffered => body = Some(prompt.body_with(dialect, FIELD, false.into())),
            Self::NonStreaming => {}
        }
        let body = body.unwrap_or_else(|| prompt.body(dialect));
        LegRequest { target, path, body, stream: self.is_stream() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::upstream::{BaseUrl, Protocol};

    fn target(url: &str) -> Target {
        Target { protocol: Protocol::Http1, ..Target::plain("t", BaseUrl::parse(url).unwrap()) }
    }

    #[test]
    fn each_leg_has_a_request_of_its_own() {
        let (gateway, control) = (target("http://gateway"), target("http://provider"));
        let prompt = Prompt { model: "p/m".into(), text: "x".into(), max_tokens: 9, stream: false };
        let facts = Leg::ALL.map(|leg| {
            let request = leg.request(&prompt, &gateway, &control, "m");
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let field = body[FIELD].as_bool();
            assert_eq!((body["stream"] == true, body["max_tokens"] == 9), (request.stream, true));
            (
                request.target.base.host.to_string(),
                body["model"].as_str().unwrap().to_owned(),
                request.path,
                field,
                request.target.headers.len(),
            )
        });
        let at_gateway =
            |path, field, headers| ("gateway".to_owned(), "p/m".to_owned(), path, field, headers);
        assert_eq!(
            facts,
            [
                ("provider".to_owned(), "m".to_owned(), "/chat/completions", None, 0),
                at_gateway("/chat/completions", Some(true), 1),
                at_gateway("/chat/completions", None, 2),
                at_gateway("/chat/completions/asgi", None, 1),
                at_gateway("/chat/completions", Some(false), 1),
                at_gateway("/chat/completions", None, 1),
            ]
        );
    }
}
