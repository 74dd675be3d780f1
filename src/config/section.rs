//! Walks the tree and collects every mistake with its path. A [`Section`] is an object being read: each key asked of it
//! becomes known, and when it closes, keys that nobody asked for are reported with the known key nearest to them. The
//! list of keys can therefore not drift from the code that reads them.

use std::{collections::HashSet, path::PathBuf};

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    suggestion::nearest,
};

/// Longer names are cut in messages.
const LONGEST_NAME: usize = 64;

/// What the whole walk shares.
pub(super) struct ReadContext<'e> {
    pub(super) env: &'e Env,
    /// Relative file names start here. `None`: the disk is not looked at.
    pub(super) folder: Option<PathBuf>,
    pub(super) problems: Vec<Problem>,
}

/// A value and where it stands.
pub(super) struct Located<'v, 'r, 'e> {
    pub(super) path: String,
    pub(super) value: &'v Value,
    pub(super) reader: &'r mut ReadContext<'e>,
}

impl<'v, 'e> Located<'v, '_, 'e> {
    pub(super) fn wrong(&mut self, wrong: impl Into<ValueError>) {
        self.reader.problems.push(Problem::new(&*self.path, wrong));
    }

    pub(super) fn read<T>(&mut self, scalar: impl FnOnce(&Value) -> Result<T, ValueError>) -> Option<T> {
        scalar(self.value).map_err(|wrong| self.wrong(wrong)).ok()
    }

    /// Text in which `${NAME}` has been replaced. The result may be a key.
    pub(super) fn resolved(&mut self) -> Option<String> {
        let env = self.reader.env;
        self.read(|value| env.resolve(super::scalar::text(value)?))
    }

    /// A part of a string that stands for a key of the object form; mistakes are told under that key.
    pub(super) fn part<T>(&mut self, key: &str, result: Result<T, ValueError>) -> Option<T> {
        result
            .map_err(|wrong| self.reader.problems.push(Problem::new(format!("{}.{key}", self.path), wrong)))
            .ok()
    }

    /// The items of a list, in order.
    pub(super) fn items(&mut self, mut each: impl FnMut(Located<'v, '_, 'e>)) {
        let Value::List(items) = self.value else {
            return self.wrong(format!("expected a list, found {}", self.value.kind()));
        };
        for (index, value) in items.iter().enumerate() {
            each(Located { path: format!("{}[{index}]", self.path), value, reader: &mut *self.reader });
        }
    }

    /// The object at this place. `None`: it is none, and that has been reported.
    pub(super) fn section<T>(&mut self, read: impl FnOnce(&mut Section<'v, '_, 'e>) -> T) -> Option<T> {
        let Value::Table(entries) = self.value else {
            self.wrong(format!("expected an object, found {}", self.value.kind()));
            return None;
        };
        let mut section =
            Section { path: &self.path, entries, asked: Vec::new(), open: false, reader: &mut *self.reader };
        let result = read(&mut section);
        section.close();
        Some(result)
    }
}

/// An object being read.
pub(super) struct Section<'v, 'r, 'e> {
    path: &'r str,
    entries: &'v [(String, Value)],
    asked: Vec<&'static str>,
    /// Any key is known.
    open: bool,
    pub(super) reader: &'r mut ReadContext<'e>,
}

impl<'v, 'e> Section<'v, '_, 'e> {
    /// `None`: the key is absent or null.
    pub(super) fn place(&mut self, key: &'static str) -> Option<Located<'v, '_, 'e>> {
        self.asked.push(key);
        let (_, value) = self.entries.iter().find(|(name, _)| name == key)?;
        match value {
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Table(_) => {
                Some(Located { path: self.path_of(key), value, reader: &mut *self.reader })
            }
        }
    }

    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        scalar: impl FnOnce(&Value) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.place(key)?.read(scalar)
    }

    /// Writes to `slot` what the file says, and leaves the default there when it says nothing.
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

    /// The object under `key`, if there is one.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'v, '_, 'e>) -> T,
    ) -> Option<T> {
        self.place(key)?.section(read)
    }

    /// Every key there is, when the keys are names that the operator chose.
    pub(super) fn each(&mut self, mut visit: impl FnMut(&'v str, Located<'v, '_, 'e>)) {
        let entries = self.entries;
        self.open = true;
        for (name, value) in entries.iter().filter(|(name, _)| !is_remark(name)) {
            visit(name, Located { path: self.path_of(name), value, reader: &mut *self.reader });
        }
    }

    /// A key without which the object means nothing.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Located<'v, '_, 'e>> {
        if !self.entries.iter().any(|(name, value)| name == key && !matches!(value, Value::Null)) {
            self.wrong(key, "missing");
        }
        self.place(key)
    }

    /// A mistake about `key` that only shows beside other keys.
    pub(super) fn wrong(&mut self, key: &str, wrong: impl Into<ValueError>) {
        let path = self.path_of(key);
        self.reader.problems.push(Problem::new(path, wrong));
    }

    fn path_of(&self, key: &str) -> String {
        let key = shown(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn close(mut self) {
        let mut seen = HashSet::new();
        for (name, _) in self.entries {
            if !seen.insert(name) {
                self.wrong(name, "written twice");
            } else if !self.open && !self.asked.contains(&name.as_str()) && !is_remark(name) {
                let suggestion = nearest(name, self.asked.iter().copied());
                self.wrong(name, ValueError { message: "unknown key".to_owned(), suggestion });
            }
        }
    }
}

/// JSON has no comments; these keys serve as such.
fn is_remark(name: &str) -> bool {
    name == "$schema" || name.starts_with('_') || name.starts_with("//")
}

/// A key as it stands in a path: quoted when it is no plain word.
pub(super) fn shown(name: &str) -> String {
    let cut: String = name.chars().take(LONGEST_NAME).collect();
    if !cut.is_empty() && cut.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        cut
    } else {
        format!("{cut:?}")
    }
}
