//! Imports and paths of a file, each resolved to a path from the crate's root. Knows `crate`, `self`,
//! `super`, names that the file imports, and modules of the file's own folder; every other path belongs to
//! another crate and is left out.

use std::collections::{HashMap, HashSet};

use super::source_reader::{SourceFile, tokens};

/// One leaf of a `use` declaration.
#[derive(Debug, PartialEq)]
pub struct Import {
    /// As written; the last part is `*` for all names of a module.
    pub path: Vec<String>,
    /// The name by which the file uses it.
    pub alias: String,
    /// `pub`, `pub(crate)`, ...: also a name of this module for others.
    pub public: bool,
}

/// A file's imports, and the paths and single names in the rest of it, as written.
#[derive(Debug, Default)]
pub struct FilePaths {
    pub imports: Vec<Import>,
    pub paths: Vec<Vec<String>>,
    pub names: HashSet<String>,
}

impl FilePaths {
    pub fn of(code: &str) -> Self {
        let tokens = tokens(code);
        let (mut found, mut at) = (Self::default(), 0);
        while at < tokens.len() {
            if tokens[at] == "use" {
                let public = at > 0 && matches!(tokens[at - 1], "pub" | ")");
                at = tree(&tokens, at + 1, &[], public, &mut found.imports);
            } else if tokens[at] == "mod" {
                at += 2;
            } else if is_name(tokens[at]) && (at == 0 || !matches!(tokens[at - 1], "::" | "." | "$")) {
                let (path, end) = path(&tokens, at);
                match path.as_slice() {
                    [name] => _ = found.names.insert(name.clone()),
                    _ => found.paths.push(path),
                }
                at = end;
            } else {
                at += 1;
            }
        }
        found
    }
}

/// Reads one `use` tree that begins at a token. Returns the place behind it.
fn tree(tokens: &[&str], mut at: usize, before: &[String], public: bool, imports: &mut Vec<Import>) -> usize {
    let mut path = before.to_vec();
    if tokens.get(at) == Some(&"::") {
        at += 1;
    }
    while let Some(token) = tokens.get(at) {
        match *token {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    at = tree(tokens, at, &path, public, imports);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            "::" => {}
            "self" if !path.is_empty() => {}
            name if name == "*" || is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at) == Some(&"as") {
            let alias = tokens[at + 1].to_owned();
            imports.push(Import { path, alias, public });
            return at + 2;
        }
        if !matches!(tokens.get(at), Some(&"::") | Some(&"{")) && tokens[at - 1] != "::" {
            break;
        }
    }
    let alias = path.last().cloned().unwrap_or_default();
    imports.push(Import { path, alias, public });
    at
}

/// The path that begins at a token, and the place behind it.
fn path(tokens: &[&str], mut at: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[at].to_owned()];
    while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|token| is_name(token)) {
        path.push(tokens[at + 2].to_owned());
        at += 2;
    }
    (path, at + 1)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// The modules of the crate: each with its file and with the names that it re-exports.
#[derive(Debug, Default)]
pub struct Modules {
    files: HashSet<Vec<String>>,
    re_exports: HashMap<Vec<String>, HashMap<String, Vec<String>>>,
}

impl Modules {
    pub fn of(sources: &[SourceFile]) -> Self {
        let mut modules = Self { files: sources.iter().map(SourceFile::module).collect(), ..Self::default() };
        for source in sources {
            let module = source.module();
            let public = FilePaths::of(&source.code()).imports.into_iter().filter(|import| import.public);
            let names: HashMap<_, _> = public
                .filter_map(|import| {
                    Some((import.alias, modules.absolute(&import.path, &module, &HashMap::new())?))
                })
                .collect();
            modules.re_exports.insert(module, names);
        }
        modules
    }

    /// A path of this crate as written in `module`, from the crate's root; `None` for a path of another
    /// crate. `imported` holds the names that the file imports.
    pub fn absolute(
        &self,
        path: &[String],
        module: &[String],
        imported: &HashMap<String, Vec<String>>,
    ) -> Option<Vec<String>> {
        let first = path.first()?;
        let mut start = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            name => match imported.get(name) {
                Some(start) => start.clone(),
                None => {
                    let child = [module, std::slice::from_ref(first)].concat();
                    self.files.contains(&child).then_some(child)?
                }
            },
        };
        for part in &path[1..] {
            match part.as_str() {
                "super" => _ = start.pop()?,
                part => start.push(part.to_owned()),
            }
        }
        Some(start)
    }

    /// The module that an absolute path leads into: the longest one on the way, through re-exports.
    pub fn module_of(&self, path: &[String]) -> Option<Vec<String>> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let re_export = rest.first().and_then(|name| self.re_exports.get(module)?.get(name));
        match re_export {
            Some(target) if target != path => self.module_of(&[target, &rest[1..]].concat()),
            _ => Some(module.to_vec()),
        }
    }

    /// Everything of this crate that a file names, as absolute paths. A re-export counts only where the file
    /// also uses the name: else the module only passes it on.
    pub fn named_by(&self, file: &FilePaths, module: &[String]) -> Vec<Vec<String>> {
        let none = HashMap::new();
        let used = file.imports.iter().filter(|import| !import.public || file.names.contains(&import.alias));
        let direct: Vec<_> = used.filter_map(|import| self.absolute(&import.path, module, &none)).collect();
        let imported: HashMap<_, _> = file
            .imports
            .iter()
            .filter_map(|import| Some((import.alias.clone(), self.absolute(&import.path, module, &none)?)))
            .collect();
        let in_text = file.paths.iter().filter_map(|path| self.absolute(path, module, &imported));
        direct.into_iter().chain(in_text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Vec<String> {
        path.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn a_use_tree_has_its_leaves() {
        let found =
            FilePaths::of("use a::{self, b, c::{D as E, *}}; pub use super::f; fn g() { h::i(); j.k() }");
        let leaves: Vec<_> =
            found.imports.iter().map(|it| (it.path.join("::"), it.alias.as_str(), it.public)).collect();
        let leaves: Vec<_> =
            leaves.iter().map(|(path, alias, public)| (path.as_str(), *alias, *public)).collect();
        assert_eq!(
            leaves,
            [
                ("a", "a", false),
                ("a::b", "b", false),
                ("a::c::D", "E", false),
                ("a::c::*", "*", false),
                ("super::f", "f", true)
            ]
        );
        assert_eq!(found.paths, [parts("h::i")]);
    }

    #[test]
    fn paths_lead_to_the_file_that_defines() {
        let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
        let modules = Modules::of(&[
            file("a/mod.rs", "pub mod b; mod c; pub use c::Thing;"),
            file("a/b.rs", ""),
            file("a/c.rs", ""),
        ]);
        let used = FilePaths::of("use super::Thing; use crate::a; fn f() { a::c::g(); std::mem::take() }");
        let named = modules.named_by(&used, &parts("a::b"));
        let into: Vec<_> = named.iter().map(|path| modules.module_of(path).unwrap().join("::")).collect();
        assert_eq!(into, ["a::c", "a", "a::c"]);
    }
}
