//! Messages to chat completions: the turns.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{ApiDialect, reasoning, request::RequestOptions};

const WAY: Way = Way { from: ApiDialect::Messages, to: ApiDialect::ChatCompletions };

fn of(members: Value) -> Value {
    request(ApiDialect::Messages, members)
}

/// The chat messages of a conversation of Anthropic messages.
fn messages(messages: Value) -> Value {
    WAY.body(&of(json!({"messages": messages})))["messages"].clone()
}

#[test]
fn system_blocks_are_one_message() {
    let (body, translated) = WAY.whole(&of(json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=0;"},
            {"type": "text", "text": "One.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Two."},
        ],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    })));
    let expected =
        json!([{"role": "system", "content": "One.\n\nTwo."}, {"role": "user", "content": "a\n\nb"}]);
    assert_eq!(body["messages"], expected);
    assert_eq!(translated.dropped, ["x-anthropic-billing-header", "cache_control"]);
    assert_eq!(body["model"], "provider/model");
    assert_eq!(translated.context.model, "m");
}

#[test]
fn a_system_message_stays_in_its_place() {
    let got = messages(json!([
        {"role": "user", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "s"}], "output_config": {"effort": "low"}},
        {"role": "assistant", "content": "b"},
    ]));
    let roles: Vec<_> =
        got.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "system", "assistant"]);
}

fn calls() -> Value {
    json!({"role": "assistant", "content": [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {"x": "ü\u{2028}", "n": [1, 2.5, null]}},
        {"type": "tool_use", "id": "toolu_2", "name": "b", "input": {}},
    ]})
}

#[test]
fn results_and_words_are_split_in_order() {
    let got = messages(json!([
        {"role": "user", "content": "q"},
        calls(),
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true,
             "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "more"}]},
            {"type": "text", "text": "go on"},
        ]},
    ]));
    assert_eq!(got[1]["content"], "I look.");
    let arguments = got[1]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    let read: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(read, json!({"x": "ü\u{2028}", "n": [1, 2.5, null]}));
    assert_eq!(
        got[1]["tool_calls"][1],
        json!({
            "id": "toolu_2", "type": "function", "function": {"name": "b", "arguments": "{}"},
        })
    );
    assert_eq!(got[2], json!({"role": "tool", "tool_call_id": "toolu_2", "content": "two"}));
    assert_eq!(
        got[3],
        json!({"role": "tool", "tool_call_id": "toolu_1", "content": "[tool error]\none\nmore"})
    );
    assert_eq!(got[4], json!({"role": "user", "content": "go on"}));
}

#[test]
fn results_follow_the_call_whatever_stands_between() {
    let got = messages(json!([
        {"role": "user", "content": "q"},
        calls(),
        {"role": "system", "content": "s"},
        {"role": "user", "content": [
            {"type": "text", "text": "before"},
            {"type": "tool_result", "tool_use_id": "toolu_1"},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_2", "content": []}]},
    ]));
    let roles: Vec<_> =
        got.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "system", "user"]);
    assert_eq!(got[2]["content"], "");
}

#[test]
fn a_result_with_a_picture_is_followed_by_the_picture() {
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}});
    let got = messages(json!([
        {"role": "user", "content": "q"},
        calls(),
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "seen"}, image]},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [image]},
            {"type": "text", "text": "well?"},
        ]},
    ]));
    assert_eq!(got[2]["content"], "seen");
    assert_ne!(got[3]["content"], "");
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}});
    assert_eq!(
        got[4],
        json!({"role": "user", "content": [picture, picture, {"type": "text", "text": "well?"}]})
    );
}

