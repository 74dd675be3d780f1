//! Tells when the configuration file has other content than before (R35). The folder is watched, not the file, so that
//! editors that write a new one, atomic renames and Kubernetes' swaps of symbolic links are all seen; what counts is the
//! content once it has been quiet for a moment. A file that is gone is said once, and waited for; one that cannot be read is
//! other content, since whoever loads it says what is wrong. Where the system does
//! not tell of changes (network file systems, no watches left), a look every few seconds does.

use std::{
    collections::hash_map::DefaultHasher,
    ffi::OsString,
    fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};

use super::load;

/// Without a change for so long, a file counts as written.
const QUIET: Duration = Duration::from_millis(250);
/// A folder in which something changes all the time is looked at all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Between two looks without an event.
const LOOK: Duration = Duration::from_secs(10);

/// A watched file. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    ended: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

impl Watch {
    /// Calls `changed` on a thread of its own whenever `file` has other content.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(file: &Path, changed: impl FnMut() + Send + 'static) -> io::Result<Self> {
        // One waiting event says as much as many.
        let (wake, woken) = sync_channel(1);
        let ended = Arc::<AtomicBool>::default();
        let own = Self { ended: Arc::clone(&ended), wake: wake.clone() };
        let lookout = Lookout {
            file: file.to_path_buf(),
            seen: content(file),
            missed: false,
            folders: Folders { wake, watcher: None, watched: Vec::new() },
        };
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || lookout.run(&woken, &ended, changed))?;
        Ok(own)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Full: it is awake already.
        let _ = self.wake.try_send(());
    }
}

struct Lookout {
    file: PathBuf,
    /// A digest of what was there last. `None`: there was no file yet.
    seen: Option<u64>,
    /// It is gone, and that has been said.
    missed: bool,
    folders: Folders,
}

impl Lookout {
    fn run(mut self, woken: &Receiver<()>, ended: &AtomicBool, mut changed: impl FnMut()) {
        self.folders.follow(&self.file);
        // What was written since it was read, and before anybody watched.
        changed();
        loop {
            match woken.recv_timeout(LOOK) {
                Ok(()) => settle(woken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if ended.load(Ordering::Acquire) {
                return;
            }
            self.folders.follow(&self.file);
            if self.is_new() {
                changed();
            }
        }
    }

    fn is_new(&mut self) -> bool {
        let Some(now) = content(&self.file) else {
            if !self.missed {
                tracing::warn!(file = %self.file.display(), "the configuration file is gone; what it said stays in force");
            }
            self.missed = true;
            return false;
        };
        if std::mem::take(&mut self.missed) {
            tracing::info!(file = %self.file.display(), "the configuration file is back");
        }
        self.seen.replace(now) != Some(now)
    }
}

/// Waits until nothing has come for a moment.
fn settle(woken: &Receiver<()>) {
    let last = Instant::now() + LONGEST_WAIT;
    while Instant::now() < last && woken.recv_timeout(QUIET).is_ok() {}
}

/// A digest of the file, or of what keeps it from being read; `None` when it is not there.
fn content(file: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match load::read(file) {
        Ok(text) => text.hash(&mut hasher),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string().hash(&mut hasher),
    }
    Some(hasher.finish())
}

/// The folders that are watched: the file's own, and the one in which it really lies.
struct Folders {
    wake: SyncSender<()>,
    /// `None`: not asked for yet, or the system gave none.
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Folders {
    /// Watches what is to be watched by now. Anew each time: a folder that was made again has the same name.
    fn follow(&mut self, file: &Path) {
        let real = fs::canonicalize(file).ok();
        let names = [Some(file), real.as_deref()].into_iter().flatten().filter_map(Path::file_name);
        let names: Vec<OsString> = names.map(OsString::from).collect();
        let mut folders: Vec<PathBuf> =
            [Some(file), real.as_deref()].into_iter().flatten().map(folder_of).collect();
        folders.dedup();
        if self.watcher.is_some() && folders == self.watched && folders.iter().all(|folder| folder.exists()) {
            return;
        }
        let wake = self.wake.clone();
        let tell = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| concerns(&event, &names)) {
                let _ = wake.try_send(());
            }
        };
        let watching = notify::recommended_watcher(tell).and_then(|mut watcher| {
            for folder in &folders {
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => (self.watcher, self.watched) = (Some(watcher), folders),
            Err(error) => {
                tracing::debug!(%error, "cannot watch the configuration's folder; it is looked at instead");
                self.watcher = None;
            }
        }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Whatever may have changed which file stands under the name, and writes to the file itself; not reads, of which our
/// own look is one, nor writes to its neighbours.
#[expect(clippy::wildcard_enum_match_arm, reason = "notify's list of kinds is open")]
fn concerns(event: &Event, names: &[OsString]) -> bool {
    let named = || {
        event.paths.iter().filter_map(|path| path.file_name()).any(|name| names.iter().any(|own| own == name))
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Modify(ModifyKind::Data(_)) => {
            named()
        }
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::mpsc::channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

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

    /// Watches, and is told of each change; the first call has been taken already.
    fn watched(file: &Path) -> (Watch, Receiver<()>) {
        #[expect(clippy::disallowed_methods, reason = "a test's own")]
        let (tell, told) = channel();
        let watch = Watch::start(file, move || {
            let _ = tell.send(());
        })
        .unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        (watch, told)
    }

    fn told(of: &Receiver<()>) -> bool {
        of.recv_timeout(PATIENCE).is_ok()
    }

    #[test]
    fn sees_writes_renames_and_a_file_that_comes_back() {
        let folder = Folder::new("plain");
        let file = folder.at("config.json");
        fs::write(&file, "1").unwrap();
        let (watch, changes) = watched(&file);
        fs::write(&file, "2").unwrap();
        assert!(told(&changes), "written in place");
        fs::write(folder.at("new"), "3").unwrap();
        fs::rename(folder.at("new"), &file).unwrap();
        assert!(told(&changes), "renamed over");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "4").unwrap();
        assert!(told(&changes), "made anew");
        fs::write(&file, "4").unwrap();
        fs::write(folder.at("neighbour"), "5").unwrap();
        assert!(changes.recv_timeout(2 * QUIET).is_err(), "the same content is no change");
        fs::write(&file, b"\xff").unwrap();
        assert!(told(&changes), "not to be read, which is to be said");
        fs::remove_file(&file).unwrap();
        assert!(changes.recv_timeout(2 * QUIET).is_err(), "gone is not to be loaded");
        fs::write(&file, "6").unwrap();
        assert!(told(&changes), "good again");
        drop(watch);
        assert_eq!(
            changes.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected),
            "its thread has ended"
        );
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
        let (_watch, changes) = watched(&folder.at("config.json"));
        for number in ["..2", "..3"] {
            symlink(number, folder.at("..tmp")).unwrap();
            fs::rename(folder.at("..tmp"), folder.at("..data")).unwrap();
            assert!(told(&changes), "{number}");
        }
        fs::write(folder.at("..3").join("config.json"), "4").unwrap();
        assert!(told(&changes), "where it really lies");
    }
}
