//! The `//!` of a folder's `mod.rs` is its plan: it names every module of the folder, in backticks. A folder
//! beside a file of its name (`store.rs`, `store/`) has its plan in that file.

use super::source_reader::{SourceFile, sources, tokens};

#[test]
fn every_module_is_named_on_its_door() {
    let broken: Vec<_> = sources().iter().filter(|file| !file.is_test()).flat_map(unnamed).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Modules that a file declares and its `//!` does not name.
fn unnamed(file: &SourceFile) -> Vec<String> {
    let code = file.code();
    let tokens = tokens(&code);
    let declared =
        tokens.windows(3).filter(|three| three[0] == "mod" && three[2] == ";").map(|three| three[1]);
    let plan: String =
        file.text.lines().filter(|line| line.starts_with("//!")).map(|line| format!("{line}\n")).collect();
    let is_named = |module: &str| plan.split('`').skip(1).step_by(2).any(|word| word == module);
    declared
        .filter(|module| !is_named(module))
        .map(|module| format!("{}: names no `{module}`", file.name))
        .collect()
}

#[test]
fn a_module_without_a_name_is_found() {
    let text = "//! - [`a`]: one; `b`: two\n//! and d\nmod a;\npub mod b;\n/// `c`\nmod c;\npub(crate) mod d;\n\
                #[cfg(test)]\nmod tests;\n";
    let file = SourceFile { name: "x/mod.rs".into(), text: text.into() };
    assert_eq!(unnamed(&file), ["x/mod.rs: names no `c`", "x/mod.rs: names no `d`"]);
}
