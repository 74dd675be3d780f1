//! Builds the settings from file, environment and flags: finds, reads and checks the file, applies
//! environment and flags over it, and searches for providers if none is configured. Reports all problems at
//! once.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    account, administration, batch, cluster, discover, document,
    env::Env,
    health, otel,
    overrides::{self, Overrides, ReplacedKeys},
    problem::{LoadError, Problem},
    root, routing,
    section::ReadContext,
    settings::Settings,
    shown, watch,
};
use crate::{database::DatabaseSettings, server::Listen};

/// Read if it exists and no other file is given.
pub(super) const DEFAULT_FILE: &str = "config.json";

/// Bytes; a larger file is no configuration.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// Settings from `source`, or else from `THALWEG_CONFIG`, or else from `./config.json` if it exists.
///
/// # Errors
/// The file cannot be read, or all problems in file and environment.
pub fn load(source: Option<&Path>, flags: &Overrides, env: &Env) -> Result<Settings, LoadError> {
    load_with(read, source, flags, env)
}

pub(super) fn load_with(
    read: fn(&Path) -> io::Result<String>,
    source: Option<&Path>,
    flags: &Overrides,
    env: &Env,
) -> Result<Settings, LoadError> {
    let file = find_file(source, env);
    let mut problems = Vec::new();
    let mut written = Vec::new();
    let (mut settings, state) = match &file {
        Some(file) => {
            let text = read(file).map_err(|reason| LoadError::Unreadable { file: file.clone(), reason })?;
            let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
            let CheckedFile { settings, state, keys } = check(&text, env, Some(folder), &mut problems);
            written = keys;
            (Settings { digest: watch::digest(&text), ..settings }, state)
        }
        None => (Settings::default(), health::StateFileSetting::default()),
    };
    settings.state_file = health::state_file(state, file.as_deref(), env, &mut problems);
    settings.file.clone_from(&file);
    let variables = Overrides::from_env(env, &mut problems);
    let replaced = ReplacedKeys { file: &settings.clone(), keys: &written };
    settings.notes.extend(replaced.notes(flags, &variables));
    flags.clone().or(variables).apply(&mut settings);
    let now = SystemTime::now();
    for token in settings.tokens.iter().filter(|token| token.limits.expires.is_some_and(|at| at <= now)) {
        settings.notes.push(format!("the token {:?} has expired", token.description));
    }
    let is_written = written.iter().any(|key| key == "database");
    account::apply_env(env, &mut settings, is_written, &mut problems);
    let is_written = written.iter().any(|key| key == "redis");
    cluster::apply_env(env, &mut settings, is_written, &mut problems);
    for token in overrides::tokens(env, &mut problems) {
        match settings.tokens.iter_mut().find(|known| known.token == token.token) {
            Some(known) => known.admin |= token.admin,
            None => settings.tokens.push(token),
        }
    }
    if settings.otel.is_none() {
        settings.otel = otel::from_env(env, &mut settings.notes, &mut problems);
    }
    for (index, provider) in settings.providers.iter().enumerate() {
        if discover::is_own(&provider.target.base, &settings.listen, env) {
            let path = format!("providers[{index}].base_url");
            problems.push(Problem::new(path, "is the address of this gateway, which would call itself"));
        }
    }
    administration::finish(env, &mut settings, &mut problems);
    batch::finish(&settings, &mut problems);
    if !problems.is_empty() {
        return Err(LoadError::Mistakes { file, problems });
    }
    if settings.providers.is_empty() {
        let found = discover::providers(env, &settings);
        settings.providers = found.providers;
        settings.notes.extend(found.notes);
    }
    // These variables may name discovered providers.
    routing::variables(env, &mut settings, &mut problems);
    if problems.is_empty() { Ok(with_covers(settings)) } else { Err(LoadError::Mistakes { file, problems }) }
}

/// The settings for a command that needs the database alone: of the problems, only those that concern it are
/// reported. So keys can be managed where the variables of providers are not set.
///
/// # Errors
/// The file cannot be read, or the problems of the database's keys and variables.
pub fn load_database(source: Option<&Path>, env: &Env) -> Result<Option<DatabaseSettings>, LoadError> {
    let file = find_file(source, env);
    let (mut settings, mut problems) = (Settings::default(), Vec::new());
    let mut is_written = false;
    if let Some(file) = &file {
        let text = read(file).map_err(|reason| LoadError::Unreadable { file: file.clone(), reason })?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let checked = check(&text, env, Some(folder), &mut problems);
        problems.retain(Problem::concerns_database);
        is_written = checked.keys.iter().any(|key| key == "database");
        settings = checked.settings;
    }
    settings.file.clone_from(&file);
    account::apply_env(env, &mut settings, is_written, &mut problems);
    if problems.is_empty() { Ok(settings.database) } else { Err(LoadError::Mistakes { file, problems }) }
}

/// The address of the listener, for a command that asks a running gateway: of file and variables only what
/// concerns it counts, because a gateway goes on with its settings whatever mistakes the file has since. A
/// file that cannot be read counts as none.
#[must_use]
pub fn load_listen(source: Option<&Path>, env: &Env) -> Listen {
    let mut settings = Settings::default();
    if let Some(text) = find_file(source, env).and_then(|file| read_regular(&file).ok()) {
        settings = check(&text, env, None, &mut Vec::new()).settings;
    }
    Overrides::from_env(env, &mut Vec::new()).apply(&mut settings);
    settings.listen
}

/// Settings from a file's text alone: no flags, no discovery, no access to the disk. Accepts any input.
///
/// # Errors
/// All problems, with their paths.
pub fn parse(text: &str, env: &Env) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let settings = check(text, env, None, &mut problems).settings;
    let settings = with_covers(settings);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The file as it may be shown, without the secrets that are known now.
fn with_covers(mut settings: Settings) -> Settings {
    let mut document = settings.shown.as_ref().clone();
    shown::by_value(&mut document, &settings);
    settings.shown = document.into();
    settings
}

/// The settings of a file, and its top-level keys.
#[derive(Default)]
struct CheckedFile {
    settings: Settings,
    state: health::StateFileSetting,
    keys: Vec<String>,
}

fn check(text: &str, env: &Env, folder: Option<PathBuf>, problems: &mut Vec<Problem>) -> CheckedFile {
    match document::read(text) {
        Ok(document) => {
            let mut context = ReadContext { env, folder, problems: Vec::new(), seen: None };
            let (mut settings, state) = root::read(&mut context, &document);
            settings.shown = shown::by_form(&document).into();
            problems.append(&mut context.problems);
            CheckedFile { settings, state, keys: document.keys() }
        }
        Err(problem) => {
            problems.push(problem);
            CheckedFile::default()
        }
    }
}

pub(super) fn find_file(source: Option<&Path>, env: &Env) -> Option<PathBuf> {
    let given = source.map(Path::to_path_buf).or_else(|| env.variable("THALWEG_CONFIG").map(PathBuf::from));
    // Whatever it is: a folder of this name, or one that may not be read, is an error and no absence.
    given.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|default| default.symlink_metadata().is_ok()))
}

/// Reads a regular file only. A running gateway must not open a pipe, because that waits for a writer.
pub(super) fn read_regular(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read(file)
}

fn read(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let mut text = String::new();
    let length = File::open(file)?.take(MAX_FILE_SIZE + 1).read_to_string(&mut text)?;
    if length as u64 > MAX_FILE_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(text)
}
