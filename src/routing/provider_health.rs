//! The health of a provider as a whole: whether it is alive, by which method that was found, and whether its
//! key rests. Written by probes and by live traffic, read by plans and by `/health`. Atomics only, except for
//! the words of a failed check. A success of a request from before a rest never ends the rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;

use super::{
    caller_streak::CallerStreak,
    class::FailureClass,
    endpoint_memory::EndpointMemory,
    refused_options::{RefusalMemory, RefusedOptions},
};
use crate::base::Moment;

/// How the state of a provider was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMethod {
    /// A client's request.
    Traffic,
    /// `GET {base}/models` (S1.1).
    Models,
    /// A chat request for a model that does not exist (S1.2).
    Dummy,
}

/// The latest result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub alive: bool,
    pub method: CheckMethod,
    pub at: Moment,
}

#[derive(Debug)]
pub struct ProviderHealth {
    /// 0: no result yet; otherwise one bit for alive and two for the method.
    last_check: AtomicU8,
    checked_at: AtomicU64,
    resting_until: AtomicU64,
    /// When the last rest began.
    rest_began_at: AtomicU64,
    rest_class: AtomicU8,
    /// The class and time of the last failed check.
    problem: AtomicU8,
    problem_at: AtomicU64,
    /// Its reason in words.
    reason: ArcSwapOption<String>,
    /// When the latest cool-down of its candidates ends.
    cool_down_ends: AtomicU64,
    /// It answered the pre-check first and is preferred until then.
    preferred_until: AtomicU64,
    endpoints: EndpointMemory,
    /// Its model list may be out of date.
    list_wanted: AtomicBool,
    /// The callers that it served and refused.
    callers: CallerStreak,
    /// It answered 400 to `stream_options`, which its clients had not sent, and served the request without.
    /// Known for as long as the process runs.
    refuses_usage_option: AtomicBool,
    refused_options: RefusalMemory,
    is_thalweg: AtomicBool,
}

const CHECKED: u8 = 0x80;
const ALIVE: u8 = 1;

impl Default for ProviderHealth {
    fn default() -> Self {
        Self {
            last_check: AtomicU8::new(0),
            checked_at: AtomicU64::new(0),
            resting_until: AtomicU64::new(0),
            rest_began_at: AtomicU64::new(0),
            rest_class: AtomicU8::new(u8::MAX),
            problem: AtomicU8::new(u8::MAX),
            problem_at: AtomicU64::new(0),
            reason: ArcSwapOption::empty(),
            cool_down_ends: AtomicU64::new(0),
            preferred_until: AtomicU64::new(0),
            endpoints: EndpointMemory::default(),
            list_wanted: AtomicBool::new(false),
            callers: CallerStreak::default(),
            refuses_usage_option: AtomicBool::new(false),
            refused_options: RefusalMemory::default(),
            is_thalweg: AtomicBool::new(false),
        }
    }
}

impl ProviderHealth {
    /// Stores the result of a check or of a request.
    pub fn record_check(&self, alive: bool, method: CheckMethod, now: Moment) {
        let method = match method {
            CheckMethod::Traffic => 0,
            CheckMethod::Models => 2,
            CheckMethod::Dummy => 4,
        };
        let last_check = CHECKED | method | if alive { ALIVE } else { 0 };
        if self.last_check.load(Relaxed) != last_check {
            self.last_check.store(last_check, Relaxed);
        }
        self.checked_at.store(now.0, Relaxed);
    }

    /// The latest result. `None`: no contact yet (S2.8 counts such a provider as healthy).
    #[must_use]
    pub fn check(&self) -> Option<Check> {
        let last_check = self.last_check.load(Relaxed);
        let method = match last_check & 6 {
            2 => CheckMethod::Models,
            4 => CheckMethod::Dummy,
            _ => CheckMethod::Traffic,
        };
        let at = Moment(self.checked_at.load(Relaxed));
        (last_check != 0).then_some(Check { alive: last_check & ALIVE != 0, method, at })
    }

    /// Stores why a check found it down: the class, and the reason in words.
    pub fn record_problem(&self, problem: FailureClass, reason: String, now: Moment) {
        self.reason.store(Some(Arc::new(reason)));
        self.problem.store(problem.number(), Relaxed);
        self.problem_at.store(now.0, Relaxed);
    }

    /// Why the last failed check of this process failed, for the operator: it may hold an address.
    #[must_use]
    pub fn last_reason(&self) -> Option<String> {
        self.reason.load().as_deref().cloned()
    }

    /// The class and time of the last failed check. `None`: none failed.
    #[must_use]
    pub fn last_problem(&self) -> Option<(FailureClass, Moment)> {
        Some((FailureClass::from_index(self.problem.load(Relaxed))?, Moment(self.problem_at.load(Relaxed))))
    }

    /// The endpoints that answers have shown it to have or to lack.
    #[must_use]
    pub const fn endpoints(&self) -> &EndpointMemory {
        &self.endpoints
    }

    /// It refuses requests with `stream_options`.
    pub fn note_refused_usage_option(&self) {
        self.refuses_usage_option.store(true, Relaxed);
    }

    /// The options that this model has refused.
    #[must_use]
    pub fn refused_options(&self, model: &str) -> RefusedOptions {
        self.refused_options.find(model)
    }

    /// The model served a request without these.
    pub fn note_refused_options(&self, model: &str, refused: RefusedOptions) {
        self.refused_options.note(model, refused);
    }

