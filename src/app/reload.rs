//! Loading the configuration again while the gateway runs. *Prepare* may fail: it reads file, variables and flags, checks
//! all of it and builds a whole new snapshot, and nothing has changed yet. *Swap* cannot: it is one pointer, and what
//! must outlive it (records, lists of models) is carried from the snapshot before. Requests keep the one they began with.
//!
//! One thread does it, one errand after another. To have a new setting take part: build it into the snapshot in
//! [`super::build`], name it in [`super::changes`], and carry in [`carry`] what it has learnt; what lives outside of the
//! snapshot is handed over in [`Reloader::swap`].

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    build,
    changes::{Changes, LoadedNames, in_force},
    gateway::start_demo,
};
use crate::{
    auth::TokenSettings,
    config::{ConfigSource, FileWatch, LoadError, Problem, Settings},
    demo::Demo,
    proxy::Snapshot,
    routing::StatsRegistry,
    server::ServerLimits,
    telemetry::LevelHandle,
    web::reload::{ReloadOutcome, ReloadRequest},
};

/// Asks because the file has changed.
const BY_FILE: &str = "file";
/// Nothing is watched: as good as for ever.
const NEVER: Duration = Duration::from_secs(1 << 32);

/// All that reloading needs of the process.
#[derive(Debug)]
pub(super) struct Reloader {
    /// `None`: these settings came from nowhere that could be asked again.
    pub(super) source: Option<ConfigSource>,
    pub(super) level: Option<LevelHandle>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) limits: Arc<ArcSwap<ServerLimits>>,
    /// What was learnt of candidates: outlives every snapshot.
    pub(super) records: StatsRegistry,
    /// In force, but for what only a restart applies.
    pub(super) settings: Settings,
    pub(super) made_token: Option<TokenSettings>,
    pub(super) demo: Option<Demo>,
    /// Told the generation after each swap.
    pub(super) swapped: watch::Sender<u64>,
}

/// Checked and complete: what is left to do cannot fail.
struct PreparedReload {
    settings: Settings,
    snapshot: Snapshot,
    changes: Changes,
    demo: Option<Demo>,
}

/// Why there is nothing to swap in.
struct ReloadError {
    message: String,
    problems: Vec<Problem>,
}

