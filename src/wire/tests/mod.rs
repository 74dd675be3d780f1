//! Tests of the room as a whole: bodies against serde_json, streams against a plain reading of the SSE rules, and the
//! recorded responses of real providers, which lie outside the repository.

mod body;
mod classes;
mod stream;
mod transcripts;

use super::sse::{Event, Scanner};

/// An event without its place, to compare what different cuts tell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    data: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    comment_only: bool,
}

impl From<Event<'_>> for Told {
    fn from(event: Event<'_>) -> Self {
        let Event { data, name, comment_only, .. } = event;
        Self { data: data.map(<[u8]>::to_vec), name: name.map(<[u8]>::to_vec), comment_only }
    }
}

/// What is told of a stream that arrives in `frames`. Checks the places told on the way.
fn tell<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<Told> {
    let mut scanner = Scanner::default();
    let mut told = Vec::new();
    for frame in frames {
        let open = scanner.is_mid_event();
        let (mut last, mut first) = (0, true);
        scanner
            .scan(frame, |event| {
                assert!(event.start.is_some() || (open && first));
                assert!(event.start.is_none_or(|start| start >= last && start < event.end));
                assert!(event.end > last && event.end <= frame.len());
                (last, first) = (event.end, false);
                told.push(event.into());
            })
            .unwrap();
    }
    scanner.finish(|event| told.push(event.into()));
    assert!(!scanner.is_mid_event());
    told
}

fn cut(text: &[u8], mut at: Vec<usize>) -> Vec<&[u8]> {
    at.sort_unstable();
    let mut from = 0;
    at.push(text.len());
    at.into_iter().map(|to| &text[std::mem::replace(&mut from, to)..to]).collect()
}
