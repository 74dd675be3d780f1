//! Holds DESIGN's law of who may know whom: reads every file of `src/`, collects the rooms that each room names, and
//! fails on an arrow that does not point down. Comments, strings and `#[cfg(test)]` items do not count.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Room, and the rooms that it may name. What stands below one's neighbours may be named too.
const LAW: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("http1", &["base"]),
    ("telemetry", &["base"]),
    ("wire", &["telemetry", "base"]),
    ("auth", &["database", "telemetry", "base"]),
    ("routing", &["telemetry", "base"]),
    ("cache", &["telemetry", "base"]),
    ("database", &["telemetry", "base"]),
    ("ledger", &["database", "telemetry", "base"]),
    ("upstream", &["http1", "telemetry", "base"]),
    ("relay", &["wire", "telemetry", "base"]),
    ("server", &["http1", "telemetry", "base"]),
    ("demo", &["wire", "base"]),
    ("load", &["upstream", "wire", "telemetry", "base"]),
    (
        "proxy",
        &["auth", "routing", "cache", "upstream", "relay", "ledger", "database", "wire", "telemetry", "base"],
    ),
    (
        "web",
        &[
            "load",
            "proxy",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "ledger",
            "database",
            "wire",
            "telemetry",
            "base",
        ],
    ),
    (
        "config",
        &[
            "server",
            "proxy",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "ledger",
            "database",
            "wire",
            "telemetry",
            "base",
        ],
    ),
    (
        "app",
        &[
            "config",
            "web",
            "proxy",
            "server",
            "demo",
            "load",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "ledger",
            "database",
            "wire",
            "telemetry",
            "base",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "web",
            "proxy",
            "server",
            "demo",
            "load",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "ledger",
            "database",
            "wire",
            "telemetry",
            "base",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Foreign crates that only some rooms may name.
const CRATES: &[(&str, &[&str])] = &[
    ("hyper", &["server", "upstream", "relay", "proxy", "web", "demo"]),
    ("hyper_util", &["server", "upstream", "relay", "proxy", "web", "demo"]),
    ("h2", &["upstream", "server"]),
    // base only for PEM files, which the server and upstream rooms share.
    ("rustls", &["upstream", "server", "app", "base"]),
    ("clap", &["cli"]),
    ("sqlx", &["database"]),
];

/// Crates that a room may not name.
const FORBIDDEN: &[(&str, &[&str])] =
    &[("wire", &["tokio", "hyper", "socket2"]), ("routing", &["tokio"]), ("proxy", &["socket2"])];

#[test]
fn every_arrow_points_down() {
    let mut broken = Vec::new();
    for (room, file) in sources() {
        let code = code_of(&fs::read_to_string(&file).unwrap());
        let Some((_, may)) = LAW.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("{}: a room that the law does not name", file.display()));
            continue;
        };
        let root = if room == "main" { "thalweg" } else { "crate" };
        for named in names_after(&code, root) {
            let is_room = LAW.iter().any(|(name, _)| *name == named);
            if is_room && named != room && !may.contains(&named.as_str()) {
                broken.push(format!("{}: {room} may not know {named}", file.display()));
            }
        }
        for (foreign, rooms) in CRATES {
            if names_crate(&code, foreign) && !rooms.contains(&room.as_str()) {
                broken.push(format!("{}: {foreign} does not belong into {room}", file.display()));
            }
        }
        for (_, foreign) in FORBIDDEN.iter().filter(|(name, _)| *name == room) {
            for foreign in foreign.iter().filter(|foreign| names_crate(&code, foreign)) {
                broken.push(format!("{}: {room} does without {foreign}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Every file of `src/` with the room that it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            if path.is_dir() {
                folders.push(path);
            } else if is_rust && path.file_name().is_some_and(|name| name != "tests.rs") {
                let inside = path.strip_prefix(&root).unwrap().with_extension("");
                let room = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
                found.push((room, path));
            }
        }
    }
    found
}

/// The source without comments, strings, character literals and `#[cfg(test)]` items.
fn code_of(source: &str) -> String {
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
fn block(code: &str) -> usize {
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

/// The first names after every `root::`, also inside its braces.
fn names_after(code: &str, root: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let start = format!("{root}::");
    for (at, _) in code.match_indices(&start) {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | '$' | ':'))
        {
            continue;
        }
        let rest = &code[at + start.len()..];
        if !rest.starts_with('{') {
            names.insert(name(rest));
            continue;
        }
        let mut depth = 0;
        let mut expecting = false;
        for (at, letter) in rest[..block(rest)].char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && matches!(letter, '{' | ',') {
                expecting = true;
            } else if expecting && letter.is_alphabetic() {
                names.insert(name(&rest[at..]));
                expecting = false;
            }
        }
    }
    names
}

fn name(code: &str) -> String {
    code.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Whether the code names this crate: `use hyper::…` or `hyper::body::Frame`.
fn names_crate(code: &str, foreign: &str) -> bool {
    let path = format!("{foreign}::");
    code.match_indices(&path).any(|(at, _)| {
        !code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':' | '$'))
    })
}

#[test]
fn the_reader_sees_names_and_only_names() {
    let code = code_of(
        r##"
        //! [`crate::cli`]
        use crate::{
            base::{fault, id},
            wire,
        };
        /* crate::app */
        const TEXT: &str = "crate::web \" crate::web"; const RAW: &str = r#"crate::web " "#;
        fn f<'a>(x: &'a str) -> char { let _ = crate::relay::Mode::Asgi; '"' }
        #[cfg(test)]
        mod tests { use crate::demo; fn g() {} }
        #[cfg(test)]
        mod other;
        fn h() { crate::upstream::x() }
        "##,
    );
    let names: Vec<_> = names_after(&code, "crate").into_iter().collect();
    assert_eq!(names, ["base", "relay", "upstream", "wire"]);
    assert!(
        names_crate("use hyper::body;", "hyper")
            && !names_crate("use my_hyper::body; crate::hyper::x", "hyper")
    );
}
