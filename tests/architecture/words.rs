//! Runs `tests/words.sh`, which counts words in the comments of `src/`, on a bad example and on the crate.

use std::{fs, process::Command};

use super::source_reader::repository;

/// The script's output and whether it ended well.
fn words(arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new("bash").arg(repository().join("tests/words.sh")).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn comments_of_the_crate_are_within_the_limits() {
    let (ok, text) = words(&["--limits", "--rooms"]);
    assert!(ok, "{text}\ntests/words.sh --lines shows them");
}

#[test]
fn words_of_a_bad_example_are_counted() {
    let folder = std::env::temp_dir().join(format!("thalweg-words-{}", std::process::id()));
    fs::create_dir_all(folder.join("room")).unwrap();
    fs::write(
        folder.join("room/file.rs"),
        "//! What is told to nobody.\nfn f() {\n    /// whatever `who` said\n    let s = \"// what\"; // what for\n}\n",
    )
    .unwrap();
    let (ok, text) = words(&["--limits", "--rooms", folder.to_str().unwrap()]);
    fs::remove_dir_all(folder).unwrap();
    assert!(!ok, "{text}");
    // 8 words of whole-line comments: What is told to nobody, whatever who said.
    assert!(text.contains("room") && text.contains("all") && text.contains("125.0"), "{text}");
}
