//! JSON values as slices of simd-json's tape.
//!
//! Of members with one name the last counts, as for most JSON readers.

use std::io::Write as _;

use simd_json::{Node, StaticNode, Tape};

use crate::dialect::json::JsonWrite;

#[derive(Clone, Copy, Debug)]
pub(super) struct JsonValue<'t> {
    nodes: &'t [Node<'t>],
}

impl<'t> JsonValue<'t> {
    pub(super) fn root(tape: &'t Tape<'t>) -> Self {
        Self { nodes: &tape.0 }
    }

    pub(super) fn as_str(self) -> Option<&'t str> {
        match self.nodes.first()? {
            Node::String(text) => Some(text),
            Node::Object { .. } | Node::Array { .. } | Node::Static(_) => None,
        }
    }

    fn fixed(self) -> Option<StaticNode> {
        match self.nodes.first()? {
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
        matches!(self.nodes.first(), None | Some(Node::Static(StaticNode::Null)))
    }

    pub(super) fn is_object(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Object { .. }))
    }

    pub(super) fn is_array(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Array { .. }))
    }

    pub(super) fn is_empty(self) -> bool {
        self.nodes.len() <= 1
    }

    fn inside(self) -> Nodes<'t> {
        Nodes(self.nodes.get(1..).unwrap_or_default())
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> Nodes<'t> {
        if self.is_array() { self.inside() } else { Nodes(&[]) }
    }

    /// The names and values of an object.
    pub(super) fn members(self) -> impl Iterator<Item = (&'t str, JsonValue<'t>)> {
        let mut inside = if self.is_object() { self.inside() } else { Nodes(&[]) };
        std::iter::from_fn(move || Some((inside.next()?.as_str()?, inside.next()?)))
    }

    pub(super) fn get(self, name: &str) -> Option<JsonValue<'t>> {
        self.members().filter(|(known, _)| *known == name).last().map(|(_, value)| value)
    }

    /// Writes the value as JSON text. Recurses as deep as the reader allows.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self.nodes.first() {
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
    pub(super) fn size(self) -> usize {
        self.nodes.len()
    }

    /// Bytes of all strings inside.
    pub(super) fn strings(self) -> impl Iterator<Item = &'t str> {
        self.nodes.iter().filter_map(|node| match node {
            Node::String(text) => Some(*text),
            Node::Object { .. } | Node::Array { .. } | Node::Static(_) => None,
        })
    }
}

/// Values one after the other.
#[derive(Clone, Debug)]
pub(super) struct Nodes<'t>(&'t [Node<'t>]);

impl<'t> Iterator for Nodes<'t> {
    type Item = JsonValue<'t>;

    fn next(&mut self) -> Option<JsonValue<'t>> {
        let length = match self.0.first()? {
            Node::Object { count, .. } | Node::Array { count, .. } => count.saturating_add(1),
            Node::String(_) | Node::Static(_) => 1,
        };
        let (nodes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(JsonValue { nodes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(text: &str) -> String {
        let mut copy = text.as_bytes().to_vec();
        let tape = simd_json::to_tape(&mut copy).unwrap();
        JsonValue::root(&tape).to_text()
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
}
