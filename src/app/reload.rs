//! Loading the configuration again while the gateway runs. *Prepare* may fail: it reads file, variables and
//! flags, checks everything and builds a new snapshot, and has changed nothing yet. *Swap* cannot fail: it
//! replaces one pointer and carries over the state that outlives a snapshot (statistics, lists of models).
//! Requests keep the snapshot that they began with.
//!
//! Reloads run one after another. [`super::reload_task`] decides when; everything here blocks and runs on a
//! blocking thread. To make a new setting take part: build it into the snapshot in [`super::build`], name it
//! in [`super::changes`], and carry over its state in [`carry`]. State outside the snapshot is handed over in
//! [`Reloader::swap`].

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    build,
    changes::{Changes, LoadedNames, in_force},
    demo::DemoSlot,
};
use crate::{
    auth::TokenSettings,
    base::time::Rfc3339,
    config::{ConfigSource, FileWatch, LoadError, Problem, Settings},
    demo::Demo,
    proxy::Snapshot,
    routing::StatsRegistry,
    server::ServerLimits,
    telemetry::LevelHandle,
    web::reload::ReloadOutcome,
};

/// `asked_by` of a reload because the file has changed.
pub(super) const BY_FILE: &str = "file";

/// The state that a reload reads and replaces.
#[derive(Debug)]
pub(super) struct Reloader {
    /// `None`: the settings came from no source that can be read again.
    pub(super) source: Option<ConfigSource>,
    pub(super) level: Option<LevelHandle>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) limits: Arc<ArcSwap<ServerLimits>>,
    /// The candidates' statistics, which outlive every snapshot.
    pub(super) records: StatsRegistry,
    /// The settings in force; those that only a restart applies are the ones of the start.
    pub(super) settings: Settings,
    pub(super) made_token: Option<TokenSettings>,
    pub(super) demo: DemoSlot,
    /// Holds the generation of the snapshot in force; changes after each swap.
    pub(super) swapped: watch::Sender<u64>,
    /// The last reload: when, by which request, its changes or its mistakes. `None`: there was none.
    pub(super) last: Option<Value>,
}

/// Checked and complete, so that the swap cannot fail.
struct PreparedReload {
    settings: Settings,
    snapshot: Snapshot,
    changes: Changes,
    demo: Option<Demo>,
}

/// Why a reload has nothing to swap in.
struct ReloadError {
    message: String,
    problems: Vec<Problem>,
}

impl Reloader {
    /// `None`: the file is not watched.
    pub(super) fn watch(&self) -> Option<FileWatch> {
        let file = self.settings.file.clone().filter(|_| self.settings.watch && self.source.is_some())?;
        Some(FileWatch::new(file, self.settings.digest))
    }

    /// The outcome of a reload without the reload: its errors, or the changes that it would make.
    pub(super) fn check(&self) -> ReloadOutcome {
        match self.load() {
            Ok(mut settings) => {
                // A demo provider that runs already is named; none is started for a check.
                if self.demo.is_running() {
                    let _ = self.demo.provide(&mut settings);
                }
                let changes = Changes::between(&self.settings, &settings);
                ReloadOutcome::Done(
                    json!({"status": "good", "would_load": LoadedNames::of(&settings), "changes": changes}),
                )
            }
            Err(error) => error.into(),
        }
    }

    /// The configuration in force, without secrets, and the last reload.
    pub(super) fn show(&self) -> ReloadOutcome {
        ReloadOutcome::Done(json!({
            "generation": self.snapshot.load().generation,
            "file": self.settings.file,
            "reloadable": self.source.is_some(),
            "watched": self.watch().is_some(),
            "notes": self.settings.notes,
            "in_force": LoadedNames::of(&self.settings),
            "configuration": *self.settings.shown,
            "last_reload": self.last,
        }))
    }

    pub(super) fn reload(&mut self, asked_by: &'static str) -> ReloadOutcome {
        let outcome = self.try_reload(asked_by);
        let at = Rfc3339(SystemTime::now()).to_string();
        match &outcome {
            ReloadOutcome::Done(report) if report["status"] == "reloaded" => {
                self.last = Some(json!({"at": at, "by": asked_by, "changes": report["changes"]}));
            }
            ReloadOutcome::Done(_) => {}
            ReloadOutcome::Wrong { message, errors } => {
                self.last = Some(json!({"at": at, "by": asked_by, "message": message, "errors": errors}));
            }
        }
        outcome
    }

