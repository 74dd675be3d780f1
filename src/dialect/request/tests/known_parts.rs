//! A request of which parts are known is translated as if nothing were: the same bytes, dropped members,
//! context and errors, whatever a client does to its conversation between two requests.

use std::cell::Cell;

use proptest::{prelude::*, sample::Index};

use crate::dialect::{
    ApiDialect::{self, ChatCompletions, Gemini, Messages, Responses},
    context::AnswerContext,
    reasoning::{self, ReasoningOrigin},
    request::{
        EffortForm, HostedTools, RequestError, RequestOptions, TranslatedRequest, past_parts::PartsOwner,
        talk_memo::TalkMemo, translate, translate_with,
    },
};

/// The memory of a worker, and how it was used.
#[derive(Default)]
struct Worker {
    memo: TalkMemo,
    /// Bytes that were read of the last request.
    read: Cell<usize>,
    known: Cell<[bool; 2]>,
    /// Requests with known turns, with known tools, and those of which the known parts did not fit.
    used: [usize; 3],
}

impl Worker {
    fn translate(
        &mut self,
        (from, to): (ApiDialect, ApiDialect),
        body: &[u8],
        key: &str,
        options: &RequestOptions<'_>,
    ) -> Result<TranslatedRequest, RequestError> {
        let owner = PartsOwner::new(key, (from, to), options);
        let tries = Cell::new(0);
        self.known.set([false; 2]);
        let result = self.memo.translate(&owner, body, |body, known| {
            tries.set(tries.get() + 1);
            self.read.set(body.len());
            let found = [known.turns.is_some(), known.tools.is_some()];
            self.known.set([0, 1].map(|at| self.known.get()[at] | found[at]));
            translate_with((from, to), (body, known), options, true)
        });
        for (count, known) in self.used.iter_mut().zip(self.known.get()) {
            *count += usize::from(known);
        }
        self.used[2] += usize::from(tries.get() > 1);
        result
    }
}

/// An element of the list of turns, or a few that belong together.
#[derive(Clone, Debug)]
struct Saying {
    kind: u8,
    id: u8,
    is_marked: bool,
    text: String,
}

fn saying() -> impl Strategy<Value = Saying> {
    // The first kinds are the usual ones.
    let kind = prop_oneof![8 => 0_u8..4, 2 => 4_u8..24];
    let text = prop_oneof![6 => "[a-e]{1,3}", 1 => "[ \n\"\\\\\u{e9}\u{2028}]{0,3}"];
    let id = prop_oneof![3 => 0_u8..60, 2 => 0_u8..4];
    (kind, id, prop::bool::weighted(0.2), text).prop_map(|(kind, id, is_marked, text)| Saying {
        kind,
        id,
        is_marked,
        text,
    })
}

const PAD: &str = " A river keeps to the \"lowest\" line of its bed \u{2014} and\n\tthe bed keeps the marks.";

impl Saying {
    fn long(&self) -> String {
        serde_json::to_string(&format!("{}{}", self.text, PAD.repeat(3))).unwrap()
    }

    fn id(&self) -> String {
        match self.id {
            0 => "call:1".to_owned(),
            1 => "i".repeat(70),
            id => format!("call_{id}"),
        }
    }

    fn mark(&self) -> &'static str {
        if self.is_marked { r#","cache_control":{"type":"ephemeral"}"# } else { "" }
    }

    fn elements(&self, client: ApiDialect) -> Vec<String> {
        match client {
            Messages => self.messages(),
            ChatCompletions => self.chat(),
            Responses | Gemini => self.responses(),
        }
    }

