//! Watches the providers in the background: looks at each when it is due, never twice at once, and puts what it finds
//! where requests and `/health` see it. Lists go into the snapshot, findings into the provider's standing, both into the
//! state file. Never on a worker: a provider that stalls stalls nothing.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::{sleep, timeout};

use super::{
    probe::{self, Finding, ProbeResult},
    probed_provider::ProbedProvider,
    state::{SavedHealth, identity, writer::StateFile},
};
use crate::{
    base::{Moment, Rng, spawn::Tasks, time::unix_now},
    proxy::{Provider, Snapshot},
    routing::{CheckMethod, FailureClass, HealthSettings, Listing, Probe, ProbeSchedule, probe_schedule},
    upstream::{Target, Upstream},
};

/// Looks under way at once.
const AT_ONCE: usize = 16;
/// How often is seen who is due, at most.
const TICK: Duration = Duration::from_secs(1);
/// For how long who answered the pre-check first goes first (S1.7: a candidate's availability).
const LEAD: Duration = Duration::from_secs(60);
/// Before who limits how often its list is read is asked for it again.
const AGAIN: Duration = Duration::from_secs(30);
/// For the state's last writing.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Prober(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    snapshot: Arc<ArcSwap<Snapshot>>,
    upstream: Upstream,
    keeper: StateFile,
    watched: RefCell<Vec<ProbedProvider>>,
    dice: RefCell<Rng>,
    tasks: Tasks,
}

impl Prober {
    pub(super) fn new(snapshot: Arc<ArcSwap<Snapshot>>, upstream: Upstream, keeper: StateFile) -> Self {
        let (watched, dice) = (RefCell::default(), RefCell::new(Rng::random()));
        Self(Rc::new(Inner { snapshot, upstream, keeper, watched, dice, tasks: Tasks::new() }))
    }

    /// Looks and learns until dropped.
    pub(super) async fn run(&self) {
        let keeper = self.0.keeper.clone();
        self.0.tasks.spawn(async move { keeper.keep().await });
        loop {
            self.look_where_due();
            sleep(match self.settings().interval / 10 {
                Duration::ZERO => TICK,
                tenth => tenth.min(TICK),
            })
            .await;
        }
    }

    fn settings(&self) -> HealthSettings {
        self.0.snapshot.load().health
    }

    /// What was learnt last is written.
    pub(super) async fn close(&self) {
        let _ = timeout(LAST_WORDS, self.0.keeper.write()).await;
    }

    /// Watches the providers of the snapshot in force, and no others: at start, and again after a reload. One that did
    /// not change is watched on as it was.
    pub(super) fn follow(&self) {
        let snapshot = self.0.snapshot.load_full();
        let mut before = self.0.watched.take();
        let mut watched = Vec::with_capacity(snapshot.providers.len());
        for (index, provider) in snapshot.providers.iter().enumerate() {
            let known = before.iter().position(|known| Arc::ptr_eq(&known.target, &provider.target));
            let lists = !snapshot.catalog.is_configured(index);
            watched.push(match known {
                Some(place) => before.swap_remove(place).with_list(lists, snapshot.health.refresh),
                None => self.meet(provider, lists),
            });
        }
        self.0.watched.replace(watched);
        self.precheck();
    }

    /// A provider that was not watched before, with what the state file knows of it.
    fn meet(&self, provider: &Provider, lists: bool) -> ProbedProvider {
        let (now, unix) = (Moment::now(), unix_now());
        let target = Arc::clone(&provider.target);
        let id = identity(&target);
        let mut looks =
            ProbeSchedule { list_due: lists.then_some(Moment::NEVER), ..ProbeSchedule::default() };
        let mut means = CheckMethod::Models;
        let state = self.0.keeper.state();
        if let Some(found) = state.health.find(&id, unix) {
            means = found.value.way.into();
            provider.standing.note(found.value.alive, means, now);
            looks.looked = now;
            // Who was down is looked at soon.
            looks.failures = u32::from(!found.value.alive);
        }
        let refused = state.keys.find(&id, unix).is_some_and(|learnt| !learnt.value);
        if refused {
            provider.standing.rest(now + self.rest(), FailureClass::KeyInvalid, now);
        }
        let listed = state.models.find(&id, unix).filter(|_| lists).cloned();
        drop(state);
        if let Some(listed) = listed {
            let age = Duration::from_secs(unix.saturating_sub(listed.at));
            looks.list_due = Some(now + self.settings().refresh.saturating_sub(age));
            self.list(&target, listed.value);
        }
        let standing = Arc::clone(&provider.standing);
        let spread = self.0.dice.borrow_mut().unit();
        let (rested, busy, running) = (now, false, None);
        ProbedProvider { target, standing, id, looks, means, spread, rested, refused, busy, running }
    }

