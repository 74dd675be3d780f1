//! JSON values as spans of a request's bytes.
//!
//! Of members with one name the last counts, as for most JSON readers. A value that passes whole is copied as
//! the client wrote it.

use super::{
    json_node::{JsonNode, NodeKind},
    known::KnownParts,
    nodes::NodeBuffers,
};

/// A document that was read.
#[derive(Debug)]
pub(super) struct JsonDocument<'t> {
    nodes: &'t [JsonNode],
    /// The bytes as they came.
    source: &'t str,
    /// The texts of strings that have escapes.
    texts: &'t str,
    /// The parts that stand in it by a mark alone.
    pub(super) known: KnownParts<'t>,
}

/// A shorter string is as quickly written as found.
const MIN_FOUND: usize = 24;

impl<'t> JsonDocument<'t> {
    pub(super) const NONE: JsonDocument<'static> =
        JsonDocument { nodes: &[], source: "", texts: "", known: KnownParts::NONE };

    /// `buffers` have read `source`.
    pub(super) fn new(source: &'t str, buffers: &'t NodeBuffers) -> Self {
        Self { nodes: &buffers.nodes, source, texts: buffers.texts(), known: KnownParts::NONE }
    }

    pub(super) fn with_known(self, known: KnownParts<'t>) -> Self {
        Self { known, ..self }
    }

    pub(super) const fn root(&'t self) -> JsonValue<'t> {
        JsonValue { document: self, at: 0, end: self.nodes.len() }
    }

    /// The inside of the string `text` of the document, as it was written. `None`: it is no whole string of
    /// it, or short.
    pub(super) fn source_of(&self, text: &str) -> Option<&'t str> {
        if text.len() < MIN_FOUND {
            return None;
        }
        let place_in = |whole: &str| {
            let start = text.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
            let end = start + text.len();
            (end <= whole.len()).then_some((start, end))
        };
        if let Some((start, end)) = place_in(self.source) {
            // A text without escapes has no quote inside.
            let is_quote =
                |at: Option<usize>| at.and_then(|at| self.source.as_bytes().get(at)) == Some(&b'"');
            return (is_quote(start.checked_sub(1)) && is_quote(Some(end)))
                .then_some(self.source.get(start..end)?);
        }
        let (start, end) = place_in(self.texts)?;
        let found = self.nodes.partition_point(|node| node.text_at as usize <= start).checked_sub(1)?;
        let node = self.nodes.get(found).filter(|node| node.kind == NodeKind::Escaped)?;
        let is_whole = (node.text_at as usize, node.size as usize) == (start, end - start);
        is_whole.then_some(self.source.get(node.start as usize + 1..(node.end as usize).checked_sub(1)?)?)
    }

    fn text(&self, node: &JsonNode) -> Option<&'t str> {
        match node.kind {
            NodeKind::String => self.source.get(node.start as usize + 1..(node.end as usize).checked_sub(1)?),
            NodeKind::Escaped => {
                let start = node.text_at as usize;
                self.texts.get(start..start + node.size as usize)
            }
            NodeKind::Object | NodeKind::Array | NodeKind::Number => None,
            NodeKind::True | NodeKind::False | NodeKind::Null => None,
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

    fn nodes(self) -> &'t [JsonNode] {
        self.document.nodes.get(self.at..self.end).unwrap_or_default()
    }

