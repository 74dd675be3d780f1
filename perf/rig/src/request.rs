//! A request as coding agents send it: a long system prompt, tools with their schemas, turns with calls and
//! results. The same conversation in each dialect, in words of our own.

use serde_json::{Value, json};

/// What to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    Chat,
    Messages,
    Responses,
}

const PROSE: [&str; 4] = [
    "A river keeps to the lowest line of its bed, and the bed keeps the marks of every flood that passed. ",
    "Read a file before you change it; a change that was not asked for costs more than it brings. ",
    "Where the path is \"relative\", it counts from the root of the project \u{2014} never from your own place. ",
    "Say what was done in a line or two, and leave out what the reader can see in the change itself. ",
];
const CODE: [&str; 4] = [
    "    let depth = bed.iter().map(|point| point.depth).max_by(f64::total_cmp);\n",
    "    if name.ends_with(\".csv\") && !name.contains('\\\\') {\n\t\treturn Err(\"no table\".into());\n    }\n",
    "    // The gauge at the weir counts in feet; 0.3048 m each.\n",
    "    println!(\"{name:>12}\\t{level:.2} m\\t{}\", stations[at].label);\n",
];
const TOOLS: [&str; 16] = [
    "read_file",
    "write_file",
    "edit_file",
    "find_files",
    "search_text",
    "run_command",
    "command_output",
    "stop_command",
    "fetch_page",
    "search_web",
    "list_tasks",
    "add_task",
    "end_task",
    "ask_person",
    "open_notebook",
    "start_helper",
];
const SYSTEM_BYTES: usize = 12_000;
const TOOL_BYTES: usize = 1_500;
const RESULT_BYTES: usize = 2_000;

/// About `bytes` bytes of JSON that ask for a stream.
pub(crate) fn body(dialect: Dialect, bytes: usize) -> Vec<u8> {
    let fixed = whole(dialect, 0).to_string().len();
    let turn = whole(dialect, 1).to_string().len() - fixed;
    whole(dialect, bytes.saturating_sub(fixed).div_ceil(turn)).to_string().into_bytes()
}

fn whole(dialect: Dialect, turns: usize) -> Value {
    let system = text(&PROSE, 0, SYSTEM_BYTES);
    let tools: Vec<_> = TOOLS.iter().enumerate().map(|(at, name)| tool(dialect, at, name)).collect();
    let mut said = vec![];
    for at in 0..turns {
        said.extend(turn(dialect, at));
    }
    match dialect {
        Dialect::Messages => json!({
            "model": "rig-model",
            "messages": said,
            "system": [
                {"type": "text", "text": "You write programs.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": system, "cache_control": {"type": "ephemeral"}},
            ],
            "tools": tools,
            "metadata": {"user_id": "user_rig_account__session_0f1e2d3c-0000-4000-8000-000000000000"},
            "max_tokens": 32000,
            "stream": true,
        }),
        Dialect::Chat => {
            said.insert(0, json!({"role": "system", "content": system}));
            json!({"model": "rig-model", "messages": said, "tools": tools, "max_tokens": 32000, "stream": true})
        }
        Dialect::Responses => json!({
            "model": "rig-model",
            "instructions": system,
            "input": said,
            "tools": tools,
            "tool_choice": "auto",
            "parallel_tool_calls": true,
            "store": false,
            "stream": true,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "0f1e2d3c-0000-4000-8000-000000000000",
        }),
    }
}

fn tool(dialect: Dialect, at: usize, name: &str) -> Value {
    let description = text(&PROSE, at, TOOL_BYTES);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": PROSE[at % 4].trim_end()},
            "offset": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64},
            "mode": {"type": "string", "enum": ["text", "bytes", "lines"], "default": "text"},
            "edits": {"type": "array", "items": {
                "type": "object",
                "properties": {"old": {"type": "string"}, "new": {"type": "string"}, "all": {"type": "boolean"}},
                "required": ["old", "new"],
                "additionalProperties": false,
            }},
        },
        "required": ["path"],
        "additionalProperties": false,
    });
    match dialect {
        Dialect::Messages => json!({"name": name, "description": description, "input_schema": schema}),
        Dialect::Chat => {
            let function = json!({"name": name, "description": description, "parameters": schema});
            json!({"type": "function", "function": function})
        }
        Dialect::Responses => json!({
            "type": "function", "name": name, "description": description, "strict": false, "parameters": schema,
        }),
    }
}

/// A person's words, an answer with a call, and the call's result.
fn turn(dialect: Dialect, at: usize) -> Vec<Value> {
    let (asked, said) = (text(&PROSE, at, 300), text(&PROSE, at + 1, 200));
    let (id, name) = (format!("call_rig{at:020}"), TOOLS[at % TOOLS.len()]);
    let arguments = json!({"path": format!("src/bed/station_{at}.rs"), "offset": at * 40, "mode": "text"});
    let result = text(&CODE, at, RESULT_BYTES);
    match dialect {
        Dialect::Messages => vec![
            json!({"role": "user", "content": [{"type": "text", "text": asked}]}),
            json!({"role": "assistant", "content": [
                {"type": "text", "text": said},
                {"type": "tool_use", "id": id, "name": name, "input": arguments},
            ]}),
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": result}]}),
        ],
        Dialect::Chat => vec![
            json!({"role": "user", "content": asked}),
            json!({"role": "assistant", "content": said, "tool_calls": [
                {"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}},
            ]}),
            json!({"role": "tool", "tool_call_id": id, "content": result}),
        ],
        Dialect::Responses => vec![
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": asked}]}),
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": said}]}),
            json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string()}),
            json!({"type": "function_call_output", "call_id": id, "output": result}),
        ],
    }
}

fn text(parts: &[&str], from: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 200);
    let mut all = parts.iter().cycle().skip(from % parts.len());
    while text.len() < bytes {
        text.push_str(all.next().unwrap_or(&" "));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_request_has_about_its_size() {
        for dialect in [super::Dialect::Chat, super::Dialect::Messages, super::Dialect::Responses] {
            let length = super::body(dialect, 90_000).len();
            assert!((90_000..95_000).contains(&length), "{dialect:?}: {length}");
        }
    }
}
