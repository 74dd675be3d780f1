//! The extent of an answer's text, for citations: its characters, and where its bytes are.

use crate::dialect::ApiDialect;

#[derive(Debug)]
pub(super) struct CitedText {
    characters: u64,
    /// Stretches of characters of one length in bytes: their count and that length. Gemini's clients count
    /// bytes <https://ai.google.dev/api/generate-content#CitationSource>; for others there are none.
    stretches: Vec<(u64, u8)>,
    counts_bytes: bool,
}

/// Behind so many stretches a character counts as one byte.
const MAX_STRETCHES: usize = 1 << 16;

impl CitedText {
    pub(super) const fn new(client: ApiDialect) -> Self {
        let counts_bytes = matches!(client, ApiDialect::Gemini);
        Self { characters: 0, stretches: Vec::new(), counts_bytes }
    }

    pub(super) const fn characters(&self) -> u64 {
        self.characters
    }

    pub(super) fn grow(&mut self, text: &str) {
        if self.counts_bytes {
            text.chars().for_each(|character| self.count(character.len_utf8() as u8));
        }
        self.characters += text.chars().count() as u64;
    }

    fn count(&mut self, length: u8) {
        let is_full = self.stretches.len() >= MAX_STRETCHES;
        match self.stretches.last_mut() {
            Some((count, last)) if *last == length => *count += 1,
            _ if is_full => {}
            _ => self.stretches.push((1, length)),
        }
    }

    /// The bytes of the text before the character number `at`.
    pub(super) fn bytes_before(&self, at: u64) -> u64 {
        let (mut rest, mut bytes) = (at, 0_u64);
        for (count, length) in &self.stretches {
            let taken = rest.min(*count);
            bytes = bytes.saturating_add(taken.saturating_mul(u64::from(*length)));
            rest -= taken;
        }
        bytes.saturating_add(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_by_characters() {
        let mut text = CitedText::new(ApiDialect::Gemini);
        let whole = "a\u{e9}\u{1f600}\u{1f600}xy\u{4e2d}";
        whole.chars().for_each(|character| text.grow(character.encode_utf8(&mut [0; 4])));
        let places = whole.char_indices().map(|(byte, _)| byte as u64).chain([whole.len() as u64]);
        for (at, byte) in (0..).zip(places) {
            assert_eq!(text.bytes_before(at), byte);
        }
        assert_eq!((text.characters(), text.bytes_before(9)), (7, 2 + whole.len() as u64));
        assert!(text.bytes_before(u64::MAX) > 0);
    }
}