    fn first(self) -> Option<&'t JsonNode> {
        self.document.nodes.get(self.at)
    }

    fn is(self, kind: NodeKind) -> bool {
        self.first().is_some_and(|node| node.kind == kind)
    }

    pub(super) fn as_str(self) -> Option<&'t str> {
        self.document.text(self.first()?)
    }

    pub(super) fn as_bool(self) -> Option<bool> {
        self.is(NodeKind::True).then_some(true).or_else(|| self.is(NodeKind::False).then_some(false))
    }

    fn number(self) -> Option<&'t str> {
        self.is(NodeKind::Number).then(|| self.source())
    }

    pub(super) fn as_f64(self) -> Option<f64> {
        self.number()?.parse().ok()
    }

    /// A whole number that is not negative, also as `1.0`.
    pub(super) fn as_u64(self) -> Option<u64> {
        let number = self.number()?;
        let whole = |float: &f64| (0.0..9e15).contains(float) && float.fract() == 0.0;
        number.parse().ok().or_else(|| self.as_f64().filter(whole).map(|float| float as u64))
    }

    pub(super) fn is_null(self) -> bool {
        self.first().is_none_or(|node| node.kind == NodeKind::Null)
    }

    pub(super) fn is_object(self) -> bool {
        self.is(NodeKind::Object)
    }

    pub(super) fn is_array(self) -> bool {
        self.is(NodeKind::Array)
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
        let (mut at, mut found) = (self.at + 1, None);
        let end = if self.is_object() { self.end } else { at };
        while at < end {
            let (Some(known), Some(value)) = (self.document.nodes.get(at), self.document.nodes.get(at + 1))
            else {
                break;
            };
            let after = at + 1 + value.count();
            // The texts of most names differ in their length.
            if known.size as usize == name.len() && self.document.text(known) == Some(name) {
                found = Some(JsonValue { document: self.document, at: at + 1, end: after });
            }
            at = after;
        }
        found
    }

    /// The value as the client wrote it.
    fn source(self) -> &'t str {
        let span = self.first().map(|node| node.start as usize..node.end as usize);
        span.and_then(|span| self.document.source.get(span)).unwrap_or("null")
    }

    /// The place of the value in the document.
    pub(super) fn span(self) -> std::ops::Range<usize> {
        self.first().map_or(0..0, |node| node.start as usize..node.end as usize)
    }

    /// Writes the value as JSON text, as the client wrote it.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.source().as_bytes());
    }

    pub(super) fn to_text(self) -> &'t str {
        self.source()
    }

    /// Names and values inside and its own: how much there is to write.
    pub(super) const fn size(self) -> usize {
        self.end - self.at
    }

    /// All strings inside, names among them.
    pub(super) fn strings(self) -> impl Iterator<Item = &'t str> {
        self.nodes().iter().filter_map(|node| self.document.text(node))
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
        let node = self.document.nodes.get(self.at)?;
        let value = JsonValue { document: self.document, at: self.at, end: self.at + node.count() };
        self.at = value.end;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Number, Value};

    use super::*;

    /// The value as serde_json has it, by each way of access.
    fn value(read: JsonValue<'_>) -> Value {
        if let Some(text) = read.as_str() {
            if text.len() >= MIN_FOUND {
                let source = read.document.source_of(text).unwrap();
                assert_eq!(format!("\"{source}\""), read.to_text());
                assert_eq!(text.get(1..).and_then(|rest| read.document.source_of(rest)), None);
            }
            return text.into();
        }
        if let Some(number) = read.as_f64() {
            let whole = read.as_u64().map(Value::from);
            let signed = read.to_text().parse().ok().map(|signed: i64| signed.into());
            let whole = signed.or(whole).filter(|_| !read.to_text().contains(['.', 'e', 'E']));
            // serde_json reads -0 as a float.
            let whole = whole.filter(|_| read.to_text() != "-0");
            return whole.unwrap_or_else(|| Number::from_f64(number).unwrap().into());
        }
        match (read.as_bool(), read.is_object(), read.is_array()) {
            (Some(value), ..) => value.into(),
            (_, true, _) => read
                .members()
                .map(|(name, value)| (name.to_owned(), self::value(value)))
                .collect::<Map<_, _>>()
                .into(),
            (_, _, true) => read.elements().map(value).collect(),
            _ => {
                assert!(read.is_null());
                Value::Null
            }
        }
    }

    fn read(text: &str) -> Option<Value> {
        let mut buffers = NodeBuffers::default();
        buffers.read(text).ok()?;
        let document = JsonDocument::new(text, &buffers);
        let root = document.root();
        assert_eq!((root.to_text(), root.size()), (text.trim_ascii(), buffers.nodes.len()));
        Some(value(root))
    }

    fn json() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // serde_json reads these exactly.
            (-1e6..1e6).prop_map(|number: f64| ((number * 100.0).round() / 100.0).into()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            any::<String>().prop_map(Value::from),
            "[a-z \"\\\\\n\u{e9}]{0,60}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec(("[a-c\"\n]{0,3}", inner), 0..8)
                    .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_read_as_serde_json_reads_them(json in json(), is_pretty in any::<bool>(), is_ascii in any::<bool>()) {
            let mut text = if is_pretty { serde_json::to_string_pretty(&json).unwrap() } else { json.to_string() };
            if is_ascii {
                let escape = |c: char| -> String {
                    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
                };
                text = text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escape(c) }).collect();
            }
            let expected: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read(&text), Some(expected));
        }

        #[test]
        fn what_serde_json_refuses_is_refused(
            text in "([\\[\\]{}:, \t]|-?[0-9]{1,3}|[.eE+\\-]|\"(a|\\\\n|\\\\u00e9|\\\\ud83d|\\\\ude00|\n|\\\\x)?\"|true|nul|null){1,9}",
            json in json(), at in any::<prop::sample::Index>(), byte in prop::sample::select(b"{}[]\",:\\0e-.tn \n\x01".as_slice()),
        ) {
            let mut changed = json.to_string().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            for text in [Some(text), String::from_utf8(changed).ok()].into_iter().flatten() {
                prop_assert_eq!(read(&text).is_some(), serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn a_value_passes_as_it_was_written() {
        let text = r#" { "a" : [ 1.0 , {"b":"\u00e9\/ \"}," , "c" : [ ] } , -0 , null ] , "d":"x" } "#;
        let mut buffers = NodeBuffers::default();
        buffers.read(text).unwrap();
        let document = JsonDocument::new(text, &buffers);
        let list = document.root().get("a").unwrap();
        let inner = r#"{"b":"\u00e9\/ \"}," , "c" : [ ] }"#;
        assert_eq!(list.to_text(), format!("[ 1.0 , {inner} , -0 , null ]"));
        assert_eq!(list.elements().map(JsonValue::to_text).collect::<Vec<_>>(), ["1.0", inner, "-0", "null"]);
        assert_eq!(document.root().get("d").unwrap().to_text(), "\"x\"");
    }

    #[test]
    fn bounds_are_kept() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        let read = |text: &str| NodeBuffers::default().read(text);
        assert!(
            read(&nested(100)).is_ok() && read(&nested(101)).is_err() && read(&"[".repeat(100_000)).is_err()
        );
        for (text, is_read) in
            [("1e308", true), ("1e309", false), ("-1e999", false), ("1e-999", true), ("9e99", true)]
        {
            assert_eq!(read(text).is_ok(), is_read, "{text}");
        }
        assert!(read(&"9".repeat(309)).is_err() && read("").is_err());
    }
}
