//! The places in an event that may differ from event to event without another fact: the text itself, and
//! members that no reader reads, because they number or pad the event.

use crate::dialect::string_inside::{string_length, unescape};

/// Members of an event's outermost object. `created` changes once a second: too seldom to be passed over.
const UNREAD: [&[u8]; 4] = [b"sequence_number", b"item_id", b"obfuscation", b"p"];
/// Members that hold a text. OpenRouter repeats the text of a reasoning's detail.
const TEXTS: [&[u8]; 9] = [
    b"content",
    b"text",
    b"delta",
    b"reasoning",
    b"reasoning_content",
    b"thinking",
    b"arguments",
    b"partial_json",
    b"input",
];

const MAX_GAPS: usize = 6;

/// The gaps of a shape, in their order.
#[derive(Debug, Default)]
pub(super) struct TextGaps {
    gaps: [Gap; MAX_GAPS],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gap {
    /// Bytes between the gap before and this one.
    pub(super) behind: u16,
    pub(super) kind: GapKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum GapKind {
    /// The inside of the text; after the first such gap, the same bytes again.
    #[default]
    Text,
    /// A whole number.
    Digits,
    /// The inside of a string of ASCII without escapes.
    Ascii,
}

impl TextGaps {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Gap> {
        self.gaps.get(..self.count).unwrap_or_default().iter()
    }

    /// Finds the gaps of an event that is JSON, and appends the bytes between them to `fixed`. `None`: the
    /// place of `text` is not sure.
    pub(super) fn find(&mut self, data: &[u8], text: &str, fixed: &mut Vec<u8>) -> Option<()> {
        self.count = 0;
        let (mut at, mut depth, mut from) = (0, 0_usize, 0);
        let (mut name, mut inside): (&[u8], Option<&[u8]>) = (b"", None);
        let mut decoded = Vec::new();
        while let Some(byte) = data.get(at) {
            let (start, kind) = match byte {
                b'"' => {
                    let start = at + 1;
                    let (length, has_escape) = string_length(data.get(start..)?)?;
                    let value = data.get(start..start + length)?;
                    at = start + length + 1;
                    let space = data.get(at..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                    if data.get(at + space) == Some(&b':') {
                        name = value;
                        continue;
                    }
                    decoded.clear();
                    unescape(value, &mut decoded)?;
                    if decoded == text.as_bytes() {
                        let is_same = *inside.get_or_insert(value) == value;
                        (is_same && TEXTS.contains(&name)).then_some(())?;
                        (start, GapKind::Text)
                    } else if depth == 1 && !has_escape && value.is_ascii() && UNREAD.contains(&name) {
                        (start, GapKind::Ascii)
                    } else {
                        continue;
                    }
                }
                b'0'..=b'9' | b'-' => {
                    let start = at;
                    let is_of_number =
                        |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    at += data.get(at..)?.iter().take_while(is_of_number).count();
                    let is_whole = data.get(start..at)?.iter().all(u8::is_ascii_digit);
                    if depth != 1 || !is_whole || !UNREAD.contains(&name) {
                        continue;
                    }
                    (start, GapKind::Digits)
                }
                b'{' | b'[' => {
                    depth += 1;
                    at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    at += 1;
                    continue;
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            let gap = self.gaps.get_mut(self.count)?;
            *gap = Gap { behind: u16::try_from(start - from).ok()?, kind };
            self.count += 1;
            fixed.extend_from_slice(data.get(from..start)?);
            // A string's gap ends before its quote.
            from = if kind == GapKind::Digits { at } else { at - 1 };
        }
        fixed.extend_from_slice(data.get(from..)?);
        inside.map(|_| ())
    }
}
