//! Each type name stands for one type in the whole crate: a reader who meets `Outcome` need not ask which
//! one. Counts structs, enums, unions, traits and type aliases of modules, without those of tests, functions
//! and `impl` blocks.

use std::collections::BTreeMap;

use super::source_reader::{SourceFile, sources, tokens};

/// Names that several types may have, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("Body", "a body of each protocol and direction: the same role, the name of the field"),
    ("Connection", "a connection of each protocol and of the database: the same role, the name of the field"),
    ("Inner", "the private state behind a shared handle, seen only in its own file"),
    ("Options", "the command line's arguments, one type per command, as clap wants it"),
];
const MAX_EXCEPTIONS: usize = 15;

#[test]
fn each_type_name_stands_for_one_type() {
    let broken = violations(&sources(), EXCEPTIONS);
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    const { assert!(EXCEPTIONS.len() <= MAX_EXCEPTIONS) };
}

/// Names of several types without an exception, and exceptions that are not needed.
fn violations(sources: &[SourceFile], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for name in types(&source.code()) {
            files.entry(name).or_default().push(&source.name);
        }
    }
    files.retain(|_, files| files.len() > 1);
    let is_excepted = |name: &str| exceptions.iter().any(|(exception, _)| *exception == name);
    let new = files.iter().filter(|(name, _)| !is_excepted(name));
    let unneeded = exceptions.iter().filter(|(name, _)| !files.contains_key(*name));
    new.map(|(name, files)| format!("{name}: several types, in {}", files.join(", ")))
        .chain(unneeded.map(|(name, _)| format!("{name}: an exception that is not needed any more")))
        .collect()
}

/// Names of the types that a file defines in its modules. The braces of a macro call (`pin_project! { ... }`)
/// and of an inline module count as the module itself.
fn types(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let (mut types, mut inside) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => {
                let is_module = at >= 2 && (tokens[at - 2] == "mod" || tokens[at - 1] == "!");
                inside.push(is_module);
            }
            "}" => _ = inside.pop(),
            "struct" | "enum" | "union" | "trait" | "type" if inside.iter().all(|is_module| *is_module) => {
                let name = tokens.get(at + 1).filter(|name| name.starts_with(char::is_alphabetic));
                types.extend(name.map(|name| (*name).to_owned()));
            }
            _ => {}
        }
    }
    types
}

#[test]
fn a_name_of_two_types_is_found() {
    let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
    let sources = [
        file("a.rs", "pub struct One; pin_project! { struct Two { x: u8 } } fn f() { struct Local; }"),
        file("b.rs", "enum One { A } impl Iterator for One { type Item = u8; } mod m { trait Two {} }"),
        file("c.rs", "struct Local; type Item = u8; #[cfg(test)] mod tests { struct Item; }"),
        file("d/tests.rs", "struct Local;"),
    ];
    let found = violations(&sources, &[("Two", "a reason"), ("Item", "a reason")]);
    assert_eq!(
        found,
        ["One: several types, in a.rs, b.rs", "Item: an exception that is not needed any more"]
    );
}
