//! The members that a coding agent repeats with each request, as they were read before: its tools and its
//! system's words are most of a request, and the same at each turn.
//!
//! A member is known by its bytes, all of them: the comparison costs less than a digest. Bounded in bytes;
//! the one that was used least recently goes.
//!
//! The clients of a worker share it, because a team's agents send the same tools under many keys. That is
//! safe. What is found is the nodes that reading these bytes again would give, their texts included, so that
//! nothing of one key's request comes into another's. Time tells a client that a member of 1 KiB or more,
//! which it has in full, was sent by another one lately; the provider's prompt cache, which all keys share as
//! well, says so in its count of cached tokens. Of a member known in part it tells next to nothing: the
//! comparison ends at the first difference, which moves it by a nanosecond for 32 bytes and more, and it
//! takes place once for each of a request's first few members ([`MAX_LOOKS`]), so that no request repeats it
//! until it can be measured.

use super::json_node::{JsonNode, NodeKind};

#[derive(Debug)]
pub(super) struct SpanMemo {
    spans: Vec<KnownSpan>,
    clock: u64,
}

/// A value that was read, as if it stood at the start of a document.
#[derive(Debug)]
pub(super) struct KnownSpan {
    pub(super) source: Box<[u8]>,
    pub(super) nodes: Box<[JsonNode]>,
    /// The texts of its strings with escapes.
    pub(super) texts: Box<[u8]>,
    used: u64,
}

/// A shorter value is as quickly read.
const MIN_SPAN: usize = 1024;
const MAX_SPAN: usize = 256 << 10;
const MAX_BYTES: usize = 1 << 20;
const MAX_SPANS: usize = 16;

/// Members of a request that are looked for: `tools` and the system's words, and one to spare.
pub(super) const MAX_LOOKS: usize = 3;

impl KnownSpan {
    fn bytes(&self) -> usize {
        self.source.len() + size_of_val(&*self.nodes) + self.texts.len()
    }
}

impl SpanMemo {
    pub(super) const EMPTY: Self = Self { spans: Vec::new(), clock: 0 };

    /// The value that `rest` starts with, if it was read before.
    pub(super) fn find(&mut self, rest: &[u8]) -> Option<&KnownSpan> {
        self.clock += 1;
        let span = self.spans.iter_mut().find(|span| rest.starts_with(&span.source))?;
        span.used = self.clock;
        Some(span)
    }

    /// Keeps a value that was read: its nodes, and its texts, which begin at `text_at`.
    pub(super) fn keep(&mut self, bytes: &[u8], nodes: &[JsonNode], texts: &[u8], text_at: usize) {
        let Some(first) = nodes.first() else { return };
        let Some(source) = bytes.get(first.start as usize..first.end as usize) else { return };
        // A longer number may begin with a number. Others end with their quote or bracket.
        if first.kind == NodeKind::Number || !(MIN_SPAN..=MAX_SPAN).contains(&source.len()) {
            return;
        }
        let moved = |node: &JsonNode| JsonNode {
            start: node.start - first.start,
            end: node.end - first.start,
            text_at: node.text_at - text_at as u32,
            ..*node
        };
        let span = KnownSpan {
            source: source.into(),
            nodes: nodes.iter().map(moved).collect(),
            texts: texts.into(),
            used: self.clock,
        };
        self.spans.push(span);
        while self.spans.len() > MAX_SPANS
            || self.spans.iter().map(KnownSpan::bytes).sum::<usize>() > MAX_BYTES
        {
            let oldest = self.spans.iter().enumerate().min_by_key(|(_, span)| span.used);
            let Some(oldest) = oldest.map(|(at, _)| at) else { return };
            self.spans.swap_remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::request::{nodes::NodeBuffers, value::JsonDocument};

    fn tools(mark: &str, length: usize) -> String {
        let text = format!("\\n{mark}\\\"").repeat(length / 8);
        format!(r#"[{{"name":"a","d":"{text}","e":[1,{{}}]}}, {{"d":"\u00e9"}}]"#)
    }

    fn nodes(buffers: &NodeBuffers) -> String {
        format!("{:?}{}", buffers.nodes, buffers.texts())
    }

    #[test]
    fn a_member_that_is_known_is_as_if_it_were_read() {
        let mut buffers = NodeBuffers::default();
        for body in [
            format!(r#"{{"tools":{},"a":"\t","system":"{}"}}"#, tools("x", 2000), "s\\t".repeat(600)),
            format!(
                r#" {{ "b":"\n\n", "system": "{}" , "tools": {} }}"#,
                "s\\t".repeat(600),
                tools("x", 2000)
            ),
            format!(r#"{{"tools":{} ,"m":{{"tools":{}}}}}"#, tools("x", 2000), tools("x", 2000)),
            format!(r#"{{"tools":{}}}"#, tools("y", 2000)),
        ] {
            buffers.read(&body).unwrap();
            let mut fresh = NodeBuffers::default();
            fresh.read(&body).unwrap();
            assert_eq!(nodes(&buffers), nodes(&fresh), "{body}");
            let document = JsonDocument::new(&body, &buffers);
            let found = document.root().get("tools").unwrap().elements().next().unwrap().get("d").unwrap();
            let text = found.as_str().unwrap();
            assert!(text.starts_with('\n') && document.source_of(text).is_some());
        }
        assert_eq!(buffers.memo.spans.len(), 3);
        let broken = format!(r#"{{"tools":{}x}}"#, tools("x", 2000));
        assert!(buffers.read(&broken).is_err());
    }

    #[test]
    fn a_value_that_goes_on_is_another() {
        let mut buffers = NodeBuffers::default();
        let digits = "0".repeat(2 * MIN_SPAN);
        for body in [format!(r#"{{"system":0.{digits}}}"#), format!(r#"{{"system":0.{digits}1}}"#)] {
            assert_eq!(buffers.read(&body), Ok(()), "{body}");
        }
        let words = "s".repeat(2 * MIN_SPAN);
        for body in [format!(r#"{{"system":"{words}"}}"#), format!(r#"{{"system":"{words}\""}}"#)] {
            buffers.read(&body).unwrap();
            let mut fresh = NodeBuffers::default();
            fresh.read(&body).unwrap();
            assert_eq!(nodes(&buffers), nodes(&fresh), "{body}");
        }
    }

    #[test]
    fn a_request_looks_for_few_members() {
        let mut buffers = NodeBuffers::default();
        let members: Vec<_> = (0..40).map(|at| format!(r#""system":"{at}""#)).collect();
        buffers.read(&format!("{{{}}}", members.join(","))).unwrap();
        assert_eq!(buffers.memo.clock, MAX_LOOKS as u64);
    }

    #[test]
    fn its_bytes_are_bounded() {
        let mut buffers = NodeBuffers::default();
        for (mark, length) in (0..60_usize).map(|mark| (mark, 500 + mark % 3 * 100_000)) {
            let body = format!(r#"{{"tools":{}}}"#, tools(&mark.to_string(), length));
            buffers.read(&body).unwrap();
            let memo = &buffers.memo;
            assert!(memo.spans.len() <= MAX_SPANS);
            assert!(memo.spans.iter().map(KnownSpan::bytes).sum::<usize>() <= MAX_BYTES);
            assert!(memo.spans.iter().all(|span| span.source.len() <= MAX_SPAN));
        }
        assert!(!buffers.memo.spans.is_empty());
    }
}
