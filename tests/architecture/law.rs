//! The import law of `docs/ARCHITECTURE.md`: which room (folder of `src/`) may import which, and which
//! foreign crates a room may use. Reads every file of `src/`, collects the rooms that each room names, and
//! fails on an arrow that does not point down. Comments, strings and `#[cfg(test)]` items do not count.
//! `hidden_paths` refuses paths unread here.

use std::collections::{BTreeSet, HashMap};

use super::source_reader::{SourceFile, block, code_of, sources};

/// Room, and the rooms that it may import.
const LAW: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("http1", &["base"]),
    ("telemetry", &["base"]),
    ("wire", &["telemetry", "base"]),
    ("cluster", &["telemetry", "base"]),
    ("auth", &["cluster", "database", "telemetry", "base"]),
    ("routing", &["telemetry", "base"]),
    ("cache", &["cluster", "telemetry", "base"]),
    ("database", &["telemetry", "base"]),
    ("ledger", &["database", "telemetry", "base"]),
    ("upstream", &["http1", "telemetry", "base"]),
    ("exchange", &["auth", "ledger", "wire", "telemetry", "base"]),
    ("relay", &["exchange", "wire", "telemetry", "base"]),
    ("settlement", &["exchange", "auth", "ledger", "database", "wire", "telemetry", "base"]),
    ("server", &["http1", "telemetry", "base"]),
    ("demo", &["wire", "base"]),
    ("dialect", &[]),
    ("load", &["upstream", "wire", "telemetry", "base"]),
    (
        "proxy",
        &[
            "relay",
            "dialect",
            "exchange",
            "auth",
            "routing",
            "cache",
            "upstream",
            "ledger",
            "database",
            "wire",
            "telemetry",
            "base",
        ],
    ),
    (
        "batch",
        &[
            "proxy",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "exchange",
            "ledger",
            "database",
            "wire",
            "telemetry",
            "base",
        ],
    ),
    (
        "prober",
        &[
            "proxy",
            "cluster",
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
        "web",
        &[
            "batch",
            "load",
            "proxy",
            "cluster",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "exchange",
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
            "batch",
            "server",
            "proxy",
            "cluster",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "exchange",
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
            "batch",
            "prober",
            "proxy",
            "settlement",
            "server",
            "demo",
            "load",
            "cluster",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "exchange",
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
            "batch",
            "prober",
            "proxy",
            "settlement",
            "server",
            "demo",
            "load",
            "cluster",
            "auth",
            "routing",
            "cache",
            "upstream",
            "relay",
            "exchange",
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

/// Foreign crates that only some rooms may use.
const CRATES: &[(&str, &[&str])] = &[
    ("hyper", &["server", "upstream", "relay", "proxy", "web", "demo"]),
    ("hyper_util", &["server", "upstream", "relay", "proxy", "web", "demo"]),
    ("h2", &["upstream", "server"]),
    // base only for PEM files, which the server and upstream rooms share.
    ("rustls", &["upstream", "server", "app", "base"]),
    ("webpki", &["upstream"]),
    ("clap", &["cli"]),
    ("sqlx", &["database"]),
    ("redis", &["cluster"]),
];

/// Crates that a room may not use.
const FORBIDDEN: &[(&str, &[&str])] =
    &[("wire", &["tokio", "hyper", "socket2"]), ("routing", &["tokio"]), ("proxy", &["socket2"])];

#[test]
fn every_import_follows_the_law() {
    let broken: Vec<_> =
        sources().iter().filter(|file| !file.name.ends_with("tests.rs")).flat_map(violations).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_law_has_no_circle() {
    assert_eq!(circle_in(LAW), None);
    assert_eq!(
        circle_in(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]),
        Some("a".to_owned())
    );
}

/// Imports of one file that the law refuses.
fn violations(file: &SourceFile) -> Vec<String> {
    let (room, name, code) = (file.room(), &file.name, file.code());
    let Some((_, may)) = LAW.iter().find(|(named, _)| *named == room) else {
        return vec![format!("{name}: a room that the law does not name")];
    };
    let mut broken = Vec::new();
    let root = if room == "main" { "thalweg" } else { "crate" };
    for named in names_after(&code, root) {
        let is_room = LAW.iter().any(|(name, _)| *name == named);
        if is_room && named != room && !may.contains(&named.as_str()) {
            broken.push(format!("{name}: {room} may not import {named}"));
        }
    }
    for (foreign, rooms) in CRATES {
        if names_crate(&code, foreign) && !rooms.contains(&room) {
            broken.push(format!("{name}: {foreign} does not belong into {room}"));
        }
    }
    for (_, foreign) in FORBIDDEN.iter().filter(|(name, _)| *name == room) {
        for foreign in foreign.iter().filter(|foreign| names_crate(&code, foreign)) {
            broken.push(format!("{name}: {room} does without {foreign}"));
        }
    }
    broken
}

/// A room that imports itself by way of others, if one does.
fn circle_in(law: &[(&str, &[&str])]) -> Option<String> {
    let below: HashMap<&str, &[&str]> = law.iter().copied().collect();
    law.iter().map(|(room, _)| *room).find_map(|room| {
        let (mut seen, mut open) = (BTreeSet::new(), below[room].to_vec());
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(below.get(next).copied().unwrap_or_default());
            }
        }
        seen.contains(room).then(|| room.to_owned())
    })
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
fn names_of_rooms_are_found_and_only_those() {
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

#[test]
fn an_import_against_the_law_is_found() {
    let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
    assert_eq!(
        violations(&file("base/id.rs", "use crate::web::Site;")),
        ["base/id.rs: base may not import web"]
    );
    assert_eq!(
        violations(&file("wire/sse.rs", "use tokio::time;")),
        ["wire/sse.rs: wire does without tokio"]
    );
    assert_eq!(
        violations(&file("base/id.rs", "use clap::Args;")),
        ["base/id.rs: clap does not belong into base"]
    );
    assert_eq!(violations(&file("attic/id.rs", "")).len(), 1);
}
