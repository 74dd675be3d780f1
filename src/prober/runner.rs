//! Decides which providers are checked and starts their checks, at most one per provider at a time. Owns the
//! list of providers that are checked and the random generator that spreads checks. It leaves the check
//! itself to `probe` and its consequences to `findings`. Invariant: no borrow of the list is held over an
//! await.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    probe,
    provider::ProbedProvider,
    state::{identity, writer::StateFile},
};
use crate::{
    base::{Moment, Rng, spawn::Tasks, time::unix_now},
    proxy::{Provider, Snapshot},
    routing::{
        CheckMethod, FailureClass, HealthSettings, ModelDetails, Probe, ProbeSchedule, probe_schedule,
    },
    upstream::{Target, Upstream},
};

/// Checks under way at once.
const MAX_CHECKS: usize = 16;
/// Longest time between two searches for providers whose check is due.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// From the start to the first reading of a list whose names were saved.
const FIRST_DETAILS: Duration = Duration::from_secs(30);
/// For the last write of the state file.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Checks the providers of the snapshot in force. Clones share one list of providers.
#[derive(Clone, Debug)]
pub struct Prober(pub(super) Rc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) upstream: Upstream,
    pub(super) state_file: StateFile,
    pub(super) providers: RefCell<Vec<ProbedProvider>>,
    pub(super) rng: RefCell<Rng>,
    /// Lists are passed on to other replicas.
    pub(super) shares_lists: Cell<bool>,
    tasks: Tasks,
}

