//! The format of recorded responses, the same for recorders and for the demo provider: JSON lines.
//!
//! The first line is the head, every other line is one read from the provider's socket:
//!
//! ```json
//! {"recording":1,"path":"/v1/chat/completions","status":200,"headers":{"content-type":"text/event-stream"}}
//! {"after_us":180000,"bytes":"data: {\"choices\":[]}\n\n"}
//! {"after_us":2100,"hex":"f09f8c8a"}
//! ```
//!
//! `after_us` counts from the read before it, or from the request. A read need not be a whole event. A read
//! that is not UTF-8, because it ends inside a character, is written as `hex`. Bytes are replayed exactly.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

/// One response and its timing.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The request's path.
    pub path: Box<str>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub steps: Arc<[RecordedStep]>,
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// Since the step before it.
    pub after: Duration,
    pub bytes: Bytes,
}

/// An error with its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recording, line {line}: {flaw}")]
pub struct RecordingError {
    pub line: usize,
    pub flaw: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHead {
    recording: u8,
    path: Box<str>,
    status: u16,
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawStep {
    after_us: u64,
    #[serde(flatten)]
    piece: RawPiece,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawPiece {
    Bytes(String),
    Hex(String),
}

impl Recording {
    /// Parses a whole recording. Empty lines are allowed.
    ///
    /// # Errors
    /// The first line that does not have the format.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (at, first) = lines.next().ok_or_else(|| flaw(0, "there is none"))?;
        let head: RawHead = serde_json::from_str(first).map_err(|error| flaw(at, error))?;
        if head.recording != 1 {
            return Err(flaw(at, format_args!("version {} is not known", head.recording)));
        }
        let steps = lines
            .map(|(at, line)| {
                let raw: RawStep = serde_json::from_str(line).map_err(|error| flaw(at, error))?;
                RecordedStep::read(raw).ok_or_else(|| flaw(at, "hex must be pairs of digits"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path: head.path,
            status: StatusCode::from_u16(head.status).map_err(|error| flaw(at, error))?,
            headers: read_headers(head.headers).ok_or_else(|| flaw(at, "not a header"))?,
            steps,
        })
    }
}

impl RecordedStep {
    fn read(raw: RawStep) -> Option<Self> {
        let bytes = match raw.piece {
            RawPiece::Bytes(text) => text.into(),
            RawPiece::Hex(digits) => hex::decode(&*digits).ok()?.into(),
        };
        Some(Self { after: Duration::from_micros(raw.after_us), bytes })
    }
}

fn read_headers(raw: BTreeMap<String, String>) -> Option<HeaderMap> {
    raw.into_iter()
        .map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)))
        .collect()
}

fn flaw(index: usize, what: impl fmt::Display) -> RecordingError {
    RecordingError { line: index + 1, flaw: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"recording":1,"path":"/v1/x","status":206,"headers":{"content-type":"a/b"}}"#;

    #[test]
    fn reads_text_and_hex() {
        let text = format!(
            "{HEAD}\n\n{{\"after_us\":1500,\"bytes\":\"a\\n\"}}\n{{\"after_us\":0,\"hex\":\"f09F\"}}\n"
        );
        let recording = Recording::parse(&text).unwrap();
        assert_eq!((&*recording.path, recording.status.as_u16()), ("/v1/x", 206));
        assert_eq!(recording.headers["content-type"], "a/b");
        assert_eq!(
            &*recording.steps,
            [
                RecordedStep { after: Duration::from_micros(1500), bytes: "a\n".into() },
                RecordedStep { after: Duration::ZERO, bytes: Bytes::from_static(&[0xf0, 0x9f]) },
            ]
        );
    }

    #[test]
    fn says_which_line_is_wrong() {
        for (text, line) in [
            (String::new(), 1),
            (HEAD.replace(":1,", ":2,"), 1),
            (HEAD.replace("206", "20"), 1),
            (format!("{HEAD}\n{{\"after_us\":1}}"), 2),
            (format!("{HEAD}\n\n{{\"after_us\":1,\"hex\":\"f\"}}"), 3),
            (format!("{HEAD}\n{{\"after_us\":1,\"hex\":\"zz\"}}"), 2),
            (format!("{HEAD}\n{{\"after_us\":-1,\"bytes\":\"\"}}"), 2),
        ] {
            assert_eq!(Recording::parse(&text).map(|_| ()).unwrap_err().line, line, "{text}");
        }
    }
}
