//! Takes reasoning that the gateway itself has sealed out of a request. Its seal stands for reasoning of a
//! provider of another dialect; Anthropic and OpenAI refuse the whole request for it. All other bytes stay.
//!
//! A seal counts where its dialect has it, by the place and the type of its block; a text that mentions one
//! is a text.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::{
    Dialect,
    cursor::{Cursor, JsonError},
    index::{self, Member},
};

/// A body without the blocks, and the names of the members that were left out or changed.
#[derive(Debug, PartialEq, Eq)]
pub struct UnsealedBody {
    pub body: Bytes,
    pub dropped: &'static str,
}

/// A span and the bytes that take its place.
type ByteEdit = (Range<usize>, &'static [u8]);

/// The types of a block that may be sealed, and the member with the seal.
const fn sealed_blocks(dialect: Dialect) -> &'static [(&'static [u8], &'static [u8])] {
    match dialect {
        Dialect::Messages => &[(br#""thinking""#, b"signature"), (br#""redacted_thinking""#, b"data")],
        Dialect::Responses => &[(br#""reasoning""#, b"encrypted_content")],
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Gemini => &[],
    }
}

/// Removes the blocks of `body` with a seal that begins with `mark` and is none that the provider knows.
/// `None`: there are none.
pub fn remove(
    dialect: Dialect,
    body: &Bytes,
    mark: &Finder<'_>,
    is_known: impl Fn(&[u8]) -> bool,
) -> Option<UnsealedBody> {
    let has_seals = dialect == Dialect::Gemini || !sealed_blocks(dialect).is_empty();
    if !has_seals || mark.find(body).is_none() {
        return None;
    }
    let is_sealed = |block: &[u8]| {
        let seal = seal_of(dialect, block);
        seal.is_some_and(|seal| seal.starts_with(mark.needle()) && !is_known(seal))
    };
    let (edits, dropped) = match dialect {
        Dialect::Responses => {
            let items = elements(body, member(body, 0..body.len(), b"input")?)?;
            let removed: Vec<bool> = items.iter().map(|item| is_sealed(part(body, item))).collect();
            let edits: Vec<_> = removals(&items, &removed).map(|span| (span, &b""[..])).collect();
            (edits, "reasoning")
        }
        Dialect::Messages => of_messages(body, mark, is_sealed)?,
        Dialect::Gemini => {
            let is_ours = |seal: &[u8]| seal.starts_with(mark.needle()) && !is_known(seal);
            (of_gemini(body, is_ours)?, "reasoning")
        }
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => return None,
    };
    (!edits.is_empty()).then(|| UnsealedBody { body: edited(body, edits), dropped })
}

/// A message whose blocks all go goes, too, because an empty one is refused. Where a call of the turn under
/// way loses its thinking, thinking is switched off: Anthropic wants such a turn to begin with it.
fn of_messages(
    body: &[u8],
    mark: &Finder<'_>,
    is_sealed: impl Fn(&[u8]) -> bool,
) -> Option<(Vec<ByteEdit>, &'static str)> {
    let messages = elements(body, member(body, 0..body.len(), b"messages")?)?;
    let (mut edits, mut gone, mut needs_thinking) = (Vec::new(), vec![false; messages.len()], false);
    for (message, is_gone) in messages.iter().zip(&mut gone) {
        let content = member(body, message.clone(), b"content");
        if is_word_of_user(body, message, content.clone()) {
            needs_thinking = false;
        }
        if mark.find(part(body, message)).is_none() {
            continue;
        }
        let Some(blocks) = content.and_then(|content| elements(body, content)) else { continue };
        let removed: Vec<bool> = blocks.iter().map(|block| is_sealed(part(body, block))).collect();
        if removed.iter().all(|is_removed| !is_removed) {
            continue;
        }
        let left = || blocks.iter().zip(&removed).filter(|(_, is_removed)| !**is_removed);
        *is_gone = left().next().is_none();
        if !*is_gone {
            edits.extend(removals(&blocks, &removed).map(|span| (span, &b""[..])));
            let has_type = |block: &Range<usize>, word: &[u8]| kind(body, block) == Some(word);
            needs_thinking |= left().any(|(block, _)| has_type(block, br#""tool_use""#))
                && !left().next().is_some_and(|(block, _)| {
                    sealed_blocks(Dialect::Messages).iter().any(|(word, _)| has_type(block, word))
                });
        }
    }
    edits.extend(removals(&messages, &gone).map(|span| (span, &b""[..])));
    let thinking = member(body, 0..body.len(), b"thinking")
        .filter(|wish| needs_thinking && kind(body, wish) == Some(br#""enabled""#));
    let dropped = if thinking.is_some() { "reasoning, thinking" } else { "reasoning" };
    edits.extend(thinking.map(|wish| (wish, &br#"{"type":"disabled"}"#[..])));
    Some((edits, dropped))
}

/// The signatures of parts, in place of which Google takes this one.
fn of_gemini(body: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> Option<Vec<ByteEdit>> {
    const NONE: &[u8] = br#""skip_thought_signature_validator""#;
    let contents = elements(body, member(body, 0..body.len(), b"contents")?)?;
    let parts = contents.into_iter().filter_map(|content| elements(body, member(body, content, b"parts")?));
    let signature = |place: Range<usize>| {
        let names = [&b"thoughtSignature"[..], b"thought_signature"];
        let value = names.into_iter().find_map(|name| member(body, place.clone(), name))?;
        let seal = part(body, &value).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        is_ours(seal).then_some((value, NONE))
    };
    Some(parts.flatten().filter_map(signature).collect())
}

/// Whether a message is the user's and answers no call: the turn before it is over.
fn is_word_of_user(body: &[u8], message: &Range<usize>, content: Option<Range<usize>>) -> bool {
    let is_user =
        member(body, message.clone(), b"role").is_some_and(|role| part(body, &role) == br#""user""#);
    let blocks = content.and_then(|content| elements(body, content)).unwrap_or_default();
    is_user && !blocks.iter().any(|block| kind(body, block) == Some(br#""tool_result""#))
}

/// The type of a block, in its quotes.
fn kind<'a>(body: &'a [u8], block: &Range<usize>) -> Option<&'a [u8]> {
    member(body, block.clone(), b"type").map(|span| part(body, &span))
}

/// The seal of a block, without its quotes.
fn seal_of(dialect: Dialect, block: &[u8]) -> Option<&[u8]> {
    let all = 0..block.len();
    let kind = kind(block, &all)?;
    let (_, name) = sealed_blocks(dialect).iter().find(|(word, _)| *word == kind)?;
    let value = member(block, all, name)?;
    part(block, &value).strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn part<'a>(body: &'a [u8], span: &Range<usize>) -> &'a [u8] {
    body.get(span.clone()).unwrap_or_default()
}

/// The value of a member of the object at `object`. Of two of one name the last.
fn member(body: &[u8], object: Range<usize>, name: &[u8]) -> Option<Range<usize>> {
    let (text, mut found) = (part(body, &object), None);
    let visit = |Member { key, value, .. }: Member| {
        if part(text, &key) == name {
            found = Some(object.start + value.start..object.start + value.end);
        }
        Ok::<_, JsonError>(())
    };
    index::members(text, visit).ok()?;
    found
}

/// The elements of the array at `array`. `None`: there is no array.
fn elements(body: &[u8], array: Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut cursor = Cursor::new(part(body, &array));
    let mut found = Vec::new();
    if cursor.peek() != Some(b'[') {
        return None;
    }
    loop {
        // After the bracket or a comma.
        cursor.advance();
        cursor.skip_whitespace();
        if cursor.peek() == Some(b']') {
            return Some(found);
        }
        let start = cursor.at();
        cursor.value().ok()?;
        found.push(array.start + start..array.start + cursor.at());
        cursor.skip_whitespace();
        match cursor.peek() {
            Some(b',') => {}
            Some(b']') => return Some(found),
            Some(_) | None => return None,
        }
    }
}

/// The spans to remove so that the array stays valid: each element goes with the comma before it, those at
/// the start with the comma after them.
fn removals(elements: &[Range<usize>], removed: &[bool]) -> impl Iterator<Item = Range<usize>> {
    let at = |index: usize| elements.get(index).cloned().unwrap_or_default();
    let first_kept = removed.iter().position(|is_removed| !is_removed).unwrap_or(removed.len());
    let end =
        if first_kept < removed.len() { at(first_kept).start } else { at(first_kept.saturating_sub(1)).end };
    let opening = (first_kept > 0).then(|| at(0).start..end);
    let later = removed.iter().enumerate().skip(first_kept).filter(|(_, is_removed)| **is_removed);
    let later: Vec<_> = later.map(|(index, _)| at(index.saturating_sub(1)).end..at(index).end).collect();
    opening.into_iter().chain(later)
}

/// The body with the edits, which do not overlap.
fn edited(body: &[u8], mut edits: Vec<ByteEdit>) -> Bytes {
    edits.sort_by_key(|(span, _)| span.start);
    let (mut out, mut at) = (Vec::with_capacity(body.len()), 0);
    for (span, bytes) in edits {
        out.extend_from_slice(part(body, &(at..span.start)));
        out.extend_from_slice(bytes);
        at = span.end;
    }
    out.extend_from_slice(part(body, &(at..body.len())));
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const MARK: &str = "OURS";

    fn unsealed(dialect: Dialect, body: &str) -> Option<UnsealedBody> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        remove(dialect, &body, &Finder::new(MARK), |seal| seal == b"OURS-and-theirs")
    }

    #[test]
    fn geminis_signatures_are_replaced() {
        let body = r#"{"contents":[{"role":"user","parts":[{"text":"OURS"}]},{"role":"model","parts":[ {"functionCall":{"name":"f","args":{"thoughtSignature":"OURS"}}, "thoughtSignature" : "OURS1"},{"text":"a","thoughtSignature":"theirs"},{"text":"b","thoughtSignature":"OURS-and-theirs"}]}]}"#;
        let expected = body.replace("\"OURS1\"", "\"skip_thought_signature_validator\"");
        let found = unsealed(Dialect::Gemini, body).unwrap();
        assert_eq!((&*found.body, found.dropped), (expected.as_bytes(), "reasoning"));
        assert_eq!(unsealed(Dialect::Gemini, &body.replace("OURS1", "x")), None);
        assert_eq!(unsealed(Dialect::Gemini, r#"{"contents":"OURS"}"#), None);
    }

    fn messages(messages: &str) -> String {
        format!(
            r#"{{"model":"m", "messages": {messages}, "thinking":{{"type":"enabled","budget_tokens":9}}}}"#
        )
    }

    #[test]
    fn sealed_blocks_go_and_all_else_stays() {
        let own = r#"{"type":"thinking","thinking":"a \" b","signature":"OURS=="}"#;
        let redacted = r#"{ "data" : "OURSxy", "type" : "redacted_thinking" }"#;
        let (text, theirs) =
            (r#"{"type":"text","text":"1.0"}"#, r#"{"type":"thinking","thinking":"","signature":"x"}"#);
        for (before, after) in [
            (format!("[{own}, {text}]"), format!("[{text}]")),
            (format!("[{text} , {own}]"), format!("[{text}]")),
            (
                format!("[ {own},{redacted} ,{text},{own},{theirs}, {redacted}]"),
                format!("[ {text},{theirs}]"),
            ),
        ] {
            let body = |content: &str| {
                messages(&format!(
                    r#"[{{"role":"user","content":"q"}}, {{"role":"assistant","content":{content}}}]"#
                ))
            };
            let without = unsealed(Dialect::Messages, &body(&before)).unwrap();
            assert_eq!(str::from_utf8(&without.body).unwrap(), body(&after));
            assert_eq!(without.dropped, "reasoning");
        }
        let body = r#"{"input":[{"role":"user","content":"q"},{"type":"reasoning","summary":[],"encrypted_content":"OURSa"},
            {"type":"function_call","call_id":"c"}],"model":"m"}"#;
        let without = unsealed(Dialect::Responses, body).unwrap();
        let expected = r#"{"input":[{"role":"user","content":"q"},
            {"type":"function_call","call_id":"c"}],"model":"m"}"#;
        assert_eq!(str::from_utf8(&without.body).unwrap(), expected);
    }

    #[test]
    fn a_mention_of_a_seal_is_left_alone() {
        for body in [
            messages(r#"[{"role":"user","content":"OURS"}]"#),
            messages(r#"[{"role":"user","content":[{"type":"text","text":"\"signature\":\"OURS\""}]}]"#),
            messages(
                r#"[{"role":"user","content":[{"type":"tool_result","content":"OURS","signature":"OURS"}]}]"#,
            ),
            messages(
                r#"[{"role":"assistant","content":[{"type":"thinking","thinking":"OURS","signature":"x"}]}]"#,
            ),
            messages(
                r#"[{"role":"assistant","content":[{"type":"thinking","signature":"OURS-and-theirs"}]}]"#,
            ),
            messages("[]"),
            r#"{"model":"OURS"}"#.to_owned(),
        ] {
            assert_eq!(unsealed(Dialect::Messages, &body), None, "{body}");
        }
        for body in [
            r#"{"model":"m","input":"OURS"}"#,
            r#"{"model":"m","input":[{"type":"message","content":"OURS","encrypted_content":"OURS"}]}"#,
            r#"{"model":"m","input":[{"type":"reasoning","summary":[{"type":"summary_text","text":"OURS"}]}]}"#,
        ] {
            assert_eq!(unsealed(Dialect::Responses, body), None, "{body}");
        }
        let chat =
            r#"{"messages":[{"role":"assistant","content":"a","reasoning_details":[{"signature":"OURS"}]}]}"#;
        assert_eq!(unsealed(Dialect::ChatCompletions, chat), None);
    }

    #[test]
    fn an_empty_turn_goes() {
        let own = r#"{"type":"thinking","thinking":"a","signature":"OURS"}"#;
        let user = r#"{"role":"user","content":"q"}"#;
        let assistant = format!(r#"{{"role":"assistant","content":[{own}]}}"#);
        let body = messages(&format!("[{user},{assistant},{user},{assistant}]"));
        let without = unsealed(Dialect::Messages, &body).unwrap();
        assert_eq!(str::from_utf8(&without.body).unwrap(), messages(&format!("[{user},{user}]")));
    }

    /// Anthropic: "When `thinking` is enabled, a final `assistant` message must start with a thinking block".
    #[test]
    fn thinking_is_switched_off_within_a_turn_that_calls() {
        let assistant = r#"{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"OURS"},{"type":"tool_use","id":"t","name":"f","input":{}}]}"#;
        let result = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}"#;
        let wish = |body: &UnsealedBody| {
            serde_json::from_slice::<Value>(&body.body).unwrap()["thinking"]["type"].clone()
        };
        let under_way = unsealed(Dialect::Messages, &messages(&format!("[{assistant},{result}]"))).unwrap();
        assert_eq!((wish(&under_way), under_way.dropped), (json!("disabled"), "reasoning, thinking"));
        let over = messages(&format!(r#"[{assistant},{result},{{"role":"user","content":"q"}}]"#));
        let over = unsealed(Dialect::Messages, &over).unwrap();
        assert_eq!((wish(&over), over.dropped), (json!("enabled"), "reasoning"));
        let adaptive = messages(&format!("[{assistant},{result}]")).replace("enabled", "adaptive");
        assert_eq!(wish(&unsealed(Dialect::Messages, &adaptive).unwrap()), "adaptive");
    }

    proptest! {
        /// Any pattern of sealed and other blocks: the rest, in its order.
        #[test]
        fn the_rest_is_kept_in_order(sealed in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..6), 1..6)) {
            let block = |index: usize, is_sealed: &bool| {
                let signature = if *is_sealed { "OURS" } else { "x" };
                json!({"type": "thinking", "thinking": index.to_string(), "signature": signature})
            };
            let message = |keeps: &dyn Fn(&bool) -> bool, blocks: &Vec<bool>| {
                let content = blocks.iter().enumerate().filter(|(_, is)| keeps(is));
                let content: Vec<_> = content.map(|(index, is)| block(index, is)).collect();
                json!({"role": "assistant", "content": content})
            };
            let all: Vec<_> = sealed.iter().map(|blocks| message(&|_| true, blocks)).collect();
            let left: Vec<_> = sealed
                .iter()
                .filter(|blocks| blocks.contains(&false))
                .map(|blocks| message(&|is| !is, blocks))
                .collect();
            let found = unsealed(Dialect::Messages, &json!({"messages": all}).to_string());
            match found {
                Some(found) => {
                    prop_assert_eq!(serde_json::from_slice::<Value>(&found.body).unwrap(), json!({"messages": left}));
                }
                None => prop_assert!(sealed.iter().flatten().all(|is_sealed| !is_sealed)),
            }
        }
    }
}
