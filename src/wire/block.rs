//! The lines of one complete event, made into its fields (WHATWG HTML, "Interpreting an event stream").
//!
//! Owns the joining of several `data` lines, which is bounded; a single one, which is what providers send, is a slice
//! of what was given. `id`, `retry` and unknown fields are passed over.

use memchr::memchr2;

use super::sse::CARRY;

/// The fields of one event.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    /// The `data` lines joined by newlines, empty if there were none. `None` if they were too long to join.
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
    /// An event of one line, given without its end.
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

    /// What the first lines of an event tell whose whole was too long to keep. Its last line is not complete.
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
            if joined.len() + value.len() > CARRY {
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

/// What follows a field's name: nothing, or a colon and one optional space.
fn value(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] | [b':'] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Lines without their ends; an end is LF, CR or CRLF.
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
