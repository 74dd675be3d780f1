//! The demo provider's models and their recordings. A recording is parsed on its first use, and once: a
//! gateway without requests to the demo holds none in memory.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{
    endpoint::DemoApi,
    recording::RecordingError,
    replay::{Replay, ReplaySpeed},
};

/// The model that answers on `/v1/embeddings`.
pub(super) const EMBEDDING_MODEL: &str = "demo-embedding";

/// DemoApi, model, recording.
const RECORDINGS: [(DemoApi, &str, &str); 10] = [
    (DemoApi::Chat, "demo-text", include_str!("recordings/demo-text.jsonl")),
    (DemoApi::Chat, "demo-reasoning", include_str!("recordings/demo-reasoning.jsonl")),
    (DemoApi::Chat, "demo-tools", include_str!("recordings/demo-tools.jsonl")),
    (DemoApi::Chat, "demo-long", include_str!("recordings/demo-long.jsonl")),
    (DemoApi::Chat, "demo-emoji", include_str!("recordings/demo-emoji.jsonl")),
    (DemoApi::Chat, "demo-error", include_str!("recordings/demo-error.jsonl")),
    (DemoApi::Chat, "demo-slow", include_str!("recordings/demo-slow.jsonl")),
    (DemoApi::Completions, "demo-text", include_str!("recordings/completions.jsonl")),
    (DemoApi::Messages, "demo-text", include_str!("recordings/messages.jsonl")),
    (DemoApi::Responses, "demo-text", include_str!("recordings/responses.jsonl")),
];

/// The names of the demo provider's models.
#[must_use]
pub fn models() -> Vec<String> {
    names().map(str::to_owned).collect()
}

/// Every model answers chats, except the embedding model.
fn names() -> impl Iterator<Item = &'static str> {
    let chat = RECORDINGS.iter().filter(|(endpoint, ..)| *endpoint == DemoApi::Chat);
    chat.map(|(_, name, _)| *name).chain([EMBEDDING_MODEL])
}

#[derive(Debug)]
pub(super) struct RecordingCatalog {
    speed: ReplaySpeed,
    replays: [OnceCell<Result<Replay, RecordingError>>; RECORDINGS.len()],
}

impl RecordingCatalog {
    pub(super) const fn new(speed: ReplaySpeed) -> Self {
        Self { speed, replays: [const { OnceCell::new() }; RECORDINGS.len()] }
    }

    /// `None`: the model does not exist at that endpoint.
    pub(super) fn find(&self, endpoint: DemoApi, model: &str) -> Option<Result<&Replay, &RecordingError>> {
        let index = RECORDINGS.iter().position(|(at, name, _)| *at == endpoint && *name == model)?;
        let ((_, _, text), cell) = (RECORDINGS.get(index)?, self.replays.get(index)?);
        Some(cell.get_or_init(|| Replay::load(endpoint, text, self.speed)).as_ref())
    }

    /// The answer to `GET /v1/models`.
    pub(super) fn list() -> Value {
        let models: Vec<Value> = names()
            .map(|id| json!({"id": id, "object": "model", "created": 1_763_683_200, "owned_by": "thalweg-demo"}))
            .collect();
        json!({"object": "list", "data": models})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::recording::Recording;

    #[test]
    fn every_recording_can_be_read_and_is_of_its_endpoint() {
        let catalog = RecordingCatalog::new(ReplaySpeed::Recorded);
        for (endpoint, model, text) in RECORDINGS {
            assert_eq!(DemoApi::of(&Recording::parse(text).unwrap().path), Some(endpoint), "{model}");
            let replay = catalog.find(endpoint, model).unwrap().unwrap();
            assert!(replay.length > Duration::from_millis(300), "{model}");
        }
        assert!(catalog.find(DemoApi::Messages, "demo-long").is_none());
    }

    #[test]
    fn lists_every_model_once() {
        let list = RecordingCatalog::list();
        let ids: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(ids, models());
        let chat = ["text", "reasoning", "tools", "long", "emoji", "error", "slow", "embedding"];
        assert_eq!(ids, chat.map(|name| format!("demo-{name}")));
    }

    #[test]
    fn the_usage_chunk_and_only_it_can_be_left_out() {
        let catalog = RecordingCatalog::new(ReplaySpeed::Instant);
        for (endpoint, model, extra) in [
            (DemoApi::Chat, "demo-text", 1),
            (DemoApi::Completions, "demo-text", 1),
            (DemoApi::Messages, "demo-text", 0),
            (DemoApi::Chat, "demo-error", 0),
        ] {
            let replay = catalog.find(endpoint, model).unwrap().unwrap();
            assert_eq!(replay.with_usage.len() - replay.without_usage.len(), extra, "{model}");
        }
    }

    #[test]
    fn at_instant_speed_no_step_waits() {
        let catalog = RecordingCatalog::new(ReplaySpeed::Instant);
        for (endpoint, model, _) in RECORDINGS {
            assert!(catalog.find(endpoint, model).unwrap().unwrap().length.is_zero(), "{model}");
        }
    }
}
