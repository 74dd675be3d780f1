//! The keys of `log`, and the older `log_level`, which may not contradict them. Relative names start at the
//! configuration file's folder.
//!
//! Only parses; `telemetry` opens the files.

use std::path::PathBuf;

use super::{
    problem::ValueError,
    scalar,
    section::Section,
    settings::{LOG_FORMATS, LOG_LEVELS},
};
use crate::telemetry::{FileSettings, LogFormat, LogSettings};

/// Default size of one log file, in bytes.
const DEFAULT_SIZE: u64 = 100 << 20;
/// Default number of rotated files.
const DEFAULT_KEEP: usize = 7;

pub(super) fn read(root: &mut Section<'_, '_, '_>, log: &mut LogSettings) {
    let old_level = root.read("log_level", scalar::choice(&LOG_LEVELS));
    let level = root.section("log", |section| {
        section.set("format", &mut log.format, scalar::choice(&LOG_FORMATS));
        log.file = file(section, log.format);
        section.read("level", scalar::choice(&LOG_LEVELS))
    });
    let level = level.flatten();
    if old_level.is_some() && level.is_some() {
        root.report("log_level", "is also said by log.level");
    }
    log.level = level.or(old_level).unwrap_or(log.level);
}

/// Reads `file` and its options. `None`: no log file.
fn file(section: &mut Section<'_, '_, '_>, console: LogFormat) -> Option<FileSettings> {
    let folder = section.context.folder.clone().unwrap_or_default();
    let path = section.read("file", |value| Ok(folder.join(name(scalar::text(value)?)?)));
    let mut file = default(path.clone().unwrap_or_default(), console);
    section.set("file_format", &mut file.format, scalar::choice(&LOG_FORMATS));
    section.section("rotate", |rotate| {
        rotate.set("size", &mut file.size, scalar::size(1 << 10..=1 << 40));
        rotate.set("daily", &mut file.daily, scalar::boolean);
        rotate.set("keep", &mut file.keep, scalar::integer(0..=1000));
    });
    path.map(|_| file)
}

pub(super) fn name(text: &str) -> Result<PathBuf, ValueError> {
    if text.is_empty() { Err("must not be empty".into()) } else { Ok(text.into()) }
}

/// The settings of a log file of which only the name is given.
pub(super) fn default(path: PathBuf, format: LogFormat) -> FileSettings {
    FileSettings { path, format, size: DEFAULT_SIZE, daily: false, keep: DEFAULT_KEEP }
}