#[test]
fn pictures_and_files_keep_their_order() {
    let got = messages(json!([{"role": "user", "content": [
        {"type": "text", "text": "a"},
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
        {"type": "document", "title": "t.pdf",
         "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}},
        {"type": "document", "title": "notes", "source": {"type": "text", "media_type": "text/plain", "data": "n"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "c"}]}},
    ]}]));
    assert_eq!(
        got[0]["content"],
        json!([
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            {"type": "file", "file": {"filename": "t.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
            {"type": "text", "text": "notes"},
            {"type": "text", "text": "n"},
            {"type": "text", "text": "c"},
        ])
    );
    let source = json!({"type": "url", "url": "https://x.test/a.pdf"});
    let by_url =
        of(json!({"messages": [{"role": "user", "content": [{"type": "document", "source": source}]}]}));
    assert_eq!(WAY.unsayable(&by_url), "messages.0.content.0.source.url");
    let source = json!({"type": "file", "file_id": "f"});
    let by_id = of(json!({"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}));
    assert_eq!(WAY.unsayable(&by_id), "messages.0.content.0.source.type");
}

#[test]
fn foreign_thinking_is_dropped_and_own_is_given_back() {
    let assistant = |blocks: Value| {
        of(json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": blocks}]}))
    };
    let call = json!({"type": "tool_use", "id": "t", "name": "a", "input": {}});
    let (body, translated) = WAY.whole(&assistant(json!([
        {"type": "thinking", "thinking": "hm", "signature": "EqQBCkgI"},
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        {"type": "text", "text": "I say."},
        call,
    ])));
    assert_eq!(translated.dropped, ["reasoning"]);
    assert_eq!(body["messages"][1]["content"], "I say.");
    assert!(body["messages"][1].get("reasoning_content").is_none());
    let with = |origin| {
        let signature = reasoning::encode(origin, "");
        WAY.body(&assistant(json!([{"type": "thinking", "thinking": "hm", "signature": signature}, call])))
    };
    let body = with(reasoning::ReasoningOrigin::ChatReasoningContent);
    assert_eq!(body["messages"][1]["reasoning_content"], "hm");
    assert_eq!(body["messages"][1]["content"], Value::Null);
    assert_eq!(with(reasoning::ReasoningOrigin::ChatReasoning)["messages"][1]["reasoning"], "hm");
    assert!(with(reasoning::ReasoningOrigin::Thinking)["messages"][1].get("reasoning_content").is_none());
}

#[test]
fn a_call_without_a_signature_gets_one_where_it_is_asked_for() {
    let own = reasoning::encode(reasoning::ReasoningOrigin::CallSignature, "sig");
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "a", "input": {}});
    let request = of(json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [call("t"), call("u")]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": own}, call("v")]},
    ]}));
    let signatures = |options: &RequestOptions<'_>| {
        let body = WAY.try_with(&request, options).unwrap().body;
        let body: Value = serde_json::from_slice(&body.concat()).unwrap();
        [(1, 0), (1, 1), (3, 0)].map(|(message, call)| {
            let call = &body["messages"][message]["tool_calls"][call];
            call["extra_content"]["google"]["thought_signature"].as_str().map(str::to_owned)
        })
    };
    let [stand_in, sig] = ["skip_thought_signature_validator", "sig"].map(|text| Some(text.to_owned()));
    let google = RequestOptions { signs_calls: true, ..OPTIONS };
    assert_eq!(signatures(&google), [stand_in, None, sig.clone()]);
    assert_eq!(signatures(&OPTIONS), [None, None, sig]);
}

#[test]
fn texts_around_a_call_are_paragraphs_and_pieces_are_joined() {
    let got = messages(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": [
        {"type": "text", "text": "As he says, "},
        {"type": "text", "text": "it is."},
        {"type": "tool_use", "id": "t", "name": "a", "input": {}},
        {"type": "text", "text": "Then."},
    ]}]));
    assert_eq!(got[1]["content"], "As he says, it is.\n\nThen.");
}

#[test]
fn ids_that_the_gateway_mapped_come_back() {
    let got = messages(json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "tw-63616c6c3a31", "name": "a", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "tw-63616c6c3a31", "content": "r"}]},
    ]));
    assert_eq!(got[1]["tool_calls"][0]["id"], "call:1");
    assert_eq!(got[2]["tool_call_id"], "call:1");
}

