//! Events in a relayed stream, found as its frames pass and wherever they were cut (WHATWG HTML, "Server-sent events").
//! The scanner looks at bytes that go on unchanged; it neither delays nor alters them.
//!
//! Accepts LF, CR and CRLF ends, comments, several `data` lines, surplus blank lines and a byte order mark. Keeps only
//! the beginning of an event that is not complete in one frame, at most [`CARRY`] bytes; an event longer than that is
//! told without its data. Refuses a line without end.

use std::{fmt, mem};

use memchr::memchr2;

use super::block::Block;

/// At most so many bytes of an event are kept over frames.
pub const CARRY: usize = 64 * 1024;

/// Default for the longest line.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// A buffer larger than this is given back after the event that needed it.
const KEEP: usize = 8 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One block of lines up to its blank line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Offset of its first byte in this frame. `None`: it began in an earlier one.
    pub start: Option<usize>,
    /// Offset in this frame just past its blank line.
    pub end: usize,
    /// Its `data` lines joined, empty if it has none. `None`: too long to be kept.
    pub data: Option<&'a [u8]>,
    /// The value of `event:`.
    pub name: Option<&'a [u8]>,
    /// Nothing but comments, as keepalives are.
    pub comment_only: bool,
}

/// A line longer than the limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    pub limit: usize,
}

/// Finds events in the frames of one stream.
#[derive(Debug)]
pub struct Scanner {
    max_line: usize,
    /// The event under way has bytes in earlier frames.
    open: bool,
    /// Bytes in earlier frames of the line under way.
    line: usize,
    /// The last frame ended in a CR: a LF at the start of the next belongs to it.
    after_cr: bool,
    /// No event was told yet: a byte order mark may stand before the first.
    fresh: bool,
    /// The event under way, as far as earlier frames hold it.
    carry: Vec<u8>,
    /// `carry` is only the beginning.
    cut: bool,
    joined: Vec<u8>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new(MAX_LINE)
    }
}

impl Scanner {
    /// `max_line`: the longest line accepted, in bytes.
    #[must_use]
    pub const fn new(max_line: usize) -> Self {
        Self {
            max_line,
            open: false,
            line: 0,
            after_cr: false,
            fresh: true,
            carry: Vec::new(),
            cut: false,
            joined: Vec::new(),
        }
    }

    /// Tells every event that is complete with `frame`, in order.
    ///
    /// # Errors
    /// [`LineTooLong`]: the stream cannot be followed any further, and the scanner should be dropped.
    pub fn scan(&mut self, frame: &[u8], mut on_event: impl FnMut(Event<'_>)) -> Result<(), LineTooLong> {
        if let Some(data) = self.sole_data(frame) {
            self.check(frame.len())?;
            let end = frame.len();
            on_event(Event { start: Some(0), end, data: Some(data), name: None, comment_only: false });
            return Ok(());
        }
        let Some(&first) = frame.first() else { return Ok(()) };
        let mut at = usize::from(mem::take(&mut self.after_cr) && first == b'\n');
        // Where the event under way begins in this frame, and how many of its lines were seen there.
        let (mut begin, mut lines) = (at, 0_usize);
        let mut last_line_end = at;
        while let Some(length) = line_length(frame.get(at..).unwrap_or_default()) {
            let line_end = at + length;
            let line = self.line + length;
            self.check(line)?;
            self.line = 0;
            let next = self.after_line_end(frame, line_end);
            if line > 0 {
                lines += 1;
                last_line_end = line_end;
            } else {
                if self.open {
                    self.keep(frame.get(begin..at).unwrap_or_default());
                    self.tell_kept(next, &mut on_event);
                } else if lines == 1 && !self.fresh {
                    let line = frame.get(begin..last_line_end).unwrap_or_default();
                    on_event(Block::line(line).event(Some(begin), next));
                } else if lines > 0
                    && let Some(text) = self.skip_bom(frame.get(begin..at).unwrap_or_default())
                {
                    on_event(Block::lines(text, &mut self.joined).event(Some(begin), next));
                    give_back(&mut self.joined);
                }
                (begin, lines) = (next, 0);
            }
            at = next;
        }
        self.line += frame.len() - at;
        self.check(self.line)?;
        if begin < frame.len() {
            self.keep(frame.get(begin..).unwrap_or_default());
            self.open = true;
        }
        Ok(())
    }

    /// The data of a frame that is one event of one `data` line and nothing else, as providers send them.
    fn sole_data<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        if self.open || self.fresh || self.after_cr {
            return None;
        }
        let data = frame.strip_prefix(b"data:")?.strip_suffix(b"\n\n")?;
        memchr2(b'\n', b'\r', data).is_none().then(|| data.strip_prefix(b" ").unwrap_or(data))
    }

    /// The stream has ended: tells a last event that its provider did not close with a blank line.
    pub fn finish(&mut self, on_event: impl FnOnce(Event<'_>)) {
        if self.open {
            self.line = 0;
            self.tell_kept(0, on_event);
        }
    }

    /// Whether the bytes so far end inside an event.
    #[must_use]
    pub const fn is_mid_event(&self) -> bool {
        self.open
    }

    /// What must be sent before an event of our own, so that it does not become part of an unfinished one.
    #[must_use]
    pub const fn closing(&self) -> &'static [u8] {
        match (self.open, self.line > 0 || self.after_cr) {
            (false, _) => b"",
            (true, false) => b"\n",
            // After a CR the first LF still belongs to the line before.
            (true, true) => b"\n\n",
        }
    }

    const fn check(&self, line: usize) -> Result<(), LineTooLong> {
        if line > self.max_line { Err(LineTooLong { limit: self.max_line }) } else { Ok(()) }
    }

    /// The offset after the line end that begins at `at`.
    fn after_line_end(&mut self, frame: &[u8], at: usize) -> usize {
        match frame.get(at..) {
            Some([b'\r', b'\n', ..]) => at + 2,
            Some([b'\r']) => {
                self.after_cr = true;
                at + 1
            }
            Some(_) | None => at + 1,
        }
    }

    fn keep(&mut self, text: &[u8]) {
        let room = CARRY - self.carry.len();
        self.cut |= text.len() > room;
        self.carry.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// Tells the event of which at least a part came in earlier frames.
    fn tell_kept(&mut self, end: usize, on_event: impl FnOnce(Event<'_>)) {
        let text = mem::take(&mut self.carry);
        if let Some(lines) = self.skip_bom(&text) {
            let block = if self.cut { Block::prefix(lines) } else { Block::lines(lines, &mut self.joined) };
            on_event(block.event(None, end));
        }
        self.carry = text;
        self.carry.clear();
        give_back(&mut self.carry);
        give_back(&mut self.joined);
        (self.open, self.cut) = (false, false);
    }

    /// `text` without the stream's byte order mark. `None`: there was nothing else.
    fn skip_bom<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        if !mem::take(&mut self.fresh) {
            return Some(text);
        }
        let text = text.strip_prefix(BOM).unwrap_or(text);
        let first = text.iter().position(|byte| !matches!(byte, b'\n' | b'\r'))?;
        text.get(first..)
    }
}

/// Bytes before the next line end. Most lines are blank or long: a blank one needs no search.
fn line_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [] => None,
        [b'\n' | b'\r', ..] => Some(0),
        _ => memchr2(b'\n', b'\r', rest),
    }
}

fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
}

impl<'a> Block<'a> {
    const fn event(self, start: Option<usize>, end: usize) -> Event<'a> {
        let Self { data, name, comment_only } = self;
        Event { start, end, data, name, comment_only }
    }
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line of the event stream is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}
