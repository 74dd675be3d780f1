//! The bytes that the text events of a stream have in common: nearly all of them differ in their text alone,
//! so most events need no search for members.
//!
//! An event matches if it has the name and the bytes of the event before it, but for the text and for members
//! that no reader reads (`text_gaps`). It says the same fact with another text then. A shape is learned from
//! an event that says one text and nothing else, and holds for the events right behind it.

use super::{
    fact::Fact,
    text_gaps::{Gap, GapKind, TextGaps},
};
use crate::dialect::{
    reasoning::ReasoningOrigin,
    string_inside::{string_length, unescape},
};

#[derive(Debug, Default)]
pub(super) struct TextShape {
    kind: Option<TextKind>,
    /// The event's name, and the bytes between the gaps.
    fixed: Vec<u8>,
    name_length: usize,
    gaps: TextGaps,
    /// Shapes in a row that no event matched.
    misses: u8,
    /// The last text that had an escape.
    unescaped: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Text,
    Reasoning(Option<ReasoningOrigin>),
    Arguments { key: u32 },
}

impl TextKind {
    pub(super) const fn fact(self, text: &str) -> Fact<'_> {
        match self {
            Self::Text => Fact::Text { text, logprobs: None },
            Self::Reasoning(origin) => Fact::Reasoning { text, origin },
            Self::Arguments { key } => Fact::CallArguments { key, fragment: text },
        }
    }
}

/// Shapes in a row that are tried though none matched; then some.
const MAX_MISSES: u8 = 8;
const MISSES_BETWEEN: u8 = 64;
/// Bytes of a shape, which is kept as long as the stream.
const MAX_SHAPE: usize = 1024;
/// Bytes of a text with escapes: it is kept till the next.
const MAX_ESCAPED: usize = 2048;

impl TextShape {
    /// The text of an event that differs from the last one in its text and in members that say nothing.
    pub(super) fn text<'a>(&'a mut self, name: Option<&[u8]>, data: &'a [u8]) -> Option<(TextKind, &'a str)> {
        let kind = self.kind?;
        let (own_name, mut fixed) = self.fixed.split_at_checked(self.name_length)?;
        if own_name != name.unwrap_or_default() {
            return None;
        }
        let (mut rest, mut text, mut has_escape) = (data, None, false);
        for Gap { behind, kind } in self.gaps.iter() {
            let (before, after) = fixed.split_at_checked(usize::from(*behind))?;
            rest = rest.strip_prefix(before)?;
            fixed = after;
            let length = match (kind, text) {
                (GapKind::Text, None) => {
                    let (length, is_escaped) = string_length(rest)?;
                    has_escape = is_escaped;
                    text = rest.get(..length);
                    length
                }
                (GapKind::Text, Some(text)) => rest.starts_with(text).then_some(text.len())?,
                (GapKind::Digits, _) => whole_number_length(rest)?,
                (GapKind::Ascii, _) => {
                    let (length, is_escaped) = string_length(rest)?;
                    (!is_escaped && rest.get(..length)?.is_ascii()).then_some(length)?
                }
            };
            rest = rest.get(length..)?;
        }
        if rest != fixed {
            return None;
        }
        let mut text = text?;
        if has_escape {
            self.unescaped.clear();
            (text.len() <= MAX_ESCAPED).then_some(())?;
            unescape(text, &mut self.unescaped)?;
            text = &self.unescaped;
        }
        let text = str::from_utf8(text).ok()?;
        let is_sure = match kind {
            TextKind::Text => true,
            // Google's endpoint puts marks around a thought, which its reader takes off; a reader may look
            // for an empty text in another member.
            TextKind::Reasoning(_) => !text.is_empty() && !text.contains('<'),
            TextKind::Arguments { .. } => !text.is_empty(),
        };
        is_sure.then_some(())?;
        self.misses = 0;
        Some((kind, text))
    }

    /// Another event came: its shape is another.
    pub(super) fn forget(&mut self) {
        self.kind = None;
    }

    /// Whether the next event's shape is worth learning.
    pub(super) fn is_tried(&mut self) -> bool {
        self.misses = self.misses.wrapping_add(1);
        self.misses <= MAX_MISSES || self.misses.is_multiple_of(MISSES_BETWEEN)
    }

    /// Learns the shape of an event that said `text` and nothing else. Of one whose text has no sure place
    /// there is none.
    pub(super) fn learn(&mut self, name: Option<&[u8]>, data: &[u8], kind: TextKind, text: &str) {
        let name = name.unwrap_or_default();
        // The marks of a thought are taken off, so that another string might pass for its text.
        let is_marked = kind != TextKind::Text && data.contains(&b'<');
        if is_marked || name.len() + data.len() > MAX_SHAPE + text.len() {
            return;
        }
        self.fixed.clear();
        self.fixed.extend_from_slice(name);
        self.name_length = name.len();
        self.kind = self.gaps.find(data, text, &mut self.fixed).map(|()| kind);
    }
}

/// The length of an integer of at most 18 digits at the start of `rest`. What follows is not looked at.
fn whole_number_length(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_number = (1..=18).contains(&length) && (length == 1 || rest.first() != Some(&b'0'));
    is_number.then_some(length)
}

/// Takes note of the facts of one event: of its text, if that is all it says.
#[derive(Debug, Default)]
pub(super) struct TextNote {
    found: Option<(TextKind, String)>,
    is_other: bool,
}

impl TextNote {
    pub(super) fn see(&mut self, fact: &Fact<'_>) {
        let (kind, text) = match fact {
            // Says nothing after the first.
            Fact::Started { .. } => return,
            Fact::Text { text, logprobs: None } => (TextKind::Text, *text),
            Fact::Reasoning { text, origin } => (TextKind::Reasoning(*origin), *text),
            Fact::CallArguments { key, fragment } => (TextKind::Arguments { key: *key }, *fragment),
            Fact::Text { .. }
            | Fact::Refusal(_)
            | Fact::ReasoningPart
            | Fact::ReasoningSealed(_)
            | Fact::CallBegun { .. }
            | Fact::CallEnded { .. }
            | Fact::Citation(_)
            | Fact::BlockEnded
            | Fact::Usage(_)
            | Fact::Finished { .. }
            | Fact::Ended
            | Fact::Failed { .. }
            | Fact::Unknown => {
                self.is_other = true;
                return;
            }
        };
        self.is_other |= self.found.is_some() || text.is_empty() || text.len() > MAX_SHAPE;
        if !self.is_other {
            self.found = Some((kind, text.to_owned()));
        }
    }

    /// The kind of the event's one text, and the text.
    pub(super) fn into_text(self) -> Option<(TextKind, String)> {
        self.found.filter(|_| !self.is_other)
    }
}

#[cfg(test)]
mod tests;