    fn messages(&self) -> Vec<String> {
        let (id, long, mark) = (self.id(), self.long(), self.mark());
        let short = serde_json::to_string(&self.text).unwrap();
        let own = reasoning::encode(ReasoningOrigin::ChatReasoningContent, "");
        let other = reasoning::encode(ReasoningOrigin::Thinking, "sig");
        let said = |role: &str, content: &str| format!(r#"{{"role":"{role}","content":{content}}}"#);
        let call = format!(
            r#"{{"type":"tool_use","id":"{id}","name":"read_{}","input":{{"path":{short}, "at" : 1.0}}}}"#,
            self.id % 5
        );
        let result = format!(r#"{{"type":"tool_result","tool_use_id":"{id}","content":{long}{mark}}}"#);
        let text = format!(r#"{{"type":"text","text":{long}{mark}}}"#);
        let thought =
            |signature: &str| format!(r#"{{"type":"thinking","thinking":{long},"signature":"{signature}"}}"#);
        let image = r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}}"#;
        match self.kind {
            0 => vec![said("user", &format!("[{text}]"))],
            1..4 => {
                vec![said("assistant", &format!("[{text},{call}]")), said("user", &format!("[{result}]"))]
            }
            4 => vec![said("user", &long)],
            5 => vec![said("assistant", &long)],
            6 => vec![said("assistant", &format!("[{call}]"))],
            7 => vec![said("user", &format!("[{result}]"))],
            8 => vec![said("user", &format!("[{text},{result},{text}]"))],
            9 => vec![said("system", &long)],
            10 => vec![said("user", "[]")],
            11 => vec![
                said("assistant", &format!("[{},{call}]", thought(&own))),
                said("user", &format!("[{result}]")),
            ],
            12 => vec![said("assistant", &format!("[{},{text}]", thought(&other)))],
            13 => vec![said("assistant", &format!("[{}]", thought("foreign")))],
            14 => vec![said("user", &format!("[{text},{image}]"))],
            15 => vec![said("assistant", r#"[{"type":"server_tool_use","id":"s","name":"w","input":{}}]"#)],
            16 => vec![said("assistant", &format!(r#"[{{"type":"compaction","content":{long}}}]"#))],
            17 => vec![said("assistant", "\"ends in space  \"")],
            18 => vec![said("user", r#"[{"type":"new_block"}]"#)],
            19 => vec![said("robot", &long)],
            20 => vec!["7".to_owned()],
            21 => vec![said("assistant", &format!("[{call},{call}]")), said("user", &format!("[{result}]"))],
            22 => vec![format!(r#"{{"output_config":{{}},"role":"user","content":{short}}}"#)],
            _ => vec![said("user", "\"\"")],
        }
    }

    fn chat(&self) -> Vec<String> {
        let (id, long, mark) = (self.id(), self.long(), self.mark());
        let short = serde_json::to_string(&self.text).unwrap();
        let said = |role: &str, rest: &str| format!(r#"{{"role":"{role}",{rest}{mark}}}"#);
        let call = format!(
            r#"{{"id":"{id}","type":"function","function":{{"name":"read_{}","arguments":"{{\"a\":1}}"}}}}"#,
            self.id % 5
        );
        let calls = |list: &str| said("assistant", &format!(r#""content":{long},"tool_calls":[{list}]"#));
        let result = said("tool", &format!(r#""tool_call_id":"{id}","content":{long}"#));
        let image = |detail: &str| {
            format!(r#"{{"type":"image_url","image_url":{{"url":"https://a.example/b.png"{detail}}}}}"#)
        };
        match self.kind {
            0 => vec![said("user", &format!(r#""content":{long}"#))],
            1..4 => vec![calls(&call), result],
            4 => vec![said("assistant", &format!(r#""content":{long}"#))],
            5 => vec![calls(&call)],
            6 => vec![result],
            7 => vec![said("system", &format!(r#""content":{long}"#))],
            8 => vec![said("developer", &format!(r#""content":{long}"#))],
            9 => vec![said("user", r#""content":[]"#)],
            10 => vec![said("user", &format!(r#""name":"n","content":[{{"type":"text","text":{long}}}]"#))],
            11 => vec![said("user", &format!(r#""content":[{}]"#, image(r#","detail":"high""#)))],
            12 => vec![said("user", &format!(r#""content":[{}]"#, image("")))],
            13 => vec![said("assistant", &format!(r#""reasoning_content":{long},"content":"x""#))],
            14 => vec![said("assistant", &format!(r#""refusal":{long}"#))],
            15 => vec![calls(&format!("{call},{call}")), result.clone(), result],
            16 => vec![said("user", r#""content":null"#)],
            17 => vec![said("robot", &format!(r#""content":{long}"#))],
            18 => vec![said("assistant", r#""content":"ends in space  ""#)],
            19 => vec![said("system", r#""content":"""#)],
            20 => vec!["[]".to_owned()],
            21 => vec![said("tool", r#""tool_call_id":"nowhere","content":"[tool error]\nno""#)],
            22 => vec![format!(r#"{{"content":{short},"role":"user"}}"#)],
            _ => vec![said("user", &format!(r#""content":{short}"#))],
        }
    }

    fn responses(&self) -> Vec<String> {
        let (id, long) = (self.id(), self.long());
        let short = serde_json::to_string(&self.text).unwrap();
        let seal = reasoning::encode(ReasoningOrigin::ChatReasoningContent, "");
        let said = |role: &str, kind: &str| {
            format!(r#"{{"type":"message","role":"{role}","content":[{{"type":"{kind}","text":{long}}}]}}"#)
        };
        let call = format!(
            r#"{{"type":"function_call","call_id":"{id}","name":"read_{}","arguments":"{{}}"}}"#,
            self.id % 5
        );
        let result = format!(r#"{{"type":"function_call_output","call_id":"{id}","output":{long}}}"#);
        let custom =
            format!(r#"{{"type":"custom_tool_call","call_id":"{id}","name":"patch","input":{long}}}"#);
        let patched = format!(r#"{{"type":"custom_tool_call_output","call_id":"{id}","output":{long}}}"#);
        let reasoned = |seal: &str| {
            format!(
                r#"{{"type":"reasoning","summary":[{{"type":"summary_text","text":{long}}}],"encrypted_content":"{seal}"}}"#
            )
        };
        match self.kind {
            0 => vec![said("user", "input_text")],
            1..3 => vec![reasoned(&seal), call, result],
            3 => vec![said("assistant", "output_text"), call, result],
            4 => vec![said("assistant", "output_text")],
            5 => vec![call],
            6 => vec![result],
            7 => vec![custom, patched],
            8 => vec![patched],
            9 => vec![said("system", "input_text")],
            10 => vec![said("developer", "input_text")],
            11 => vec![reasoned("foreign")],
            12 => vec![r#"{"type":"web_search_call","id":"w"}"#.to_owned()],
            13 => vec![format!(r#"{{"role":"user","content":{short}}}"#)],
            14 => vec![format!(r#"{{"role":"assistant","content":{short}}}"#)],
            15 => vec![r#"{"type":"message","role":"user","content":[]}"#.to_owned()],
            16 => vec![r#"{"type":"message","role":"assistant","content":[]}"#.to_owned()],
            17 => vec![r#"{"type":"item_reference","id":"x"}"#.to_owned()],
            18 => vec![format!(r#"{{"type":"local_shell_call","call_id":"{id}","action":{{"command":["ls"]}}}}"#)],
            19 => vec![call, custom, result, patched],
            20 => vec!["7".to_owned()],
            21 => vec![r#"{"role":"user","content":[{"type":"input_image","image_url":"https://a.example/b.png","detail":"low"}]}"#.to_owned()],
            22 => vec![said("robot", "input_text")],
            _ => vec![result, said("user", "input_text")],
        }
    }
}

/// The request around the turns.
#[derive(Clone, Debug)]
struct Frame {
    tools: u8,
    system: u8,
    order: u8,
    twice: u8,
    space: u8,
    options: u8,
    key: bool,
}

fn frame() -> impl Strategy<Value = Frame> {
    let usual = |odd: u8| prop_oneof![9 => Just(0_u8), 1 => 0..odd];
    (usual(8), usual(4), 0_u8..3, usual(5), usual(3), usual(12), prop::bool::weighted(0.1)).prop_map(
        |(tools, system, order, twice, space, options, key)| Frame {
            tools,
            system,
            order,
            twice,
            space,
            options,
            key,
        },
    )
}

impl Frame {
    fn tools(&self, client: ApiDialect) -> (String, &'static str) {
        let schema = format!(
            r#"{{"type":"object","properties":{{"path":{{"type":"string","minLength":1,"description":"{}"}}}}}}"#,
            "p".repeat(500)
        );
        let strict = if self.tools == 1 { "true" } else { "false" };
        let tool = |at: usize| match client {
            Messages => format!(
                r#"{{"name":"read_{at}","description":"d","input_schema":{schema},"strict":{strict}}}"#
            ),
            ChatCompletions => format!(
                r#"{{"type":"function","function":{{"name":"read_{at}","parameters":{schema},"strict":{strict}}}}}"#
            ),
            Responses | Gemini => {
                format!(r#"{{"type":"function","name":"read_{at}","parameters":{schema},"strict":{strict}}}"#)
            }
        };
        let mut list: Vec<String> = (0..5).map(tool).collect();
        match (self.tools, client) {
            (2, Messages) => list.push(r#"{"type":"web_search_20250305","name":"web_search"}"#.to_owned()),
            (2, _) => list.push(r#"{"type":"web_search"}"#.to_owned()),
            (3, Messages) => {
                list.push(format!(r#"{{"name":"read.{}","input_schema":{schema}}}"#, self.system))
            }
            (3, Responses) => list.push(r#"{"type":"custom","name":"patch"}"#.to_owned()),
            (3, _) => list.push(r#"{"type":"custom","custom":{"name":"patch"}}"#.to_owned()),
            (4, _) => list.clear(),
            _ => {}
        }
        let choice = match (self.tools, client) {
            (5, Messages) => r#","tool_choice":{"type":"tool","name":"read_1"}"#,
            (5, ChatCompletions) => r#","tool_choice":{"type":"function","function":{"name":"read_1"}}"#,
            (5, _) => r#","tool_choice":{"type":"function","name":"read_1"}"#,
            (6, Responses) => {
                r#","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"read_2"}]}"#
            }
            (7, Messages) => {
                r#","tool_choice":{"type":"auto"},"thinking":{"type":"enabled","budget_tokens":2000}"#
            }
            (7, _) => r#","tool_choice":"auto","parallel_tool_calls":false"#,
            _ => "",
        };
        (format!("[{}]", list.join(",")), choice)
    }

    fn body(&self, client: ApiDialect, said: &[Saying]) -> Vec<u8> {
        let words = format!("s{}{}", self.system, "\\nThe system's words. ".repeat(260));
        let mut elements: Vec<String> = said.iter().flat_map(|saying| saying.elements(client)).collect();
        let (list, system) = match client {
            Messages => ("messages", format!(r#""system":[{{"type":"text","text":"{words}"}}],"#)),
            ChatCompletions => {
                elements.insert(0, format!(r#"{{"role":"system","content":"{words}"}}"#));
                ("messages", String::new())
            }
            Responses | Gemini => ("input", format!(r#""instructions":"{words}","#)),
        };
        let (comma, open) = [(",", "["), (" ,\n", "[ "), (", ", "[")][usize::from(self.space)];
        let turns = format!(r#""{list}":{open}{}]"#, elements.join(comma));
        let (tools, choice) = self.tools(client);
        let tools = format!(r#""tools":{tools}{choice}"#);
        let rest = r#""model":"m","max_tokens":900,"stream":true"#;
        let mut members = match self.order {
            0 => format!("{rest},{turns},{system}{tools}"),
            1 => format!("{system}{tools},{turns},{rest}"),
            _ => format!("{rest},{system}{turns},{tools}"),
        };
        match self.twice {
            1 => members.push_str(&format!(r#","{list}":[{}]"#, elements.last().unwrap())),
            2 => members = format!(r#""{list}":[],{members}"#),
            3 => members.push_str(r#","tools":[]"#),
            4 => members = format!(r#""x":{{"{list}":{open}{}],{tools}}},{members}"#, elements.join(comma)),
            _ => {}
        }
        format!("{{{members}}}").into_bytes()
    }

    fn options(&self) -> RequestOptions<'static> {
        let usual = RequestOptions::new("m");
        match self.options {
            1 => RequestOptions { reasoning_forms: &[], ..usual },
            2 => RequestOptions { strict_turns: true, ..usual },
            3 => RequestOptions { developer_role: true, ..usual },
            4 => RequestOptions { signs_calls: true, ..usual },
            5 => RequestOptions { hosted_tools: HostedTools::Refuse, ..usual },
            6 => RequestOptions { effort: EffortForm::Structured, ..usual },
            7 => RequestOptions { openai_members: false, ..usual },
            8 => RequestOptions { model: "other", ..usual },
            9 => RequestOptions { short_ids: true, ..usual },
            _ => usual,
        }
    }
}

const PAIRS: [(ApiDialect, ApiDialect); 6] = [
    (Messages, ChatCompletions),
    (Responses, ChatCompletions),
    (ChatCompletions, Messages),
    (Responses, Messages),
    (ChatCompletions, Responses),
    (Messages, Responses),
];

/// What a client does to its conversation before the next request.
fn edit(said: &mut Vec<Saying>, way: u8, at: Index, new: &[Saying]) {
    let place = at.index(said.len());
    match way {
        0 => _ = said.remove(place),
        1 => said[place] = new[0].clone(),
        2 => said.insert(place, new[0].clone()),
        3 => said.truncate(place + 1),
        4 => said[place].is_marked ^= true,
        5 => said.swap(0, place),
        _ => {
            // The mark of the cache goes to the last turn.
            said.iter_mut().for_each(|saying| saying.is_marked = false);
            said.extend_from_slice(new);
            said.last_mut().unwrap().is_marked = true;
        }
    }
    if said.is_empty() {
        said.extend_from_slice(new);
    }
}

/// The body, the dropped members, and the context of the answer.
type Facts = (String, Vec<String>, AnswerContext);

fn facts(result: Result<TranslatedRequest, RequestError>) -> Result<Facts, RequestError> {
    let text = |request: &TranslatedRequest| String::from_utf8(request.body.concat()).unwrap();
    result.map(|request| (text(&request), request.dropped, request.context))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64), ..ProptestConfig::default() })]

    #[test]
    fn known_parts_change_nothing(
        pair in prop::sample::select(&PAIRS[..]),
        first in prop::collection::vec(saying(), 3..9),
        steps in prop::collection::vec((0_u8..16, any::<Index>(), prop::collection::vec(saying(), 1..3), frame()), 1..9),
        byte in (any::<Index>(), prop::sample::select(b"{}[]\",:\\0e \n\x01".as_slice())),
    ) {
        let mut worker = Worker::default();
        let mut said = first;
        for (way, at, new, frame) in steps {
            let (options, key) = (frame.options(), if frame.key { "other" } else { "key" });
            let body = frame.body(pair.0, &said);
            let mut broken = body.clone();
            let place = byte.0.index(broken.len());
            broken[place] = byte.1;
            for body in [&body, &broken, &body] {
                let expected = translate(pair.0, pair.1, body, &options);
                let known = worker.translate(pair, body, key, &options);
                let (known, expected) = (facts(known), facts(expected));
                prop_assert_eq!(known, expected, "{:?} {}", worker.known.get(), String::from_utf8_lossy(body));
            }
            edit(&mut said, way, at, &new);
        }
    }
}

fn usual(kind: u8, id: usize) -> Saying {
    Saying { kind, id: id as u8, is_marked: false, text: format!("t{id}") }
}

const FRAME: Frame = Frame { tools: 0, system: 0, order: 0, twice: 0, space: 0, options: 0, key: false };

#[test]
fn a_conversation_that_grows_is_known_but_for_its_last_turns() {
    for pair in PAIRS {
        let mut worker = Worker::default();
        let mut said = vec![usual(0, 2)];
        for turn in 3..50 {
            said.iter_mut().for_each(|saying| saying.is_marked = false);
            said.push(usual(1 + (turn % 3) as u8, turn));
            said.last_mut().unwrap().is_marked = true;
            let body = FRAME.body(pair.0, &said);
            worker.translate(pair, &body, "key", &RequestOptions::new("m")).unwrap();
            let frame = FRAME.body(pair.0, &[]).len();
            let unknown = worker.read.get() - frame.min(worker.read.get());
            assert!(turn < 7 || unknown < 2500, "{pair:?}: {unknown} of {} at {turn}", body.len());
            assert!(turn < 4 || worker.known.get()[1], "{pair:?}");
        }
        assert_eq!(worker.used[2], 0, "{pair:?}");
    }
}

#[test]
fn a_key_or_a_provider_of_another_kind_finds_nothing() {
    let said: Vec<_> = (2..20).map(|turn| usual(1, turn)).collect();
    let body = FRAME.body(Messages, &said);
    let mut worker = Worker::default();
    let usual = RequestOptions::new("m");
    let mut known = |key, to, options: &RequestOptions<'_>| {
        worker.translate((Messages, to), &body, key, options).unwrap();
        worker.known.get()
    };
    assert_eq!(known("a", ChatCompletions, &usual), [false; 2]);
    assert_eq!(known("a", ChatCompletions, &RequestOptions { model: "other", ..usual }), [true; 2]);
    assert_eq!(known("b", ChatCompletions, &usual), [false; 2]);
    assert_eq!(known("a", Responses, &usual), [false; 2]);
    assert_eq!(known("a", ChatCompletions, &RequestOptions { signs_calls: true, ..usual }), [false; 2]);
    assert_eq!(known("a", ChatCompletions, &usual), [true; 2]);
}

#[test]
fn a_worker_remembers_a_bounded_number_of_bytes() {
    let mut worker = Worker::default();
    let usual_options = RequestOptions::new("m");
    for key in 0..60_usize {
        let said: Vec<_> = (0..[9, 20, 30, 20, 1500][key % 5]).map(|turn| usual(1, turn)).collect();
        let body = FRAME.body(Messages, &said);
        worker.translate((Messages, ChatCompletions), &body, &key.to_string(), &usual_options).unwrap();
        let (talks, tools, bytes) = worker.memo.size();
        assert!(talks <= 32 && tools <= 16 && bytes <= 8 << 20, "{talks} {tools} {bytes}");
        assert!(talks > 0);
    }
}

/// Codex sends its developer's words as the first elements.
#[test]
fn turns_behind_words_of_the_developer_are_known() {
    let said: Vec<_> = (2..20).map(|turn| usual(1, turn)).collect();
    let body = String::from_utf8(FRAME.body(Responses, &said)).unwrap();
    let words = r#"{"type":"message","id":"msg_0123456789012345678901234567890123456789","role":"developer",
        "content":[{"type":"input_text","text":"Be short."}]},"#;
    let body = body.replacen("\"input\":[", &format!("\"input\":[{words}{words}"), 1);
    assert!(body.contains(words));
    let mut worker = Worker::default();
    for turn in 0..2 {
        let pair = (Responses, ChatCompletions);
        worker.translate(pair, body.as_bytes(), "key", &RequestOptions::new("m")).unwrap();
        assert_eq!(worker.known.get()[0], turn > 0);
    }
}

/// Short conversations do not drive out those that can be found.
#[test]
fn short_turns_are_not_kept() {
    let mut worker = Worker::default();
    let long: Vec<_> = (2..40).map(|turn| usual(1, turn)).collect();
    let options = RequestOptions::new("m");
    let pair = (Messages, ChatCompletions);
    for _ in 0..2 {
        worker.translate(pair, &FRAME.body(Messages, &long), "key", &options).unwrap();
        for question in 0..40 {
            let short = [usual(0, question)];
            worker.translate(pair, &FRAME.body(Messages, &short), "key", &options).unwrap();
        }
    }
    worker.translate(pair, &FRAME.body(Messages, &long), "key", &options).unwrap();
    assert!(worker.known.get()[0]);
}

/// A turn of no words is left out, so that the system's words after it go to those before it.
#[test]
fn words_of_the_system_after_an_empty_turn_are_not_lost() {
    let mut said = vec![usual(15, 2), usual(9, 3)];
    said.extend((4..10).map(|turn| usual(1, turn)));
    let body = FRAME.body(Responses, &said);
    let options = RequestOptions::new("m");
    for to in [Messages, ChatCompletions] {
        let mut worker = Worker::default();
        let expected = facts(translate(Responses, to, &body, &options)).unwrap();
        for _ in 0..2 {
            let known = facts(worker.translate((Responses, to), &body, "key", &options));
            assert_eq!(known.unwrap(), expected);
        }
    }
}

/// By the thread's own memory, as the gateway does it.
#[test]
fn a_key_is_an_option() {
    let said: Vec<_> = (2..20).map(|turn| usual(1, turn)).collect();
    let options = RequestOptions::new("m");
    let keyed = RequestOptions { key: Some("key"), ..options };
    for (from, to) in PAIRS {
        let body = FRAME.body(from, &said);
        let expected = facts(translate(from, to, &body, &options)).unwrap();
        for turn in 0..3 {
            let translated = translate(from, to, &body, &keyed).unwrap();
            assert_eq!(translated.body.len() > 1, turn > 0, "{from:?} {to:?}: known from the second on");
            assert_eq!(facts(Ok(translated)).unwrap(), expected);
        }
    }
}
