//! Scans a request head as it is read, line by line: finds its end, line feeds without CR, repeated lengths,
//! and the number of hosts. Parses no values: those are hyper's. Stores only the first bytes of a line that
//! is split between two reads, so a connection needs no buffer for it.

use memchr::memchr_iter;

const CONTENT_LENGTH: &[u8] = b"content-length:";
const HOST: &[u8] = b"host:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// The state of a head that has been read in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    /// A non-empty line has ended. Empty lines before the request line are skipped.
    begun: bool,
    /// The last byte read.
    last: u8,
    /// Length of the current line so far.
    line: usize,
    /// The first bytes of the current line.
    start: [u8; TRANSFER_ENCODING.len()],
    lengths: u8,
    encodings: u8,
    hosts: u8,
}

/// A line feed without CR, at this offset of the bytes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BareLineFeed(pub usize);

impl HeadScanner {
    /// Reads on. `Some`: the head has ended, and this many of the bytes come after it.
    ///
    /// # Errors
    /// A line feed without CR.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        let mut rest = bytes;
        let mut done = 0;
        for at in memchr_iter(b'\n', bytes) {
            let Some((line, after)) = rest.split_at_checked(at - done) else { return Ok(None) };
            if line.last().copied().unwrap_or(self.last) != b'\r' {
                return Err(BareLineFeed(at));
            }
            let length = self.line + line.len();
            if length > 1 {
                self.begun = true;
                self.count_line(line);
            } else if self.begun {
                return Ok(Some(bytes.len() - at - 1));
            }
            (self.line, self.last) = (0, b'\n');
            (rest, done) = (after.get(1..).unwrap_or_default(), at + 1);
        }
        self.keep(rest);
        Ok(None)
    }

    /// Whether the lengths are ambiguous: two `Content-Length` lines, or one and a `Transfer-Encoding` (RFC
    /// 9112 section 6.3).
    pub const fn two_lengths(&self) -> bool {
        self.lengths + self.encodings > 1
    }

    /// Whether there is exactly one `Host` line (RFC 9112 section 3.2).
    pub const fn has_one_host(&self) -> bool {
        self.hosts == 1
    }

    /// Counts a complete line; `line` is the part of it in this read.
    fn count_line(&mut self, line: &[u8]) {
        let joined;
        let line = if self.line == 0 {
            line
        } else {
            self.keep(line);
            joined = self.start;
            &joined
        };
        let is = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        match line.first() {
            Some(b'c' | b'C') if is(CONTENT_LENGTH) => self.lengths = self.lengths.saturating_add(1).min(2),
            Some(b't' | b'T') if is(TRANSFER_ENCODING) => {
                self.encodings = self.encodings.saturating_add(1).min(2)
            }
            Some(b'h' | b'H') if is(HOST) => self.hosts = self.hosts.saturating_add(1),
            Some(_) | None => {}
        }
    }

    /// Stores the first bytes of a line that has not ended.
    fn keep(&mut self, part: &[u8]) {
        if let Some(free) = self.start.get_mut(self.line..) {
            for (to, from) in free.iter_mut().zip(part) {
                *to = *from;
            }
        }
        self.line += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
    }
}
