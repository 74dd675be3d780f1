//! A value of a request's JSON, as a span of the body.

/// A value, or a member's name, which stands before its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonNode {
    pub(super) kind: NodeKind,
    /// In the source, with quotes and brackets.
    pub(super) start: u32,
    pub(super) end: u32,
    /// The nodes inside an object or an array, names among them; the bytes of a string's text.
    pub(super) size: u32,
    /// The length of the unescaped texts before it. An escaped string's text starts there.
    pub(super) text_at: u32,
}

impl JsonNode {
    /// The nodes of the value: its own and those inside.
    pub(super) const fn count(&self) -> usize {
        match self.kind {
            NodeKind::Object | NodeKind::Array => self.size as usize + 1,
            NodeKind::String | NodeKind::Escaped | NodeKind::Number => 1,
            NodeKind::True | NodeKind::False | NodeKind::Null => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Object,
    Array,
    String,
    /// A string with escapes.
    Escaped,
    Number,
    True,
    False,
    Null,
}
