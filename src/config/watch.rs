//! Detects a change of the configuration file's content (R35). The file is read once a second: this detects
//! editors that write a new file, atomic renames and Kubernetes' swaps of symbolic links alike, on every file
//! system, and costs less than notifications.
//!
//! New content counts when it stays the same for a moment. A missing file is logged once and waited for. A
//! file that cannot be read counts as new content, because loading it reports the reason.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io,
    path::PathBuf,
    time::Duration,
};

use super::load;
use crate::base::Episode;

/// Between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// New content counts as complete when it has not changed for this long.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);
/// Checks after which content that keeps changing counts all the same.
const MAX_CHECKS: u8 = 8;

/// A watched file; its owner calls [`Self::check`].
#[derive(Debug)]
pub struct FileWatch {
    file: PathBuf,
    /// The digest of the content that counted last.
    loaded: u64,
    /// New content that does not count yet: its digest, and the number of checks since `loaded` was replaced.
    pending: Option<(u64, u8)>,
    /// The file is missing: logged when it begins and when it ends.
    missing: Episode,
}

impl FileWatch {
    /// `loaded`: the digest of the content that is already loaded.
    #[must_use]
    pub const fn new(file: PathBuf, loaded: u64) -> Self {
        Self { file, loaded, pending: None, missing: Episode::new() }
    }

    /// Content with this digest has been loaded by another way (a signal or a request).
    pub const fn mark_loaded(&mut self, loaded: u64) {
        (self.loaded, self.pending) = (loaded, None);
    }

    /// The time until the next check.
    #[must_use]
    pub const fn next_check_in(&self) -> Duration {
        if self.pending.is_some() { SETTLE_INTERVAL } else { CHECK_INTERVAL }
    }

    /// Whether there is new content to load.
    pub fn check(&mut self) -> bool {
        let Some(now) = self.content() else { return false };
        if self.loaded == now {
            self.pending = None;
            return false;
        }
        let checks = match self.pending {
            Some((before, _)) if before == now => MAX_CHECKS,
            Some((_, checks)) => checks + 1,
            None => 1,
        };
        if checks < MAX_CHECKS {
            self.pending = Some((now, checks));
            return false;
        }
        (self.loaded, self.pending) = (now, None);
        true
    }

    /// A digest of the file, or of the error that reading it gives. `None`: the file does not exist.
    fn content(&mut self) -> Option<u64> {
        let now = match load::read_regular(&self.file) {
            Ok(text) => digest(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.missing.begin() {
                    tracing::warn!(file = %self.file.display(), "the configuration file is gone; what it said stays in force");
                }
                return None;
            }
            Err(error) => digest(&error.to_string()),
        };
        if self.missing.end() {
            tracing::info!(file = %self.file.display(), "the configuration file is back");
        }
        Some(now)
    }
}

pub(super) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("thalweg-watch-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A watch with its current content loaded.
    fn watched(file: &Path) -> FileWatch {
        FileWatch::new(file.to_path_buf(), digest(&fs::read_to_string(file).unwrap()))
    }

    /// New content is reported by the second check, which comes soon.
    fn is_reported(watch: &mut FileWatch) -> bool {
        !watch.check()
            && watch.next_check_in() == SETTLE_INTERVAL
            && watch.check()
            && watch.next_check_in() == CHECK_INTERVAL
    }

    fn is_silent(watch: &mut FileWatch) -> bool {
        !watch.check() && watch.next_check_in() == CHECK_INTERVAL
    }

    #[test]
    fn sees_writes_renames_and_a_file_that_comes_back() {
        let folder = Folder::new("plain");
        let file = folder.at("config.json");
        fs::write(&file, "1").unwrap();
        let mut watch = watched(&file);
        assert!(is_silent(&mut watch), "nothing is new");
        fs::write(&file, "2").unwrap();
        assert!(is_reported(&mut watch), "written in place");
        fs::write(folder.at("new"), "3").unwrap();
        fs::rename(folder.at("new"), &file).unwrap();
        assert!(is_reported(&mut watch), "renamed over");
        fs::remove_file(&file).unwrap();
        assert!(is_silent(&mut watch), "gone is not to be loaded");
        fs::write(&file, "3").unwrap();
        assert!(is_silent(&mut watch), "the same content is no change");
        fs::write(&file, b"\xff").unwrap();
        assert!(is_reported(&mut watch), "not to be read, which is to be said");
        fs::write(&file, "4").unwrap();
        assert!(is_reported(&mut watch), "good again");
        fs::write(&file, "5").unwrap();
        watch.mark_loaded(digest("5"));
        assert!(is_silent(&mut watch), "somebody has loaded it");
        fs::write(&file, "4").unwrap();
        assert!(is_reported(&mut watch), "what was there before is news");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(is_reported(&mut watch), "no file at all, which is to be said");
    }

    #[test]
    fn waits_for_a_writer_but_not_for_ever() {
        let folder = Folder::new("busy");
        let file = folder.at("config.json");
        fs::write(&file, "1").unwrap();
        let mut watch = watched(&file);
        fs::write(&file, "half").unwrap();
        assert!(!watch.check());
        fs::write(&file, "half and half").unwrap();
        assert!(!watch.check(), "it is still being written");
        assert!(watch.check());
        fs::write(&file, "half").unwrap();
        assert!(!watch.check());
        fs::write(&file, "half and half").unwrap();
        assert!(is_silent(&mut watch), "it is as it was");
        let checks = (1..=u8::MAX).find(|check| {
            fs::write(&file, check.to_string()).unwrap();
            watch.check()
        });
        assert_eq!(checks, Some(MAX_CHECKS), "it changes all the time");
    }

    /// Kubernetes' layout of a ConfigMap: `config.json` → `..data/config.json`, and `..data` → a folder that
    /// is swapped.
    #[test]
    fn sees_a_symbolic_link_being_swapped() {
        let folder = Folder::new("links");
        for (number, text) in [("..1", "1"), ("..2", "2"), ("..3", "3")] {
            fs::create_dir(folder.at(number)).unwrap();
            fs::write(folder.at(number).join("config.json"), text).unwrap();
        }
        symlink("..1", folder.at("..data")).unwrap();
        symlink("..data/config.json", folder.at("config.json")).unwrap();
        let mut watch = watched(&folder.at("config.json"));
        for number in ["..2", "..3"] {
            symlink(number, folder.at("..tmp")).unwrap();
            fs::rename(folder.at("..tmp"), folder.at("..data")).unwrap();
            assert!(is_reported(&mut watch), "{number}");
        }
        fs::write(folder.at("..3").join("config.json"), "4").unwrap();
        assert!(is_reported(&mut watch), "where it really lies");
    }
}
