//! A request head on the wire, line by line as it is read: finds its end, line feeds without CR, lengths given
//! twice, and hosts. Keeps only the first bytes of a line that is split between two reads.

use memchr::memchr_iter;

const CONTENT_LENGTH: &[u8] = b"content-length:";
const HOST: &[u8] = b"host:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// A head as far as it is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    /// A line that is not empty has ended (empty ones before a request line are skipped).
    begun: bool,
    /// The last byte read.
    last: u8,
    /// Bytes of the current line so far.
    line: usize,
    /// The first of them.
    start: [u8; TRANSFER_ENCODING.len()],
    lengths: u8,
    encodings: u8,
    hosts: u8,
}

/// A line feed without CR, at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BareLineFeed(pub usize);

impl HeadScanner {
    /// Reads on. `Some`: the head has ended and so many of the bytes are beyond it.
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
                self.note(line);
            } else if self.begun {
                return Ok(Some(bytes.len() - at - 1));
            }
            (self.line, self.last) = (0, b'\n');
            (rest, done) = (after.get(1..).unwrap_or_default(), at + 1);
        }
        self.keep(rest);
        Ok(None)
    }

    pub const fn two_lengths(&self) -> bool {
        self.lengths + self.encodings > 1
    }

    /// Whether it names its host once (RFC 9112 section 3.2).
    pub const fn has_one_host(&self) -> bool {
        self.hosts == 1
    }

    /// Looks at a complete line, of which `line` is the part in this read.
    fn note(&mut self, line: &[u8]) {
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

    /// Keeps what is needed of a line that has not ended.
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
