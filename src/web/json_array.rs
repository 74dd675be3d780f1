//! A stream of events as one JSON array, the form of Gemini's `streamGenerateContent` without `alt=sse`. Each
//! event's data is an element, and leaves in the poll that read it; the array is closed where the stream ends
//! well, and broken off where it breaks off.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::{
    base::{Fault, FaultKind, Sent, Stage},
    proxy,
    relay::Committed,
    wire::Scanner,
};

#[derive(Debug)]
pub struct JsonArray {
    pub(super) events: Committed<proxy::AnswerBody>,
    scanner: Scanner,
    out: Vec<u8>,
    is_open: bool,
    has_ended: bool,
}

impl JsonArray {
    /// `max_line`: bytes of a line of the stream.
    pub(super) const fn new(events: Committed<proxy::AnswerBody>, max_line: usize) -> Self {
        let scanner = Scanner::of_whole_events(max_line);
        Self { events, scanner, out: Vec::new(), is_open: false, has_ended: false }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        while !self.has_ended {
            let Self { events, scanner, out, is_open, has_ended } = self;
            match ready!(events.poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Err(too_long) = scanner.scan(&frame, |event| add(out, is_open, event.data)) {
                        *has_ended = true;
                        let kind = FaultKind::TooLarge { limit: too_long.limit as u64 };
                        return Poll::Ready(Some(Err(Fault::provider(Stage::Body, kind, Sent::Some))));
                    }
                }
                Some(Err(fault)) => {
                    *has_ended = true;
                    return Poll::Ready(Some(Err(fault)));
                }
                None => {
                    *has_ended = true;
                    scanner.finish(|event| add(out, is_open, event.data));
                    out.extend_from_slice(if *is_open { b"\n]\n" } else { b"[]\n" });
                }
            }
            if !out.is_empty() {
                let frame = Bytes::copy_from_slice(out);
                out.clear();
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        Poll::Ready(None)
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }
}

fn add(out: &mut Vec<u8>, is_open: &mut bool, data: Option<&[u8]>) {
    let Some(data) = data.filter(|data| !data.is_empty()) else { return };
    out.extend_from_slice(if *is_open { b"\n,\r\n" } else { b"[" });
    out.extend_from_slice(data);
    *is_open = true;
}