impl Prober {
    #[must_use]
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>, upstream: Upstream, state_file: StateFile) -> Self {
        let (providers, rng) = (RefCell::default(), RefCell::new(Rng::random()));
        Self(Rc::new(Inner {
            snapshot,
            upstream,
            state_file,
            providers,
            rng,
            shares_lists: Cell::new(false),
            tasks: Tasks::new(),
        }))
    }

    /// Checks providers until it is dropped, or until the sender of `swapped` is gone. `swapped` changes
    /// after each reload. Checks under way and the writer of the state file run in tasks of their own.
    pub async fn run(&self, mut swapped: watch::Receiver<u64>) {
        let state_file = self.0.state_file.clone();
        self.0.tasks.spawn_watched("state file", async move { state_file.keep_written().await });
        let follow = async {
            loop {
                self.follow();
                if swapped.changed().await.is_err() {
                    return;
                }
            }
        };
        let check = async {
            loop {
                self.check_where_due();
                sleep(match self.settings().interval / 10 {
                    Duration::ZERO => SEARCH_INTERVAL,
                    tenth => tenth.min(SEARCH_INTERVAL),
                })
                .await;
            }
        };
        tokio::select! {
            () = follow => {}
            () = check => {}
        }
    }

    /// Writes the changes since the last write of the state file, within a second.
    pub async fn close(&self) {
        let _ = timeout(LAST_WRITE_TIMEOUT, self.0.state_file.write()).await;
    }

    pub(super) fn settings(&self) -> HealthSettings {
        self.0.snapshot.load().health
    }

    /// How long a provider rests that a check has found down.
    pub(super) fn rest(&self) -> Duration {
        probe_schedule::rest_duration(&self.settings(), &mut self.0.rng.borrow_mut())
    }

    /// Takes over the providers of the snapshot in force, at start and after each reload. A provider that did
    /// not change keeps its schedule and its last results.
    fn follow(&self) {
        let snapshot = self.0.snapshot.load_full();
        let mut before = self.0.providers.take();
        let mut providers = Vec::with_capacity(snapshot.providers.len());
        for (index, provider) in snapshot.providers.iter().enumerate() {
            let known = before.iter().position(|known| Arc::ptr_eq(&known.target, &provider.target));
            let lists = !snapshot.catalog.is_configured(index);
            providers.push(match known {
                Some(place) => before.swap_remove(place).with_list(lists, snapshot.health.refresh),
                None => self.add(provider, lists),
            });
        }
        self.0.providers.replace(providers);
        self.precheck();
    }

    /// A provider that was not checked before, with its entries of the state file. `lists`: its list of
    /// models is wanted.
    fn add(&self, provider: &Provider, lists: bool) -> ProbedProvider {
        let (now, unix) = (Moment::now(), unix_now());
        let target = Arc::clone(&provider.target);
        let id = identity(&target);
        let mut schedule =
            ProbeSchedule { list_due: lists.then_some(Moment::NEVER), ..ProbeSchedule::default() };
        let mut method = CheckMethod::Models;
        let state = self.0.state_file.state();
        if let Some(saved) = state.health.find(&id, unix) {
            method = saved.value.way.into();
            provider.standing.record_check(saved.value.alive, method, now);
            schedule.last_probe = now;
            // One that was down is checked again soon.
            schedule.failures = u32::from(!saved.value.alive);
        }
        let refused = state.keys.find(&id, unix).is_some_and(|accepted| !accepted.value);
        if refused {
            provider.standing.rest(now + self.rest(), FailureClass::KeyInvalid, now);
        }
        let listed = state.models.find(&id, unix).filter(|_| lists).cloned();
        drop(state);
        if let Some(listed) = listed {
            let age = Duration::from_secs(unix.saturating_sub(listed.at));
            // Soon, because the file has no more than the names.
            schedule.list_due = Some(now + self.settings().refresh.saturating_sub(age).min(FIRST_DETAILS));
            self.set_models(&target, listed.value, ModelDetails::default(), Probe::Check);
        }
        let health = Arc::clone(&provider.standing);
        let spread = self.0.rng.borrow_mut().unit();
        let (rested, busy, looked, is_reported, race) = (now, false, Moment::NEVER, false, None);
        ProbedProvider {
            target,
            health,
            id,
            schedule,
            method,
            spread,
            rested,
            refused,
            busy,
            looked,
            is_reported,
            listed_until: None,
            unposted: None,
            race,
        }
    }

    fn check_where_due(&self) {
        let (now, settings) = (Moment::now(), self.settings());
        let mut due = Vec::new();
        let busy = {
            let mut providers = self.0.providers.borrow_mut();
            for provider in providers.iter_mut() {
                provider.take_in_traffic();
                if provider.takes_a_look(now) {
                    due.push((now, Arc::clone(&provider.target), Probe::Refresh));
                    continue;
                }
                match provider.schedule.next(&settings, provider.spread) {
                    Some((at, probe)) if at <= now && !provider.busy => {
                        due.push((at, Arc::clone(&provider.target), probe));
                    }
                    Some(_) | None => {}
                }
            }
            providers.iter().filter(|provider| provider.busy).count()
        };
        // The one that has been due for longest goes first.
        due.sort_by_key(|(at, ..)| *at);
        due.truncate(MAX_CHECKS.saturating_sub(busy));
        for (_, target, probe) in due {
            self.send(&target, Some(probe));
        }
    }

    /// Starts a check of a provider unless one is under way. `probe: None`: the list is read if it is due.
    pub(super) fn send(&self, target: &Arc<Target>, probe: Option<Probe>) {
        let mut providers = self.0.providers.borrow_mut();
        let Some(provider) = providers.iter_mut().find(|provider| Arc::ptr_eq(&provider.target, target))
        else {
            return;
        };
        if provider.busy {
            return;
        }
        provider.busy = true;
        let list_is_due = provider.schedule.list_due.is_some_and(|due| due <= Moment::now());
        let probe = probe.unwrap_or(if list_is_due { Probe::Refresh } else { Probe::Check });
        let (prober, target, method) = (self.clone(), Arc::clone(target), provider.method);
        let lists = provider.schedule.list_due.is_some();
        self.0.tasks.spawn_watched("check", async move {
            let upstream = &prober.0.upstream;
            let began = Moment::now();
            let result =
                probe::check(upstream, &target, method, (probe, lists), prober.settings().timeout).await;
            // Connections are not kept from one check to the next.
            upstream.sweep();
            prober.apply(&target, probe, result, began);
        });
    }
}
