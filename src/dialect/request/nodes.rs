//! Reads a request's JSON into a list of its values, in one pass: each is a span of the bytes.
//!
//! Nothing is copied but the strings that have escapes. The grammar is checked (RFC 8259); refused are also
//! numbers beyond a float and halves of surrogate pairs, which most readers cannot read. Long members that
//! come again and again are not read again ([`memo`](super::memo)).

use super::{
    json_node::{JsonNode, NodeKind},
    memo::{MAX_LOOKS, SpanMemo},
};
use crate::dialect::{
    json::stop_in,
    string_inside::{NEAR, SIMPLE_ESCAPES, escaped, far_run, plain_run},
};

/// Nested deeper than this, a request is refused.
pub(super) const MAX_DEPTH: usize = 100;

/// The values of a document, kept from one to the next.
#[derive(Debug)]
pub(super) struct NodeBuffers {
    pub(super) nodes: Vec<JsonNode>,
    /// The texts of the strings that have escapes, one after the other, and room behind them.
    texts: Vec<u8>,
    texts_length: usize,
    pub(super) memo: SpanMemo,
}

/// Bytes of texts, and nodes, that are kept.
const MAX_KEPT_TEXT: usize = 1 << 20;
const MAX_KEPT_NODES: usize = 64 << 10;

impl Default for NodeBuffers {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl NodeBuffers {
    pub(super) const EMPTY: Self =
        Self { nodes: Vec::new(), texts: Vec::new(), texts_length: 0, memo: SpanMemo::EMPTY };

    /// Reads `source`. `Err`: the reason for which it is no JSON.
    pub(super) fn read(&mut self, source: &str) -> Result<(), &'static str> {
        self.nodes.clear();
        if u32::try_from(source.len()).is_err() {
            return Err("it is too long");
        }
        // A text is no longer than its string, and is copied in words.
        let room = source.len() + 8;
        if self.texts.len() < room {
            self.texts.resize(room, 0);
        }
        let (bytes, nodes, texts) = (source.as_bytes(), &mut self.nodes, &mut *self.texts);
        let mut reader = NodeReader { source, bytes, at: 0, nodes, texts, length: 0 };
        let result = reader.document(&mut self.memo);
        self.texts_length = reader.length;
        result
    }

    pub(super) fn texts(&self) -> &str {
        let texts = self.texts.get(..self.texts_length).unwrap_or_default();
        simdutf8::basic::from_utf8(texts).unwrap_or_default()
    }

    /// The same, small enough to be kept.
    pub(super) fn kept(mut self) -> Self {
        if self.texts.capacity() > MAX_KEPT_TEXT || self.nodes.capacity() > MAX_KEPT_NODES {
            (self.texts, self.nodes) = (Vec::new(), Vec::new());
        }
        self
    }
}

struct NodeReader<'s> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    nodes: &'s mut Vec<JsonNode>,
    texts: &'s mut [u8],
    /// Of the texts so far.
    length: usize,
}

