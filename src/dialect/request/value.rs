//! JSON values as slices of simd-json's tape.
//!
//! Of members with one name the last counts, as for most JSON readers. A value that passes whole is copied as
//! the client wrote it.

use std::io::Write as _;

use simd_json::{Node, StaticNode, Tape};

use crate::dialect::json::JsonWrite;

/// Nested deeper than this, a request is refused.
pub(super) const MAX_DEPTH: usize = 100;

/// A document that was read.
#[derive(Debug)]
pub(super) struct JsonDocument<'t> {
    nodes: &'t [Node<'t>],
    /// The bytes as they came; empty where nothing passes as it came.
    source: &'t [u8],
    /// Start and end of each node in them.
    places: &'t [(u32, u32)],
    /// The address of the copy that strings of the tape are slices of.
    copy_address: usize,
}

/// A shorter string is as quickly written as found.
const MIN_FOUND: usize = 24;

impl<'t> JsonDocument<'t> {
    pub(super) const NONE: JsonDocument<'static> =
        JsonDocument { nodes: &[], source: &[], places: &[], copy_address: 0 };

    pub(super) fn new(tape: &'t Tape<'t>) -> Self {
        Self { nodes: &tape.0, ..JsonDocument::NONE }
    }

    /// The same over the bytes that were read. `places` are those of [`find_places`].
    pub(super) fn of_source(self, source: &'t [u8], places: &'t [(u32, u32)]) -> Self {
        if places.len() != self.nodes.len() {
            return self;
        }
        let address = |(node, (start, _)): (&Node<'_>, &(u32, u32))| match node {
            Node::String(text) => text.as_ptr().addr().checked_sub(*start as usize + 1),
            Node::Object { .. } | Node::Array { .. } | Node::Static(_) => None,
        };
        let copy_address = self.nodes.iter().zip(places).find_map(address).unwrap_or_default();
        Self { source, places, copy_address, ..self }
    }

    pub(super) const fn root(&'t self) -> JsonValue<'t> {
        JsonValue { document: self, at: 0, end: self.nodes.len() }
    }

    /// The inside of the string `text` of the tape, as it was written. `None`: it is no whole string of it,
    /// or short.
    pub(super) fn source_of(&self, text: &str) -> Option<&'t [u8]> {
        if text.len() < MIN_FOUND {
            return None;
        }
        let start = u32::try_from(text.as_ptr().addr().checked_sub(self.copy_address + 1)?).ok()?;
        let found = self.places.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        let (_, end) = *self.places.get(found)?;
        match self.nodes.get(found)? {
            Node::String(whole) if std::ptr::eq(*whole, text) => {
                self.source.get(start as usize + 1..(end as usize).checked_sub(1)?)
            }
            Node::String(_) | Node::Object { .. } | Node::Array { .. } | Node::Static(_) => None,
        }
    }
}