#[test]
fn steps_of_hosted_tools_in_the_past_are_dropped() {
    let (body, translated) = WAY.whole(&of(json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            {"type": "mcp_tool_use", "id": "m", "name": "a", "server_name": "b", "input": {}},
            {"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "r"}]},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": "found", "citations": [{"type": "web_search_result_location"}]},
        ]},
    ]})));
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "found"}));
    assert_eq!(
        translated.dropped,
        [
            "messages.content:server_tool_use",
            "messages.content:mcp_tool_use",
            "messages.content:mcp_tool_result",
            "messages.content:web_search_tool_result",
            "messages.content.citations",
        ]
    );
}

/// As Anthropic reads it: the turns before are not part of the prompt.
#[test]
fn a_summary_stands_for_the_turns_before_it() {
    let got = messages(json!([
        {"role": "user", "content": "long ago"},
        {"role": "assistant", "content": [{"type": "compaction", "content": "They spoke."}, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "b"},
    ]));
    let [summary, rest, next] = ["They spoke.", "a", "b"];
    let expected = json!([
        {"role": "user", "content": summary},
        {"role": "assistant", "content": rest},
        {"role": "user", "content": next},
    ]);
    assert_eq!(got, expected);
}

#[test]
fn wrong_messages_are_named() {
    let cases = [
        (json!("x"), "messages"),
        (json!([{"role": "user"}]), "messages.0.content"),
        (json!(["x"]), "messages.0"),
        (json!([{"role": "bot", "content": "x"}]), "messages.0.role"),
        (json!([{"role": "user", "content": 1}]), "messages.0.content"),
        (json!([{"role": "user", "content": [{"text": "x"}]}]), "messages.0.content.0.type"),
        (json!([{"role": "user", "content": [{"type": "text", "text": 1}]}]), "messages.0.content.0.text"),
        (json!([{"role": "user", "content": [{"type": "tool_use"}]}]), "messages.0.content.0"),
        (
            json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": "c"}]}]),
            "messages.0.content.0.input",
        ),
        (json!([{"role": "user", "content": [{"type": "tool_result"}]}]), "messages.0.content.0.tool_use_id"),
    ];
    for (messages, path) in cases {
        assert_eq!(WAY.invalid(&of(json!({"messages": messages}))), path);
    }
    assert_eq!(WAY.invalid(&json!({"model": "m", "max_tokens": 1})), "messages");
    assert_eq!(WAY.invalid(&json!({"model": "m", "messages": []})), "max_tokens");
    assert_eq!(WAY.invalid(&json!({"max_tokens": 1, "messages": []})), "model");
    let new = json!([{"role": "user", "content": [{"type": "hologram"}]}]);
    assert_eq!(WAY.unsayable(&of(json!({"messages": new}))), "messages.0.content.0.type");
}

#[test]
fn strict_turns_alternate_after_one_system_message() {
    let request = of(json!({
        "system": "s",
        "messages": [
            {"role": "system", "content": "t"},
            {"role": "user", "content": "a"},
            {"role": "system", "content": "late"},
            calls(),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}]},
            {"role": "system", "content": "later"},
            {"role": "assistant", "content": "x"},
            {"role": "assistant", "content": "y"},
        ],
    }));
    let strict = RequestOptions { strict_turns: true, ..OPTIONS };
    let body: Value =
        serde_json::from_slice(&WAY.try_with(&request, &strict).unwrap().body.concat()).unwrap();
    let got: Vec<_> =
        body["messages"].as_array().unwrap().iter().map(|m| (&m["role"], &m["content"])).collect();
    let expected = [
        (&json!("system"), &json!("s\n\nt")),
        (&json!("user"), &json!("a\n\n<system>\nlate\n</system>")),
        (&json!("assistant"), &json!("I look.")),
        (&json!("tool"), &json!("r")),
        (&json!("user"), &json!("<system>\nlater\n</system>")),
        (&json!("assistant"), &json!("x\n\ny")),
    ];
    assert_eq!(got, expected);
}
