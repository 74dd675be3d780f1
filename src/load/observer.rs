//! Observes one response frame by frame and calls a [`Recorder`]: the totals of a bench, or one leg of a
//! comparison. Pure: times are arguments. Events are found and classified with the gateway's own code; after
//! the first token the JSON of events is not parsed.

use bytes::Bytes;
use http::StatusCode;

use super::{clock::LoadInstant, stamp};
use crate::{
    base::{Fault, FaultKind, Sent, Stage},
    wire::{
        Dialect, EventClass, Usage, classify, classify_committed,
        sse::{Event, Scanner},
    },
};

/// Records one response or many. Times are nanoseconds since the request.
pub trait Recorder {
    /// The head of the response.
    fn head(&mut self, after: u64, status: StatusCode);
    fn first_byte(&mut self, after: u64);
    /// The first content or reasoning, or the first piece of a tool call.
    fn first_token(&mut self, after: u64);
    /// `gap`: since the event before it. `stamp`: the time in the event at which it was sent.
    fn event(&mut self, at: LoadInstant, gap: Option<u64>, stamp: Option<LoadInstant>);
    /// One read, and the number of events that it completed.
    fn frame(&mut self, at: LoadInstant, bytes: usize, events: u64);
}

/// The outcome of a whole response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOutcome {
    /// There was a `[DONE]`, or the closing event of a dialect that has none.
    pub done: bool,
    /// There was an error event.
    pub error_event: bool,
    /// Token counts that the provider reported. `None`: it reported none.
    pub usage: Option<Usage>,
}

/// Observes one response.
#[derive(Debug)]
pub struct Observer {
    dialect: Dialect,
    from: LoadInstant,
    /// `None`: the response is not an event stream.
    scanner: Option<Scanner>,
    events_seen: ObservedEvents,
}

#[derive(Debug, Default)]
struct ObservedEvents {
    first_byte: bool,
    first_token: bool,
    last_event: Option<LoadInstant>,
    outcome: StreamOutcome,
}

impl Observer {
    #[must_use]
    pub fn new(dialect: Dialect, from: LoadInstant, is_stream: bool) -> Self {
        Self {
            dialect,
            from,
            scanner: is_stream.then(Scanner::default),
            events_seen: ObservedEvents::default(),
        }
    }

    /// # Errors
    /// A line of the stream is too long.
    pub fn observe(
        &mut self,
        at: LoadInstant,
        frame: &Bytes,
        recorder: &mut impl Recorder,
    ) -> Result<(), Fault> {
        let Self { dialect, from, scanner, events_seen } = self;
        if !std::mem::replace(&mut events_seen.first_byte, true) {
            recorder.first_byte(at.since(*from));
        }
        let mut events = 0;
        if let Some(scanner) = scanner {
            let on_event =
                |event: Event<'_>| events += events_seen.event(*dialect, *from, at, &event, recorder);
            scanner.scan(frame, on_event).map_err(|error| {
                let kind = FaultKind::TooLarge { limit: error.limit as u64 };
                Fault::provider(Stage::Body, kind, Sent::Some)
            })?;
        }
        recorder.frame(at, frame.len(), events);
        Ok(())
    }

    /// The response has ended.
    pub fn finish(mut self, at: LoadInstant, recorder: &mut impl Recorder) -> StreamOutcome {
        if let Some(scanner) = &mut self.scanner {
            let events_seen = &mut self.events_seen;
            scanner.finish(|event| {
                events_seen.event(self.dialect, self.from, at, &event, recorder);
            });
        }
        self.events_seen.outcome
    }
}

impl ObservedEvents {
    /// 1 for an event, 0 for a comment.
    fn event(
        &mut self,
        dialect: Dialect,
        from: LoadInstant,
        at: LoadInstant,
        event: &Event<'_>,
        recorder: &mut impl Recorder,
    ) -> u64 {
        if event.comment_only {
            return 0;
        }
        let sent = event.data.and_then(|data| stamp::read(data, at));
        recorder.event(at, self.last_event.map(|last| at.since(last)), sent);
        self.last_event = Some(at);
        let read = if self.first_token { classify_committed } else { classify };
        let facts = read(dialect, event);
        if let Some(found) = facts.usage.of(dialect, event) {
            self.outcome.usage = Some(self.outcome.usage.unwrap_or_default().merge(found));
        }
        match facts.class {
            EventClass::Content if !self.first_token => {
                self.first_token = true;
                recorder.first_token(at.since(from));
            }
            EventClass::Error => self.outcome.error_event = true,
            EventClass::Done => self.outcome.done = true,
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

    fn observe(frames: &[(u64, &'static str)]) -> (Vec<String>, StreamOutcome) {
        let mut observer = Observer::new(Dialect::ChatCompletions, LoadInstant::from_nanos(100), true);
        let mut recorder = Notebook::default();
        for (at, frame) in frames {
            observer
                .observe(LoadInstant::from_nanos(*at), &Bytes::from_static(frame.as_bytes()), &mut recorder)
                .unwrap();
        }
        let outcome = observer.finish(LoadInstant::from_nanos(900), &mut recorder);
        (recorder.0, outcome)
    }

    const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

    #[test]
    fn times_the_first_byte_the_first_token_and_the_gaps() {
        let (recorder, outcome) =
            observe(&[(110, ": ping\n\n"), (120, "data: {}\n\n"), (150, TOKEN), (155, "data: [DONE]\n\n")]);
        assert_eq!(
            recorder,
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
        assert_eq!(outcome, StreamOutcome { done: true, ..StreamOutcome::default() });
    }

    #[test]
    fn events_of_one_read_have_no_gap_and_one_over_two_reads_counts_with_the_second() {
        let (recorder, outcome) = observe(&[(110, "data: 1\n\ndata: 2\n\nda"), (130, "ta: 3\n\n")]);
        assert_eq!(
            recorder,
            [
                "byte 10",
                "event at 110 gap None",
                "event at 110 gap Some(0)",
                "frame 20 2",
                "event at 130 gap Some(20)",
                "frame 7 1"
            ]
        );
        assert!(!outcome.done);
    }

    #[test]
    fn hears_an_error_event() {
        assert!(observe(&[(110, "data: {\"error\":{\"message\":\"x\"}}\n\n")]).1.error_event);
        assert!(observe(&[(110, "event: error\ndata: {}\n\n")]).1.error_event);
    }

    #[test]
    fn a_whole_answer_has_no_events() {
        let mut observer = Observer::new(Dialect::ChatCompletions, LoadInstant::from_nanos(0), false);
        let mut recorder = Notebook::default();
        observer
            .observe(LoadInstant::from_nanos(5), &Bytes::from_static(b"data: x\n\n"), &mut recorder)
            .unwrap();
        assert_eq!(observer.finish(LoadInstant::from_nanos(9), &mut recorder), StreamOutcome::default());
        assert_eq!(recorder.0, ["byte 5", "frame 9 0"]);
    }
}
