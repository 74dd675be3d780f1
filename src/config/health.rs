//! The keys of `health`, and the path of the state file: from `THALWEG_STATE` or `state_file`, or else beside
//! the configuration file, or else in the user's state folder if there is one. The configuration file itself
//! is refused as the state file.

use std::path::{Path, PathBuf};

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    scalar,
    section::Section,
};
use crate::routing::HealthSettings;

/// More candidates than a configuration has.
const MAX_CANDIDATES: u64 = 1000;
/// The default name of the state file.
const DEFAULT_NAME: &str = "state.json";

/// The setting `state_file`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum StateFileSetting {
    #[default]
    Unset,
    /// `false`: there is no state file.
    Disabled,
    Path(PathBuf),
}

pub(super) fn read(section: &mut Section<'_, '_, '_>, health: &mut HealthSettings) {
    section.set("interval", &mut health.interval, scalar::duration_or_zero);
    section.set("timeout", &mut health.timeout, scalar::duration);
    section.set("refresh", &mut health.refresh, scalar::duration);
    section.set("precheck", &mut health.precheck, scalar::integer(0..=MAX_CANDIDATES));
    section.set("warmup", &mut health.warmup, scalar::integer(0..=MAX_CANDIDATES));
}

/// Reads `state_file`: a name, relative to the configuration file, or `false`.
pub(super) fn read_state(root: &mut Section<'_, '_, '_>) -> StateFileSetting {
    let folder = root.context.folder.clone().unwrap_or_default();
    let setting = root.read("state_file", |value| match value {
        Value::Bool(false) => Ok(StateFileSetting::Disabled),
        Value::Bool(true)
        | Value::Null
        | Value::Number(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => match scalar::text(value)? {
            "" => Err("must not be empty; false for none".into()),
            name => Ok(StateFileSetting::Path(folder.join(name))),
        },
    });
    setting.unwrap_or_default()
}

/// The path of the state file. `None`: no state is kept.
pub(super) fn state_file(
    setting: StateFileSetting,
    file: Option<&Path>,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    let path = match (env.variable("THALWEG_STATE"), setting) {
        (Some(path), _) => Some(PathBuf::from(path)),
        (None, StateFileSetting::Path(path)) => Some(path),
        (None, StateFileSetting::Disabled) => None,
        (None, StateFileSetting::Unset) => {
            file.map_or_else(|| user_state_file(env), |file| Some(beside(file)))
        }
    };
    // The gateway overwrites the state file.
    if path.is_some() && path.as_deref() == file {
        problems.push(Problem::new("state_file", ValueError::from("is the configuration file itself")));
        return None;
    }
    path
}

/// The state file of `gateway.json` is `gateway.state.json`.
fn beside(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    file.with_file_name(format!("{stem}.{DEFAULT_NAME}"))
}

/// In `$XDG_STATE_HOME/thalweg` or `~/.local/state/thalweg`. `None`: the folder above it does not exist.
fn user_state_file(env: &Env) -> Option<PathBuf> {
    let configured = env.variable("XDG_STATE_HOME").map(PathBuf::from);
    let default = || env.variable("HOME").map(|home| Path::new(home).join(".local/state"));
    let folder = configured.or_else(default).filter(|folder| folder.is_absolute() && folder.is_dir())?;
    Some(folder.join("thalweg").join(DEFAULT_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(setting: StateFileSetting, file: Option<&str>, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let env = Env::new(variables.iter().copied(), |_, _| false);
        let mut problems = Vec::new();
        let path = state_file(setting, file.map(Path::new), &env, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        path
    }

    #[test]
    fn the_nearest_word_says_where_the_state_is() {
        let at = |text: &str| Some(PathBuf::from(text));
        assert_eq!(path(StateFileSetting::Unset, Some("/etc/t/gw.json"), &[]), at("/etc/t/gw.state.json"));
        assert_eq!(path(StateFileSetting::Path("/s".into()), Some("/etc/gw.json"), &[]), at("/s"));
        assert_eq!(path(StateFileSetting::Disabled, Some("/etc/gw.json"), &[]), None);
        assert_eq!(
            path(StateFileSetting::Disabled, Some("/etc/gw.json"), &[("THALWEG_STATE", "/v")]),
            at("/v")
        );
        assert_eq!(path(StateFileSetting::Unset, None, &[]), None);
        assert_eq!(
            path(StateFileSetting::Unset, None, &[("HOME", "/no-such-home")]),
            None,
            "nothing is littered"
        );
        let own = std::env::temp_dir();
        let variables = [("XDG_STATE_HOME", own.to_str().unwrap()), ("HOME", "/no-such-home")];
        assert_eq!(path(StateFileSetting::Unset, None, &variables), Some(own.join("thalweg/state.json")));
    }

    #[test]
    fn the_configuration_is_not_written_over() {
        let mut problems = Vec::new();
        let setting = StateFileSetting::Path("/etc/gw.json".into());
        assert_eq!(state_file(setting, Some(Path::new("/etc/gw.json")), &Env::empty(), &mut problems), None);
        assert_eq!(problems.len(), 1);
    }
}
