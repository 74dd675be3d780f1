//! Withholds the unfinished event at a stream's end, so that only complete events pass, and takes out the
//! usage chunk that the client did not request (B24). Bytes are moved, never changed or copied.

use bytes::Bytes;

use crate::base::ByteList;

/// Bytes that are copied rather than kept as a part of their frame.
const SMALL: usize = 4 * 1024;
/// An event that is still unfinished beyond this size passes after all, in pieces.
const MAX_HELD: usize = 1024 * 1024;

/// A stretch of a frame to take out; `start` is `None` when it began in an earlier frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) start: Option<usize>,
    pub(super) end: usize,
}

#[derive(Debug, Default)]
pub(super) struct Holdback {
    /// The unfinished event.
    tail: ByteList,
}

impl Holdback {
    /// Passes `frame` into `out` up to `event_end`, where its last event ends, without the `cuts`. A frame
    /// that is whole events, as nearly all are, passes as it is. True: the beginning of the unfinished event
    /// passed as well.
    pub(super) fn pass(
        &mut self,
        frame: Bytes,
        event_end: Option<usize>,
        cuts: &[Cut],
        out: &mut ByteList,
    ) -> bool {
        if event_end == Some(frame.len()) && cuts.is_empty() {
            self.release(frame, out);
            return false;
        }
        let mut at = 0;
        for cut in cuts {
            match cut.start {
                Some(start) => self.release(frame.slice(at..start), out),
                None => self.tail = ByteList::new(),
            }
            at = cut.end;
        }
        if let Some(end) = event_end
            && end > at
        {
            self.release(frame.slice(at..end), out);
            at = end;
        }
        let rest = frame.slice(at..);
        // A few bytes that wait would hold the whole block that they were read into.
        self.tail.push(if rest.len() < SMALL { Bytes::copy_from_slice(&rest) } else { rest });
        let is_too_long = self.tail.len() > MAX_HELD;
        if is_too_long {
            self.flush(out);
        }
        is_too_long
    }

    /// Passes the withheld bytes, and then `bytes`.
    fn release(&mut self, bytes: Bytes, out: &mut ByteList) {
        self.flush(out);
        out.push(bytes);
    }

    /// Passes the withheld bytes.
    pub(super) fn flush(&mut self, out: &mut ByteList) {
        while let Some(bytes) = self.tail.pop() {
            out.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[(&'static str, Option<usize>, &[Cut])]) -> (String, String) {
        let (mut holdback, mut out) = (Holdback::default(), ByteList::new());
        for (frame, event_end, cuts) in steps {
            holdback.pass(Bytes::from_static(frame.as_bytes()), *event_end, cuts, &mut out);
        }
        let text = |list: &ByteList| String::from_utf8(list.join().to_vec()).unwrap();
        (text(&out), text(&holdback.tail))
    }

    #[test]
    fn passes_complete_events_and_withholds_the_rest() {
        assert_eq!(run(&[("a\n\nb", Some(3), &[])]), ("a\n\n".into(), "b".into()));
        assert_eq!(run(&[("a\n\nb", Some(3), &[]), ("c", None, &[])]), ("a\n\n".into(), "bc".into()));
        assert_eq!(run(&[("b", None, &[]), ("\n\nc", Some(2), &[])]), ("b\n\n".into(), "c".into()));
    }

    #[test]
    fn takes_a_cut_out_wherever_it_began() {
        let within = Cut { start: Some(3), end: 6 };
        assert_eq!(run(&[("a\n\nX\n\nd\n\n", Some(9), &[within])]), ("a\n\nd\n\n".into(), String::new()));
        let from_before = Cut { start: None, end: 2 };
        assert_eq!(
            run(&[("a\n\nX", Some(3), &[]), ("\n\nd\n\n", Some(5), &[from_before])]),
            ("a\n\nd\n\n".into(), String::new())
        );
        let last = Cut { start: Some(3), end: 6 };
        assert_eq!(run(&[("a\n\nX\n\n", Some(6), &[last])]), ("a\n\n".into(), String::new()));
    }

    #[test]
    fn an_event_beyond_the_bound_passes_in_pieces() {
        let (mut holdback, mut out) = (Holdback::default(), ByteList::new());
        let frame = Bytes::from(vec![b'x'; MAX_HELD]);
        assert!(!holdback.pass(frame, None, &[], &mut out));
        assert_eq!(out.len(), 0);
        assert!(holdback.pass(Bytes::from_static(b"y"), None, &[], &mut out));
        assert_eq!(out.len(), MAX_HELD + 1);
        assert!(!holdback.pass(Bytes::from_static(b"z\n\n"), Some(3), &[], &mut out));
        assert_eq!(out.len(), MAX_HELD + 4);
    }
}
