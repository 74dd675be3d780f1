//! The configuration: any text gives settings or problems, text that serde_json refuses is refused, and no
//! problem shows a value of the environment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use thalweg::config::{self, Env};

const KEY: &str = "sk-SENTINEL";

fuzz_target!(|text: &str| {
    let env = Env::new([("KEY", KEY), ("CONTROL", "sk-SENTINEL\u{7}")], |_, _| false);
    let is_json = serde_json::from_str::<IgnoredAny>(text.strip_prefix('\u{feff}').unwrap_or(text)).is_ok();
    match config::parse(text, &env) {
        Ok(_) => assert!(is_json),
        Err(problems) => {
            assert!(!problems.is_empty());
            let shown: String = problems.iter().map(|problem| format!("{problem} {problem:?}")).collect();
            assert!(text.contains("SENTINEL") || !shown.contains("SENTINEL"));
            // Text that is no JSON gives this one problem. (Some JSON is refused too: a number beyond f64.)
            assert!(is_json || problems.len() == 1 && problems[0].path.starts_with("line "));
        }
    }
});
