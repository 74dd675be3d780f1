//! Splits the lines of one complete event into its fields (WHATWG HTML, "Interpreting an event stream").
//!
//! Joins several `data` lines, up to a limit. A single `data` line, the usual case, is a slice of the input
//! and is not copied. Ignores `id`, `retry` and unknown fields.

/// Bytes of one event that are kept across frames, and bytes of joined `data` lines. The event that ends an
/// answer repeats its text and an agent's instructions and tools, and has its usage.
pub(super) const MAX_CARRY: usize = 1024 * 1024;

use memchr::memchr2;

/// The fields of one event.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    /// The `data` lines joined by newlines, empty if there are none. `None`: too long to join.
    pub(super) data: Option<&'a [u8]>,
    pub(super) name: Option<&'a [u8]>,
    pub(super) comment_only: bool,
}

enum BlockField<'a> {
    Data(&'a [u8]),
    Name(&'a [u8]),
    Comment,
    Other,
}

impl<'a> Block<'a> {
    /// An event of one line, without its line end.
    pub(super) fn line(line: &'a [u8]) -> Self {
        let (mut data, mut name, mut comment_only): (&[u8], _, _) = (&[], None, false);
        match BlockField::of(line) {
            BlockField::Data(value) => data = value,
            BlockField::Name(value) => name = Some(value),
            BlockField::Comment => comment_only = true,
            BlockField::Other => {}
        }
        Self { data: Some(data), name, comment_only }
    }

    /// An event of any number of lines. `joined` is used when there is more than one `data` line.
    pub(super) fn lines(text: &'a [u8], joined: &'a mut Vec<u8>) -> Self {
        let mut block = Self { data: None, name: None, comment_only: true };
        let mut several = false;
        for line in BlockLines(text) {
            let field = BlockField::of(line);
            block.comment_only &= matches!(field, BlockField::Comment);
            match field {
                BlockField::Data(value) if block.data.is_none() => block.data = Some(value),
                BlockField::Data(_) => several = true,
                BlockField::Name(value) => block.name = Some(value),
                BlockField::Comment | BlockField::Other => {}
            }
        }
        if several {
            block.data = join(text, joined);
        } else {
            block.data.get_or_insert(&[]);
        }
        block
    }

    /// The fields in the first lines of an event that was too long to keep. The last line is incomplete, so a
    /// name in it does not count.
    pub(super) fn prefix(text: &'a [u8]) -> Self {
        let mut block = Self { data: None, name: None, comment_only: true };
        let mut lines = BlockLines(text);
        while let Some(line) = lines.next() {
            match BlockField::of(line) {
                BlockField::Comment => continue,
                BlockField::Name(value) if !lines.0.is_empty() => block.name = Some(value),
                BlockField::Name(_) | BlockField::Data(_) | BlockField::Other => {}
            }
            block.comment_only = false;
        }
        block
    }
}

fn join<'a>(text: &[u8], joined: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    joined.clear();
    for line in BlockLines(text) {
        if let BlockField::Data(value) = BlockField::of(line) {
            if joined.len() + value.len() > MAX_CARRY {
                return None;
            }
            joined.extend_from_slice(value);
            joined.push(b'\n');
        }
    }
    joined.pop();
    Some(joined)
}

impl<'a> BlockField<'a> {
    fn of(line: &'a [u8]) -> Self {
        if let Some(rest) = line.strip_prefix(b"data") {
            if let Some(value) = value(rest) {
                return Self::Data(value);
            }
        } else if let Some(rest) = line.strip_prefix(b"event") {
            if let Some(value) = value(rest) {
                return Self::Name(value);
            }
        } else if line.first() == Some(&b':') {
            return Self::Comment;
        }
        Self::Other
    }
}

/// The value behind a field's name: empty, or behind a colon and one optional space. `None`: a longer name.
fn value(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] | [b':'] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Lines without their line ends (LF, CR or CRLF).
struct BlockLines<'a>(&'a [u8]);

impl<'a> Iterator for BlockLines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (line, rest) = match memchr2(b'\n', b'\r', self.0) {
            Some(length) => self.0.split_at(length),
            None => (self.0, &[][..]),
        };
        self.0 = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    }
}
