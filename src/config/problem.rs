//! A problem of a configuration: its path, the reason, and a suggestion. It may be shown to anyone: no
//! message holds a value of the file, because that value may be a secret key in the wrong place. The text of
//! a problem is a part of the interface to operators.

use std::{fmt, io, path::PathBuf};

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `providers[2].base_url`, `line 3, column 7`, or the name of an environment variable. Empty: the whole
    /// file.
    pub path: String,
    pub message: String,
    /// A known word similar to the written one.
    pub suggestion: Option<String>,
}

impl Problem {
    pub(super) fn new(path: impl Into<String>, error: impl Into<ValueError>) -> Self {
        let ValueError { message, suggestion } = error.into();
        Self { path: path.into(), message, suggestion }
    }
}

impl Problem {
    /// Whether it is about the database, or about the whole file, which is not JSON then.
    pub(super) fn concerns_database(&self) -> bool {
        let top = self.path.split(['.', '[']).next().unwrap_or_default();
        top == "database" || self.path.is_empty() || self.path.starts_with("line ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

/// A problem without its path, which the caller adds.
#[derive(Debug)]
pub(super) struct ValueError {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl<M: Into<String>> From<M> for ValueError {
    fn from(message: M) -> Self {
        Self { message: message.into(), suggestion: None }
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}", file.display())]
    Unreadable {
        file: PathBuf,
        #[source]
        reason: io::Error,
    },
    /// All problems at once. `file` is `None` if only flags and environment were read.
    #[error(fmt = show_problems)]
    Mistakes { file: Option<PathBuf>, problems: Vec<Problem> },
}

/// The file, or the environment if there is none, and a line for each mistake.
fn show_problems(file: &Option<PathBuf>, problems: &[Problem], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match file {
        Some(file) => write!(f, "{}", file.display())?,
        None => f.write_str("environment")?,
    }
    match problems.len() {
        1 => f.write_str(": 1 mistake")?,
        count => write!(f, ": {count} mistakes")?,
    }
    problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
}
