//! The demo provider's models, each with its recording, prepared once: with and without the usage chunk, and folded
//! for those who do not stream. Nothing is parsed again when a request comes.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{
    fold::{self, Folded},
    recording::{Recording, Step},
};

/// The model that answers on `/v1/embeddings`.
pub(super) const EMBEDDING_MODEL: &str = "demo-embedding";

const RECORDINGS: [(&str, &str); 10] = [
    ("demo-text", include_str!("recordings/demo-text.jsonl")),
    ("demo-reasoning", include_str!("recordings/demo-reasoning.jsonl")),
    ("demo-tools", include_str!("recordings/demo-tools.jsonl")),
    ("demo-long", include_str!("recordings/demo-long.jsonl")),
    ("demo-emoji", include_str!("recordings/demo-emoji.jsonl")),
    ("demo-error", include_str!("recordings/demo-error.jsonl")),
    ("demo-slow", include_str!("recordings/demo-slow.jsonl")),
    ("demo-text", include_str!("recordings/completions.jsonl")),
    ("demo-text", include_str!("recordings/messages.jsonl")),
    ("demo-text", include_str!("recordings/responses.jsonl")),
];

/// The names of the demo provider's models.
#[must_use]
pub fn models() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in RECORDINGS.iter().map(|(name, _)| *name).chain([EMBEDDING_MODEL]) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// How fast recordings are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As they were recorded.
    #[default]
    Recorded,
    /// Without any pause, for tests and load.
    Instant,
}

/// The API that a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Messages,
}

impl Endpoint {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completions),
            "/v1/responses" => Some(Self::Responses),
            "/v1/messages" => Some(Self::Messages),
            _ => None,
        }
    }
}

/// One model on one endpoint.
#[derive(Debug)]
pub(super) struct Replay {
    endpoint: Endpoint,
    model: &'static str,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) with_usage: Arc<[Step]>,
    pub(super) without_usage: Arc<[Step]>,
    /// As long in coming as the whole stream.
    pub(super) folded: Folded,
    pub(super) length: Duration,
}

#[derive(Debug)]
pub(super) struct Catalog {
    replays: Vec<Replay>,
}

impl Catalog {
    pub(super) fn load(pace: Pace) -> io::Result<Self> {
        let replays = RECORDINGS
            .iter()
            .map(|(model, text)| Replay::load(model, text, pace))
            .collect::<Result<_, _>>()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self { replays })
    }

    pub(super) fn find(&self, endpoint: Endpoint, model: &str) -> Option<&Replay> {
        self.replays.iter().find(|replay| replay.endpoint == endpoint && replay.model == model)
    }

    /// The answer to `GET /v1/models`.
    pub(super) fn list(&self) -> Value {
        let chat = self.replays.iter().filter(|replay| replay.endpoint == Endpoint::Chat);
        let models: Vec<Value> = chat
            .map(|replay| replay.model)
            .chain([EMBEDDING_MODEL])
            .map(|id| json!({"id": id, "object": "model", "created": 1_763_683_200, "owned_by": "thalweg-demo"}))
            .collect();
        json!({"object": "list", "data": models})
    }
}

impl Replay {
    fn load(
        model: &'static str,
        text: &str,
        pace: Pace,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let recording = Recording::parse(text)?;
        let endpoint = Endpoint::of(&recording.path).ok_or("recording of an unknown path")?;
        let with_usage: Arc<[Step]> = match pace {
            Pace::Recorded => recording.steps,
            Pace::Instant => {
                recording.steps.iter().map(|step| Step { after: Duration::ZERO, ..step.clone() }).collect()
            }
        };
        Ok(Self {
            endpoint,
            model,
            status: recording.status,
            headers: recording.headers,
            without_usage: with_usage.iter().filter(|step| !is_usage_chunk(step)).cloned().collect(),
            folded: fold::fold(endpoint, &with_usage),
            length: with_usage.iter().map(|step| step.after).sum(),
            with_usage,
        })
    }
}

/// A read that is the extra chunk of `stream_options.include_usage` and nothing else.
fn is_usage_chunk(step: &Step) -> bool {
    let mut events = fold::events(&step.bytes);
    let first = events.next();
    events.next().is_none()
        && first.is_some_and(|event| {
            event["usage"].is_object() && event["choices"].as_array().is_some_and(Vec::is_empty)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recording_loads_and_lists() {
        let catalog = Catalog::load(Pace::Recorded).unwrap();
        let list = catalog.list();
        let ids: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(
            ids,
            [
                "demo-text",
                "demo-reasoning",
                "demo-tools",
                "demo-long",
                "demo-emoji",
                "demo-error",
                "demo-slow",
                "demo-embedding"
            ]
        );
        assert!(catalog.find(Endpoint::Messages, "demo-text").is_some());
        assert!(catalog.find(Endpoint::Messages, "demo-long").is_none());
    }

    #[test]
    fn the_usage_chunk_and_only_it_can_be_left_out() {
        let catalog = Catalog::load(Pace::Instant).unwrap();
        for (endpoint, model, extra) in [
            (Endpoint::Chat, "demo-text", 1),
            (Endpoint::Completions, "demo-text", 1),
            (Endpoint::Messages, "demo-text", 0),
            (Endpoint::Chat, "demo-error", 0),
        ] {
            let replay = catalog.find(endpoint, model).unwrap();
            assert_eq!(replay.with_usage.len() - replay.without_usage.len(), extra, "{model}");
        }
    }

    #[test]
    fn the_instant_pace_never_waits() {
        let catalog = Catalog::load(Pace::Instant).unwrap();
        assert!(catalog.replays.iter().all(|replay| replay.length.is_zero()));
        let catalog = Catalog::load(Pace::Recorded).unwrap();
        assert!(catalog.replays.iter().all(|replay| replay.length > Duration::from_millis(300)));
    }
}
