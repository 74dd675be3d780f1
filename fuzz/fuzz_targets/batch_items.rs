//! Batches: a list that is accepted is JSON of that form to a plain reader, too, with the same names and
//! bodies, and each item is also good as a line of its own. Input: the body of a request.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use thalweg::wire::batch_item;

fuzz_target!(|input: &[u8]| {
    let _ = batch_item::read_line(input);
    let Ok(list) = batch_item::read_list(input, 100) else { return };
    let names: HashSet<&str> = list.items.iter().map(|item| &*item.custom_id).collect();
    assert_eq!(names.len(), list.items.len());
    // Numbers beyond a double's range and lone surrogates are no fault of an item's.
    let Ok(plain) = serde_json::from_slice::<Value>(input) else { return };
    let plain = plain["requests"].as_array().expect("a list").clone();
    assert_eq!(plain.len(), list.items.len());
    for (item, plain) in list.items.iter().zip(plain) {
        assert_eq!(plain["custom_id"].as_str(), Some(&*item.custom_id));
        let body = &input[item.body.clone()];
        match plain.get("body") {
            Some(value) => assert_eq!(serde_json::from_slice::<Value>(body).ok().as_ref(), Some(value)),
            None => assert!(body.is_empty()),
        }
    }
});