    /// It is another thalweg, which reads seals like this one's.
    pub fn note_thalweg(&self) {
        if !self.is_thalweg() {
            self.is_thalweg.store(true, Relaxed);
        }
    }

    #[must_use]
    pub fn is_thalweg(&self) -> bool {
        self.is_thalweg.load(Relaxed)
    }

    #[must_use]
    pub fn refuses_usage_option(&self) -> bool {
        self.refuses_usage_option.load(Relaxed)
    }

    /// A request showed that its model list may be out of date.
    pub fn want_list(&self) {
        if !self.list_wanted.load(Relaxed) {
            self.list_wanted.store(true, Relaxed);
        }
    }

    #[must_use]
    pub fn is_list_wanted(&self) -> bool {
        self.list_wanted.load(Relaxed)
    }

    /// The list is being read.
    pub fn list_requested(&self) {
        self.list_wanted.store(false, Relaxed);
    }

    /// One of its candidates tripped until then.
    pub fn tripped(&self, until: Moment) {
        self.cool_down_ends.fetch_max(until.0, Relaxed);
    }

    /// When the latest cool-down of its candidates ends or ended; [`Moment::NEVER`] if there was none.
    #[must_use]
    pub fn cool_down_ends(&self) -> Moment {
        Moment(self.cool_down_ends.load(Relaxed))
    }

    /// It was the first to answer the pre-check (S1.5) and is preferred until then.
    pub fn prefer_until(&self, until: Moment) {
        self.preferred_until.store(until.0, Relaxed);
    }

    #[must_use]
    pub fn is_preferred(&self, now: Moment) -> bool {
        now.0 < self.preferred_until.load(Relaxed)
    }

    /// Whether the latest result was good. `None`: no contact yet.
    #[must_use]
    pub fn is_alive(&self) -> Option<bool> {
        self.check().map(|check| check.alive)
    }

    /// All candidates of the provider rest from `now` until `until`, because of this failure.
    pub fn rest(&self, until: Moment, class: FailureClass, now: Moment) {
        if self.resting_until.fetch_max(until.0, Relaxed) < until.0 {
            self.rest_began_at.store(now.0, Relaxed);
            self.rest_class.store(class.number(), Relaxed);
        }
    }

    /// The provider refused its own key, or has no money left, for a request of this caller. Whether only
    /// that caller's requests are refused so, while others succeeded within `window`: the request may be
    /// the reason then.
    pub(super) fn refuses_alone(&self, caller: u32, now: Moment, window: Duration) -> bool {
        self.callers.fails_alone(caller, now, window)
    }

    /// A request of `caller` that was sent at `started` succeeded. One from before the rest does not end it.
    pub fn succeeded(&self, caller: u32, started: Moment, now: Moment) {
        self.callers.succeeded(caller, now);
        if self.resting_until.load(Relaxed) != 0 && started.0 > self.rest_began_at.load(Relaxed) {
            self.end_rest();
        }
    }

    /// The key works again, because a check or a request succeeded.
    pub fn end_rest(&self) {
        if self.resting_until.load(Relaxed) != 0 {
            self.resting_until.store(0, Relaxed);
        }
    }

    #[must_use]
    pub fn resting_until(&self) -> Moment {
        Moment(self.resting_until.load(Relaxed))
    }

    pub(super) fn rest_began_at(&self) -> Moment {
        Moment(self.rest_began_at.load(Relaxed))
    }

    /// Why it rests. `None`: it does not rest.
    #[must_use]
    pub fn rest_reason(&self, now: Moment) -> Option<FailureClass> {
        if now < self.resting_until() {
            FailureClass::from_index(self.rest_class.load(Relaxed))
        } else {
            None
        }
    }
}

impl CheckMethod {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Models => "models",
            Self::Dummy => "dummy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_was_heard_last() {
        let health = ProviderHealth::default();
        assert_eq!((health.check(), health.is_alive()), (None, None));
        for (at, method) in [(7, CheckMethod::Traffic), (8, CheckMethod::Models), (9, CheckMethod::Dummy)] {
            for alive in [true, false] {
                health.record_check(alive, method, Moment(at));
                assert_eq!(health.check(), Some(Check { alive, method, at: Moment(at) }));
            }
        }
    }

    #[test]
    fn rests_as_long_as_the_longest_asked_for() {
        let health = ProviderHealth::default();
        health.rest(Moment(50), FailureClass::QuotaExhausted, Moment(1));
        health.rest(Moment(20), FailureClass::KeyInvalid, Moment(1));
        assert_eq!(health.resting_until(), Moment(50));
        assert_eq!(health.rest_reason(Moment(49)), Some(FailureClass::QuotaExhausted));
        assert_eq!(health.rest_reason(Moment(50)), None);
        health.end_rest();
        assert_eq!(health.rest_reason(Moment(1)), None);
    }

    #[test]
    fn keeps_trouble_cool_downs_and_the_lead() {
        let health = ProviderHealth::default();
        assert_eq!(
            (health.last_problem(), health.cool_down_ends(), health.is_preferred(Moment(0))),
            (None, Moment::NEVER, false)
        );
        health.record_problem(FailureClass::Tls, "no".to_owned(), Moment(5));
        health.tripped(Moment(9));
        health.tripped(Moment(7));
        health.prefer_until(Moment(20));
        assert_eq!(
            (health.last_problem(), health.cool_down_ends()),
            (Some((FailureClass::Tls, Moment(5))), Moment(9))
        );
        assert!(health.is_preferred(Moment(19)) && !health.is_preferred(Moment(20)));
    }
}
