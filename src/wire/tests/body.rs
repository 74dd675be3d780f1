//! Compares the envelope and its edits with serde_json over generated bodies. Also compares the JSON grammar
//! with serde_json on random and on nearly valid texts.
//!
//! An edited body must parse to the edited value.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::wire::{
    Edits,
    cursor::{Cursor, MAX_DEPTH},
    envelope, splice,
};

/// Any JSON, a few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
        "[\\x00-\\x7f]{0,200}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,9}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn options() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!({"include_usage": null})),
        any::<bool>().prop_map(|value| json!({"include_usage": value, "include_obfuscation": true})),
        value().prop_map(|other| json!({"a": other, "z": []})),
    ]
}

/// The members, in any order, of a body that the envelope must accept.
fn body() -> impl Strategy<Value = Vec<(String, Value)>> {
    (
        "\\PC{1,40}",
        prop::option::of(any::<bool>()),
        prop::option::of(prop_oneof![
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
            Just(json!("true"))
        ]),
        prop::option::of(options()),
        prop::option::of(prop::collection::vec("\\PC{1,9}", 1..4)),
        any::<bool>(),
        prop::collection::btree_map("[a-j\\\\\"\u{e9}]{1,6}", value(), 0..5),
    )
        .prop_map(|(model, stream, asgi, options, models, listed, others)| {
            let mut members: Vec<(String, Value)> = others.into_iter().collect();
            if !listed || models.is_none() {
                members.push(("model".into(), model.into()));
            }
            members.extend(models.map(|models| ("models".into(), models.into())));
            members.extend(stream.map(|stream| ("stream".into(), stream.into())));
            members.extend(asgi.map(|asgi| ("x_use_asgi_streaming".into(), asgi)));
            members.extend(options.map(|options| ("stream_options".into(), options)));
            members
        })
        .prop_shuffle()
}

/// JSON text with `pad` as spacing; with `escape`, some letters of keys and values are escaped.
fn write(members: &[(String, Value)], pad: &str, escape: bool) -> String {
    let text = |value: &Value| {
        let text = if pad.is_empty() { value.to_string() } else { format!("{value:#}") };
        if escape { text.replace('m', "\\u006d").replace("/", "\\/") } else { text }
    };
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| {
            format!("{pad}{}{pad}:{pad}{}{pad}", text(&Value::from(key.as_str())), text(value))
        })
        .collect();
    format!("{pad}{{{}}}{pad}", members.join(","))
}

fn parse(bytes: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(bytes).unwrap()
}

/// The same edits applied to a parsed value.
fn edited(mut whole: Map<String, Value>, edits: &Edits<'_>) -> Map<String, Value> {
    let listed = !whole.contains_key("model");
    if listed && (edits.drop_gateway_members || edits.model.is_some()) {
        let models = whole.remove("models").unwrap();
        whole.insert("model".into(), models[0].clone());
    }
    if let Some(model) = edits.model {
        whole.insert("model".into(), model.into());
    }
    if edits.drop_gateway_members {
        whole.remove("x_use_asgi_streaming");
        whole.remove("models");
    }
    if edits.request_usage {
        let options = whole.entry("stream_options").or_insert(Value::Null);
        if options.is_null() {
            *options = json!({});
        }
        options["include_usage"] = true.into();
    }
    whole
}