    fn try_reload(&mut self, asked_by: &'static str) -> ReloadOutcome {
        match self.prepare() {
            // Another reload has loaded this content before the file watch noticed it.
            Ok(prepared) if asked_by == BY_FILE && prepared.settings.digest == self.settings.digest => {
                ReloadOutcome::Done(json!({"status": "unchanged"}))
            }
            Ok(prepared) => ReloadOutcome::Done(self.swap(prepared, asked_by)),
            Err(error) => {
                let mistakes: Vec<String> = error.problems.iter().map(Problem::to_string).collect();
                tracing::warn!(
                    by = asked_by,
                    error = error.message,
                    mistakes = (!mistakes.is_empty()).then(|| mistakes.join("; ")),
                    "configuration not reloaded, the old one stays"
                );
                error.into()
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
        if let (Some(file), None) = (&self.settings.file, &settings.file) {
            // A default file that is away for a moment is not a wish for no configuration.
            return Err(ReloadError::because(format!("cannot read {}: it is not there", file.display())));
        }
        let keys = &self.snapshot.load().keys;
        if let (true, Some(made)) = (settings.tokens.is_empty(), &self.made_token) {
            // The token of this run is safe only while the gateway listens on loopback alone.
            settings.tokens.push(made.clone());
            settings.listen.host.clone_from(&self.settings.listen.host);
        }
        if settings.tokens.is_empty() && keys.are_known() && keys.ring().is_empty() {
            let problem = Problem {
                path: "tokens".to_owned(),
                message: "none is left; a token is made for a run only at its start".to_owned(),
                suggestion: None,
            };
            return Err(ReloadError { message: "no token is left".to_owned(), problems: vec![problem] });
        }
        if settings.providers.is_empty() && !self.serves_demo() {
            // The demo provider's texts are no answers to clients of a gateway in use.
            let problem = Problem {
                path: "providers".to_owned(),
                message: "none is left; the demo provider answers only where a gateway starts without"
                    .to_owned(),
                suggestion: None,
            };
            return Err(ReloadError { message: "no provider is left".to_owned(), problems: vec![problem] });
        }
        Ok(settings)
    }

    /// The demo provider is the one that serves.
    fn serves_demo(&self) -> bool {
        self.demo.is_running()
            && self.settings.providers.iter().all(|provider| &*provider.target.name == "demo")
    }

    fn prepare(&self) -> Result<PreparedReload, ReloadError> {
        let mut settings = self.load()?;
        let demo = self.demo.provide(&mut settings).map_err(|error| {
            ReloadError::because(format!("no provider is configured and the demo provider fails: {error}"))
        })?;
        let changes = Changes::between(&self.settings, &settings);
        let settings = in_force(settings, &self.settings);
        Ok(PreparedReload { snapshot: build::snapshot(&settings, &self.records), settings, changes, demo })
    }

    /// Puts it in force; returns the report for the client and the log.
    fn swap(&mut self, prepared: PreparedReload, asked_by: &'static str) -> Value {
        let PreparedReload { settings, snapshot, changes, demo } = prepared;
        self.snapshot.rcu(|current| carry(&snapshot, current));
        self.limits.store(Arc::new(settings.limits));
        self.records.prune();
        let generation = self.snapshot.load().generation;
        if let Some(level) = &self.level {
            level.set(settings.log.level);
        }
        self.demo.keep(demo);
        self.settings = settings;
        self.swapped.send_replace(generation);
        let report = json!({
            "status": "reloaded",
            "generation": generation,
            "file": self.settings.file,
            "loaded": LoadedNames::of(&self.settings),
            "changes": changes,
        });
        tracing::info!(by = asked_by, generation, changes = %report["changes"], "configuration reloaded");
        if let Some(keys) = changes.needs_restart() {
            tracing::warn!(keys, "changed in the configuration; only a restart applies it");
        }
        report
    }
}

/// A reload without a process: whether anything differs between two configurations, and the snapshot of the
/// second as it would replace that of the first.
#[must_use]
pub fn rehearse(before: &Settings, after: &Settings) -> (bool, Snapshot) {
    let records = StatsRegistry::default();
    let changes = Changes::between(before, after);
    let settings = in_force(after.clone(), before);
    let current = build::snapshot(before, &records);
    let carried = carry(&build::snapshot(&settings, &records), &current);
    (!changes.is_empty(), carried)
}

/// `next` with the keys, statistics and lists of models of `current`.
fn carry(next: &Snapshot, current: &Snapshot) -> Snapshot {
    let mut carried = next.clone();
    carried.generation = current.generation + 1;
    carried.keys = current.keys.clone();
    carried.sessions = current.sessions.clone();
    carried.tokens = next.tokens.carry(&current.tokens);
    carried.recalls = current.recalls.clone();
    carried.answers = current.answers.clone();
    carried.flights = current.flights.clone();
    let is_moved = |provider: &crate::proxy::Provider| {
        let target = &provider.target;
        let mut old = current.providers.iter().map(|old| &old.target);
        old.any(|old| old.name == target.name && old.base != target.base)
    };
    if carried.providers.iter().any(is_moved) {
        // Answers know their providers by name.
        carried.answers.clear();
    }
    carried.answers.set_max_size(carried.cache.settings.max_size);
    for (index, provider) in carried.providers.iter_mut().enumerate() {
        // Two providers of one name and address share statistics.
        let same = |old: &&crate::proxy::Provider| {
            let (old, new) = (&old.target, &provider.target);
            old.name == new.name && old.base.to_string() == new.base.to_string()
        };
        let Some((at, old)) = current.providers.iter().enumerate().find(|(_, old)| same(old)) else {
            continue;
        };
        if !provider.target.identifies_as(&old.target) {
            // A rest because of the old key, header or query says nothing about the new one, and its list of
            // models may differ.
            provider.standing.end_rest();
            continue;
        }
        if *provider.target == *old.target && provider.deadlines == old.deadlines {
            provider.target = Arc::clone(&old.target);
        }
        let details = current.catalog.details(at).cloned().unwrap_or_default();
        if let Some(fetched) = current.catalog.fetched(at)
            && !carried.catalog.is_configured(index)
        {
            carried.catalog = carried.catalog.with_listing(index, fetched.clone(), details);
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
    fn from(error: ReloadError) -> Self {
        let errors = error.problems.into_iter().map(|problem| {
            let Problem { path, message, suggestion } = problem;
            json!({"path": path, "message": message, "suggestion": suggestion})
        });
        Self::Wrong { message: error.message, errors: errors.collect() }
    }
}
