//! Finds the events of a relayed stream in its frames, wherever the frames are cut (WHATWG HTML, "Server-sent
//! events"). The scanner reads bytes that are forwarded unchanged; it neither delays nor alters them.
//!
//! Accepts LF, CR and CRLF line ends, comments, several `data` lines, surplus blank lines and a byte order
//! mark. Keeps an event that is not complete in one frame, at most [`MAX_CARRY`] bytes of it; a longer event
//! is reported without its data. Refuses a line longer than its limit.

use std::mem;

use memchr::memchr2;

use super::block::{Block, MAX_CARRY};

/// Default limit of a line, in bytes.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// Bytes. A buffer with more capacity is freed after the event that needed it.
const MAX_KEPT_CAPACITY: usize = 8 * 1024;

/// May stand in front of a text in UTF-8 without being a part of it (RFC 8259 section 8.1).
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One block of lines up to its blank line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Offset of its first byte in this frame. `None`: it began in an earlier frame.
    pub start: Option<usize>,
    /// Offset in this frame just past its blank line.
    pub end: usize,
    /// Its `data` lines joined, empty if it has none. `None`: too long to keep.
    pub data: Option<&'a [u8]>,
    /// The value of `event:`.
    pub name: Option<&'a [u8]>,
    /// It has only comment lines, as keepalives have.
    pub comment_only: bool,
}

/// A line is longer than `limit` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the event stream is longer than {limit} bytes")]
pub struct LineTooLong {
    pub limit: usize,
}

