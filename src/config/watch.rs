//! Tells when the configuration file has other content than before (R35). The file is read once a second: that sees
//! editors that write a new one, atomic renames and Kubernetes' swaps of symbolic links alike, on every file system, and
//! costs less than being told. New content counts once it stays the same for a moment. A file that is gone is said once,
//! and waited for; one that cannot be read is other content, since whoever loads it says what is wrong.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io,
    path::PathBuf,
    time::Duration,
};

use super::load;
use crate::base::Episode;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Without another change for so long, new content counts as written.
const QUIET: Duration = Duration::from_millis(250);
/// Looks at content that changes all the time, until it is taken all the same.
const MOST_LOOKS: u8 = 8;

/// A watched file; whoever owns it looks.
#[derive(Debug)]
pub struct FileWatch {
    file: PathBuf,
    /// The digest of what counted last.
    taken: u64,
    /// Other content: its digest, and how often it was looked at since `taken` was there.
    fresh: Option<(u64, u8)>,
    /// It is gone, and that has been said.
    missed: Episode,
}

impl FileWatch {
    /// `taken`: the digest of what was read of it already.
    #[must_use]
    pub const fn new(file: PathBuf, taken: u64) -> Self {
        Self { file, taken, fresh: None, missed: Episode::new() }
    }

    /// Somebody else has read what has this digest, and that is in force.
    pub const fn took(&mut self, taken: u64) {
        (self.taken, self.fresh) = (taken, None);
    }

    /// How long to wait for the next look.
    #[must_use]
    pub const fn pause(&self) -> Duration {
        if self.fresh.is_some() { QUIET } else { LOOK }
    }

    /// Whether there is new content to load.
    pub fn look(&mut self) -> bool {
        let Some(now) = self.content() else { return false };
        if self.taken == now {
            self.fresh = None;
            return false;
        }
        let looks = match self.fresh {
            Some((before, _)) if before == now => MOST_LOOKS,
            Some((_, looks)) => looks + 1,
            None => 1,
        };
        if looks < MOST_LOOKS {
            self.fresh = Some((now, looks));
            return false;
        }
        (self.taken, self.fresh) = (now, None);
        true
    }

    /// A digest of the file, or of what keeps it from being read; `None` when it is not there.
    fn content(&mut self) -> Option<u64> {
        let now = match load::read_regular(&self.file) {
            Ok(text) => digest(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.missed.begin() {
                    tracing::warn!(file = %self.file.display(), "the configuration file is gone; what it said stays in force");
                }
                return None;
            }
            Err(error) => digest(&error.to_string()),
        };
        if self.missed.end() {
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

    /// What is there was taken.
    fn watched(file: &Path) -> FileWatch {
        FileWatch::new(file.to_path_buf(), digest(&fs::read_to_string(file).unwrap()))
    }

    /// New content is told by the second look at it, which comes soon.
    fn told(watch: &mut FileWatch) -> bool {
        !watch.look() && watch.pause() == QUIET && watch.look() && watch.pause() == LOOK
    }

    fn is_silent(watch: &mut FileWatch) -> bool {
        !watch.look() && watch.pause() == LOOK
    }

    #[test]
    fn sees_writes_renames_and_a_file_that_comes_back() {
        let folder = Folder::new("plain");
        let file = folder.at("config.json");
        fs::write(&file, "1").unwrap();
        let mut watch = watched(&file);
        assert!(is_silent(&mut watch), "nothing is new");
        fs::write(&file, "2").unwrap();
        assert!(told(&mut watch), "written in place");
        fs::write(folder.at("new"), "3").unwrap();
        fs::rename(folder.at("new"), &file).unwrap();
        assert!(told(&mut watch), "renamed over");
        fs::remove_file(&file).unwrap();
        assert!(is_silent(&mut watch), "gone is not to be loaded");
        fs::write(&file, "3").unwrap();
        assert!(is_silent(&mut watch), "the same content is no change");
        fs::write(&file, b"\xff").unwrap();
        assert!(told(&mut watch), "not to be read, which is to be said");
        fs::write(&file, "4").unwrap();
        assert!(told(&mut watch), "good again");
        fs::write(&file, "5").unwrap();
        watch.took(digest("5"));
        assert!(is_silent(&mut watch), "somebody has loaded it");
        fs::write(&file, "4").unwrap();
        assert!(told(&mut watch), "what was there before is news");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(told(&mut watch), "no file at all, which is to be said");
    }

    #[test]
    fn waits_for_a_writer_but_not_for_ever() {
        let folder = Folder::new("busy");
        let file = folder.at("config.json");
        fs::write(&file, "1").unwrap();
        let mut watch = watched(&file);
        fs::write(&file, "half").unwrap();
        assert!(!watch.look());
        fs::write(&file, "half and half").unwrap();
        assert!(!watch.look(), "it is still being written");
        assert!(watch.look());
        fs::write(&file, "half").unwrap();
        assert!(!watch.look());
        fs::write(&file, "half and half").unwrap();
        assert!(is_silent(&mut watch), "it is as it was");
        let looks = (1..=u8::MAX).find(|look| {
            fs::write(&file, look.to_string()).unwrap();
            watch.look()
        });
        assert_eq!(looks, Some(MOST_LOOKS), "it changes all the time");
    }

    /// As Kubernetes shows a ConfigMap: `config.json` → `..data/config.json`, and `..data` → a folder that is swapped.
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
            assert!(told(&mut watch), "{number}");
        }
        fs::write(folder.at("..3").join("config.json"), "4").unwrap();
        assert!(told(&mut watch), "where it really lies");
    }
}
