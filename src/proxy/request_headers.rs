//! Headers of a request that address the gateway: mode, strategy, the client's timeout, the conversation, and
//! details to be given beside the answer. Invalid values are refused where a wrong guess would change the
//! answer, else ignored.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::fault::Refusal;
use crate::{
    base::{HeaderFields, field_text},
    routing::{Strategy, settings::Sticky, strategy::StrategyDefaults},
    telemetry::TelemetrySettings,
    wire::Envelope,
};

/// Bytes of a prompt that identify a conversation: providers' caches keep system prompts, which come first.
const MAX_PROMPT_PREFIX: usize = 1024;
/// Seconds; a longer timeout counts as a day.
const MAX_TIMEOUT: f64 = 86_400.0;

/// Details of a request that its client, or the configuration, requests beside the answer (B2, B3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TraceOptions {
    /// A comment after the last event: `x-thalweg-trace: 1`.
    pub(super) comment: bool,
    /// Digests of the bytes: `x-thalweg-digests: 1`, or `telemetry.digests`.
    pub(super) digests: bool,
}

/// The headers, found in one pass, because each look-up by name would cost as much as the pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestHeaders<'h> {
    strategy: Option<&'h [u8]>,
    litellm_timeout: Option<&'h [u8]>,
    stainless_timeout: Option<&'h [u8]>,
    stainless_read_timeout: Option<&'h [u8]>,
    /// Names of the conversation, the most exact first.
    sessions: [Option<&'h [u8]>; 7],
    /// With hyphens, and with underscores as in the body's field.
    asgi: [Option<&'h [u8]>; 2],
    trace: Option<&'h [u8]>,
    digests: Option<&'h [u8]>,
    /// Its lines.
    cache: [Option<&'h [u8]>; 4],
}

impl<'h> RequestHeaders<'h> {
    pub(super) fn of(headers: &'h HeaderFields) -> Self {
        let mut found = Self::default();
        for (name, value) in headers.iter() {
            let [claude_code, id, affinity, codex_thread, codex, old_conversation, old] = &mut found.sessions;
            let Some(name) = name.strip_prefix('x') else {
                let place = match name {
                    "thread-id" => codex_thread,
                    "session-id" => codex,
                    "conversation_id" => old_conversation,
                    "session_id" => old,
                    _ => continue,
                };
                place.get_or_insert(value);
                continue;
            };
            let [hyphens, underscores] = &mut found.asgi;
            let place = match name {
                "-thalweg-strategy" => &mut found.strategy,
                "-litellm-timeout" => &mut found.litellm_timeout,
                "-stainless-timeout" => &mut found.stainless_timeout,
                "-stainless-read-timeout" => &mut found.stainless_read_timeout,
                "-claude-code-session-id" => claude_code,
                "-session-id" => id,
                "-session-affinity" => affinity,
                "-use-asgi-streaming" => hyphens,
                "_use_asgi_streaming" => underscores,
                "-thalweg-trace" => &mut found.trace,
                "-thalweg-digests" => &mut found.digests,
                "-thalweg-cache" => {
                    let free = found.cache.iter_mut().find(|line| line.is_none());
                    free.into_iter().for_each(|line| *line = Some(value));
                    continue;
                }
                _ => continue,
            };
            place.get_or_insert(value);
        }
        found
    }

    /// Whether ASGI mode is requested (S0.3). `None`: the header is absent.
    ///
    /// # Errors
    /// The value is neither true nor false.
    pub(super) fn asgi(&self) -> Result<Option<bool>, Box<Refusal>> {
        match self.asgi.into_iter().flatten().next() {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case(b"true") || value == b"1" => Ok(Some(true)),
            Some(value) if value.eq_ignore_ascii_case(b"false") || value == b"0" => Ok(Some(false)),
            Some(_) => {
                let message = "the header `x-use-asgi-streaming` must be `true` or `false`";
                Err(Refusal::request(400, "invalid_header", message))
            }
        }
    }

    /// The wishes about the answer cache, line by line.
    pub(super) fn cache(&self) -> impl Iterator<Item = &'h [u8]> {
        self.cache.into_iter().flatten()
    }

    pub(super) fn trace_options(&self, settings: &TelemetrySettings) -> TraceOptions {
        let is_set = |value: Option<&[u8]>| value.is_some_and(|value| matches!(value, b"1" | b"true"));
        TraceOptions { comment: is_set(self.trace), digests: settings.digests || is_set(self.digests) }
    }

    /// The requested strategy. `None`: the header is absent.
    ///
    /// # Errors
    /// The value names none; the message lists them.
    pub(super) fn strategy(&self, figures: StrategyDefaults) -> Result<Option<Strategy>, Box<Refusal>> {
        let Some(value) = self.strategy else { return Ok(None) };
        let parsed = field_text(value).and_then(|text| Strategy::parse(text, figures, duration));
        parsed.map(Some).ok_or_else(|| {
            let message = "the header `x-thalweg-strategy` must be one of `race`, `race:3`, `hedge`, `hedge:300ms`, \
                           `hedge:p95`, `priority`, `weighted`, `adaptive`";
            Refusal::request(400, "invalid_header", message)
        })
    }

    /// How long the client waits for the first byte. The headers are in seconds. `None`: absent, or no
    /// positive number.
    ///
    /// LiteLLM's header comes first. OpenAI's Node client cuts its timeout to whole seconds, so a whole
    /// number may stand for up to one second more. OpenAI's Python client sends its longest pause between two
    /// bytes, which holds for the first byte, too.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let read = |value: Option<&[u8]>| seconds(field_text(value?)?, 1.0);
        let rounded = |timeout: Duration| match timeout.subsec_nanos() {
            0 => timeout + Duration::from_secs(1),
            _ => timeout,
        };
        let stainless = read(self.stainless_timeout).map(rounded);
        let stainless = stainless.into_iter().chain(read(self.stainless_read_timeout)).min();
        read(self.litellm_timeout).or(stainless)
    }

    /// A hash that identifies the conversation (B21): of its session id, else of its cache key, else of its
    /// user, else, if so configured, of the beginning of its prompt.
    pub(super) fn session(&self, sticky: Sticky, envelope: &Envelope, body: &[u8]) -> Option<u64> {
        let by_prefix = match sticky {
            Sticky::Off => return None,
            Sticky::Session => false,
            Sticky::Prefix => true,
        };
        let header = self.sessions.into_iter().flatten().next();
        let identity = header.or_else(|| envelope.cache_key(body)).or_else(|| envelope.user_id(body));
        let prompt = || if by_prefix { envelope.prompt(body, MAX_PROMPT_PREFIX) } else { None };
        let identity = identity.or_else(prompt)?;
        // Equal in every process of this build, so that replicas agree and no restart moves a conversation.
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// `300ms`, `1.5s`, `2m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    seconds(number, scale)
}

fn seconds(number: &str, scale: f64) -> Option<Duration> {
    let seconds = number.trim().parse::<f64>().ok()? * scale;
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(MAX_TIMEOUT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{routing::strategy::HedgeDelay, wire::envelope};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderFields {
        pairs.iter().copied().collect()
    }

    #[test]
    fn reads_a_strategy_or_lists_them() {
        let asked = |value| {
            RequestHeaders::of(&headers(&[("x-thalweg-strategy", value)]))
                .strategy(StrategyDefaults::default())
        };
        assert_eq!(asked("race:2"), Ok(Some(Strategy::Race { width: 2 })));
        let delay = HedgeDelay::Fixed(Duration::from_millis(250));
        assert_eq!(asked("hedge:250ms"), Ok(Some(Strategy::Hedge { delay })));
        assert_eq!(RequestHeaders::default().strategy(StrategyDefaults::default()), Ok(None));
        for value in ["fastest", "hedge:250", "hedge:-1s", "race:99", ""] {
            let refusal = asked(value).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, "invalid_header"), "{value}");
            assert!(refusal.message.contains("`adaptive`"));
        }
    }

    #[test]
    fn reads_how_long_a_client_waits() {
        let timeout = |headers: &HeaderFields| RequestHeaders::of(headers).timeout();
        assert_eq!(timeout(&headers(&[("x-stainless-timeout", "1")])), Some(Duration::from_secs(2)));
        assert_eq!(timeout(&headers(&[("x-stainless-timeout", "0.05")])), Some(Duration::from_millis(50)));
        assert_eq!(
            timeout(&headers(&[("x-stainless-read-timeout", "600.0")])),
            Some(Duration::from_secs(600))
        );
        let pause = headers(&[("x-stainless-timeout", "900"), ("x-stainless-read-timeout", "30")]);
        assert_eq!(timeout(&pause), Some(Duration::from_secs(30)));
        let both = headers(&[("x-stainless-timeout", "600"), ("x-litellm-timeout", "1.5")]);
        assert_eq!(timeout(&both), Some(Duration::from_millis(1500)));
        for value in ["0", "-3", "NaN", "soon", ""] {
            assert_eq!(timeout(&headers(&[("x-litellm-timeout", value)])), None, "{value}");
        }
    }

    #[test]
    fn recognises_a_conversation() {
        let body = |text: &str| text.replace('\'', "\"").into_bytes();
        let key = |pairs: &[(&'static str, &'static str)], text: &str| {
            let body = body(text);
            RequestHeaders::of(&headers(pairs)).session(
                Sticky::Prefix,
                &envelope::read(&body).unwrap(),
                &body,
            )
        };
        let first = "{'model':'m','messages':[{'role':'system','content':'You are.'}]}";
        let other = "{'model':'m','messages':[{'role':'system','content':'I am.'}]}";
        assert_eq!(key(&[], first), key(&[], first));
        assert_ne!(key(&[], first), key(&[], other));
        assert_eq!(key(&[("x-session-id", "s")], first), key(&[("x-session-affinity", "s")], other));
        let keyed = "{'model':'m','prompt_cache_key':'k','messages':[]}";
        assert_eq!(key(&[], keyed), key(&[], &keyed.replace("[]", "[1]")));
        assert_eq!(key(&[], "{'model':'m'}"), None);
        // B7: Claude Code, opencode, Codex of today and of before, and Anthropic's field for a user.
        for name in [
            "x-claude-code-session-id",
            "x-session-id",
            "x-session-affinity",
            "thread-id",
            "session-id",
            "conversation_id",
            "session_id",
        ] {
            assert_eq!(key(&[(name, "s")], first), key(&[("x-session-id", "s")], other), "{name}");
            assert_ne!(key(&[(name, "s")], first), key(&[(name, "t")], first), "{name}");
        }
        let codex = [("session-id", "s"), ("thread-id", "t")];
        assert_eq!(key(&codex, first), key(&[("thread-id", "t")], first));
        let user = "{'model':'m','metadata':{'a':1,'user_id':'u_session_1'},'messages':[1]}";
        assert_eq!(key(&[], user), key(&[], &user.replace("[1]", "[1,2]")));
        assert_ne!(key(&[], user), key(&[], &user.replace("session_1", "session_2")));
        let (whole, named) = (body(first), headers(&[("x-session-id", "s")]));
        let read = envelope::read(&whole).unwrap();
        assert_eq!(RequestHeaders::default().session(Sticky::Session, &read, &whole), None);
        assert_eq!(RequestHeaders::of(&named).session(Sticky::Off, &read, &whole), None);
    }
}
