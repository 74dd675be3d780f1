//! Keeps the state of a run: reads it at start, writes it when it has changed, but seldom, and once more at the end. A
//! file that cannot be read or written is said once and costs nothing but what it would have saved.

use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{SavedState, file};
use crate::base::{time::unix_now, ttl_map::CacheHits};

/// From one writing to the next, at least.
const SELDOM: Duration = Duration::from_secs(30);
/// From the first change to the first writing: what is learnt at start comes in one go.
const SOON: Duration = Duration::from_secs(1);

/// Cloning shares it.
#[derive(Clone, Debug)]
pub(in crate::app) struct StateFile(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    state: RefCell<SavedState>,
    changed: Notify,
    dirty: Cell<bool>,
    /// A writing succeeded; what is wrong afterwards is news.
    written: Cell<bool>,
    /// The last writing failed, and that was said.
    failing: Cell<bool>,
}

impl StateFile {
    /// With what the file says, if it is ours. `None`: nothing outlives the run.
    pub(in crate::app) fn open(path: Option<PathBuf>, recalls: &CacheHits) -> Self {
        let state = path.as_deref().and_then(|path| match file::read(path) {
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
        });
        let mut state = state.unwrap_or_else(|| SavedState::new(recalls));
        state.clean(unix_now());
        Self(Rc::new(Inner {
            path,
            state: RefCell::new(state),
            changed: Notify::new(),
            dirty: Cell::new(false),
            written: Cell::new(false),
            failing: Cell::new(false),
        }))
    }

    /// To look something up.
    pub(in crate::app) fn state(&self) -> RefMut<'_, SavedState> {
        self.0.state.borrow_mut()
    }

    /// Learns something, which will be written.
    pub(in crate::app) fn learn(&self, learn: impl FnOnce(&mut SavedState, u64)) {
        learn(&mut self.0.state.borrow_mut(), unix_now());
        self.0.dirty.set(true);
        self.0.changed.notify_one();
    }

    /// Writes when there is something to write, until dropped.
    pub(in crate::app) async fn keep(&self) {
        let mut next = Instant::now();
        loop {
            self.0.changed.notified().await;
            sleep_until(next.max(Instant::now() + SOON)).await;
            self.write().await;
            next = Instant::now() + SELDOM;
        }
    }

    /// Writes what has changed, away from this thread.
    pub(in crate::app) async fn write(&self) {
        let Some(path) = self.0.path.clone() else { return };
        if !self.0.dirty.replace(false) {
            return;
        }
        let text = self.state().render(unix_now());
        let outcome = tokio::task::spawn_blocking(move || file::write(&path, &text)).await;
        match outcome.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())) {
            Ok(()) => {
                self.0.written.set(true);
                self.0.failing.set(false);
            }
            Err(error) => self.say(&error),
        }
    }

    /// Once for each time that it goes wrong. Where no file could ever be written, that is how the place is.
    fn say(&self, error: &io::Error) {
        let file = self.0.path.as_deref().unwrap_or_else(|| "".as_ref()).display();
        let by_nature = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound
        );
        if self.0.failing.replace(true) {
            return;
        }
        if by_nature && !self.0.written.get() {
            tracing::debug!(%file, %error, "no state file here: nothing is kept over a restart");
        } else {
            tracing::warn!(%file, %error, "the state file cannot be written");
        }
    }
}
