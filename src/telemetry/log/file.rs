//! The log file, written by the log's own thread: appended to, rotated when it is full or its day is over,
//! and opened again when another program has moved it (logrotate, without a signal). A line that cannot be
//! written is an error for the queue, which counts lost lines; every line tries again, so a disk with new
//! space is used without a restart.
//!
//! Invariant: a line is never split by a rotation.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::LogFormat;
use crate::base::{Episode, time::since_1970};

/// From one check that the open file is still the one under its name to the next.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The log file and its rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub path: PathBuf,
    pub format: LogFormat,
    /// Rotate at this many bytes.
    pub size: u64,
    /// Rotate at midnight (UTC) too.
    pub daily: bool,
    /// Number of rotated files to keep; `log.1` is the newest.
    pub keep: usize,
}

#[derive(Debug)]
pub(super) struct Rotating {
    settings: FileSettings,
    /// `None`: the file cannot be opened.
    open: Option<Open>,
    checked: Instant,
    /// Writing fails.
    failing: Episode,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// The day the file was begun, in days since 1970.
    day: u64,
    /// Only a part of the last line was written.
    torn: bool,
}

impl Rotating {
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(settings: FileSettings) -> io::Result<Self> {
        let open = Some(Open::at(&settings.path)?);
        Ok(Self { settings, open, checked: Instant::now(), failing: Episode::new() })
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.check();
        if self.is_over(line.len()) {
            self.rotate();
        }
        match &mut self.open {
            Some(open) => open.write(line),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    /// Opens the file again if its name no longer refers to the open file.
    fn check(&mut self) {
        if self.checked.elapsed() < CHECK_INTERVAL {
            return;
        }
        self.checked = Instant::now();
        let known = self.open.as_mut().zip(fs::metadata(&self.settings.path).ok());
        let same = known.is_some_and(|(open, there)| {
            open.size = there.len();
            open.file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        });
        if !same {
            self.open = Open::at(&self.settings.path).ok();
        }
    }

    fn is_over(&self, more: usize) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let full = open.size > 0 && open.size + more as u64 > self.settings.size;
            full || self.settings.daily && open.day != today()
        })
    }

    /// Renames and opens a new file. If a rename fails, the file grows further.
    fn rotate(&mut self) {
        let path = &self.settings.path;
        for number in (1..self.settings.keep).rev() {
            let _ = fs::rename(numbered(path, number), numbered(path, number + 1));
        }
        let moved = match self.settings.keep {
            0 => fs::remove_file(path),
            _ => fs::rename(path, numbered(path, 1)),
        };
        match (moved.and_then(|()| Open::at(path)), &mut self.open) {
            (Ok(fresh), _) => self.open = Some(fresh),
            (Err(_), Some(open)) => (open.size, open.day) = (0, today()),
            (Err(_), None) => {}
        }
    }
}

impl Write for Rotating {
    /// Writes the whole line, or returns an error.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.write_line(line) {
            Ok(()) => {
                self.failing.end();
            }
            Err(error) => {
                if self.failing.begin() {
                    let file = self.settings.path.display();
                    tracing::error!(%file, %error, "cannot write the log file; lines are lost until it can be");
                }
                return Err(error);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Open {
    /// Opens or creates the file. Readable by owner and group only, because lines name models and providers
    /// of clients.
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let there = file.metadata()?;
        let day = if there.len() == 0 { today() } else { day_of(there.modified()?) };
        Ok(Self { size: there.len(), file, day, torn: false })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut left = line;
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.size += written as u64;
                    left = left.get(written..).unwrap_or_default();
                    self.torn = !left.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// `thalweg.log` → `thalweg.log.1`
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

fn today() -> u64 {
    day_of(SystemTime::now())
}

fn day_of(time: SystemTime) -> u64 {
    since_1970(time).as_secs() / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("thalweg-log-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.join(name)).ok()
        }

        fn log(&self, size: u64, keep: usize) -> Rotating {
            let path = self.0.join("log");
            let settings = FileSettings { path, format: LogFormat::Human, size, daily: true, keep };
            Rotating::open(settings).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn is_put_aside_when_it_is_full_and_so_many_are_kept() {
        let folder = Folder::new("full");
        let mut log = folder.log(8, 2);
        for line in ["one\n", "two\n", "three\n", "four\n", "longer than any\n", "six\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let all = ["log", "log.1", "log.2", "log.3"].map(|name| folder.read(name));
        let all: Vec<Option<&str>> = all.iter().map(Option::as_deref).collect();
        assert_eq!(all, [Some("six\n"), Some("longer than any\n"), Some("four\n"), None]);
    }

    #[test]
    fn is_gone_on_with_after_a_restart_and_put_aside_when_its_day_is_over() {
        let folder = Folder::new("day");
        folder.log(100, 1).write_all(b"before\n").unwrap();
        let mut log = folder.log(100, 1);
        log.write_all(b"after\n").unwrap();
        assert_eq!(folder.read("log").unwrap(), "before\nafter\n");
        log.open.as_mut().unwrap().day -= 1;
        log.write_all(b"today\n").unwrap();
        assert_eq!(
            [folder.read("log"), folder.read("log.1")].map(Option::unwrap),
            ["today\n", "before\nafter\n"]
        );
    }

    #[test]
    fn is_opened_anew_when_somebody_moved_it() {
        let folder = Folder::new("moved");
        let mut log = folder.log(100, 1);
        log.write_all(b"one\n").unwrap();
        fs::rename(folder.0.join("log"), folder.0.join("aside")).unwrap();
        log.checked -= CHECK_INTERVAL;
        log.write_all(b"two\n").unwrap();
        assert_eq!([folder.read("log"), folder.read("aside")].map(Option::unwrap), ["two\n", "one\n"]);
        fs::remove_dir_all(&folder.0).unwrap();
        log.checked -= CHECK_INTERVAL;
        assert!(log.write_all(b"lost\n").is_err());
        fs::create_dir_all(&folder.0).unwrap();
        log.checked -= CHECK_INTERVAL;
        log.write_all(b"three\n").unwrap();
        assert_eq!(folder.read("log").unwrap(), "three\n");
    }

    #[test]
    fn a_torn_line_ends_before_the_next_begins() {
        let folder = Folder::new("torn");
        let mut log = folder.log(100, 1);
        log.write_all(b"ha").unwrap();
        log.open.as_mut().unwrap().torn = true;
        log.write_all(b"whole\n").unwrap();
        assert_eq!(folder.read("log").unwrap(), "ha\nwhole\n");
    }
}
