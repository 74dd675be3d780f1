//! An item of a response's `output`, from its first piece to its whole form.
//!
//! The text is kept as the inside of a JSON string, as it was written into the deltas, because the `.done`
//! events and `response.completed` repeat it.

use super::{
    block::BlockKind,
    json_read::{JsonRead, JsonReader, write_json},
};
use crate::dialect::json::JsonWrite;

#[derive(Debug)]
pub(super) struct ResponseItem {
    pub(super) kind: BlockKind,
    pub(super) id: String,
    call_id: String,
    name: String,
    namespace: Option<String>,
    pub(super) text: Vec<u8>,
    /// Earlier parts of the reasoning's summary, each a whole JSON object.
    parts: Vec<Vec<u8>>,
    /// Elements of `annotations` and of `logprobs`, joined by commas.
    pub(super) annotations: Vec<u8>,
    pub(super) annotation_count: u64,
    pub(super) logprobs: Vec<u8>,
    pub(super) encrypted_content: Option<String>,
    /// The whole item as JSON, once it is done.
    pub(super) done: Option<Vec<u8>>,
}

impl ResponseItem {
    /// `base`: the response's own part of item ids.
    pub(super) fn new(
        kind: BlockKind,
        base: &str,
        block: u32,
        call_id: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Self {
        let prefix = match kind {
            BlockKind::Text | BlockKind::Refusal => "msg",
            BlockKind::Reasoning => "rs",
            BlockKind::Function => "fc",
            BlockKind::Custom => "ctc",
            BlockKind::LocalShell => "lsh",
        };
        Self {
            kind,
            id: format!("{prefix}_{base}_{block}"),
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            text: Vec::new(),
            parts: Vec::new(),
            annotations: Vec::new(),
            annotation_count: 0,
            logprobs: Vec::new(),
            encrypted_content: None,
            done: None,
        }
    }

    pub(super) fn summary_index(&self) -> u64 {
        self.parts.len() as u64
    }

    /// The content part or summary part with its text so far.
    pub(super) fn write_part(&self, out: &mut Vec<u8>) {
        match self.kind {
            BlockKind::Refusal => {
                out.raw(r#"{"type":"refusal","refusal":""#).raw(&self.text).raw("\"}");
            }
            BlockKind::Reasoning => {
                out.raw(r#"{"type":"summary_text","text":""#).raw(&self.text).raw("\"}");
            }
            BlockKind::Text | BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
                out.raw(r#"{"type":"output_text","text":""#).raw(&self.text);
                out.raw(r#"","annotations":["#).raw(&self.annotations);
                out.raw(r#"],"logprobs":["#).raw(&self.logprobs).raw("]}");
            }
        }
    }

    /// The summary goes on with another part.
    pub(super) fn next_part(&mut self) {
        let mut part = Vec::new();
        self.write_part(&mut part);
        self.text.clear();
        self.parts.push(part);
    }

    /// The item as it is announced: without its content.
    pub(super) fn write_announced(&self, out: &mut Vec<u8>) {
        out.raw(r#"{"id":"#).string(&self.id);
        match self.kind {
            BlockKind::Text | BlockKind::Refusal => {
                out.raw(r#","type":"message","status":"in_progress","role":"assistant","content":[]"#);
            }
            BlockKind::Reasoning => {
                out.raw(r#","type":"reasoning","summary":[]"#);
            }
            BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
                self.write_call("in_progress", b"", out);
            }
        }
        out.raw("}");
    }

    pub(super) fn write_done(&self, status: &str, out: &mut Vec<u8>) {
        out.raw(r#"{"id":"#).string(&self.id);
        match self.kind {
            BlockKind::Text | BlockKind::Refusal => {
                out.raw(r#","type":"message","status":"#).string(status);
                out.raw(r#","role":"assistant","content":["#);
                self.write_part(out);
                out.raw("]");
            }
            BlockKind::Reasoning => {
                out.raw(r#","type":"reasoning","summary":["#);
                for part in &self.parts {
                    out.raw(part).raw(",");
                }
                if !self.text.is_empty() {
                    self.write_part(out);
                } else if out.last() == Some(&b',') {
                    out.pop();
                }
                out.raw("]");
                if let Some(encrypted) = &self.encrypted_content {
                    out.raw(r#","encrypted_content":"#).string(encrypted);
                }
            }
            BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
                self.write_call(status, &self.text, out);
            }
        }
        out.raw("}");
    }

    fn write_call(&self, status: &str, text: &[u8], out: &mut Vec<u8>) {
        let kind = match self.kind {
            BlockKind::Custom => "custom_tool_call",
            BlockKind::LocalShell => "local_shell_call",
            BlockKind::Function | BlockKind::Text | BlockKind::Refusal | BlockKind::Reasoning => {
                "function_call"
            }
        };
        out.raw(r#","type":"#).string(kind).raw(r#","status":"#).string(status);
        out.raw(r#","call_id":"#).string(&self.call_id);
        match self.kind {
            BlockKind::LocalShell => {
                out.raw(r#","action":"#);
                write_action(text, out);
                return;
            }
            BlockKind::Custom => out.raw(r#","input":""#).raw(text).raw("\""),
            BlockKind::Function | BlockKind::Text | BlockKind::Refusal | BlockKind::Reasoning => {
                out.raw(r#","arguments":""#).raw(text).raw("\"")
            }
        };
        out.raw(r#","name":"#).string(&self.name);
        if let Some(namespace) = &self.namespace {
            out.raw(r#","namespace":"#).string(namespace);
        }
    }
}

/// The action of `local_shell` from the function's arguments, which are the inside of a JSON string.
fn write_action(text: &[u8], out: &mut Vec<u8>) {
    out.raw(r#"{"type":"exec","#);
    let quoted = [b"\"", text, b"\""].concat();
    let arguments = serde_json::from_slice::<String>(&quoted).unwrap_or_default();
    let (mut has_command, mut has_env) = (false, false);
    let is_object = JsonReader::new().read(arguments.as_bytes(), |json| {
        has_command = json.member("command").is_some();
        has_env = json.member("env").is_some();
        let Some(object) = json.as_object() else { return false };
        for (name, value) in object.iter().filter(|(name, _)| *name != "type") {
            out.string(name).raw(":");
            if let Some(line) = value.own_text().filter(|_| name == "command") {
                // A line for a shell, where a list of words is asked for.
                out.raw(r#"["bash","-lc","#).string(line).raw("]");
            } else {
                write_json(value, out);
            }
            out.raw(",");
        }
        true
    });
    if is_object != Some(true) && !arguments.trim().is_empty() {
        // No such program: the model sees its own text in the client's error.
        out.raw(r#""command":["#).string(&arguments).raw("],");
    } else if !has_command {
        out.raw(r#""command":[],"#);
    }
    if !has_env {
        out.raw(r#""env":{},"#);
    }
    out.pop();
    out.raw("}");
}
