//! Reads the repository: its files, and Rust source reduced to what the compiler sees outside tests.
//! Comments, strings, character literals and `#[cfg(test)]` items are blanked. It is no parser: it knows
//! literals, braces and identifiers, which is enough for code that rustfmt has laid out.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One file of `src/`.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to `src/`, with `/` between folders.
    pub name: String,
    pub text: String,
}

impl SourceFile {
    /// The folder directly below `src/`, or the file's own name without its extension.
    pub fn room(&self) -> &str {
        self.name.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The module's path below the crate: `["proxy", "handle"]`; empty for `lib.rs`.
    pub fn module(&self) -> Vec<String> {
        let stem = self.name.trim_end_matches(".rs").trim_end_matches("/mod");
        if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
    }

    /// Compiled for tests only.
    pub fn is_test(&self) -> bool {
        self.module().iter().any(|part| part == "tests")
    }

    /// The source without comments, strings, character literals and `#[cfg(test)]` items.
    pub fn code(&self) -> String {
        code_of(&self.text)
    }
}

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src/`, sorted by name.
pub fn sources() -> Vec<SourceFile> {
    let root = repository().join("src");
    let files = files_below(&root).into_iter().filter(|file| file.extension().is_some_and(|it| it == "rs"));
    files
        .map(|file| SourceFile { name: relative(&root, &file), text: fs::read_to_string(file).unwrap() })
        .collect()
}

/// The files below a folder, sorted, without folders that are built or hidden.
pub fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_built = matches!(name.as_str(), "target" | ".git" | ".cache" | "corpus" | "node_modules");
            match path.is_dir() {
                true if is_built => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// `file` without `root`, with `/` between folders.
pub fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")
}

/// The source without comments, strings, character literals and `#[cfg(test)]` items.
pub fn code_of(source: &str) -> String {
    let mut code = bare(source);
    while let Some(start) = code.find("#[cfg(test)]") {
        let rest = &code[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                open + block(&rest[open..])
            }
            (_, Some(semicolon)) => semicolon + 1,
            (_, None) => rest.len(),
        };
        code.replace_range(start..start + end, "");
    }
    code
}

/// The length of the block that `code` begins with.
pub fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in code.char_indices() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Blanks comments, strings and character literals.
fn bare(source: &str) -> String {
    let (mut bare, mut rest) = (String::with_capacity(source.len()), source);
    while let Some(letter) = rest.chars().next() {
        let skipped = literal(rest, bare.chars().next_back());
        if skipped > 0 {
            bare.push(' ');
            rest = &rest[skipped..];
        } else {
            bare.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    bare
}

/// The length of the comment or literal that `code` begins with, 0 if it begins with neither.
fn literal(code: &str, before: Option<char>) -> usize {
    let to = |end: &str, from: usize| code[from..].find(end).map_or(code.len(), |at| from + at + end.len());
    if code.starts_with("//") {
        return code.find('\n').unwrap_or(code.len());
    }
    if code.starts_with("/*") {
        return to("*/", 2);
    }
    if code.starts_with('r') && !before.is_some_and(char::is_alphanumeric) {
        let hashes = code[1..].bytes().take_while(|byte| *byte == b'#').count();
        if code[1 + hashes..].starts_with('"') {
            return to(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    if let Some(text) = code.strip_prefix('"') {
        let mut escaped = false;
        let end = text.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        return end.map_or(code.len(), |end| end + 2);
    }
    if let Some(text) = code.strip_prefix('\'') {
        let mut letters = text.char_indices();
        return match (letters.next(), letters.next()) {
            (Some((_, '\\')), Some((_, _))) => {
                letters.find(|(_, letter)| *letter == '\'').map_or(1, |(at, _)| at + 2)
            }
            (Some(_), Some((at, '\''))) => at + 2,
            _ => 0,
        };
    }
    0
}

/// Identifiers, lifetimes, `::` and single letters of punctuation, in order.
pub fn tokens(code: &str) -> Vec<&str> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let (mut tokens, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => 1 + rest[1..].find(|letter| !is_word(letter)).unwrap_or(rest.len() - 1),
            ':' if rest.starts_with("::") => 2,
            letter if is_word(letter) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            letter => letter.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn code_is_what_is_left_without_comments_strings_and_tests() {
    let code = code_of(
        r##"
        //! comment
        /* comment */
        const TEXT: &str = "string \" string"; const RAW: &str = r#"string " "#;
        fn f<'a>(x: &'a str) -> char { '"' }
        #[cfg(test)]
        mod tests { fn in_test() {} }
        #[cfg(test)]
        mod other;
        fn h() {}
        "##,
    );
    for gone in ["comment", "string", "in_test", "other"] {
        assert!(!code.contains(gone), "{gone} in {code}");
    }
    assert!(code.contains("fn f") && code.contains("fn h"), "{code}");
}

#[test]
fn tokens_are_words_and_marks() {
    assert_eq!(tokens("a::b<'c>{ d_1 }"), ["a", "::", "b", "<", "'c", ">", "{", "d_1", "}"]);
}
