//! The tool calls of a chat provider, put together from chunks.
//!
//! A call begins when its name is known; arguments that come before are kept till then (bounded). A chunk
//! belongs to the call of its `index`, unless it has both another id and a name: some servers send each whole
//! call under index 0. Without an id either, a name after complete arguments begins another call (Gemini's
//! compatible endpoint). Without an index the id decides, then the last call.

use super::{
    chat_reasoning::{call_signature, thought_signature},
    fact::{Fact, FactSink},
    json_extent::JsonExtent,
    json_read::{Json, JsonRead, write_json},
};

#[derive(Debug, Default)]
pub(super) struct ChatCalls {
    calls: Vec<ChatCall>,
}

#[derive(Debug, Default)]
struct ChatCall {
    index: Option<u64>,
    id: String,
    has_begun: bool,
    is_custom: bool,
    /// Arguments before the name.
    early: String,
    /// The arguments so far, where the call has no id.
    extent: JsonExtent,
}

const MAX_CALLS: usize = 1024;
const MAX_EARLY: usize = 64 << 10;

impl ChatCalls {
    /// One element of `tool_calls`. `place`: its place in a whole answer, where each is a call of its own.
    pub(super) fn read(&mut self, call: Json<'_>, place: Option<u64>, sink: &mut dyn FactSink) {
        let custom = call.member("custom");
        let function = call.member("function").or(custom);
        let name = function.map_or("", |function| function.text_or_empty("name"));
        let arguments =
            function.and_then(|function| function.member("arguments").or_else(|| function.member("input")));
        let index = place.or_else(|| call.count("index"));
        if let Some(signature) = thought_signature(call) {
            call_signature(signature, sink);
        }
        self.take(index, call.text_or_empty("id"), name, arguments, custom.is_some(), sink);
    }

    /// `function_call` of the API before tools.
    pub(super) fn read_legacy(&mut self, function: Json<'_>, sink: &mut dyn FactSink) {
        let arguments = function.member("arguments");
        self.take(Some(0), "", function.text_or_empty("name"), arguments, false, sink);
    }

    fn take(
        &mut self,
        index: Option<u64>,
        id: &str,
        name: &str,
        arguments: Option<Json<'_>>,
        is_custom: bool,
        sink: &mut dyn FactSink,
    ) {
        let Some(position) = self.position(index, id, name) else {
            return sink.fact(Fact::Unknown);
        };
        let key = position as u32;
        let Some(call) = self.calls.get_mut(position) else { return };
        if call.id.is_empty() && !call.has_begun {
            id.clone_into(&mut call.id);
        }
        if !call.has_begun && !name.is_empty() {
            call.has_begun = true;
            call.is_custom |= is_custom;
            sink.fact(Fact::CallBegun { key, id: &call.id, name, is_custom: call.is_custom });
            let early = std::mem::take(&mut call.early);
            sink.fact(Fact::CallArguments { key, fragment: &early });
        }
        let Some(arguments) = arguments else { return };
        let whole;
        let fragment = if let Some(text) = arguments.own_text() {
            text
        } else {
            // Ollama's own servers and a few others send the object itself.
            let mut json = Vec::new();
            write_json(arguments, &mut json);
            whole = String::from_utf8(json).unwrap_or_default();
            &whole
        };
        if call.id.is_empty() {
            call.extent.read(fragment);
        }
        if call.has_begun {
            sink.fact(Fact::CallArguments { key, fragment });
        } else if call.early.len() + fragment.len() <= MAX_EARLY {
            call.early.push_str(fragment);
        } else {
            sink.fact(Fact::Unknown);
        }
    }

    /// The call that a chunk belongs to; a new one if it begins one.
    fn position(&mut self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let found = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if !id.is_empty() => self.calls.iter().rposition(|call| call.id == id),
            None if name.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        };
        let is_same = |position: &usize| {
            self.calls.get(*position).is_some_and(|call| {
                let is_next = if id.is_empty() { call.extent.is_complete() } else { call.id != id };
                !call.has_begun || name.is_empty() || !is_next
            })
        };
        if let Some(position) = found.filter(is_same) {
            return Some(position);
        }
        if self.calls.len() >= MAX_CALLS {
            return None;
        }
        self.calls.push(ChatCall { index, ..ChatCall::default() });
        Some(self.calls.len() - 1)
    }

    /// Whether the call has an id: of one without, the arguments say when it is over.
    pub(super) fn has_id(&self, key: u32) -> bool {
        self.calls.get(key as usize).is_some_and(|call| !call.id.is_empty())
    }

    /// Calls without a name, to the end, have no place in any dialect.
    pub(super) fn flush(&mut self, sink: &mut dyn FactSink) {
        if self.calls.iter().any(|call| !call.has_begun) {
            sink.fact(Fact::Unknown);
        }
    }
}
