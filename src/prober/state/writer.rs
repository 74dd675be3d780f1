//! The state of a run: read at start, written some time after it has changed, and once more at the end. Reads
//! and writes run on a blocking thread. A file that cannot be read or written is logged once, and costs only
//! the checks that it would have saved. Invariant: `dirty` is true while the state holds changes that no
//! write has begun to save.

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{SavedState, file};
use crate::base::{Episode, time::unix_now, ttl_map::CacheHits};

/// Shortest time between two writes.
const MIN_WRITE_INTERVAL: Duration = Duration::from_secs(30);
/// From the first change to the first write, because the first results arrive together at start.
const WRITE_DELAY: Duration = Duration::from_secs(1);

/// Clones share the state and the file.
#[derive(Clone, Debug)]
pub struct StateFile(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    state: RefCell<SavedState>,
    changed: Notify,
    dirty: Cell<bool>,
    /// A write has succeeded, so that later errors are worth a warning.
    written: Cell<bool>,
    /// The last write failed, and that was logged.
    failing: RefCell<Episode>,
}

impl StateFile {
    /// Starts with the file's content if it is a state file. `path: None`: nothing is read or written.
    pub async fn open(path: Option<PathBuf>, recalls: &CacheHits) -> Self {
        let mut state = match &path {
            Some(path) => {
                let own = path.clone();
                let text = spawn_blocking(move || file::read(&own)).await;
                saved(path, text.unwrap_or_else(|error| Err(io::Error::other(error))), recalls)
            }
            None => None,
        }
        .unwrap_or_else(|| SavedState::new(recalls));
        state.clean(unix_now());
        Self(Rc::new(Inner {
            path,
            state: RefCell::new(state),
            changed: Notify::new(),
            dirty: Cell::new(false),
            written: Cell::new(false),
            failing: RefCell::default(),
        }))
    }

    /// For a lookup. The guard must not be held over an await or over [`Self::update`].
    pub(in crate::prober) fn state(&self) -> RefMut<'_, SavedState> {
        self.0.state.borrow_mut()
    }

    /// Changes the state, given the time in seconds since 1970; the change will be written.
    pub(in crate::prober) fn update(&self, change: impl FnOnce(&mut SavedState, u64)) {
        change(&mut self.0.state.borrow_mut(), unix_now());
        self.0.dirty.set(true);
        self.0.changed.notify_one();
    }

    /// Writes after changes, until it is dropped.
    pub(in crate::prober) async fn keep_written(&self) {
        let mut next = Instant::now();
        loop {
            self.0.changed.notified().await;
            sleep_until(next.max(Instant::now() + WRITE_DELAY)).await;
            self.write().await;
            next = Instant::now() + MIN_WRITE_INTERVAL;
        }
    }

    /// Writes the changes since the last write. Dropped early, the write goes on, and its error is not
    /// logged.
    pub(in crate::prober) async fn write(&self) {
        let Some(path) = self.0.path.clone() else { return };
        if !self.0.dirty.replace(false) {
            return;
        }
        let text = self.state().render(unix_now());
        let outcome = spawn_blocking(move || file::write(&path, &text)).await;
        match outcome.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())) {
            Ok(()) => {
                self.0.written.set(true);
                self.0.failing.borrow_mut().end();
            }
            Err(error) => self.report(&error),
        }
    }

    /// Logs an error once for each run of errors. Where no write has ever succeeded and the system does not
    /// allow one, that is how the place is, and not worth a warning.
    fn report(&self, error: &io::Error) {
        let file = self.0.path.as_deref().unwrap_or_else(|| "".as_ref()).display();
        let is_not_allowed = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound
        );
        if !self.0.failing.borrow_mut().begin() {
            return;
        }
        if is_not_allowed && !self.0.written.get() {
            tracing::debug!(%file, %error, "no state file here: nothing is kept over a restart");
        } else {
            tracing::warn!(%file, %error, "the state file cannot be written");
        }
    }
}

/// The state in `text`. `None`: there is none, and why was logged.
fn saved(path: &Path, text: io::Result<Vec<u8>>, recalls: &CacheHits) -> Option<SavedState> {
    match text {
        Ok(text) => {
            let state = SavedState::parse(&text, recalls);
            if state.is_none() {
                let file = path.display();
                tracing::warn!(%file, "not a state file, or a broken one: ignored, and written anew");
            }
            state
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::debug!(file = %path.display(), %error, "the state file cannot be read");
            None
        }
    }
}
