//! One recording, prepared for its model: with and without the usage chunk, and folded for requests without
//! streaming.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};

use super::{
    endpoint::DemoApi,
    fold::{self, Folded},
    recording::{RecordedStep, Recording, RecordingError},
};

/// How fast recordings are replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplaySpeed {
    /// As they were recorded.
    #[default]
    Recorded,
    /// Without any pause, for tests and load.
    Instant,
}

#[derive(Debug)]
pub(super) struct Replay {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) with_usage: Arc<[RecordedStep]>,
    pub(super) without_usage: Arc<[RecordedStep]>,
    /// Sent after `length`, so that it takes as long as the whole stream.
    pub(super) folded: Folded,
    pub(super) length: Duration,
}

impl Replay {
    pub(super) fn load(endpoint: DemoApi, text: &str, speed: ReplaySpeed) -> Result<Self, RecordingError> {
        let recording = Recording::parse(text)?;
        let with_usage: Arc<[RecordedStep]> = match speed {
            ReplaySpeed::Recorded => recording.steps,
            ReplaySpeed::Instant => recording
                .steps
                .iter()
                .map(|step| RecordedStep { after: Duration::ZERO, ..step.clone() })
                .collect(),
        };
        Ok(Self {
            status: recording.status,
            headers: recording.headers,
            without_usage: with_usage.iter().filter(|step| !is_usage_chunk(step)).cloned().collect(),
            folded: fold::fold(endpoint, &with_usage),
            length: with_usage.iter().map(|step| step.after).sum(),
            with_usage,
        })
    }
}

/// Whether a read is the extra chunk of `stream_options.include_usage` and nothing else.
fn is_usage_chunk(step: &RecordedStep) -> bool {
    let mut events = fold::events(&step.bytes);
    let first = events.next();
    events.next().is_none()
        && first.is_some_and(|event| {
            event["usage"].is_object() && event["choices"].as_array().is_some_and(Vec::is_empty)
        })
}