    /// S1.5: the first candidates are asked at once, and the first that answers goes first. Where it is known who that was,
    /// only those are asked of whom nothing is known.
    fn precheck(&self) {
        let (now, unix) = (Moment::now(), unix_now());
        let running = Rc::new(Cell::new(false));
        let mut due = Vec::new();
        {
            let mut watched = self.0.watched.borrow_mut();
            let state = self.0.keeper.state();
            let first: Vec<&mut ProbedProvider> = watched.iter_mut().take(self.settings().precheck).collect();
            let leader = first.iter().find(|watched| state.first.find(&watched.id, unix).is_some());
            if let Some(leader) = leader {
                leader.standing.lead(now + LEAD);
                tracing::debug!(provider = %leader.target.name, "was first to answer a moment ago");
            }
            let known = leader.is_some();
            for watched in first {
                if !known {
                    watched.running = Some(Rc::clone(&running));
                } else if watched.looks.looked != Moment::NEVER {
                    continue;
                }
                due.push(Arc::clone(&watched.target));
            }
        }
        for target in due {
            self.send(&target, None);
        }
    }

    fn look_where_due(&self) {
        let (now, settings) = (Moment::now(), self.settings());
        let mut due = Vec::new();
        {
            let mut watched = self.0.watched.borrow_mut();
            let busy = watched.iter().filter(|watched| watched.busy).count();
            for watched in watched.iter_mut() {
                watched.hear();
                match watched.looks.next(&settings, watched.spread) {
                    Some((at, errand)) if at <= now && !watched.busy => {
                        due.push((at, Arc::clone(&watched.target), errand));
                    }
                    Some(_) | None => {}
                }
            }
            // Who has waited longest goes first.
            due.sort_by_key(|(at, ..)| *at);
            due.truncate(AT_ONCE.saturating_sub(busy));
        }
        for (_, target, errand) in due {
            self.send(&target, Some(errand));
        }
    }

    /// Looks at a provider, unless somebody does already. Without an errand, for the list if that is wanted.
    fn send(&self, target: &Arc<Target>, errand: Option<Probe>) {
        let mut watched = self.0.watched.borrow_mut();
        let Some(watched) = watched.iter_mut().find(|watched| Arc::ptr_eq(&watched.target, target)) else {
            return;
        };
        if watched.busy {
            return;
        }
        watched.busy = true;
        let wanted = watched.looks.list_due.is_some_and(|due| due <= Moment::now());
        let errand = errand.unwrap_or(if wanted { Probe::Refresh } else { Probe::Check });
        let (prober, target, means) = (self.clone(), Arc::clone(target), watched.means);
        self.0.tasks.spawn(async move {
            let upstream = &prober.0.upstream;
            let began = Moment::now();
            let look = probe::look(upstream, &target, means, errand, prober.settings().timeout).await;
            // Connections are not kept from one look to the next.
            upstream.sweep();
            prober.learn(&target, errand, look, began);
        });
    }

