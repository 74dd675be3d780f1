//! One provider as it is watched, and what follows for it from what looks and live traffic find.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use super::state::SavedMethod;
use crate::{
    base::Moment,
    routing::{CheckMethod, FailureClass, ProbeSchedule, ProviderHealth},
    upstream::Target,
};

/// One provider as it is watched.
#[derive(Debug)]
pub(super) struct ProbedProvider {
    pub(super) target: Arc<Target>,
    pub(super) standing: Arc<ProviderHealth>,
    /// Its name in the state file.
    pub(super) id: String,
    pub(super) looks: ProbeSchedule,
    /// The way that worked last.
    pub(super) means: CheckMethod,
    pub(super) spread: f64,
    /// When a look last sent it to rest.
    pub(super) rested: Moment,
    /// The last look found that its key is not taken.
    pub(super) refused: bool,
    pub(super) busy: bool,
    /// The pre-check that it takes part in: `true` once somebody has answered.
    pub(super) running: Option<Rc<Cell<bool>>>,
}

impl ProbedProvider {
    /// Its list is wanted, no older than `refresh`, or not any more.
    pub(super) fn with_list(mut self, lists: bool, refresh: Duration) -> Self {
        let latest = Moment::now() + refresh;
        self.looks.list_due = lists.then(|| self.looks.list_due.map_or(Moment::NEVER, |due| due.min(latest)));
        self
    }

    /// Takes in what live traffic has found meanwhile; gives when that last proved it well.
    pub(super) fn hear(&mut self) -> Moment {
        if let Some(check) = self.standing.check()
            && check.alive
            && check.means == CheckMethod::Traffic
        {
            self.looks.proven = check.at;
            self.looks.failures = 0;
            if check.at > self.rested {
                self.wake(check.at);
            }
        }
        self.looks.reopens = self.standing.reopens();
        self.looks.proven
    }

    /// It was found well.
    pub(super) fn recover(&mut self, means: CheckMethod, now: Moment) {
        self.looks.failures = 0;
        self.means = means;
        self.standing.note(true, means, now);
        self.wake(now);
        self.refused = false;
    }

    /// Ends its rest, if what was found speaks against the reason. An account without money lists its models all the
    /// same, and many list them to anybody: only who refused a key to a look can take it back by one.
    fn wake(&self, now: Moment) {
        match self.standing.rest_reason(now) {
            None | Some(FailureClass::QuotaGone) => {}
            Some(FailureClass::KeyInvalid) if !self.refused => {}
            Some(_) => self.standing.wake(),
        }
    }
}

impl From<SavedMethod> for CheckMethod {
    fn from(way: SavedMethod) -> Self {
        match way {
            SavedMethod::Models => Self::Models,
            SavedMethod::Dummy => Self::Dummy,
        }
    }
}

impl From<CheckMethod> for SavedMethod {
    fn from(means: CheckMethod) -> Self {
        match means {
            CheckMethod::Models | CheckMethod::Traffic => Self::Models,
            CheckMethod::Dummy => Self::Dummy,
        }
    }
}
