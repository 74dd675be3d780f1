//! What one response says, frame by frame, told to whoever takes notes: a bench's tally or a comparison's course. Pure:
//! the moments are given. Events are found and told apart by what the gateway itself uses; only until the first token
//! is an event's JSON looked into.

use bytes::Bytes;
use http::StatusCode;

use super::{clock::LoadInstant, stamp};
use crate::{
    base::{Fault, FaultKind, Sent, Stage},
    wire::{
        Dialect, EventClass, classify, classify_committed,
        sse::{Event, Scanner},
    },
};

/// Takes notes of one response or of many. Times are nanoseconds since the request.
pub trait Recorder {
    /// The head of the answer has come.
    fn head(&mut self, after: u64, status: StatusCode);
    fn first_byte(&mut self, after: u64);
    /// The first content or reasoning, or the first piece of a tool call.
    fn first_token(&mut self, after: u64);
    /// `gap`: since the event before it. `stamp`: when it says it was sent.
    fn event(&mut self, at: LoadInstant, gap: Option<u64>, stamp: Option<LoadInstant>);
    /// One read, and how many events were completed by it.
    fn frame(&mut self, at: LoadInstant, bytes: usize, events: u64);
}

/// What a whole response turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOutcome {
    /// A `[DONE]` was heard, or the closing event of a dialect that has none.
    pub done: bool,
    /// An error event was heard.
    pub error_event: bool,
}

/// Hears one response.
#[derive(Debug)]
pub struct Observer {
    dialect: Dialect,
    from: LoadInstant,
    /// `None`: the answer is not a stream of events.
    scanner: Option<Scanner>,
    heard: ObservedEvents,
}

#[derive(Debug, Default)]
struct ObservedEvents {
    first_byte: bool,
    first_token: bool,
    last_event: Option<LoadInstant>,
    hearing: StreamOutcome,
}

impl Observer {
    #[must_use]
    pub fn new(dialect: Dialect, from: LoadInstant, is_stream: bool) -> Self {
        Self { dialect, from, scanner: is_stream.then(Scanner::default), heard: ObservedEvents::default() }
    }

    /// # Errors
    /// The stream has a line without end.
    pub fn hear(&mut self, at: LoadInstant, frame: &Bytes, notes: &mut impl Recorder) -> Result<(), Fault> {
        let Self { dialect, from, scanner, heard } = self;
        if !std::mem::replace(&mut heard.first_byte, true) {
            notes.first_byte(at.since(*from));
        }
        let mut events = 0;
        if let Some(scanner) = scanner {
            let tell = |event: Event<'_>| events += heard.event(*dialect, *from, at, &event, notes);
            scanner.scan(frame, tell).map_err(|error| {
                let kind = FaultKind::TooLarge { limit: error.limit as u64 };
                Fault::provider(Stage::Body, kind, Sent::Some)
            })?;
        }
        notes.frame(at, frame.len(), events);
        Ok(())
    }

    /// The response has ended.
    pub fn finish(mut self, at: LoadInstant, notes: &mut impl Recorder) -> StreamOutcome {
        if let Some(scanner) = &mut self.scanner {
            let heard = &mut self.heard;
            scanner.finish(|event| {
                heard.event(self.dialect, self.from, at, &event, notes);
            });
        }
        self.heard.hearing
    }
}

impl ObservedEvents {
    /// Counts as 1, or 0 for a comment.
    fn event(
        &mut self,
        dialect: Dialect,
        from: LoadInstant,
        at: LoadInstant,
        event: &Event<'_>,
        notes: &mut impl Recorder,
    ) -> u64 {
        if event.comment_only {
            return 0;
        }
        let sent = event.data.and_then(|data| stamp::read(data, at));
        notes.event(at, self.last_event.map(|last| at.since(last)), sent);
        self.last_event = Some(at);
        let read = if self.first_token { classify_committed } else { classify };
        match read(dialect, event).class {
            EventClass::Content if !self.first_token => {
                self.first_token = true;
                notes.first_token(at.since(from));
            }
            EventClass::Error => self.hearing.error_event = true,
            EventClass::Done => self.hearing.done = true,
            EventClass::Content | EventClass::Comment | EventClass::Usage | EventClass::Other => {}
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Notebook(Vec<String>);

    impl Recorder for Notebook {
        fn head(&mut self, after: u64, status: StatusCode) {
            self.0.push(format!("head {after} {status}"));
        }

        fn first_byte(&mut self, after: u64) {
            self.0.push(format!("byte {after}"));
        }

        fn first_token(&mut self, after: u64) {
            self.0.push(format!("token {after}"));
        }

        fn event(&mut self, at: LoadInstant, gap: Option<u64>, _stamp: Option<LoadInstant>) {
            self.0.push(format!("event at {} gap {gap:?}", at.nanos()));
        }

        fn frame(&mut self, _at: LoadInstant, bytes: usize, events: u64) {
            self.0.push(format!("frame {bytes} {events}"));
        }
    }

    fn hear(frames: &[(u64, &'static str)]) -> (Vec<String>, StreamOutcome) {
        let mut ear = Observer::new(Dialect::ChatCompletions, LoadInstant::from_nanos(100), true);
        let mut notes = Notebook::default();
        for (at, frame) in frames {
            ear.hear(LoadInstant::from_nanos(*at), &Bytes::from_static(frame.as_bytes()), &mut notes)
                .unwrap();
        }
        let hearing = ear.finish(LoadInstant::from_nanos(900), &mut notes);
        (notes.0, hearing)
    }

    const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

    #[test]
    fn times_the_first_byte_the_first_token_and_the_gaps() {
        let (notes, hearing) =
            hear(&[(110, ": ping\n\n"), (120, "data: {}\n\n"), (150, TOKEN), (155, "data: [DONE]\n\n")]);
        assert_eq!(
            notes,
            [
                "byte 10",
                "frame 8 0",
                "event at 120 gap None",
                "frame 10 1",
                "event at 150 gap Some(30)",
                "token 50",
                "frame 47 1",
                "event at 155 gap Some(5)",
                "frame 14 1",
            ]
        );
        assert_eq!(hearing, StreamOutcome { done: true, error_event: false });
    }

    #[test]
    fn events_of_one_read_have_no_gap_and_one_over_two_reads_counts_with_the_second() {
        let (notes, hearing) = hear(&[(110, "data: 1\n\ndata: 2\n\nda"), (130, "ta: 3\n\n")]);
        assert_eq!(
            notes,
            [
                "byte 10",
                "event at 110 gap None",
                "event at 110 gap Some(0)",
                "frame 20 2",
                "event at 130 gap Some(20)",
                "frame 7 1"
            ]
        );
        assert!(!hearing.done);
    }

    #[test]
    fn hears_an_error_event() {
        assert!(hear(&[(110, "data: {\"error\":{}}\n\n")]).1.error_event);
        assert!(hear(&[(110, "event: error\ndata: {}\n\n")]).1.error_event);
    }

    #[test]
    fn a_whole_answer_has_no_events() {
        let mut ear = Observer::new(Dialect::ChatCompletions, LoadInstant::from_nanos(0), false);
        let mut notes = Notebook::default();
        ear.hear(LoadInstant::from_nanos(5), &Bytes::from_static(b"data: x\n\n"), &mut notes).unwrap();
        assert_eq!(ear.finish(LoadInstant::from_nanos(9), &mut notes), StreamOutcome::default());
        assert_eq!(notes.0, ["byte 5", "frame 9 0"]);
    }
}
