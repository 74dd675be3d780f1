//! Files of one room that import each other. A circle of files has to be read as one file, so none may come
//! in; those of today are exceptions, and the list of exceptions may only shrink.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    module_paths::{FilePaths, Modules},
    source_reader::{SourceFile, sources},
};

/// Circles that are still there, each as the sorted modules in it. No circle may be added.
const EXCEPTIONS: &[&[&str]] = &[
    &["config::administration", "config::root"],
    &["config::load", "config::watch"],
    &["config::otel", "config::provider", "config::settings"],
    &["upstream::connection", "upstream::h2", "upstream::pool"],
];
const MAX_EXCEPTIONS: usize = 4;

#[test]
fn files_of_a_room_do_not_import_each_other_in_circles() {
    let broken = violations(&circles(&imports(&sources())), EXCEPTIONS);
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    const { assert!(EXCEPTIONS.len() <= MAX_EXCEPTIONS) };
}

/// Circles without an exception, and exceptions without their circle.
fn violations(circles: &[Vec<String>], exceptions: &[&[&str]]) -> Vec<String> {
    let is_excepted = |circle: &Vec<String>| exceptions.iter().any(|exception| exception == circle);
    let is_there = |exception: &&&[&str]| circles.iter().any(|circle| **exception == circle);
    let new =
        circles.iter().filter(|circle| !is_excepted(circle)).map(|circle| format!("a circle: {circle:?}"));
    let gone = exceptions.iter().filter(|exception| !is_there(exception));
    new.chain(gone.map(|exception| format!("not a circle any more: {exception:?}"))).collect()
}

/// Which module imports which other modules of its own room. Folders' `mod.rs` are left out: one names all
/// its modules and may hold what they share.
fn imports(sources: &[SourceFile]) -> BTreeMap<String, BTreeSet<String>> {
    let modules = Modules::of(sources);
    let mut graph = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test() && !source.name.ends_with("/mod.rs")) {
        let module = source.module();
        let named = modules.named_by(&FilePaths::of(&source.code()), &module);
        let targets = named.iter().filter_map(|path| {
            let target = modules.module_of(path)?;
            (target != module && target.first() == module.first()).then(|| target.join("::"))
        });
        graph.insert(module.join("::"), targets.collect());
    }
    graph
}

/// Groups of more than one module in which each reaches each other, sorted.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<_, _> = graph.keys().map(|start| (start, reached_from(start, graph))).collect();
    let circle_of = |module: &String| -> Vec<String> {
        let mutual = |other: &&String| reached[*other].contains(module);
        reached[module].iter().filter(mutual).cloned().collect()
    };
    let found: BTreeSet<_> = graph.keys().map(circle_of).filter(|circle| circle.len() > 1).collect();
    found.into_iter().collect()
}

fn reached_from(start: &str, graph: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
    while let Some(module) = open.pop() {
        for next in graph.get(&module).into_iter().flatten() {
            if graph.contains_key(next) && seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn a_circle_is_found() {
    let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
    let found = circles(&imports(&[
        file("a/mod.rs", "mod b; mod c; mod d; pub use b::B; pub use d::D;"),
        file("a/b.rs", "use super::c::C; use crate::d::D;"),
        file("a/c.rs", "use super::D;"),
        file("a/d.rs", "fn f() { crate::a::b::g() }"),
        file("a/e.rs", "use super::b::B;"),
        file("d/mod.rs", "use crate::a::b::B;"),
    ]));
    assert_eq!(found, [["a::b", "a::c", "a::d"]]);
    assert_eq!(violations(&found, &[]).len(), 1);
    assert_eq!(violations(&found, &[&["a::b", "a::c", "a::d"]]).len(), 0);
    assert_eq!(violations(&found, &[&["a::b", "a::c"]]).len(), 2);
}
