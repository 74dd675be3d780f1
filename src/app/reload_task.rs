//! The background task that reloads the configuration: on request (`POST /v1/reload`, SIGHUP) and when the
//! file has other content. Reading files and building snapshots blocks, so it runs on a blocking thread, and
//! no other background task waits for it. Invariant: reloads run one after another, and each request that was
//! taken is answered, unless its reload panics; then the panic is logged and the task ends.

use std::{future::pending, io, panic};

use tokio::{
    sync::mpsc::Receiver,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    background::{Background, BackgroundTask},
    reload::{BY_FILE, Reloader},
};
use crate::{
    config::FileWatch,
    server::{Drain, Phase},
    web::reload::{ReloadOutcome, ReloadRequest, ReloadWork},
};

/// The part that blocks.
struct WatchedReloader {
    reloader: Reloader,
    /// `None`: the file is not watched.
    watch: Option<FileWatch>,
}

/// Starts the task. It ends when the drain begins, after the reloads that were requested before.
pub(super) fn start(
    reloader: Reloader,
    requests: Receiver<ReloadRequest>,
    drain: Drain,
    background: &Background,
) -> io::Result<BackgroundTask> {
    let watch = reloader.watch();
    let reloader = Box::new(WatchedReloader { reloader, watch });
    background.spawn("reload", move || run(reloader, requests, drain))
}

async fn run(mut reloader: Box<WatchedReloader>, mut requests: Receiver<ReloadRequest>, drain: Drain) {
    let mut next_look = Some(Instant::now());
    loop {
        tokio::select! {
            biased;
            request = requests.recv() => match request {
                Some(request) => reloader = on_blocking_thread(reloader, |it| it.answer(request)).await,
                None => return,
            },
            // From here on `recv` returns the requests made before, and then `None`.
            () = drain.reached(Phase::Draining) => requests.close(),
            () = until(next_look) => {
                reloader = on_blocking_thread(reloader, |it| it.look()).await;
                next_look = reloader.watch.as_ref().map(|watch| Instant::now() + watch.next_check_in());
            }
        }
    }
}

/// `None`: for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Lends `value` to `work` on a blocking thread. A panic there goes on here.
async fn on_blocking_thread<T: Send + 'static>(
    mut value: T,
    work: impl FnOnce(&mut T) + Send + 'static,
) -> T {
    let worked = spawn_blocking(move || {
        work(&mut value);
        value
    });
    match worked.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(payload)) => panic::resume_unwind(payload),
        // The runtime is ending, and this task with it.
        Err(Err(_)) => pending().await,
    }
}

impl WatchedReloader {
    fn answer(&mut self, request: ReloadRequest) {
        let outcome = match request.work {
            ReloadWork::Apply => self.reloader.reload(request.asked_by),
            ReloadWork::Check => self.reloader.check(),
            ReloadWork::Show => self.reloader.show(),
        };
        if let (Some(watch), ReloadWork::Apply, ReloadOutcome::Done(_)) =
            (&mut self.watch, request.work, &outcome)
        {
            watch.mark_loaded(self.reloader.settings.digest);
        }
        // Fails if the client has left.
        let _ = request.reply.send(outcome);
    }

    fn look(&mut self) {
        if self.watch.as_mut().is_some_and(FileWatch::check) {
            self.reloader.reload(BY_FILE);
        }
    }
}
