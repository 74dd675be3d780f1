//! One provider as the prober knows it: its schedule, and how results of checks and of live traffic change
//! its health. Sends nothing and owns no task. Invariant: `busy` is true while exactly one check of it is
//! under way.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use super::state::SavedMethod;
use crate::{
    base::Moment,
    routing::{CheckMethod, FailureClass, ProbeSchedule, ProviderHealth},
    upstream::Target,
};

/// Shortest time between two readings of a list that requests asked for.
const MIN_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// One pre-check, shared by the providers that take part in it. Clones share the outcome.
#[derive(Clone, Debug, Default)]
pub(super) struct PrecheckRace(Rc<Cell<bool>>);

impl PrecheckRace {
    /// True for the first provider that answers, and for no other.
    pub(super) fn is_won_now(&self) -> bool {
        !self.0.replace(true)
    }
}

#[derive(Debug)]
pub(super) struct ProbedProvider {
    pub(super) target: Arc<Target>,
    pub(super) health: Arc<ProviderHealth>,
    /// Its name in the state file.
    pub(super) id: String,
    pub(super) schedule: ProbeSchedule,
    /// The method of the last check that succeeded.
    pub(super) method: CheckMethod,
    /// Where in the tolerance around the interval the next check comes, 0 to 1.
    pub(super) spread: f64,
    /// When a check last sent it to rest.
    pub(super) rested: Moment,
    /// The last check found that its key is refused.
    pub(super) refused: bool,
    pub(super) busy: bool,
    /// When its list was last read because a request asked for a model that it lacks.
    pub(super) looked: Moment,
    /// The log of this process has its outage.
    pub(super) is_reported: bool,
    /// Until when its list is as fresh as settings want it; that list, while other replicas do not have it.
    pub(super) listed_until: Option<Moment>,
    pub(super) unposted: Option<Vec<u8>>,
    /// The pre-check that the next result counts for. `None`: it counts for none.
    pub(super) race: Option<PrecheckRace>,
}

impl ProbedProvider {
    /// `lists`: its list is wanted, no older than `refresh`; else it is not wanted any more.
    pub(super) fn with_list(mut self, lists: bool, refresh: Duration) -> Self {
        let latest = Moment::now() + refresh;
        let due = self.schedule.list_due.map_or(Moment::NEVER, |due| due.min(latest));
        self.schedule.list_due = lists.then_some(due);
        self
    }

    /// Whether its list is to be read now, because a request showed that it may be out of date. At most once
    /// in [`MIN_LOOK_INTERVAL`], because clients choose the names.
    pub(super) fn takes_a_look(&mut self, now: Moment) -> bool {
        let is_due = self.schedule.list_due.is_some()
            && self.health.is_list_wanted()
            && !self.busy
            && (self.looked == Moment::NEVER || now.since(self.looked) >= MIN_LOOK_INTERVAL);
        if is_due {
            self.looked = now;
            self.health.list_requested();
        }
        is_due
    }

    /// Takes in the results of live traffic; returns when traffic last proved the provider well.
    pub(super) fn take_in_traffic(&mut self) -> Moment {
        if let Some(check) = self.health.check()
            && check.alive
            && check.method == CheckMethod::Traffic
        {
            self.schedule.last_success = check.at;
            self.schedule.failures = 0;
            if check.at > self.rested {
                self.wake(check.at);
            }
        }
        self.schedule.cool_down_ends = self.health.cool_down_ends();
        self.schedule.last_success
    }

    /// A check by `method` succeeded.
    pub(super) fn mark_well(&mut self, method: CheckMethod, now: Moment) {
        self.schedule.failures = 0;
        self.method = method;
        self.health.record_check(true, method, now);
        self.is_reported = false;
        self.wake(now);
        self.refused = false;
    }

    /// Ends its rest if success disproves the reason for it. An account without money lists its models all
    /// the same, so a rest for quota goes on. Many providers list their models without a valid key, so a rest
    /// for the key ends only if a check had found the key refused.
    fn wake(&self, now: Moment) {
        match self.health.rest_reason(now) {
            None | Some(FailureClass::QuotaExhausted) => {}
            Some(FailureClass::KeyInvalid) if !self.refused => {}
            Some(_) => self.health.end_rest(),
        }
    }
}

impl From<SavedMethod> for CheckMethod {
    fn from(method: SavedMethod) -> Self {
        match method {
            SavedMethod::Models => Self::Models,
            SavedMethod::Dummy => Self::Dummy,
        }
    }
}

impl From<CheckMethod> for SavedMethod {
    fn from(method: CheckMethod) -> Self {
        match method {
            CheckMethod::Models | CheckMethod::Traffic => Self::Models,
            CheckMethod::Dummy => Self::Dummy,
        }
    }
}