    fn learn(&self, target: &Arc<Target>, errand: Probe, look: ProbeResult, began: Moment) {
        let now = Moment::now();
        let mut all = self.0.watched.borrow_mut();
        // A reload may have come in between.
        let Some(watched) = all.iter_mut().find(|watched| Arc::ptr_eq(&watched.target, target)) else {
            return;
        };
        watched.busy = false;
        watched.looks.looked = now;
        watched.spread = self.0.dice.borrow_mut().unit();
        let running = watched.running.take();
        let name = &target.name;
        let models = match look.finding {
            Finding::Down(..) if watched.hear() >= began => {
                tracing::debug!(provider = %name, "a check failed, but a request went well meanwhile");
                self.ask_later_for_the_list(watched, now);
                return;
            }
            Finding::Down(fault, class) => {
                if watched.looks.failures == 0 {
                    tracing::warn!(provider = %name, %fault, class = class.as_str(), "provider found down");
                } else {
                    tracing::debug!(provider = %name, %fault, class = class.as_str(), "provider still down");
                }
                self.bury(watched, look.means, class);
                self.ask_later_for_the_list(watched, now);
                return;
            }
            Finding::Alive => None,
            Finding::Listed(models) => Some(models),
        };
        let was_down = watched.looks.failures > 0;
        watched.recover(look.means, now);
        let id = watched.id.clone();
        if errand == Probe::Refresh {
            // Who limits how often its list is read is asked for it again soon.
            let limited = models.is_none() && look.means == CheckMethod::Models;
            let HealthSettings { interval, refresh, .. } = self.settings();
            let pause = if limited { interval.max(AGAIN) } else { refresh };
            watched.looks.list_due = watched.looks.list_due.map(|_| now + pause);
        }
        if running.is_some_and(|decided| !decided.replace(true)) {
            watched.standing.lead(now + LEAD);
            let millis = u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX);
            self.0.keeper.learn(|state, at| state.first.put(&id, at, millis));
        }
        drop(all);
        if was_down {
            tracing::info!(provider = %name, "provider is back");
        } else {
            tracing::debug!(provider = %name, means = look.means.as_str(), "provider is well");
        }
        self.0.keeper.learn(|state, at| {
            state.health.put(&id, at, SavedHealth { alive: true, way: look.means.into() });
            state.keys.put(&id, at, true);
            if let Some(models) = &models {
                state.models.put(&id, at, models.clone());
            }
        });
        if let Some(models) = models {
            self.list(target, models);
        }
    }

    /// Where the list could not be had: traffic may prove the provider well all the same, and nothing else would put it off.
    fn ask_later_for_the_list(&self, watched: &mut ProbedProvider, now: Moment) {
        let pause = self.settings().interval.max(AGAIN);
        watched.looks.list_due = watched.looks.list_due.map(|due| due.max(now + pause));
    }

    /// It was found down. Once may be an accident; what is certain, or certain by now, sends it to rest.
    fn bury(&self, watched: &mut ProbedProvider, means: CheckMethod, class: FailureClass) {
        let now = Moment::now();
        watched.looks.failures = watched.looks.failures.saturating_add(1);
        watched.standing.note(false, means, now);
        watched.standing.blame(class, now);
        let certain = matches!(class, FailureClass::KeyInvalid | FailureClass::QuotaGone);
        if certain || watched.looks.failures > 1 {
            watched.standing.rest(now + self.rest(), class, now);
            watched.rested = now;
        }
        watched.refused = class == FailureClass::KeyInvalid;
        let (id, way) = (watched.id.clone(), watched.means.into());
        self.0.keeper.learn(|state, at| {
            state.health.put(&id, at, SavedHealth { alive: false, way });
            if class == FailureClass::KeyInvalid {
                state.keys.put(&id, at, false);
            }
        });
    }

    fn rest(&self) -> Duration {
        probe_schedule::rest(&self.settings(), &mut self.0.dice.borrow_mut())
    }

    /// Puts a list into the snapshot, if it says anything new.
    fn list(&self, target: &Arc<Target>, models: Vec<Box<str>>) {
        let (count, listing) = (models.len(), Listing::Fetched(models));
        let of = |snapshot: &Snapshot| {
            snapshot.providers.iter().position(|provider| Arc::ptr_eq(&provider.target, target))
        };
        let current = self.0.snapshot.load();
        let Some(index) = of(&current) else { return };
        if current.catalog.fetched(index) == Some(&listing) {
            return;
        }
        tracing::info!(provider = %target.name, models = count, "models listed");
        self.0.snapshot.rcu(|current| {
            let mut next = Snapshot::clone(current);
            if let Some(index) = of(current) {
                next.catalog = current.catalog.with_listing(index, listing.clone());
            }
            Arc::new(next)
        });
        // What no list names any more and nobody asks for makes room.
        self.0.snapshot.load().catalog.records().prune();
    }
}