/// Finds events in the frames of one stream.
#[derive(Debug)]
pub struct Scanner {
    max_line: usize,
    /// Bytes of one event that are kept across frames.
    max_carry: usize,
    /// The current event has bytes in earlier frames.
    in_event: bool,
    /// All of them are comments so far.
    is_comment: bool,
    /// Bytes that the current line has in earlier frames.
    line: usize,
    /// The last frame ended with a CR: a LF at the start of the next frame belongs to it.
    after_cr: bool,
    /// No event was reported yet: a byte order mark may come before the first.
    before_first_event: bool,
    /// The bytes that the current event has in earlier frames.
    carry: Vec<u8>,
    /// `carry` is full and holds only the beginning.
    carry_is_partial: bool,
    joined_data: Vec<u8>,
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
            max_carry: MAX_CARRY,
            in_event: false,
            is_comment: true,
            line: 0,
            after_cr: false,
            before_first_event: true,
            carry: Vec::new(),
            carry_is_partial: false,
            joined_data: Vec::new(),
        }
    }

    /// A scanner that keeps every event whole, up to the length of a line.
    #[must_use]
    pub const fn of_whole_events(max_line: usize) -> Self {
        let mut scanner = Self::new(max_line);
        scanner.max_carry = max_line;
        scanner
    }

    /// Reports every event that is complete with `frame`, in order.
    ///
    /// # Errors
    /// [`LineTooLong`]: the rest of the stream cannot be scanned, and the scanner should be dropped.
    pub fn scan(&mut self, frame: &[u8], mut on_event: impl FnMut(Event<'_>)) -> Result<(), LineTooLong> {
        if let Some(data) = self.sole_data(frame) {
            self.check_line_length(frame.len())?;
            let end = frame.len();
            on_event(Event { start: Some(0), end, data: Some(data), name: None, comment_only: false });
            return Ok(());
        }
        let Some(&first) = frame.first() else { return Ok(()) };
        let began_in_line = self.line > 0;
        let mut at = usize::from(mem::take(&mut self.after_cr) && first == b'\n');
        // Where the current event begins in this frame, and how many of its lines this frame holds so far.
        let (mut begin, mut lines) = (at, 0_usize);
        let mut last_line_end = at;
        while let Some(length) = line_length(frame.get(at..).unwrap_or_default()) {
            let line_end = at + length;
            let line = self.line + length;
            self.check_line_length(line)?;
            self.line = 0;
            let next = self.after_line_end(frame, line_end);
            if line > 0 {
                lines += 1;
                last_line_end = line_end;
            } else {
                if self.in_event {
                    self.carry_over(frame.get(begin..at).unwrap_or_default());
                    self.emit_carried(next, &mut on_event);
                } else if lines == 1 && !self.before_first_event {
                    let line = frame.get(begin..last_line_end).unwrap_or_default();
                    on_event(Block::line(line).event(Some(begin), next));
                } else if lines > 0
                    && let Some(text) = self.skip_bom(frame.get(begin..at).unwrap_or_default())
                {
                    on_event(Block::lines(text, &mut self.joined_data).event(Some(begin), next));
                    release_if_large(&mut self.joined_data);
                }
                (begin, lines) = (next, 0);
            }
            at = next;
        }
        self.line += frame.len() - at;
        self.check_line_length(self.line)?;
        if begin < frame.len() {
            let text = frame.get(begin..).unwrap_or_default();
            self.carry_over(text);
            self.is_comment = match self.in_event {
                true => self.is_comment && has_comments_alone(text, began_in_line),
                false => has_comments_alone(text, false),
            };
            self.in_event = true;
        }
        Ok(())
    }

    /// The data of a frame that is exactly one event of one `data` line: the usual frame of a provider.
    fn sole_data<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        if self.in_event || self.before_first_event || self.after_cr {
            return None;
        }
        let data = frame.strip_prefix(b"data:")?.strip_suffix(b"\n\n")?;
        memchr2(b'\n', b'\r', data).is_none().then(|| data.strip_prefix(b" ").unwrap_or(data))
    }

    /// The stream has ended: reports a last event that has no blank line after it.
    pub fn finish(&mut self, on_event: impl FnOnce(Event<'_>)) {
        if self.in_event {
            self.line = 0;
            self.emit_carried(0, on_event);
        }
    }

    /// Whether the scanned bytes end inside an event.
    #[must_use]
    pub const fn is_mid_event(&self) -> bool {
        self.in_event
    }

    /// Whether the scanned bytes end inside an event that has more than comments.
    #[must_use]
    pub const fn is_mid_field(&self) -> bool {
        self.in_event && !self.is_comment
    }

    /// Whether `frame`, which comes next, begins with the LF of the CR that has ended an event.
    #[must_use]
    pub fn is_at_line_feed(&self, frame: &[u8]) -> bool {
        self.after_cr && !self.in_event && frame.first() == Some(&b'\n')
    }

    /// The event that is not complete, as far as it has come and is kept.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        &self.carry
    }

    /// The bytes to send before an event of the gateway, so that it does not become a part of an unfinished
    /// event.
    #[must_use]
    pub const fn event_terminator(&self) -> &'static [u8] {
        match (self.in_event, self.line > 0 || self.after_cr) {
            (false, _) => b"",
            (true, false) => b"\n",
            // After a CR, the first LF still belongs to the same line end.
            (true, true) => b"\n\n",
        }
    }

    const fn check_line_length(&self, line: usize) -> Result<(), LineTooLong> {
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

    fn carry_over(&mut self, text: &[u8]) {
        let room = self.max_carry - self.carry.len();
        self.carry_is_partial |= text.len() > room;
        self.carry.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// Reports an event that began in an earlier frame.
    fn emit_carried(&mut self, end: usize, on_event: impl FnOnce(Event<'_>)) {
        let text = mem::take(&mut self.carry);
        if let Some(lines) = self.skip_bom(&text) {
            let block = if self.carry_is_partial {
                Block::prefix(lines)
            } else {
                Block::lines(lines, &mut self.joined_data)
            };
            on_event(block.event(None, end));
        }
        self.carry = text;
        self.carry.clear();
        release_if_large(&mut self.carry);
        release_if_large(&mut self.joined_data);
        (self.in_event, self.carry_is_partial) = (false, false);
    }

    /// `text` without the stream's byte order mark and leading blank lines. `None`: there is nothing else.
    fn skip_bom<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        if !mem::take(&mut self.before_first_event) {
            return Some(text);
        }
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let first = text.iter().position(|byte| !matches!(byte, b'\n' | b'\r'))?;
        text.get(first..)
    }
}

/// Whether all lines that begin in `text` are comments. `in_line`: it begins within a line.
fn has_comments_alone(text: &[u8], in_line: bool) -> bool {
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).skip(usize::from(in_line));
    lines.into_iter().all(|line| matches!(line, [] | [b':', ..]))
}

/// Bytes before the next line end. Most lines are blank or long, so a blank line skips the search.
fn line_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [] => None,
        [b'\n' | b'\r', ..] => Some(0),
        _ => memchr2(b'\n', b'\r', rest),
    }
}

fn release_if_large(buffer: &mut Vec<u8>) {
    if buffer.capacity() > MAX_KEPT_CAPACITY {
        *buffer = Vec::new();
    }
}

impl<'a> Block<'a> {
    const fn event(self, start: Option<usize>, end: usize) -> Event<'a> {
        let Self { data, name, comment_only } = self;
        Event { start, end, data, name, comment_only }
    }
}
