//! Compares edits with the same edits of serde_json's value. Input: flags, the length of the new name, the
//! name, the body.
#![no_main]

use std::str;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use thalweg::wire::{Edits, envelope, splice};

fuzz_target!(|input: &[u8]| {
    let [flags, length, rest @ ..] = input else { return };
    let Some((name, body)) = rest.split_at_checked(usize::from(*length)) else { return };
    let Ok(name) = str::from_utf8(name) else { return };
    let body = Bytes::copy_from_slice(body);
    let Ok(before) = envelope::read(&body) else { return };
    let edits = Edits {
        model: Some(name).filter(|name| flags & 1 != 0 && !name.is_empty()),
        drop_gateway_members: flags & 2 != 0,
        request_usage: flags & 4 != 0,
    };

    let list = splice(&body, &before, &edits);
    let edited = list.join();
    assert_eq!(list.len(), edited.len());
    let after = envelope::read(&edited).expect("an edited body is a good body");
    assert_eq!(after.model(), edits.model.unwrap_or(before.model()));
    assert_eq!(after.stream(), before.stream());

    // Numbers beyond f64 and lone surrogates are JSON but have no Value.
    let Ok(mut expected) = serde_json::from_slice::<Value>(&body) else { return };
    edit(&mut expected, &edits);
    assert_eq!(serde_json::from_slice::<Value>(&edited).expect("valid JSON"), expected);
});

fn edit(whole: &mut Value, edits: &Edits<'_>) {
    let members = whole.as_object_mut().expect("an object");
    if !members.contains_key("model") && (edits.drop_gateway_members || edits.model.is_some()) {
        let models = members.remove("models").expect("one of both");
        members.insert("model".into(), models[0].clone());
    }
    if let Some(model) = edits.model {
        members.insert("model".into(), model.into());
    }
    if edits.drop_gateway_members {
        members.remove("x_use_asgi_streaming");
        members.remove("models");
    }
    if edits.request_usage {
        if whole["stream_options"].is_null() {
            whole["stream_options"] = json!({});
        }
        whole["stream_options"]["include_usage"] = true.into();
    }
}
