//! Walks the tree and collects every problem with its path. A [`Section`] is an object being read: each key
//! that the code reads becomes known, and at the end the other keys are reported with the most similar known
//! key. The list of known keys therefore always matches the code.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    suggestion::nearest,
};

/// Characters of a name in a message; longer names are cut.
const MAX_SHOWN_LENGTH: usize = 64;

/// The state of one walk.
pub(super) struct ReadContext<'e> {
    pub(super) env: &'e Env,
    /// The folder of relative file names. `None`: the disk is not accessed.
    pub(super) folder: Option<PathBuf>,
    pub(super) problems: Vec<Problem>,
    /// The keys of each object that was read, for the schema. `None`: they are not wanted.
    pub(super) seen: Option<HashMap<String, SeenKeys>>,
}

/// The keys that the code knows in one object.
#[derive(Default)]
pub(super) struct SeenKeys {
    pub(super) known: Vec<&'static str>,
    /// The operator chooses further keys.
    pub(super) any: bool,
}

/// A value and its path.
pub(super) struct Located<'v, 'r, 'e> {
    pub(super) path: String,
    pub(super) value: &'v Value,
    pub(super) context: &'r mut ReadContext<'e>,
}

impl<'v, 'e> Located<'v, '_, 'e> {
    pub(super) fn report(&mut self, error: impl Into<ValueError>) {
        self.context.problems.push(Problem::new(&*self.path, error));
    }

    pub(super) fn read<T>(&mut self, scalar: impl FnOnce(&Value) -> Result<T, ValueError>) -> Option<T> {
        scalar(self.value).map_err(|error| self.report(error)).ok()
    }

    /// Text in which `${NAME}` has been replaced. The result may be a secret key.
    pub(super) fn resolved(&mut self) -> Option<String> {
        let env = self.context.env;
        self.read(|value| env.resolve(super::scalar::text(value)?))
    }

    /// A part of a string that corresponds to a key of the object form; problems are reported under that key.
    pub(super) fn part<T>(&mut self, key: &str, result: Result<T, ValueError>) -> Option<T> {
        result
            .map_err(|error| self.context.problems.push(Problem::new(format!("{}.{key}", self.path), error)))
            .ok()
    }

    /// The items of a list, in order.
    pub(super) fn items(&mut self, mut each: impl FnMut(Located<'v, '_, 'e>)) {
        let Value::List(items) = self.value else {
            return self.report(format!("expected a list, found {}", self.value.kind()));
        };
        for (index, value) in items.iter().enumerate() {
            each(Located { path: format!("{}[{index}]", self.path), value, context: &mut *self.context });
        }
    }

    /// The members of an object whose keys the operator chooses; comments and nulls are skipped.
    pub(super) fn members(&mut self, mut each: impl FnMut(&'v str, Located<'v, '_, 'e>)) {
        let Value::Table(entries) = self.value else {
            return self.report(format!("expected an object, found {}", self.value.kind()));
        };
        for (name, value) in entries.iter().filter(is_set) {
            let path = format!("{}.{}", self.path, shown_key(name));
            each(name, Located { path, value, context: &mut *self.context });
        }
    }

    /// Reads this value as an object. `None`: it is another type, which has been reported.
    pub(super) fn section<T>(&mut self, read: impl FnOnce(&mut Section<'v, '_, 'e>) -> T) -> Option<T> {
        let Value::Table(entries) = self.value else {
            self.report(format!("expected an object, found {}", self.value.kind()));
            return None;
        };
        let mut section = Section {
            path: &self.path,
            entries,
            known_keys: Vec::new(),
            accepts_any_key: false,
            context: &mut *self.context,
        };
        let result = read(&mut section);
        section.close();
        Some(result)
    }
}

/// An object being read.
pub(super) struct Section<'v, 'r, 'e> {
    path: &'r str,
    entries: &'v [(String, Value)],
    known_keys: Vec<&'static str>,
    /// The operator chooses the keys, so none is unknown.
    accepts_any_key: bool,
    pub(super) context: &'r mut ReadContext<'e>,
}

impl<'v, 'e> Section<'v, '_, 'e> {
    /// `None`: the key is absent or null.
    pub(super) fn field(&mut self, key: &'static str) -> Option<Located<'v, '_, 'e>> {
        self.known_keys.push(key);
        let (_, value) = self.entries.iter().find(|(name, _)| name == key)?;
        match value {
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Table(_) => {
                Some(Located { path: self.path_of(key), value, context: &mut *self.context })
            }
        }
    }

    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        scalar: impl FnOnce(&Value) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.field(key)?.read(scalar)
    }

    /// Writes the file's value to `slot`; without one, `slot` keeps its default.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        scalar: impl FnOnce(&Value) -> Result<T, ValueError>,
    ) {
        if let Some(value) = self.read(key, scalar) {
            *slot = value;
        }
    }

    /// Reads the object under `key`. `None`: there is none.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'v, '_, 'e>) -> T,
    ) -> Option<T> {
        self.field(key)?.section(read)
    }

    /// Visits every key of an object with keys chosen by the operator.
    pub(super) fn each(&mut self, mut visit: impl FnMut(&'v str, Located<'v, '_, 'e>)) {
        let entries = self.entries;
        self.accepts_any_key = true;
        for (name, value) in entries.iter().filter(is_set) {
            visit(name, Located { path: self.path_of(name), value, context: &mut *self.context });
        }
    }

    /// A required key. `None`: it is missing, which has been reported.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Located<'v, '_, 'e>> {
        if !self.entries.iter().any(|(name, value)| name == key && !matches!(value, Value::Null)) {
            self.report(key, "missing");
        }
        self.field(key)
    }

    /// Reports a problem of `key` that depends on other keys.
    pub(super) fn report(&mut self, key: &str, error: impl Into<ValueError>) {
        let path = self.path_of(key);
        self.context.problems.push(Problem::new(path, error));
    }

    fn path_of(&self, key: &str) -> String {
        let key = shown_key(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn close(mut self) {
        if let Some(all) = &mut self.context.seen {
            let keys = SeenKeys { known: self.known_keys.clone(), any: self.accepts_any_key };
            all.insert(self.path.to_owned(), keys);
        }
        let mut seen = HashSet::new();
        for (name, _) in self.entries {
            if !seen.insert(name) {
                self.report(name, "written twice");
            } else if !self.accepts_any_key
                && !self.known_keys.contains(&name.as_str())
                && !is_comment_key(name)
            {
                let suggestion = nearest(name, self.known_keys.iter().copied());
                self.report(name, ValueError { message: "unknown key".to_owned(), suggestion });
            }
        }
    }
}

/// Whether a member of an object says anything: it is neither a comment nor null.
fn is_set((name, value): &&(String, Value)) -> bool {
    !is_comment_key(name) && !matches!(value, Value::Null)
}

/// Whether a key is a comment: JSON has none, so these keys are ignored.
pub(super) fn is_comment_key(name: &str) -> bool {
    name == "$schema" || name.starts_with('_') || name.starts_with("//")
}

/// A key for a path: cut if it is long, and quoted unless it is a plain word.
pub(super) fn shown_key(name: &str) -> String {
    let cut: String = name.chars().take(MAX_SHOWN_LENGTH).collect();
    if !cut.is_empty() && cut.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        cut
    } else {
        format!("{cut:?}")
    }
}
