//! What is known of a provider as a whole: whether it is alive and how that was found out, and whether its key rests.
//! Written by probes and by live traffic, read by `/health`.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::class::FailureClass;
use crate::base::Moment;

/// How a provider was found alive or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMethod {
    /// A client's request.
    Traffic,
    /// `GET {base}/models` (S1.1).
    Models,
    /// A chat request for a model that does not exist (S1.2).
    Dummy,
}

/// The last that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub alive: bool,
    pub means: CheckMethod,
    pub at: Moment,
}

#[derive(Debug)]
pub struct ProviderHealth {
    /// 0: nothing was heard yet; else a bit for alive and two for the means.
    heard: AtomicU8,
    at: AtomicU64,
    rests: AtomicU64,
    /// When the last rest began.
    rested: AtomicU64,
    why: AtomicU8,
    /// Why it was last found down, and when.
    trouble: AtomicU8,
    troubled: AtomicU64,
    /// When the latest cool-down of its candidates ends.
    reopens: AtomicU64,
    /// It answered the pre-check first; until then that counts.
    leads: AtomicU64,
}

const HEARD: u8 = 0x80;
const ALIVE: u8 = 1;

impl Default for ProviderHealth {
    fn default() -> Self {
        Self {
            heard: AtomicU8::new(0),
            at: AtomicU64::new(0),
            rests: AtomicU64::new(0),
            rested: AtomicU64::new(0),
            why: AtomicU8::new(u8::MAX),
            trouble: AtomicU8::new(u8::MAX),
            troubled: AtomicU64::new(0),
            reopens: AtomicU64::new(0),
            leads: AtomicU64::new(0),
        }
    }
}

impl ProviderHealth {
    /// It answered, or it did not.
    pub fn note(&self, alive: bool, means: CheckMethod, now: Moment) {
        let means = match means {
            CheckMethod::Traffic => 0,
            CheckMethod::Models => 2,
            CheckMethod::Dummy => 4,
        };
        let heard = HEARD | means | if alive { ALIVE } else { 0 };
        if self.heard.load(Relaxed) != heard {
            self.heard.store(heard, Relaxed);
        }
        self.at.store(now.0, Relaxed);
    }

    /// `None` before the first contact (S2.8 calls such a provider healthy).
    #[must_use]
    pub fn check(&self) -> Option<Check> {
        let heard = self.heard.load(Relaxed);
        let means = match heard & 6 {
            2 => CheckMethod::Models,
            4 => CheckMethod::Dummy,
            _ => CheckMethod::Traffic,
        };
        let at = Moment(self.at.load(Relaxed));
        (heard != 0).then_some(Check { alive: heard & ALIVE != 0, means, at })
    }

    /// Why a check found it down.
    pub fn blame(&self, trouble: FailureClass, now: Moment) {
        self.trouble.store(trouble.number(), Relaxed);
        self.troubled.store(now.0, Relaxed);
    }

    /// Why a check last found it down, and when.
    #[must_use]
    pub fn trouble(&self) -> Option<(FailureClass, Moment)> {
        Some((FailureClass::numbered(self.trouble.load(Relaxed))?, Moment(self.troubled.load(Relaxed))))
    }

    /// One of its candidates tripped until then.
    pub fn tripped(&self, until: Moment) {
        self.reopens.fetch_max(until.0, Relaxed);
    }

    /// When the latest of its cool-downs ends or ended; never, if there was none.
    #[must_use]
    pub fn reopens(&self) -> Moment {
        Moment(self.reopens.load(Relaxed))
    }

    /// It was the first to answer the pre-check (S1.5); that counts until then.
    pub fn lead(&self, until: Moment) {
        self.leads.store(until.0, Relaxed);
    }

    #[must_use]
    pub fn leads(&self, now: Moment) -> bool {
        now.0 < self.leads.load(Relaxed)
    }

    /// `None` before the first contact.
    #[must_use]
    pub fn is_alive(&self) -> Option<bool> {
        self.check().map(|check| check.alive)
    }

    /// From `now` on everything behind the key rests, because of this.
    pub fn rest(&self, until: Moment, why: FailureClass, now: Moment) {
        if self.rests.fetch_max(until.0, Relaxed) < until.0 {
            self.rested.store(now.0, Relaxed);
            self.why.store(why.number(), Relaxed);
        }
    }

    /// A request that was sent at `asked` went well. One from before the rest began proves nothing.
    pub fn succeeded(&self, asked: Moment) {
        if self.rests.load(Relaxed) != 0 && asked.0 > self.rested.load(Relaxed) {
            self.wake();
        }
    }

    /// The key works again: a check or a request went well.
    pub fn wake(&self) {
        if self.rests.load(Relaxed) != 0 {
            self.rests.store(0, Relaxed);
        }
    }

    #[must_use]
    pub fn rests_until(&self) -> Moment {
        Moment(self.rests.load(Relaxed))
    }

    /// Why it rests, if it does.
    #[must_use]
    pub fn rest_reason(&self, now: Moment) -> Option<FailureClass> {
        if now < self.rests_until() { FailureClass::numbered(self.why.load(Relaxed)) } else { None }
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
        let standing = ProviderHealth::default();
        assert_eq!((standing.check(), standing.is_alive()), (None, None));
        for (at, means) in [(7, CheckMethod::Traffic), (8, CheckMethod::Models), (9, CheckMethod::Dummy)] {
            for alive in [true, false] {
                standing.note(alive, means, Moment(at));
                assert_eq!(standing.check(), Some(Check { alive, means, at: Moment(at) }));
            }
        }
    }

    #[test]
    fn rests_as_long_as_the_longest_asked_for() {
        let standing = ProviderHealth::default();
        standing.rest(Moment(50), FailureClass::QuotaGone, Moment(1));
        standing.rest(Moment(20), FailureClass::KeyInvalid, Moment(1));
        assert_eq!(standing.rests_until(), Moment(50));
        assert_eq!(standing.rest_reason(Moment(49)), Some(FailureClass::QuotaGone));
        assert_eq!(standing.rest_reason(Moment(50)), None);
        standing.wake();
        assert_eq!(standing.rest_reason(Moment(1)), None);
    }

    #[test]
    fn keeps_trouble_cool_downs_and_the_lead() {
        let standing = ProviderHealth::default();
        assert_eq!(
            (standing.trouble(), standing.reopens(), standing.leads(Moment(0))),
            (None, Moment::NEVER, false)
        );
        standing.blame(FailureClass::Tls, Moment(5));
        standing.tripped(Moment(9));
        standing.tripped(Moment(7));
        standing.lead(Moment(20));
        assert_eq!(
            (standing.trouble(), standing.reopens()),
            (Some((FailureClass::Tls, Moment(5))), Moment(9))
        );
        assert!(standing.leads(Moment(19)) && !standing.leads(Moment(20)));
    }
}
