use proptest::prelude::*;

use super::*;
use crate::dialect::{ApiDialect, answer::StreamTranslator, context::AnswerContext};

const DATA: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content":" river"},"finish_reason":null}]}"#;

fn learned(data: &str, text: &str) -> TextShape {
    let mut note = TextNote::default();
    note.see(&Fact::Started { id: "c", model: "m" });
    note.see(&TextKind::Text.fact(text));
    let mut shape = TextShape::default();
    if let Some((kind, text)) = note.into_text() {
        shape.learn(None, data.as_bytes(), kind, &text);
    }
    shape
}

fn translator(from: ApiDialect, to: ApiDialect) -> StreamTranslator {
    StreamTranslator::new(from, to, AnswerContext::default(), "r", 1)
}

#[test]
fn an_event_may_differ_in_its_text_alone() {
    let mut shape = learned(DATA, " river");
    for text in ["", " bed", "é流", "{}:,[]", "<t:7>"] {
        let data = DATA.replace(" river", text);
        assert_eq!(shape.text(None, data.as_bytes()), Some((TextKind::Text, text)));
    }
    for text in ["a\"", "\",\"role\":\"x", "\\", "\n", "\u{1f}", "\\ud83d", "\\x", "\\u12"] {
        let data = DATA.replace(" river", text);
        assert_eq!(shape.text(None, data.as_bytes()), None, "{text}");
    }
    for (from, to) in [("null", "\"stop\""), ("\"c\"", "\"d\""), ("0", "1")] {
        assert_eq!(shape.text(None, DATA.replace(from, to).as_bytes()), None, "{to}");
    }
    assert_eq!(shape.text(Some(b"error"), DATA.as_bytes()), None);
    assert_eq!(shape.text(None, b"[DONE]"), None);
    let cut = DATA.replace(" river", "X").into_bytes();
    let cut: Vec<u8> = cut.into_iter().map(|byte| if byte == b'X' { 0xe2 } else { byte }).collect();
    assert_eq!(shape.text(None, &cut), None);
    shape.forget();
    assert_eq!(shape.text(None, DATA.as_bytes()), None);
}

