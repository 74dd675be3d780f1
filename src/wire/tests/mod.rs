//! Tests of the whole room: bodies against serde_json, streams against a naive reader of the SSE rules, and
//! the recorded responses of real providers, which are kept outside the repository. Unit tests of single
//! files are beside the code.

mod body;
mod classes;
mod stream;
mod transcripts;

use super::sse::{Event, Scanner};

/// An event without its offsets, to compare the results of different cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnedEvent {
    data: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    comment_only: bool,
}

impl From<Event<'_>> for OwnedEvent {
    fn from(event: Event<'_>) -> Self {
        let Event { data, name, comment_only, .. } = event;
        Self { data: data.map(<[u8]>::to_vec), name: name.map(<[u8]>::to_vec), comment_only }
    }
}

/// The events of a stream that arrives in `frames`. Also checks their offsets.
fn scan_all<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<OwnedEvent> {
    let mut scanner = Scanner::default();
    let mut events = Vec::new();
    for frame in frames {
        let open = scanner.is_mid_event();
        let (mut last, mut first) = (0, true);
        scanner
            .scan(frame, |event| {
                assert!(event.start.is_some() || (open && first));
                assert!(event.start.is_none_or(|start| start >= last && start < event.end));
                assert!(event.end > last && event.end <= frame.len());
                (last, first) = (event.end, false);
                events.push(event.into());
            })
            .unwrap();
    }
    scanner.finish(|event| events.push(event.into()));
    assert!(!scanner.is_mid_event());
    events
}

fn cut(text: &[u8], mut at: Vec<usize>) -> Vec<&[u8]> {
    at.sort_unstable();
    let mut from = 0;
    at.push(text.len());
    at.into_iter().map(|to| &text[std::mem::replace(&mut from, to)..to]).collect()
}
