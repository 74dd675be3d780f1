//! The keys of `health`, and where the state file is: where the file or `THALWEG_STATE` says, else beside the
//! configuration file, else, where the user has a folder for such things, in that.

use std::path::{Path, PathBuf};

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    scalar,
    section::Section,
};
use crate::routing::HealthSettings;

/// More candidates than anybody lists.
const MANY: u64 = 1000;
/// The usual name where nobody gave one.
const USUAL_NAME: &str = "state.json";

/// What the configuration says of the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum StateFileSetting {
    #[default]
    Nothing,
    /// `false`: there shall be none.
    No,
    At(PathBuf),
}

pub(super) fn read(section: &mut Section<'_, '_, '_>, health: &mut HealthSettings) {
    section.set("interval", &mut health.interval, scalar::duration_or_zero);
    section.set("timeout", &mut health.timeout, scalar::duration);
    section.set("refresh", &mut health.refresh, scalar::duration);
    section.set("precheck", &mut health.precheck, scalar::whole(0..=MANY));
    section.set("warmup", &mut health.warmup, scalar::whole(0..=MANY));
}

/// `state_file`: a name, which starts at the configuration file, or `false`.
pub(super) fn read_state(root: &mut Section<'_, '_, '_>) -> StateFileSetting {
    let folder = root.reader.folder.clone().unwrap_or_default();
    let said = root.read("state_file", |value| match value {
        Value::Bool(false) => Ok(StateFileSetting::No),
        Value::Bool(true)
        | Value::Null
        | Value::Number(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => match scalar::text(value)? {
            "" => Err("must not be empty; false for none".into()),
            name => Ok(StateFileSetting::At(folder.join(name))),
        },
    });
    said.unwrap_or_default()
}

/// The state file's place. `None`: nothing is kept.
pub(super) fn state_file(
    said: StateFileSetting,
    file: Option<&Path>,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    let place = match (env.variable("THALWEG_STATE"), said) {
        (Some(place), _) => Some(PathBuf::from(place)),
        (None, StateFileSetting::At(place)) => Some(place),
        (None, StateFileSetting::No) => None,
        (None, StateFileSetting::Nothing) => file.map_or_else(|| users_own(env), |file| Some(beside(file))),
    };
    // It will be written over.
    if place.is_some() && place.as_deref() == file {
        problems.push(Problem::new("state_file", ValueError::from("is the configuration file itself")));
        return None;
    }
    place
}

/// `gateway.json` has `gateway.state.json`.
fn beside(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    file.with_file_name(format!("{stem}.{USUAL_NAME}"))
}

/// `$XDG_STATE_HOME/thalweg`, or `~/.local/state/thalweg`, if the folder above it is there.
fn users_own(env: &Env) -> Option<PathBuf> {
    let named = env.variable("XDG_STATE_HOME").map(PathBuf::from);
    let usual = || env.variable("HOME").map(|home| Path::new(home).join(".local/state"));
    let folder = named.or_else(usual).filter(|folder| folder.is_absolute() && folder.is_dir())?;
    Some(folder.join("thalweg").join(USUAL_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(said: StateFileSetting, file: Option<&str>, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let env = Env::new(variables.iter().copied(), |_, _| false);
        let mut problems = Vec::new();
        let place = state_file(said, file.map(Path::new), &env, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        place
    }

    #[test]
    fn the_nearest_word_says_where_the_state_is() {
        let at = |text: &str| Some(PathBuf::from(text));
        assert_eq!(place(StateFileSetting::Nothing, Some("/etc/t/gw.json"), &[]), at("/etc/t/gw.state.json"));
        assert_eq!(place(StateFileSetting::At("/s".into()), Some("/etc/gw.json"), &[]), at("/s"));
        assert_eq!(place(StateFileSetting::No, Some("/etc/gw.json"), &[]), None);
        assert_eq!(place(StateFileSetting::No, Some("/etc/gw.json"), &[("THALWEG_STATE", "/v")]), at("/v"));
        assert_eq!(place(StateFileSetting::Nothing, None, &[]), None);
        assert_eq!(
            place(StateFileSetting::Nothing, None, &[("HOME", "/no-such-home")]),
            None,
            "nothing is littered"
        );
        let own = std::env::temp_dir();
        let variables = [("XDG_STATE_HOME", own.to_str().unwrap()), ("HOME", "/no-such-home")];
        assert_eq!(place(StateFileSetting::Nothing, None, &variables), Some(own.join("thalweg/state.json")));
    }

    #[test]
    fn the_configuration_is_not_written_over() {
        let mut problems = Vec::new();
        let said = StateFileSetting::At("/etc/gw.json".into());
        assert_eq!(state_file(said, Some(Path::new("/etc/gw.json")), &Env::empty(), &mut problems), None);
        assert_eq!(problems.len(), 1);
    }
}
