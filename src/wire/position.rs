//! A byte offset in a body as line and column, for error messages. Computed only when a body is refused,
//! because it reads all bytes before the offset.
//!
//! Columns count characters and not bytes, as editors do.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPosition {
    /// Bytes before it.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl TextPosition {
    #[must_use]
    pub fn of(body: &[u8], offset: usize) -> Self {
        let before = body.get(..offset).unwrap_or(body);
        let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let (above, line) = before.split_at(start);
        let characters = line.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Self { offset, line: memchr::memchr_iter(b'\n', above).count() + 1, column: characters + 1 }
    }
}

impl fmt::Display for TextPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {} (byte {})", self.line, self.column, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let body = "{\n \"é\": x}".as_bytes();
        assert_eq!(TextPosition::of(body, 0), TextPosition { offset: 0, line: 1, column: 1 });
        assert_eq!(TextPosition::of(body, 9), TextPosition { offset: 9, line: 2, column: 7 });
        assert_eq!(TextPosition::of(body, 99).line, 2);
    }
}
