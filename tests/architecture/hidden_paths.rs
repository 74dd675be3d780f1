//! Paths that would lead past the import law unread are refused: `super` out of a room, `crate` under another
//! name, all names of `crate`. Others begin with `crate::room`, which is what `law` reads.

use std::{collections::HashMap, slice};

use super::{
    module_paths::{FilePaths, Modules},
    source_reader::{SourceFile, sources},
};

#[test]
fn no_path_hides_the_room_that_it_leads_to() {
    let sources = sources();
    let modules = Modules::of(&sources);
    let broken: Vec<_> = sources.iter().flat_map(|file| hidden_paths(file, &modules)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Paths of one file from which the room that they lead to cannot be read.
fn hidden_paths(file: &SourceFile, modules: &Modules) -> Vec<String> {
    let (found, module) = (FilePaths::of(&file.code()), file.module());
    let imports = found.imports.iter().map(|import| (&import.path, import.alias.as_str()));
    let all = imports.chain(found.paths.iter().map(|path| (path, "")));
    let mut broken = Vec::new();
    for (path, alias) in all {
        let starts =
            |start: &[&str]| path.iter().map(String::as_str).take(start.len()).eq(start.iter().copied());
        let climbs = path.first().is_some_and(|first| first == "super")
            && modules
                .absolute(path, &module, &HashMap::new())
                .is_none_or(|path| path.first() != module.first());
        let hides = starts(&["super", "super"])
            || climbs
            || starts(&["crate", "*"])
            || path == slice::from_ref(&"crate".to_owned())
            || starts(&["self", "super"]);
        if hides {
            broken.push(format!("{}: {} {alias}: begin with crate::room", file.name, path.join("::")));
        }
    }
    if !file.is_test() && file.code().contains("extern crate") {
        broken.push(format!("{}: extern crate", file.name));
    }
    broken
}

#[test]
fn a_hidden_path_is_found() {
    let found = |name: &str, text: &str| {
        let file = SourceFile { name: name.into(), text: text.into() };
        hidden_paths(&file, &Modules::of(slice::from_ref(&file))).len()
    };
    for hidden in [
        "use super::super::web;",
        "use crate as c;",
        "use crate::{self as c};",
        "use crate::*;",
        "use crate::{web, *};",
        "use {crate as c};",
        "extern crate self as c;",
        "fn f() { super::super::web::g() }",
    ] {
        assert_eq!(found("base/id.rs", hidden), 1, "{hidden}");
    }
    // In the room's own mod.rs, `super` is the crate.
    assert_eq!(found("base/mod.rs", "use super::web;"), 1);
    assert_eq!(found("base/id.rs", "use super::Moment; use crate::base::Rng; use super::*;"), 0);
}
