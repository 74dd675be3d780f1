//! The keys of `log`, beside the old `log_level`.

use std::path::PathBuf;

use super::{
    problem::ValueError,
    scalar,
    section::Section,
    settings::{LOG_FORMATS, LOG_LEVELS},
};
use crate::telemetry::{FileSettings, LogFormat, LogSettings};

/// Bytes of one file, when nobody says.
const SIZE: u64 = 100 << 20;
/// Files kept, when nobody says.
const KEEP: usize = 7;

pub(super) fn read(root: &mut Section<'_, '_, '_>, log: &mut LogSettings) {
    let old = root.read("log_level", scalar::choice(&LOG_LEVELS));
    let level = root.section("log", |section| {
        section.set("format", &mut log.format, scalar::choice(&LOG_FORMATS));
        log.file = file(section, log.format);
        section.read("level", scalar::choice(&LOG_LEVELS))
    });
    let level = level.flatten();
    if old.is_some() && level.is_some() {
        root.wrong("log_level", "is also said by log.level");
    }
    log.level = level.or(old).unwrap_or(log.level);
}

/// A relative name starts at the configuration file.
fn file(section: &mut Section<'_, '_, '_>, console: LogFormat) -> Option<FileSettings> {
    let folder = section.reader.folder.clone().unwrap_or_default();
    let path = section.read("file", |value| Ok(folder.join(name(scalar::text(value)?)?)));
    let mut file = usual(path.clone().unwrap_or_default(), console);
    section.set("file_format", &mut file.format, scalar::choice(&LOG_FORMATS));
    section.section("rotate", |rotate| {
        rotate.set("size", &mut file.size, scalar::size(1 << 10..=1 << 40));
        rotate.set("daily", &mut file.daily, scalar::boolean);
        rotate.set("keep", &mut file.keep, scalar::whole(0..=1000));
    });
    path.map(|_| file)
}

pub(super) fn name(text: &str) -> Result<PathBuf, ValueError> {
    if text.is_empty() { Err("must not be empty".into()) } else { Ok(text.into()) }
}

/// What a file is that only its name was said of.
pub(super) fn usual(path: PathBuf, format: LogFormat) -> FileSettings {
    FileSettings { path, format, size: SIZE, daily: false, keep: KEEP }
}