impl NodeReader<'_> {
    fn document(&mut self, memo: &mut SpanMemo) -> Result<(), &'static str> {
        let mut open = [0_usize; MAX_DEPTH];
        let mut depth = 0;
        let mut new = None;
        let mut looks = 0;
        self.skip_space();
        loop {
            // A value stands here.
            let is_long = depth == 1 && looks < MAX_LOOKS && self.has_long_name();
            looks += usize::from(is_long);
            let is_known = is_long && self.take_known(memo);
            if is_long && !is_known {
                new = Some((self.nodes.len(), self.length));
            }
            if !is_known && let Some(kind) = self.value()? {
                *open.get_mut(depth).ok_or("it is nested too deeply")? = self.nodes.len();
                depth += 1;
                self.push(kind, self.at, 0);
                self.at += 1;
                self.skip_space();
                let is_empty = self.peek() == Some(if kind == NodeKind::Object { b'}' } else { b']' });
                if !is_empty {
                    if kind == NodeKind::Object {
                        self.name()?;
                    }
                    continue;
                }
            }
            // A value has ended, or a bracket closes an empty one.
            loop {
                self.skip_space();
                let Some(last) = depth.checked_sub(1) else {
                    return if self.at == self.bytes.len() { Ok(()) } else { Err("more follows its end") };
                };
                if last == 0
                    && let Some((node, text)) = new.take()
                {
                    let texts = self.texts.get(text..self.length).unwrap_or_default();
                    memo.keep(self.bytes, self.nodes.get(node..).unwrap_or_default(), texts, text);
                }
                let place = open.get(last).copied().unwrap_or_default();
                let count = self.nodes.len();
                let Some(node) = self.nodes.get_mut(place) else { return Err("a value is expected") };
                self.at += 1;
                match (self.bytes.get(self.at - 1), node.kind) {
                    (Some(b','), kind) => {
                        self.skip_space();
                        if kind == NodeKind::Object {
                            self.name()?;
                        }
                        break;
                    }
                    (Some(b'}'), NodeKind::Object) | (Some(b']'), NodeKind::Array) => {
                        node.end = self.at as u32;
                        node.size = (count - place - 1) as u32;
                        depth = last;
                    }
                    (_, NodeKind::Object) => return Err("`,` or `}` is expected"),
                    _ => return Err("`,` or `]` is expected"),
                }
            }
        }
    }

    /// A value without others inside; the kind of a container, which is not read.
    fn value(&mut self) -> Result<Option<NodeKind>, &'static str> {
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'{') => return Ok(Some(NodeKind::Object)),
            Some(b'[') => return Ok(Some(NodeKind::Array)),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", NodeKind::True)?,
            Some(b'f') => self.word("false", NodeKind::False)?,
            Some(b'n') => self.word("null", NodeKind::Null)?,
            Some(_) | None => return Err("a value is expected"),
        }
        Ok(None)
    }

    /// Whether the value here is a member that clients repeat with each request.
    fn has_long_name(&self) -> bool {
        let name = self.nodes.last().filter(|node| node.kind == NodeKind::String);
        let name = name.and_then(|node| self.bytes.get(node.start as usize + 1..node.end as usize - 1));
        name.is_some_and(|name| LONG_MEMBERS.contains(&name))
    }

    /// Passes over a value that was read before. `false`: it was not.
    fn take_known(&mut self, memo: &mut SpanMemo) -> bool {
        let Some(span) = memo.find(self.bytes.get(self.at..).unwrap_or_default()) else { return false };
        let (at, text) = (self.at as u32, self.length as u32);
        let moved = |node: &JsonNode| JsonNode {
            start: node.start + at,
            end: node.end + at,
            text_at: node.text_at + text,
            ..*node
        };
        self.nodes.extend(span.nodes.iter().map(moved));
        if let Some(room) = self.texts.get_mut(self.length..self.length + span.texts.len()) {
            room.copy_from_slice(&span.texts);
        }
        self.length += span.texts.len();
        self.at += span.source.len();
        true
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Appends a node that ends here.
    fn push(&mut self, kind: NodeKind, start: usize, size: usize) {
        let [start, end, size, text_at] = [start, self.at, size, self.length].map(|at| at as u32);
        self.nodes.push(JsonNode { kind, start, end, size, text_at });
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<(), &'static str> {
        if self.peek() != Some(b'"') {
            return Err("a member's name is expected");
        }
        self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err("`:` is expected");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// A string, at its quote.
    fn string(&mut self) -> Result<(), &'static str> {
        let (start, text_at) = (self.at, self.length);
        let length = plain_run(self.bytes.get(start + 1..).unwrap_or_default());
        self.at = start + 1 + length;
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.push(NodeKind::String, start, length);
                return Ok(());
            }
            Some(b'\\') => {}
            Some(_) => return Err("a control character must be escaped"),
            None => return Err("a string does not end"),
        }
        self.copy(self.bytes.get(start + 1..self.at).unwrap_or_default());
        self.escaped_text()?;
        let size = self.length - text_at;
        self.push(NodeKind::Escaped, start, size);
        if let Some(node) = self.nodes.last_mut() {
            node.text_at = text_at as u32;
        }
        Ok(())
    }

    /// Appends a text.
    fn copy(&mut self, text: &[u8]) {
        if let Some(room) = self.texts.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text);
            self.length += text.len();
        }
    }

    /// Copies the text of a string's inside from an escape on, up to its end.
    fn escaped_text(&mut self) -> Result<(), &'static str> {
        loop {
            match self.peek() {
                Some(b'\\') => {
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    let simple = SIMPLE_ESCAPES[usize::from(rest.get(1).copied().unwrap_or_default())];
                    if simple == 0 {
                        let (character, length) = escaped(rest).ok_or("an escape is wrong")?;
                        self.copy(character.encode_utf8(&mut [0; 4]).as_bytes());
                        self.at += length;
                    } else {
                        self.copy(&[simple]);
                        self.at += 2;
                    }
                    // Escapes stand together: a line's end and its indent.
                    if self.peek() == Some(b'\\') {
                        continue;
                    }
                }
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => return Err("a control character must be escaped"),
                None => return Err("a string does not end"),
            }
            self.copy_run();
        }
    }

    /// Copies the bytes up to the next quote, backslash or control character. Code has an escape every twenty
    /// bytes, so words are copied as they are searched.
    fn copy_run(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (words, _) = rest.as_chunks::<8>();
        let (room, _) = self.texts.get_mut(self.length..).unwrap_or_default().as_chunks_mut::<8>();
        let mut near = 0;
        for (word, room) in words.iter().zip(room).take(NEAR / 8) {
            *room = *word;
            if let Some(plain) = stop_in(*word) {
                self.at += near + plain;
                self.length += near + plain;
                return;
            }
            near += 8;
        }
        self.at += near;
        self.length += near;
        let far = rest.get(near..).unwrap_or_default();
        let length = far_run(far);
        self.copy(far.get(..length).unwrap_or_default());
        self.at += length;
    }

    fn word(&mut self, word: &str, kind: NodeKind) -> Result<(), &'static str> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err("a value is expected");
        }
        let start = self.at;
        self.at += word.len();
        self.push(kind, start, 0);
        Ok(())
    }

    fn number(&mut self) -> Result<(), &'static str> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        // One of these digits at most is finite.
        if self.at - start > MAX_SURE_NUMBER {
            let number = self.source.get(start..self.at).and_then(|number| number.parse::<f64>().ok());
            if !number.is_some_and(f64::is_finite) {
                return Err("a number is too large");
            }
        }
        self.push(NodeKind::Number, start, 0);
        Ok(())
    }

    /// One or more digits.
    fn digits(&mut self) -> Result<(), &'static str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err("a digit is expected") }
    }
}

/// Top-level members with the tools and the system's words.
const LONG_MEMBERS: [&[u8]; 5] =
    [b"tools", b"system", b"instructions", b"systemInstruction", b"system_instruction"];

/// A shorter number has no exponent above 99: it is finite.
const MAX_SURE_NUMBER: usize = 4;
