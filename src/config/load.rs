//! File, environment and flags become settings. The file is found, read and checked; the environment and the flags go
//! over it; whoever configured no provider gets those that can be found.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    account, administration, discover, document,
    env::Env,
    health, otel,
    overrides::{self, Overrides},
    problem::{LoadError, Problem},
    root, routing,
    section::ReadContext,
    settings::Settings,
    watch,
};

/// Read when there is one and no other was asked for.
pub(super) const USUAL_FILE: &str = "config.json";

/// A file beyond this is no configuration.
const LONGEST_FILE: u64 = 16 << 20;

/// Settings from `source`, or else from `THALWEG_CONFIG`, or else from `./config.json` if there is one.
///
/// # Errors
/// The file cannot be read, or all mistakes in file and environment.
pub fn load(source: Option<&Path>, flags: &Overrides, env: &Env) -> Result<Settings, LoadError> {
    load_by(read, source, flags, env)
}

pub(super) fn load_by(
    read: fn(&Path) -> io::Result<String>,
    source: Option<&Path>,
    flags: &Overrides,
    env: &Env,
) -> Result<Settings, LoadError> {
    let file = locate(source, env);
    let mut problems = Vec::new();
    let (mut settings, state) = match &file {
        Some(file) => {
            let text = read(file).map_err(|reason| LoadError::Unreadable { file: file.clone(), reason })?;
            let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
            let (settings, state) = check(&text, env, Some(folder), &mut problems);
            (Settings { digest: watch::digest(&text), ..settings }, state)
        }
        None => (Settings::default(), health::StateFileSetting::default()),
    };
    settings.state_file = health::state_file(state, file.as_deref(), env, &mut problems);
    settings.file.clone_from(&file);
    let variables = Overrides::from_env(env, &mut problems);
    flags.clone().or(variables).apply(&mut settings);
    account::override_by(env, &mut settings, &mut problems);
    for token in overrides::tokens(env, &mut problems) {
        match settings.tokens.iter_mut().find(|known| known.token == token.token) {
            Some(known) => known.admin |= token.admin,
            None => settings.tokens.push(token),
        }
    }
    if settings.otel.is_none() {
        settings.otel = otel::from_env(env, &mut problems);
    }
    administration::finish(env, &mut settings, &mut problems);
    if !problems.is_empty() {
        return Err(LoadError::Mistakes { file, problems });
    }
    if settings.providers.is_empty() {
        settings.providers = discover::providers(env);
    }
    // These may name providers that were found only now.
    routing::variables(env, &mut settings, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(LoadError::Mistakes { file, problems }) }
}

/// Settings by a file's text alone: no flags, no discovery, no look at the disk. For any input at all.
///
/// # Errors
/// Every mistake, with its path.
pub fn parse(text: &str, env: &Env) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let (settings, _) = check(text, env, None, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn check(
    text: &str,
    env: &Env,
    folder: Option<PathBuf>,
    problems: &mut Vec<Problem>,
) -> (Settings, health::StateFileSetting) {
    match document::read(text) {
        Ok(document) => {
            let mut reader = ReadContext { env, folder, problems: Vec::new() };
            let settings = root::read(&mut reader, &document);
            problems.append(&mut reader.problems);
            settings
        }
        Err(problem) => {
            problems.push(problem);
            (Settings::default(), health::StateFileSetting::default())
        }
    }
}

pub(super) fn locate(source: Option<&Path>, env: &Env) -> Option<PathBuf> {
    let asked = source.map(Path::to_path_buf).or_else(|| env.variable("THALWEG_CONFIG").map(PathBuf::from));
    asked.or_else(|| Some(PathBuf::from(USUAL_FILE)).filter(|usual| usual.is_file()))
}

/// A file that is read beside what runs: whoever opens a pipe waits for the one who writes to it.
pub(super) fn read_regular(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read(file)
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(file)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    if length as u64 > LONGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(text)
}