/// Finds the start and the end of each node by the offsets of brackets, commas, colons and of the first bytes
/// of other values.
pub(super) fn find_places(source: &[u8], structurals: &[u32], places: &mut Vec<(u32, u32)>) {
    places.clear();
    let mut open = [0_usize; MAX_DEPTH];
    let mut depth = 0;
    let mut last = None;
    for &at in structurals {
        // A string, number or word ends before the next of them.
        if let Some(start) = last.take()
            && let Some(value) = source.get(start as usize..at as usize)
        {
            places.push((start, start + value.trim_ascii_end().len() as u32));
        }
        match source.get(at as usize) {
            Some(b'{' | b'[') => {
                if let Some(place) = open.get_mut(depth) {
                    *place = places.len();
                }
                depth += 1;
                places.push((at, at));
            }
            Some(b'}' | b']') => {
                depth = depth.saturating_sub(1);
                if let Some((_, end)) = open.get(depth).and_then(|place| places.get_mut(*place)) {
                    *end = at + 1;
                }
            }
            Some(b':' | b',') | None => {}
            Some(_) => last = Some(at),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct JsonValue<'t> {
    document: &'t JsonDocument<'t>,
    at: usize,
    end: usize,
}

impl<'t> JsonValue<'t> {
    pub(super) const fn document(self) -> &'t JsonDocument<'t> {
        self.document
    }

    fn nodes(self) -> &'t [Node<'t>] {
        self.document.nodes.get(self.at..self.end).unwrap_or_default()
    }

    fn first(self) -> Option<&'t Node<'t>> {
        self.document.nodes.get(self.at)
    }

    pub(super) fn as_str(self) -> Option<&'t str> {
        match self.first()? {
            Node::String(text) => Some(text),
            Node::Object { .. } | Node::Array { .. } | Node::Static(_) => None,
        }
    }

    fn fixed(self) -> Option<StaticNode> {
        match self.first()? {
            Node::Static(fixed) => Some(*fixed),
            Node::Object { .. } | Node::Array { .. } | Node::String(_) => None,
        }
    }

    pub(super) fn as_bool(self) -> Option<bool> {
        match self.fixed()? {
            StaticNode::Bool(value) => Some(value),
            StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_) | StaticNode::Null => None,
        }
    }

    pub(super) fn as_f64(self) -> Option<f64> {
        match self.fixed()? {
            StaticNode::I64(value) => Some(value as f64),
            StaticNode::U64(value) => Some(value as f64),
            StaticNode::F64(value) => Some(value),
            StaticNode::Bool(_) | StaticNode::Null => None,
        }
    }

    /// A whole number that is not negative, also as `1.0`.
    pub(super) fn as_u64(self) -> Option<u64> {
        match self.fixed()? {
            StaticNode::I64(value) => u64::try_from(value).ok(),
            StaticNode::U64(value) => Some(value),
            StaticNode::F64(value) if (0.0..9e15).contains(&value) && value.fract() == 0.0 => {
                Some(value as u64)
            }
            StaticNode::F64(_) | StaticNode::Bool(_) | StaticNode::Null => None,
        }
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.first(), None | Some(Node::Static(StaticNode::Null)))
    }

    pub(super) fn is_object(self) -> bool {
        matches!(self.first(), Some(Node::Object { .. }))
    }

    pub(super) fn is_array(self) -> bool {
        matches!(self.first(), Some(Node::Array { .. }))
    }

    pub(super) fn is_empty(self) -> bool {
        self.size() <= 1
    }

    fn inside(self) -> Nodes<'t> {
        Nodes { at: self.at + 1, ..self.none() }
    }

    const fn none(self) -> Nodes<'t> {
        Nodes { document: self.document, at: self.end, end: self.end }
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> Nodes<'t> {
        if self.is_array() { self.inside() } else { self.none() }
    }

    /// The names and values of an object.
    pub(super) fn members(self) -> impl Iterator<Item = (&'t str, JsonValue<'t>)> {
        let mut inside = if self.is_object() { self.inside() } else { self.none() };
        std::iter::from_fn(move || Some((inside.next()?.as_str()?, inside.next()?)))
    }

    pub(super) fn get(self, name: &str) -> Option<JsonValue<'t>> {
        self.members().filter(|(known, _)| *known == name).last().map(|(_, value)| value)
    }

    /// The value as the client wrote it. `None`: its bytes are not known.
    fn source(self) -> Option<&'t [u8]> {
        let (start, end) = *self.document.places.get(self.at)?;
        self.document.source.get(start as usize..end as usize)
    }

    /// Writes the value as JSON text. Recurses as deep as the reader allows.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        if let Some(source) = self.source() {
            out.extend_from_slice(source);
            return;
        }
        match self.first() {
            None | Some(Node::Static(StaticNode::Null)) => _ = out.raw("null"),
            Some(Node::String(text)) => _ = out.string(text),
            Some(Node::Static(StaticNode::Bool(value))) => _ = out.raw(if *value { "true" } else { "false" }),
            // Writing to a vector does not fail.
            Some(Node::Static(StaticNode::I64(value))) => _ = write!(out, "{value}"),
            Some(Node::Static(StaticNode::U64(value))) => _ = out.number(*value),
            Some(Node::Static(StaticNode::F64(value))) => _ = write!(out, "{value:?}"),
            Some(Node::Array { .. }) => {
                out.push(b'[');
                for (at, element) in self.elements().enumerate() {
                    out.raw(if at == 0 { "" } else { "," });
                    element.write(out);
                }
                out.push(b']');
            }
            Some(Node::Object { .. }) => {
                out.push(b'{');
                for (at, (name, value)) in self.members().enumerate() {
                    out.raw(if at == 0 { "" } else { "," }).string(name).raw(":");
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    pub(super) fn to_text(self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Nodes of the tape: how much there is to write.
    pub(super) const fn size(self) -> usize {
        self.end - self.at
    }

    /// Bytes of all strings inside.
    pub(super) fn strings(self) -> impl Iterator<Item = &'t str> {
        self.nodes().iter().filter_map(|node| match node {
            Node::String(text) => Some(*text),
            Node::Object { .. } | Node::Array { .. } | Node::Static(_) => None,
        })
    }
}

/// Values one after the other.
#[derive(Clone, Debug)]
pub(super) struct Nodes<'t> {
    document: &'t JsonDocument<'t>,
    at: usize,
    end: usize,
}

impl<'t> Iterator for Nodes<'t> {
    type Item = JsonValue<'t>;

    fn next(&mut self) -> Option<JsonValue<'t>> {
        if self.at >= self.end {
            return None;
        }
        let length = match self.document.nodes.get(self.at)? {
            Node::Object { count, .. } | Node::Array { count, .. } => count.saturating_add(1),
            Node::String(_) | Node::Static(_) => 1,
        };
        let value = JsonValue { document: self.document, at: self.at, end: self.at + length };
        self.at = value.end;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::json_scratch::JsonScratch;

    fn rewritten(text: &str) -> String {
        let mut copy = text.as_bytes().to_vec();
        let tape = simd_json::to_tape(&mut copy).unwrap();
        let plain = JsonDocument::new(&tape).root().to_text();
        let (mut scratch, mut places) = (JsonScratch::new(MAX_DEPTH), Vec::new());
        let copy = |copy: &mut Vec<u8>| copy.extend_from_slice(text.as_bytes());
        let same = scratch.read(copy, |tape, structurals| {
            find_places(text.as_bytes(), structurals, &mut places);
            JsonDocument::new(tape).of_source(text.as_bytes(), &places).root().to_text()
        });
        assert_eq!(same.unwrap(), text.trim());
        plain
    }

    proptest! {
        #[test]
        fn numbers_are_exact(float in any::<f64>(), signed in any::<i64>(), unsigned in any::<u64>()) {
            prop_assume!(float.is_finite());
            let text = format!("[{float:?},{signed},{unsigned}]");
            prop_assert_eq!(rewritten(&text), text);
        }
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        let text = r#"{"b":[],"a":{"":null,"x":[true,false,-0.0,"\u2028\n\"\\"]},"b":{}}"#;
        assert_eq!(rewritten(text), text);
    }

    #[test]
    fn a_value_passes_as_it_was_written() {
        let text = r#" { "a" : [ 1.0 , {"b":"\u00e9\/ \"}," , "c" : [ ] } , -0 , null ] , "d":"x" } "#;
        let (mut scratch, mut places) = (JsonScratch::new(MAX_DEPTH), Vec::new());
        let copy = |copy: &mut Vec<u8>| copy.extend_from_slice(text.as_bytes());
        let read = scratch.read(copy, |tape, structurals| {
            find_places(text.as_bytes(), structurals, &mut places);
            let document = JsonDocument::new(tape).of_source(text.as_bytes(), &places);
            let list = document.root().get("a").unwrap();
            let members = list.elements().map(JsonValue::to_text).collect::<Vec<_>>();
            (list.to_text(), members, document.root().get("d").unwrap().to_text())
        });
        let inner = r#"{"b":"\u00e9\/ \"}," , "c" : [ ] }"#;
        let list = format!("[ 1.0 , {inner} , -0 , null ]");
        let members = ["1.0", inner, "-0", "null"].map(str::to_owned).to_vec();
        assert_eq!(read.unwrap(), (list, members, "\"x\"".to_owned()));
    }
}