proptest! {
    #[test]
    fn an_envelope_says_what_serde_json_says(
        members in body(), pad in "[ \\n\\r\\t]{0,3}", escape in any::<bool>(),
    ) {
        let text = write(&members, &pad, escape);
        let whole = parse(text.as_bytes());
        let envelope = envelope::read(text.as_bytes()).unwrap();
        let listed: Vec<_> =
            whole.get("models").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let named = whole.get("model").and_then(Value::as_str);
        let mut names = named.into_iter().chain(listed);
        let first = names.next().unwrap();
        prop_assert_eq!(envelope.model(), first);
        let others: Vec<_> = envelope.fallback_models().iter().map(|other| &**other).collect();
        prop_assert_eq!(others, names.filter(|name| *name != first).collect::<Vec<_>>());
        prop_assert_eq!(envelope.stream(), whole.get("stream").and_then(Value::as_bool));
        prop_assert_eq!(
            envelope.include_usage(),
            whole.get("stream_options").and_then(|options| options.get("include_usage")).and_then(Value::as_bool)
        );
        let asgi = whole.get("x_use_asgi_streaming").filter(|asgi| !asgi.is_null());
        prop_assert_eq!(envelope.x_use_asgi_streaming(), asgi.map(|asgi| asgi != &json!(false)));
    }

    #[test]
    fn a_splice_equals_the_edit_and_nothing_else(
        members in body(), pad in "[ \\n]{0,2}", escape in any::<bool>(),
        model in prop::option::of("\\PC{1,12}"), drop_gateway_members in any::<bool>(), request_usage in any::<bool>(),
    ) {
        let body = Bytes::from(write(&members, &pad, escape));
        let envelope = envelope::read(&body).unwrap();
        let edits = Edits { model: model.as_deref(), drop_gateway_members, request_usage };
        let list = splice(&body, &envelope, &edits);
        prop_assert_eq!(parse(&list.join()), edited(parse(&body), &edits));
        prop_assert!(list.iter().count() <= 7);
        let again = envelope::read(&list.join()).unwrap();
        prop_assert_eq!(again.model(), model.as_deref().unwrap_or_else(|| envelope.model()));
    }

    #[test]
    fn json_is_what_serde_json_takes_for_it(text in "[\\[\\]{}:,\"\\\\ 0-9eE+.\\-tfnrualse\\x1f\u{e9}]{0,40}") {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let mut cursor = Cursor::new(text.as_bytes());
        cursor.skip_whitespace();
        let ours = cursor.value().is_ok() && { cursor.skip_whitespace(); cursor.peek().is_none() };
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}

/// A string's end, or the offset and the first word of its fault, a byte at a time.
fn string_end(text: &[u8]) -> Result<usize, (usize, &'static str)> {
    let mut at = 1;
    loop {
        match text.get(at..).unwrap_or_default() {
            [] => return Err((at, "the")),
            [b'"', ..] => return Ok(at + 1),
            [b'\\', b'u', hex @ ..] if hex.len() >= 4 && hex.iter().take(4).all(u8::is_ascii_hexdigit) => {
                at += 6;
            }
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at += 2,
            [b'\\', ..] => return Err((at, "not")),
            [..=0x1f, ..] => return Err((at, "a")),
            _ => at += 1,
        }
    }
}

proptest! {
    #[test]
    fn a_string_ends_where_it_does_byte_by_byte(
        parts in prop::collection::vec(
            prop_oneof![
                12 => "[a-z \u{e9}]{0,70}",
                6 => "(\\\\[\"\\\\/bfnrt]){1,9}",
                3 => "\\\\u[0-9a-fA-F]{4}",
                1 => "\\\\u?[0-9a-fx]{1,3}",
                1 => "[\"\\x00\\x1f\\x7f]",
            ],
            0..12,
        ),
        is_closed in any::<bool>(),
    ) {
        let text = format!("\"{}{}", parts.concat(), if is_closed { "\"" } else { "" });
        let mut cursor = Cursor::new(text.as_bytes());
        let ours = cursor.string();
        match string_end(text.as_bytes()) {
            Ok(end) => {
                prop_assert_eq!(ours, Ok(text[..end].contains('\\')), "{}", text);
                prop_assert_eq!(cursor.at(), end, "{}", text);
            }
            Err((at, word)) => {
                let fault = ours.unwrap_err();
                prop_assert_eq!((fault.at, fault.reason.split(' ').next()), (at, Some(word)), "{}", text);
            }
        }
    }

    #[test]
    fn a_list_of_numbers_is_what_serde_json_takes_for_it(
        items in prop::collection::vec(
            (
                prop_oneof![150 => "(0|[1-9][0-9]{0,5})", 1 => "(0[0-9]|-1|1[.]5|1e3|null|)"],
                prop_oneof![100 => ", ?", 50 => ",", 1 => "( |,,|,  | ,|,\n|)"],
            ),
            0..90,
        ),
    ) {
        let items: String = items.into_iter().flat_map(|(number, separator)| [number, separator]).collect();
        let text = format!("[{}]", items.trim_end_matches([',', ' ']));
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        let mut cursor = Cursor::new(text.as_bytes());
        let ours = cursor.value();
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", text);
        if ours.is_ok() {
            prop_assert_eq!(cursor.at(), text.len());
        }
    }
}

#[test]
fn near_misses_of_json_are_refused_as_serde_json_does() {
    for text in [
        "[1}",
        "{\"a\":1]",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:2}",
        "{\"a\"}",
        "[[]",
        "[]]",
        "01",
        "-01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "1 2",
        "tru",
        "truee",
        "nul",
        "True",
        "NaN",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\\",
        "\"a",
        "\"\n\"",
        "\u{feff}1",
        "0",
        "-0.0e-0",
        "[ ]",
        "{ \"\" : { } }",
        "\"\\u00e9\\/\"",
        "[[],{},[{}]]",
    ] {
        let mut cursor = Cursor::new(text.as_bytes());
        let ours = cursor.value().is_ok() && cursor.peek().is_none();
        assert_eq!(ours, serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{text}");
    }
}

#[test]
fn without_edits_the_body_is_one_slice_of_itself() {
    let body = Bytes::from_static(br#"{"model":"m","x_use_asgi_streaming":true}"#);
    let envelope = envelope::read(&body).unwrap();
    let list = splice(&body, &envelope, &Edits { model: Some("m"), ..Edits::default() });
    assert_eq!(list.iter().map(|segment| segment.as_ptr()).collect::<Vec<_>>(), [body.as_ptr()]);
}

#[test]
fn nesting_is_bounded() {
    for (depth, fits) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false), (100_000, false)] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let middle = if open == "[" { "" } else { "1" };
            let text = format!("{}{middle}{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(Cursor::new(text.as_bytes()).value().is_ok(), fits, "{depth}");
        }
    }
}
