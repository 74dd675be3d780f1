//! Where settings come from: the same file, variables and flags, read again whenever they are asked for.

use std::path::{Path, PathBuf};

use super::{
    env::Env,
    load::{self, load},
    overrides::Overrides,
    problem::LoadError,
    settings::Settings,
};

#[derive(Clone, Debug)]
pub struct ConfigSource {
    file: Option<PathBuf>,
    flags: Overrides,
    env: Env,
}

impl ConfigSource {
    /// `file` as the command line names it; `None`: the usual places.
    #[must_use]
    pub fn new(file: Option<&Path>, flags: Overrides, env: Env) -> Self {
        Self { file: file.map(Path::to_path_buf), flags, env }
    }

    /// # Errors
    /// The file cannot be read, or all mistakes in file and environment.
    pub fn load(&self) -> Result<Settings, LoadError> {
        load(self.file.as_deref(), &self.flags, &self.env)
    }

    /// The same beside a gateway that runs: nothing is read that may have to be waited for.
    ///
    /// # Errors
    /// As there, and the file is a pipe or the like.
    pub fn load_again(&self) -> Result<Settings, LoadError> {
        load::load_by(load::read_regular, self.file.as_deref(), &self.flags, &self.env)
    }
}
