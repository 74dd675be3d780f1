//! The key of a request in the answer cache: everything that its provider is sent and that can change the
//! answer, and whose answers it may be given.

use std::borrow::Cow;

use bytes::Bytes;

use super::{admission::ShownKey, snapshot::Snapshot};
use crate::{
    base::{Endpoint, HeaderFields},
    cache::{AnswerKey, AnswerKeyBuilder},
    routing::Plan,
    wire::{Dialect, Edits, Envelope, splice},
};

/// A request as its key sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyedRequest<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) plan: &'a Plan<'a>,
    pub(super) endpoint: Endpoint,
    /// As it goes to a provider, with its query.
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderFields,
    /// The query as the client wrote it.
    pub(super) query: Option<&'a str>,
    pub(super) envelope: &'a Envelope,
    pub(super) body: &'a Bytes,
    /// The client's key, as shown: names and ids may be shared by several. `None`: its owner is known without
    /// it.
    pub(super) shown: Option<ShownKey<'a>>,
    /// The id of the key.
    pub(super) owner: &'a str,
}

impl KeyedRequest<'_> {
    /// Whether other keys may be given the answer. The id of a stored response belongs to one key.
    pub(super) fn is_shared(&self) -> bool {
        self.snapshot.cache.settings.shared && self.endpoint.dialect() != Dialect::Responses
    }

    pub(super) fn key(&self) -> AnswerKey {
        let mut key = AnswerKeyBuilder::default();
        let is_shared = self.is_shared();
        let (kind, owner): (_, Cow<'_, str>) = match self.shown {
            _ if is_shared => ("all", "".into()),
            // Shown itself or by a session, a key has the same answers.
            Some(shown) => ("key", shown.digest().to_hex().into()),
            None => ("id", self.owner.into()),
        };
        key.add(kind.as_bytes());
        key.add(owner.as_bytes());
        key.add(self.endpoint.as_str().as_bytes());
        key.add(self.path.as_bytes());
        key.add(self.envelope.model().as_bytes());
        key.add(if self.envelope.stream() == Some(true) { b"stream" } else { b"whole" });
        for (name, value) in self.headers.iter() {
            if !is_neutral(name, is_shared) && self.passes_up(name) {
                key.add(name.as_bytes());
                key.add(value);
            }
        }
        if self.endpoint.is_gemini() {
            key.add(self.body);
        } else {
            let edits = Edits { model: None, drop_gateway_members: true, request_usage: false };
            let own = splice(self.body, self.envelope, &edits);
            key.add_all(own.len(), own.iter().map(|piece| &**piece));
        }
        key.finish()
    }

    /// Whether a provider that may be asked is sent this header.
    fn passes_up(&self, name: &str) -> bool {
        let mut providers = self.plan.candidates().iter().map(|candidate| candidate.provider);
        providers.any(|provider| {
            let provider = self.snapshot.providers.get(provider);
            provider.is_some_and(|provider| provider.target.forwarded.pass_up(name))
        })
    }
}

/// Headers that name a request, a trace, a client or a session, and do not change an answer. Of an answer
/// that others are given a session counts, because a provider might keep a conversation by it.
fn is_neutral(name: &str, is_shared: bool) -> bool {
    match name {
        "user-agent"
        | "traceparent"
        | "tracestate"
        | "x-request-id"
        | "x-client-request-id"
        | "x-correlation-id"
        | "x-trace-id"
        | "x-ms-client-request-id"
        | "x-goog-api-client"
        | "originator"
        | "version"
        | "x-app"
        | "x-initiator"
        | "http-referer"
        | "x-title"
        | "x-client-name"
        | "editor-version"
        | "editor-plugin-version"
        | "x-data-parallel-rank" => true,
        "session-id"
        | "session_id"
        | "thread-id"
        | "thread_id"
        | "conversation-id"
        | "conversation_id"
        | "x-session-id"
        | "x-session-affinity"
        | "x-multi-turn-session-id"
        | "x-prompt-cache-isolation-key"
        | "x-grok-conv-id"
        | "x-claude-code-session-id" => !is_shared,
        _ => name.starts_with("x-stainless-"),
    }
}
