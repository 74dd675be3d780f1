//! Flags and environment variables that override the file. Precedence: flags, variables, file. A wrong
//! variable is a problem with the variable's name as its path. All variables are read before the first
//! problem is returned.

use std::{num::NonZeroUsize, path::PathBuf};

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
            port: reader.read("THALWEG_PORT", |text| {
                text.parse().map_err(|_| "expected a port from 0 to 65535".into())
            }),
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
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, ValueError>) -> Option<T> {
        read(self.env.variable(name)?).map_err(|error| self.problems.push(Problem::new(name, error))).ok()
    }
}