#[test]
fn a_text_may_have_escapes() {
    let mut shape = learned(&DATA.replace(" river", r" r\u0069ver"), " river");
    for (inside, text) in [
        (r#"}\n\t\"a\\\"/\/\b\f\r"#, "}\n\t\"a\\\"//\u{8}\u{c}\r"),
        (r"\u00e9\uD83D\ude00\u0000", "é😀\0"),
        (" bed", " bed"),
    ] {
        let data = DATA.replace(" river", inside);
        assert_eq!(shape.text(None, data.as_bytes()), Some((TextKind::Text, text)));
    }
    let long = DATA.replace(" river", &r"\n".repeat(MAX_ESCAPED));
    assert_eq!(shape.text(None, long.as_bytes()), None);
}

#[test]
fn members_that_say_nothing_may_differ() {
    let data = r#"{"type":"d","sequence_number":7,"item_id":"m1","delta":" river","logprobs":[],"obfuscation":"Xw"}"#;
    let mut shape = learned(data, " river");
    let other = |from: &str, to: &str| data.replace(" river", "\\n").replace(from, to);
    for (from, to) in [("7", "8"), ("7", "123456789012345678"), ("m1", ""), ("Xw", "\u{7f}~"), ("7", "0")] {
        let data = other(from, to);
        assert_eq!(shape.text(None, data.as_bytes()), Some((TextKind::Text, "\n")), "{data}");
    }
    for (from, to) in [
        ("7", "08"),
        ("7", "-8"),
        ("7", "8.5"),
        ("7", ""),
        ("7", "\"8\""),
        ("7", "1234567890123456789"),
        ("m1", "\\n"),
        ("Xw", "é"),
        ("Xw", "\n"),
        ("Xw", "\",\"delta\":\"a"),
        ("Xw\"", "Xw\",\"a\":1"),
        ("[]", "[1]"),
        ("\"d\"", "\"e\""),
    ] {
        let data = other(from, to);
        assert_eq!(shape.text(None, data.as_bytes()), None, "{data}");
    }
    // An inner member of that name may be read.
    let mut shape = learned(r#"{"a":{"p":1},"text":"x"}"#, "x");
    assert_eq!(shape.text(None, br#"{"a":{"p":2},"text":"x"}"#), None);
}

#[test]
fn the_marks_of_a_thought_are_taken_off() {
    let mut translator = translator(ApiDialect::ChatCompletions, ApiDialect::Messages);
    let mut out = Vec::new();
    for text in ["I ", "think", " so</thought>"] {
        let data = format!(
            r#"{{"choices":[{{"delta":{{"content":"{text}","extra_content":{{"google":{{"thought":true}}}}}}}}]}}"#
        );
        translator.event(None, data.as_bytes(), &mut out);
    }
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(r#""thinking":" so"}"#) && !out.contains("</thought>"), "{out}");
}

#[test]
fn a_text_whose_place_is_not_sure_is_no_shape() {
    for (data, text, is_sure) in [
        (DATA, " river", true),
        // The same string in another member.
        (DATA, "c", false),
        (r#"{"a":"x","content":"x"}"#, "x", false),
        (r#"{"reasoning":"x","d":[{"text":"x"}]}"#, "x", true),
        (r#"{"reasoning":"\u0078","d":[{"text":"x"}]}"#, "x", false),
        (r#"{"content":"y"}"#, "x", false),
        (r#"{"content":""}"#, "", false),
        (r#"{"content":"x","a":"\ud83d"}"#, "x", false),
    ] {
        assert_eq!(learned(data, text).kind.is_some(), is_sure, "{data}");
    }
    let mut note = TextNote::default();
    note.see(&TextKind::Text.fact(" river"));
    note.see(&Fact::BlockEnded);
    assert!(note.into_text().is_none());
}

/// A call without an id begins another when its arguments are complete, so its reader must see them.
#[test]
fn arguments_of_a_call_without_an_id_are_read() {
    let of = |id: &str| {
        let mut translator = translator(ApiDialect::ChatCompletions, ApiDialect::Messages);
        let mut out = Vec::new();
        for (name, arguments) in
            [(r#""name":"f","#, "{"), ("", "1"), ("", "2"), ("", "}"), (r#""name":"g","#, "{}")]
        {
            let data = format!(
                r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,{id}"function":{{{name}"arguments":"{arguments}"}}}}]}}}}]}}"#
            );
            translator.event(None, data.as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap().matches("\"tool_use\"").count()
    };
    assert_eq!((of(""), of(r#""id":"i","#)), (2, 1));
}

/// One event of a stream: where its text stands, and the text.
fn event(
    from: ApiDialect,
    place: usize,
    text: &str,
    number: u64,
    padding: &str,
) -> (Option<&'static str>, String) {
    let text = if padding.len().is_multiple_of(2) {
        serde_json::to_string(text).unwrap()
    } else {
        let escaped = |c: char| -> String {
            c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        };
        format!("\"{}\"", text.chars().map(escaped).collect::<String>())
    };
    let (name, data) = match from {
        ApiDialect::Messages => {
            let delta = match place {
                0 => format!(r#"{{"type":"text_delta","text":{text}}}"#),
                1 => format!(r#"{{"type":"thinking_delta","thinking":{text}}}"#),
                _ => format!(r#"{{"type":"input_json_delta","partial_json":{text}}}"#),
            };
            let index = place.min(2);
            ("content_block_delta", format!(r#""index":{index},"delta":{delta},"p":"{padding}""#))
        }
        ApiDialect::Responses => {
            let kind = match place {
                0 => "response.output_text.delta",
                1 => "response.reasoning_text.delta",
                _ => "response.function_call_arguments.delta",
            };
            let index = place.min(2);
            (
                kind,
                format!(r#""output_index":{index},"delta":{text},"logprobs":[],"obfuscation":"{padding}""#),
            )
        }
        ApiDialect::ChatCompletions | ApiDialect::Gemini => {
            let delta = match place {
                0 => format!(r#""content":{text}"#),
                1 => format!(r#""reasoning_content":{text}"#),
                2 => format!(
                    r#""reasoning":{text},"reasoning_details":[{{"type":"reasoning.text","text":{text}}}]"#
                ),
                3 => format!(
                    r#""tool_calls":[{{"index":0,"id":"i","function":{{"name":"f","arguments":{text}}}}}]"#
                ),
                4 => format!(r#""tool_calls":[{{"index":1,"function":{{"name":"g","arguments":{text}}}}}]"#),
                _ => format!(r#""content":"","refusal":{text}"#),
            };
            return (
                None,
                format!(
                    r#"{{"id":"c","created":{number},"choices":[{{"delta":{{{delta}}}}}],"obfuscation":"{padding}"}}"#
                ),
            );
        }
    };
    (Some(name), format!(r#"{{"type":"{name}","sequence_number":{number},{data}}}"#))
}

/// A call begins before its arguments.
fn opening(from: ApiDialect) -> Option<&'static str> {
    match from {
        ApiDialect::Messages => Some(
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        ),
        ApiDialect::Responses => Some(
            r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","call_id":"t","name":"f"}}"#,
        ),
        ApiDialect::ChatCompletions | ApiDialect::Gemini => None,
    }
}

proptest! {
    /// Without a shape each event is read.
    #[test]
    fn an_event_of_the_shape_says_what_a_reading_says(
        events in prop::collection::vec(
            (
                0_usize..6,
                1_usize..4,
                "[a-zé流😀\u{2028}\u{85}\"\\\\/<\n{},:]{0,4}|content|finish_reason|usage|reasoning.text",
                any::<u32>(),
                "[a-z~]{0,3}",
            ),
            1..12,
        ),
        from in prop::sample::select(vec![ApiDialect::ChatCompletions, ApiDialect::Messages, ApiDialect::Responses]),
        to in prop::sample::select(vec![
            ApiDialect::ChatCompletions, ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini,
        ]),
    ) {
        let written = |is_read: bool| {
            let mut translator = translator(from, to);
            let (mut out, mut seen) = (Vec::new(), Vec::new());
            if let Some(opening) = opening(from) {
                translator.event(None, opening.as_bytes(), &mut out);
            }
            for (place, times, text, number, padding) in &events {
                for time in 0..*times {
                    let text = text.repeat(time + 1);
                    let (name, data) = event(from, *place, &text, u64::from(*number) + time as u64, padding);
                    if is_read {
                        translator.text_shape.forget();
                    }
                    seen.push(translator.event(name.map(str::as_bytes), data.as_bytes(), &mut out));
                }
            }
            let end = translator.finish(&mut out);
            (String::from_utf8(out).unwrap(), seen, end)
        };
        prop_assert_eq!(written(false), written(true));
    }
}
