//! Compares the envelope with serde_json: the same fields, or a refusal. A body refused as not JSON is
//! refused by serde_json too, except for the bound on nesting.
#![no_main]

use std::str;

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::{Value, value::RawValue};
use thalweg::wire::{Envelope, EnvelopeError, envelope};

#[path = "../members.rs"]
mod members;
use members::Members;

fuzz_target!(|body: &[u8]| {
    let is_json = str::from_utf8(body).is_ok() && serde_json::from_slice::<IgnoredAny>(body).is_ok();
    match envelope::read(body) {
        Ok(envelope) => {
            assert!(is_json);
            // serde_json refuses keys with lone surrogates.
            if let Ok(members) = serde_json::from_slice::<Members<'_>>(body) {
                agree(&envelope, &members);
            }
        }
        Err(EnvelopeError::Syntax { reason: "nested too deeply", .. }) => {}
        Err(EnvelopeError::Syntax { reason: "expected a JSON object", .. }) => {
            assert!(!is_json || !matches!(body.trim_ascii_start().first(), Some(b'{')));
        }
        Err(EnvelopeError::Syntax { .. }) => assert!(!is_json),
        Err(EnvelopeError::Missing(_) | EnvelopeError::Field { .. }) => {}
    }
});

fn agree(envelope: &Envelope, members: &Members<'_>) {
    let only = |key: &str| -> Option<&RawValue> {
        let mut found = members.0.iter().filter(|(name, _)| name == key);
        let first = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{key} twice");
        first
    };
    let value = |key: &str| only(key).map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
    let listed = value("models").filter(|models| !models.is_null());
    let first = value("model").or_else(|| listed.as_ref().map(|models| models[0].clone()));
    assert_eq!(first, Some(envelope.model().into()));
    let others = listed.iter().flat_map(|models| models.as_array().expect("an array"));
    let others = others.filter(|name| *name != envelope.model());
    assert!(others.eq(envelope.fallback_models().iter().map(|name| &**name)));
    assert_eq!(value("stream").filter(|stream| !stream.is_null()), envelope.stream().map(Value::from));
    let asgi = value("x_use_asgi_streaming").filter(|asgi| !asgi.is_null());
    assert_eq!(asgi.map(|asgi| asgi == "true" || asgi == true), envelope.x_use_asgi_streaming());
    if let Some(raw) = only("stream_options")
        && let Ok(options) = serde_json::from_str::<Value>(raw.get())
    {
        assert_eq!(options["include_usage"].as_bool(), envelope.include_usage());
    }
}
