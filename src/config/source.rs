//! The sources of settings: file, variables and flags of this process, which can be loaded again for a
//! reload. Holds no settings itself. Environment variables are those of the start of the process, because
//! they cannot change later.

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
    /// `file`: from the command line. `None`: `THALWEG_CONFIG` or the default file.
    #[must_use]
    pub fn new(file: Option<&Path>, flags: Overrides, env: Env) -> Self {
        Self { file: file.map(Path::to_path_buf), flags, env }
    }

    /// # Errors
    /// The file cannot be read, or all problems in file and environment.
    pub fn load(&self) -> Result<Settings, LoadError> {
        load(self.file.as_deref(), &self.flags, &self.env)
    }

    /// The same for a running gateway: refuses a file that may block the reader.
    ///
    /// # Errors
    /// Those of [`Self::load`], or the file is not a regular file (a pipe, for example).
    pub fn load_again(&self) -> Result<Settings, LoadError> {
        load::load_with(load::read_regular, self.file.as_deref(), &self.flags, &self.env)
    }
}
