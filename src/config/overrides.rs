//! Flags and environment variables that override the file. Precedence: flags, variables, file. A wrong
//! variable is a problem with the variable's name as its path. All variables are read before the first
//! problem is returned.

use std::{fmt, num::NonZeroUsize, path::PathBuf};

use tracing::Level;

use super::{
    env::Env,
    log,
    problem::{Problem, ValueError},
    root, scalar,
    settings::{LOG_FORMATS, LOG_LEVELS, Settings},
    token,
};
use crate::{
    auth::TokenSettings,
    telemetry::{FileSettings, LogFormat},
};

/// Overridden settings. `None`: not overridden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub workers: Option<NonZeroUsize>,
    pub log_level: Option<Level>,
    pub log_format: Option<LogFormat>,
    pub log_file: Option<PathBuf>,
}

impl Overrides {
    /// Reads the environment variables.
    pub(super) fn from_env(env: &Env, problems: &mut Vec<Problem>) -> Self {
        let mut reader = OverrideReader { env, problems };
        Self {
            host: reader.read("THALWEG_HOST", root::host),
            port: reader.port("THALWEG_PORT"),
            workers: reader.read("THALWEG_WORKERS", workers),
            log_level: reader.read("LOG_LEVEL", |text| scalar::word(text, &LOG_LEVELS)),
            log_format: reader.read("THALWEG_LOG_FORMAT", |text| scalar::word(text, &LOG_FORMATS)),
            log_file: reader.read("THALWEG_LOG_FILE", log::name),
        }
    }

    /// These overrides, completed by `fallback`.
    pub(super) fn or(self, fallback: Self) -> Self {
        Self {
            host: self.host.or(fallback.host),
            port: self.port.or(fallback.port),
            workers: self.workers.or(fallback.workers),
            log_level: self.log_level.or(fallback.log_level),
            log_format: self.log_format.or(fallback.log_format),
            log_file: self.log_file.or(fallback.log_file),
        }
    }

    pub(super) fn apply(self, settings: &mut Settings) {
        let Self { host, port, workers, log_level, log_format, log_file } = self;
        settings.listen.host = host.unwrap_or_else(|| std::mem::take(&mut settings.listen.host));
        settings.listen.port = port.unwrap_or(settings.listen.port);
        settings.workers = workers.unwrap_or(settings.workers);
        settings.log.level = log_level.unwrap_or(settings.log.level);
        settings.log.format = log_format.unwrap_or(settings.log.format);
        if let Some(path) = log_file {
            let default = log::default(path.clone(), settings.log.format);
            settings.log.file = Some(FileSettings { path, ..settings.log.file.take().unwrap_or(default) });
        }
    }
}

/// The host of a flag, as the file's is read.
///
/// # Errors
/// The expected form.
pub fn host(text: &str) -> Result<String, Problem> {
    root::host(text).map_err(|error| Problem::new("", error))
}

/// The keys of a file that flags and variables may replace.
pub(super) struct ReplacedKeys<'a> {
    /// The settings of the file alone.
    pub(super) file: &'a Settings,
    /// The top-level keys that the file holds.
    pub(super) keys: &'a [String],
}

impl ReplacedKeys<'_> {
    /// A line for each key of the file that a flag or a variable replaces by another value.
    pub(super) fn notes(&self, flags: &Overrides, variables: &Overrides) -> Vec<String> {
        let Settings { listen, workers, log, .. } = self.file;
        let note = |key: &str, in_file: &dyn fmt::Display, by: &str, new: Option<String>| {
            let new = new.filter(|new| *new != in_file.to_string())?;
            let is_written =
                self.keys.iter().any(|written| written == key || (key == "log_level" && written == "log"));
            is_written.then(|| format!("{key} is {new} by {by}; the file has {in_file}"))
        };
        let pick = |flag: Option<String>, variable: Option<String>, names: [&'static str; 2]| match flag {
            Some(value) => (names[0], Some(value)),
            None => (names[1], variable),
        };
        let host = pick(flags.host.clone(), variables.host.clone(), ["--host", "THALWEG_HOST"]);
        let text = |number: Option<u16>| number.map(|number| number.to_string());
        let port = pick(text(flags.port), text(variables.port), ["--port", "THALWEG_PORT"]);
        let text = |count: Option<NonZeroUsize>| count.map(|count| count.to_string());
        let threads = pick(text(flags.workers), text(variables.workers), ["--workers", "THALWEG_WORKERS"]);
        let text = |level: Option<Level>| level.map(|level| level.to_string());
        let level = pick(text(flags.log_level), text(variables.log_level), ["--log-level", "LOG_LEVEL"]);
        [
            note("host", &listen.host, host.0, host.1),
            note("port", &listen.port, port.0, port.1),
            note("workers", workers, threads.0, threads.1),
            note("log_level", &log.level, level.0, level.1),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// `API_KEY` and `THALWEG_ADMIN_KEY`: client tokens in addition to the file's; the second may administrate.
pub(super) fn tokens(env: &Env, problems: &mut Vec<Problem>) -> Vec<TokenSettings> {
    let mut reader = OverrideReader { env, problems };
    let mut token = |name: &str, admin| {
        let token = reader.read(name, |text| token::token(text.to_owned()))?;
        Some(TokenSettings { admin, ..TokenSettings::plain(name, token) })
    };
    [token("THALWEG_ADMIN_KEY", true), token("API_KEY", false)].into_iter().flatten().collect()
}

fn workers(text: &str) -> Result<NonZeroUsize, ValueError> {
    text.parse()
        .ok()
        .filter(|count: &NonZeroUsize| count.get() as u64 <= root::MAX_WORKERS)
        .ok_or_else(|| format!("expected a number from 1 to {}", root::MAX_WORKERS).into())
}

struct OverrideReader<'a> {
    env: &'a Env,
    problems: &'a mut Vec<Problem>,
}

impl OverrideReader<'_> {
    /// Kubernetes sets `NAME_PORT=tcp://…` in every container beside a service of that name: this one's own,
    /// too. It says nothing about the listener.
    fn port(&mut self, name: &str) -> Option<u16> {
        let is_of_service = |text: &str| text.starts_with("tcp://") || text.starts_with("udp://");
        if self.env.variable(name).is_some_and(is_of_service) {
            return None;
        }
        self.read(name, |text| text.parse().map_err(|_| "expected a port from 0 to 65535".into()))
    }

    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, ValueError>) -> Option<T> {
        read(self.env.variable(name)?).map_err(|error| self.problems.push(Problem::new(name, error))).ok()
    }
}
