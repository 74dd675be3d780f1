//! The pre-check (S1.5): the first candidates are checked at once at start and after a reload, and the first
//! one that answers is preferred for a minute. Where the state file still says which one that was, only
//! providers that it does not hold are checked.

use std::{sync::Arc, time::Duration};

use super::{
    provider::{PrecheckRace, ProbedProvider},
    runner::Prober,
};
use crate::base::{Moment, time::unix_now};

/// How long the first one to answer is preferred (S1.7: a candidate's availability).
const PREFERENCE_TTL: Duration = Duration::from_secs(60);

impl Prober {
    pub(super) fn precheck(&self) {
        let (now, unix) = (Moment::now(), unix_now());
        let race = PrecheckRace::default();
        let mut due = Vec::new();
        {
            let mut providers = self.0.providers.borrow_mut();
            let state = self.0.state_file.state();
            let first: Vec<&mut ProbedProvider> =
                providers.iter_mut().take(self.settings().precheck).collect();
            let leader = first.iter().find(|provider| state.first.find(&provider.id, unix).is_some());
            if let Some(leader) = leader {
                leader.health.prefer_until(now + PREFERENCE_TTL);
                tracing::debug!(provider = %leader.target.name, "was first to answer a moment ago");
            }
            let leader_is_known = leader.is_some();
            for provider in first {
                if !leader_is_known {
                    provider.race = Some(race.clone());
                } else if provider.schedule.last_probe != Moment::NEVER {
                    continue;
                }
                due.push(Arc::clone(&provider.target));
            }
        }
        for target in due {
            self.send(&target, None);
        }
    }

    /// The provider answered its check that was part of a pre-check. `began`: when that check began.
    pub(super) fn finish_precheck(&self, provider: &ProbedProvider, race: &PrecheckRace, began: Moment) {
        if !race.is_won_now() {
            return;
        }
        let now = Moment::now();
        provider.health.prefer_until(now + PREFERENCE_TTL);
        let millis = u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX);
        self.0.state_file.update(|state, at| state.first.put(&provider.id, at, millis));
    }
}