impl Reloader {
    /// Starts the thread, which looks at the file as well; it ends with the last desk.
    pub(super) fn start(mut self, errands: Receiver<ReloadRequest>) -> io::Result<JoinHandle<()>> {
        let mut watch = self.watch();
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            let mut look = Instant::now();
            loop {
                match errands.recv_timeout(look.saturating_duration_since(Instant::now())) {
                    Ok(errand) => {
                        let told = if errand.check { self.check() } else { self.reload(errand.asked_by) };
                        if let (Some(watch), false, ReloadOutcome::Done(_)) =
                            (&mut watch, errand.check, &told)
                        {
                            watch.took(self.settings.digest);
                        }
                        // Whoever asked may have left.
                        let _ = errand.reply.send(told);
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if watch.as_mut().is_some_and(FileWatch::look) {
                            self.reload(BY_FILE);
                        }
                        look = Instant::now() + watch.as_ref().map_or(NEVER, FileWatch::pause);
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })
    }

    fn watch(&self) -> Option<FileWatch> {
        let file = self.settings.file.clone().filter(|_| self.settings.watch && self.source.is_some())?;
        Some(FileWatch::new(file, self.settings.digest))
    }

    fn check(&self) -> ReloadOutcome {
        match self.load() {
            Ok(mut settings) => {
                if self.demo.is_some() {
                    // One that runs is only named.
                    let _ = start_demo(&mut settings, self.demo.as_ref());
                }
                let changes = Changes::between(&self.settings, &settings);
                ReloadOutcome::Done(
                    json!({"status": "good", "would_load": LoadedNames::of(&settings), "changes": changes}),
                )
            }
            Err(unprepared) => unprepared.into(),
        }
    }

    fn reload(&mut self, asked_by: &'static str) -> ReloadOutcome {
        match self.prepare() {
            // Somebody else was quicker than the watch.
            Ok(prepared) if asked_by == BY_FILE && prepared.changes.is_empty() => {
                ReloadOutcome::Done(json!({"status": "unchanged"}))
            }
            Ok(prepared) => ReloadOutcome::Done(self.swap(prepared, asked_by)),
            Err(unprepared) => {
                let mistakes: Vec<String> = unprepared.problems.iter().map(Problem::to_string).collect();
                tracing::warn!(
                    by = asked_by,
                    error = unprepared.message,
                    mistakes = (!mistakes.is_empty()).then(|| mistakes.join("; ")),
                    "configuration not reloaded, the old one stays"
                );
                unprepared.into()
            }
        }
    }

    /// The settings as they would be in force, without the demo provider.
    fn load(&self) -> Result<Settings, ReloadError> {
        let Some(source) = &self.source else {
            return Err(ReloadError::because(
                "this gateway was started without a configuration to load again",
            ));
        };
        let mut settings = source.load_again()?;
        if settings.tokens.is_empty() && self.snapshot.load().keys.ring().is_empty() {
            // What a token of this run needs is that only loopback is listened on.
            let Some(made) = &self.made_token else {
                let problem = Problem {
                    path: "tokens".to_owned(),
                    message: "none is left; a token is made for a run only at its start".to_owned(),
                    suggestion: None,
                };
                return Err(ReloadError { message: "no token is left".to_owned(), problems: vec![problem] });
            };
            settings.tokens.push(made.clone());
            settings.listen.host.clone_from(&self.settings.listen.host);
        }
        Ok(settings)
    }

    fn prepare(&self) -> Result<PreparedReload, ReloadError> {
        let mut settings = self.load()?;
        let demo = start_demo(&mut settings, self.demo.as_ref()).map_err(|error| {
            ReloadError::because(format!("no provider is configured and the demo provider fails: {error}"))
        })?;
        let changes = Changes::between(&self.settings, &settings);
        let settings = in_force(settings, &self.settings);
        Ok(PreparedReload { snapshot: build::snapshot(&settings, &self.records), settings, changes, demo })
    }

    /// Puts it in force; gives what is told of it.
    fn swap(&mut self, prepared: PreparedReload, asked_by: &'static str) -> Value {
        let PreparedReload { settings, snapshot, changes, demo } = prepared;
        self.snapshot.rcu(|current| carry(&snapshot, current));
        self.limits.store(Arc::new(settings.limits));
        self.records.prune();
        let generation = self.snapshot.load().generation;
        if let Some(level) = &self.level {
            level.set(settings.log.level);
        }
        self.demo = demo.or_else(|| self.demo.take());
        self.settings = settings;
        self.swapped.send_replace(generation);
        let told = json!({
            "status": "reloaded",
            "generation": generation,
            "file": self.settings.file,
            "loaded": LoadedNames::of(&self.settings),
            "changes": changes,
        });
        tracing::info!(by = asked_by, generation, changes = %told["changes"], "configuration reloaded");
        if let Some(keys) = changes.needs_restart() {
            tracing::warn!(keys, "changed in the configuration; only a restart applies it");
        }
        told
    }
}

/// `next` with what was learnt under `current`.
fn carry(next: &Snapshot, current: &Snapshot) -> Snapshot {
    let mut carried = next.clone();
    carried.generation = current.generation + 1;
    carried.keys = current.keys.clone();
    carried.tokens = next.tokens.carry(&current.tokens);
    carried.recalls = current.recalls.clone();
    for (index, provider) in carried.providers.iter_mut().enumerate() {
        let same = |old: &&crate::proxy::Provider| {
            let (old, new) = (&old.target, &provider.target);
            (&old.name, &old.base) == (&new.name, &new.base)
        };
        let Some((at, old)) = current.providers.iter().enumerate().find(|(_, old)| same(old)) else {
            continue;
        };
        if provider.target.key != old.target.key {
            // What was wrong with the old key is not said of the new one. Its list may be another, too.
            provider.standing.wake();
            continue;
        }
        if *provider.target == *old.target && provider.deadlines == old.deadlines {
            provider.target = Arc::clone(&old.target);
        }
        if let Some(fetched) = current.catalog.fetched(at)
            && !carried.catalog.is_configured(index)
        {
            carried.catalog = carried.catalog.with_listing(index, fetched.clone());
        }
    }
    carried
}

impl ReloadError {
    fn because(message: impl Into<String>) -> Self {
        Self { message: message.into(), problems: Vec::new() }
    }
}

impl From<LoadError> for ReloadError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unreadable { file, reason } => {
                Self::because(format!("cannot read {}: {reason}", file.display()))
            }
            LoadError::Mistakes { file, problems } => {
                let of = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
                let plural = if problems.len() == 1 { "" } else { "s" };
                Self { message: format!("{of} has {} mistake{plural}", problems.len()), problems }
            }
        }
    }
}

impl From<ReloadError> for ReloadOutcome {
    fn from(unprepared: ReloadError) -> Self {
        let errors = unprepared.problems.into_iter().map(|problem| {
            let Problem { path, message, suggestion } = problem;
            json!({"path": path, "message": message, "suggestion": suggestion})
        });
        Self::Wrong { message: unprepared.message, errors: errors.collect() }
    }
}
