//! Paths and tests that README.md and `docs/` name exist. A path is a word between backticks with a `/`,
//! relative to the repository or to `src/`; `room::module::item` is a module of the crate or of the
//! integration tests.

use std::{collections::HashSet, fs};

use super::source_reader::{SourceFile, files_below, relative, repository, sources};

/// Folders that are made by building, installing or running, or that are beside the checkout.
const NOT_IN_THE_REPOSITORY: &[&str] = &["../", ".cache/", "target/", "fuzz/corpus", "perf/results"];

#[test]
fn every_path_and_test_in_the_documents_exists() {
    let named = Named::of_the_repository();
    let documents = documents();
    let broken: Vec<_> = documents.iter().flat_map(|(name, text)| missing(name, text, &named)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// README.md and the files of `docs/`: name and text.
pub fn documents() -> Vec<(String, String)> {
    let root = repository();
    let mut files = files_below(&root.join("docs"));
    files.push(root.join("README.md"));
    let documents = files.into_iter().filter(|file| file.extension().is_some_and(|it| it == "md"));
    documents.map(|file| (relative(&root, &file), fs::read_to_string(file).unwrap())).collect()
}

/// The names that documents may use.
struct Named {
    /// Files and folders, relative to the repository and to `src/`.
    paths: HashSet<String>,
    /// Modules and functions, `room::module::item`.
    items: HashSet<String>,
    rooms: HashSet<String>,
}

impl Named {
    fn of_the_repository() -> Self {
        let root = repository();
        let files: Vec<_> = files_below(&root).iter().map(|file| relative(&root, file)).collect();
        let tests = files.iter().filter(|file| file.starts_with("tests/") && file.ends_with(".rs"));
        let tests = tests.map(|file| SourceFile {
            name: file.trim_start_matches("tests/").to_owned(),
            text: fs::read_to_string(root.join(file)).unwrap(),
        });
        Self::of(&files, &sources().into_iter().chain(tests).collect::<Vec<_>>())
    }

    fn of(files: &[String], modules: &[SourceFile]) -> Self {
        let mut named = Self { paths: HashSet::new(), items: HashSet::new(), rooms: HashSet::new() };
        for file in files {
            let folders = file.match_indices('/').map(|(at, _)| &file[..at]);
            for path in folders.chain([file.as_str()]) {
                named.paths.extend([path, path.trim_start_matches("src/")].map(str::to_owned));
            }
        }
        for module in modules {
            let path = module.module();
            named.rooms.extend(path.first().cloned());
            named.items.insert(path.join("::"));
            for item in items(&module.text) {
                named.items.insert([path.join("::").as_str(), item].join("::"));
            }
        }
        named
    }

    fn has(&self, item: &str) -> bool {
        let start = item.trim_end_matches('*').trim_end_matches("::");
        match item.ends_with('*') {
            true => self.items.iter().any(|known| known.starts_with(start)),
            false => self.items.contains(item),
        }
    }
}

/// Functions, types, constants, modules and re-exports that a file defines, in any order.
fn items(text: &str) -> Vec<&str> {
    const KEYWORDS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "union"];
    let words: Vec<_> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let defined = words.windows(2).filter(|two| KEYWORDS.contains(&two[0])).map(|two| two[1]);
    let uses = text.split(';').filter(|part| part.trim_start().starts_with("pub use"));
    defined
        .chain(uses.flat_map(|part| part.split(|letter: char| !letter.is_alphanumeric() && letter != '_')))
        .collect()
}

/// Names in a document that do not exist.
fn missing(document: &str, text: &str, named: &Named) -> Vec<String> {
    let mut broken = Vec::new();
    let mut in_block = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for word in line.split('`').skip(1).step_by(2) {
            let is_missing = is_path(word, named) && !named.paths.contains(word.trim_end_matches('/'))
                || is_item(word, named) && !named.has(word.trim_end_matches("()"));
            if is_missing {
                broken.push(format!("{document}:{}: `{word}` does not exist", number + 1));
            }
        }
    }
    broken
}

/// A path below a folder of the repository or a room, or a file with an extension that sources have.
fn is_path(word: &str, named: &Named) -> bool {
    let plain = word.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
    let Some((first, _)) = word.split_once('/').filter(|_| plain) else { return false };
    let is_source = [".rs", ".sh", ".py", ".md", ".toml", ".mjs"].iter().any(|end| word.ends_with(end));
    let is_outside = NOT_IN_THE_REPOSITORY.iter().any(|start| word.starts_with(start));
    !first.is_empty() && !is_outside && (is_source || named.paths.contains(first))
}

/// `room::...` with a room of the crate or a folder of the integration tests.
fn is_item(word: &str, named: &Named) -> bool {
    word.split_once("::").is_some_and(|(room, _)| named.rooms.contains(room))
        && word.chars().all(|letter| letter.is_alphanumeric() || "_:*()".contains(letter))
}

#[test]
fn a_missing_path_and_a_missing_test_are_found() {
    let files = ["src/a/b.rs", "tests/c.rs", "docs/X.md"].map(str::to_owned);
    let module = SourceFile { name: "a/b.rs".into(), text: "fn f() {} pub struct S;".into() };
    let named = Named::of(&files, &[module]);
    let good = "`src/a/b.rs` `a/b.rs` `a/` `tests/c.rs` `a::b` `a::b::*` `a::b::f` `a::b::S` `/v1/models` `std::fs` `text/html` `.cache/x.py`";
    assert_eq!(missing("D.md", good, &named), Vec::<String>::new());
    let bad = "`src/a/c.rs` `a/c.rs`\n`tests/d.rs` `a::c` `a::b::g` `a::c::*` `q/r.sh`\n```\n`a::none`\n```";
    assert_eq!(missing("D.md", bad, &named).len(), 7);
    assert_eq!(missing("D.md", "\n`a::c`", &named), ["D.md:2: `a::c` does not exist"]);
}
