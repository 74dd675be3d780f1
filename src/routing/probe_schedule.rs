//! When which provider is looked at (S0.6, S1.1): every so often, but not while live traffic proves that it is well; soon
//! again when it failed once; when a cool-down ends. Pure: the look itself is somebody else's.

use std::time::Duration;

use crate::base::{Moment, Rng};

/// After a first failure the next look comes after this part of the interval: once is an accident.
const DOUBT: u32 = 6;
/// How much earlier or later than the interval says a look may come.
const SPREAD: f64 = 0.1;
/// Who is down is looked at again after this, or after an interval if that is shorter.
const RETRY: Duration = Duration::from_secs(30);

/// How providers are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// From one look at a provider to the next; zero: none but those at start.
    pub interval: Duration,
    /// For a check's whole answer.
    pub timeout: Duration,
    /// How old a model list may become.
    pub refresh: Duration,
    /// How many candidates are asked at once at start and after a reload, to see who answers first (S1.5).
    pub precheck: usize,
    /// To how many providers connections are opened at start and after a reload (S1.9).
    pub warmup: usize,
}

/// What is known of one provider's looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeSchedule {
    /// When live traffic last proved it well.
    pub proven: Moment,
    /// When it was last looked at.
    pub looked: Moment,
    /// Looks in a row that found it down.
    pub failures: u32,
    /// When a cool-down of its candidates ends or has ended.
    pub reopens: Moment,
    /// When its list becomes too old. `None`: it is not wanted.
    pub list_due: Option<Moment>,
}

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether it is alive.
    Check,
    /// That, and its list of models.
    Refresh,
}

impl ProbeSchedule {
    /// When it is to be looked at next, and what for. `spread` is from 0 to 1, thrown once for each look. `None`: never,
    /// by itself.
    #[must_use]
    pub fn next(&self, settings: &HealthSettings, spread: f64) -> Option<(Moment, Probe)> {
        match (self.check(settings, spread), self.refresh(settings)) {
            (None, refresh) => refresh.map(|at| (at, Probe::Refresh)),
            (Some(check), None) => Some((check, Probe::Check)),
            // Who was gone may have come back with other models.
            (Some(check), Some(refresh)) if refresh <= check || self.failures > 0 => {
                Some((refresh.min(check), Probe::Refresh))
            }
            (Some(check), Some(_)) => Some((check, Probe::Check)),
        }
    }

    fn check(&self, settings: &HealthSettings, spread: f64) -> Option<Moment> {
        if settings.interval.is_zero() {
            return None;
        }
        let regular = settings.interval.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * spread.clamp(0.0, 1.0));
        let wait = match self.failures {
            0 => regular,
            1 => settings.interval / DOUBT,
            // However seldom the others are looked at, who is down is not left waiting.
            _ => regular.min(RETRY),
        };
        let at = self.looked.max(self.proven) + wait;
        // Nobody waits for traffic to find out that the cool-down was long enough.
        Some(if self.reopens > self.looked { at.min(self.reopens) } else { at })
    }

    fn refresh(&self, settings: &HealthSettings) -> Option<Moment> {
        let pause = match (self.failures, settings.interval) {
            (0, _) => return self.list_due,
            (_, Duration::ZERO) => RETRY,
            (_, interval) => interval,
        };
        self.list_due.map(|due| due.max(self.looked + pause))
    }
}

/// How long a provider that was found down rests, unless a look finds it well before: until the look after the next.
#[must_use]
pub fn rest(settings: &HealthSettings, dice: &mut Rng) -> Duration {
    let interval = settings.interval.min(RETRY);
    interval * 2 + dice.jitter(interval / 2)
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            refresh: Duration::from_secs(3600),
            precheck: 3,
            warmup: 5,
        }
    }
}

impl HealthSettings {
    /// Nobody is asked anything that no client asked for, but for lists of models.
    #[must_use]
    pub fn off() -> Self {
        Self { interval: Duration::ZERO, precheck: 0, warmup: 0, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment(1) + Duration::from_secs(seconds)
    }

    fn next(looks: &ProbeSchedule) -> Option<(u64, Probe)> {
        let (at, errand) = looks.next(&HealthSettings::default(), 0.5)?;
        Some((at.since(Moment(1)).as_secs(), errand))
    }

    #[test]
    fn looks_every_interval_but_not_at_what_traffic_proves() {
        let looks = ProbeSchedule { looked: at(100), ..ProbeSchedule::default() };
        assert_eq!(next(&looks), Some((130, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { proven: at(110), ..looks }), Some((140, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { proven: at(90), ..looks }), Some((130, Probe::Check)));
        assert_eq!(looks.next(&HealthSettings::off(), 0.5), None);
    }

    #[test]
    fn doubts_once_and_waits_for_a_cool_down_to_end() {
        let looks = ProbeSchedule { looked: at(100), failures: 1, ..ProbeSchedule::default() };
        assert_eq!(next(&looks), Some((105, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { failures: 2, ..looks }), Some((130, Probe::Check)));
        let tripped = ProbeSchedule { failures: 2, reopens: at(112), ..looks };
        assert_eq!(next(&tripped), Some((112, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { looked: at(112), ..tripped }), Some((142, Probe::Check)));
    }

    #[test]
    fn a_list_is_asked_for_when_it_is_old_or_its_provider_was_gone() {
        let wanted = ProbeSchedule { list_due: Some(Moment::NEVER), ..ProbeSchedule::default() };
        assert_eq!(next(&wanted), Some((0, Probe::Refresh)), "at once");
        let listed = ProbeSchedule { looked: at(100), list_due: Some(at(3700)), ..ProbeSchedule::default() };
        assert_eq!(next(&listed), Some((130, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { looked: at(3690), ..listed }), Some((3700, Probe::Refresh)));
        assert_eq!(next(&ProbeSchedule { failures: 3, ..listed }), Some((130, Probe::Refresh)));
        let failed = ProbeSchedule { looked: at(1), failures: 1, ..wanted };
        assert_eq!(
            failed.next(&HealthSettings::off(), 0.5),
            Some((at(31), Probe::Refresh)),
            "without checks"
        );
    }

    proptest! {
        /// The two promises: never sooner after a proof than nine tenths of the interval, unless there is doubt, and
        /// never later than eleven tenths.
        #[test]
        fn neither_too_often_nor_too_seldom(
            looked in 0_u64..1000,
            proven in 0_u64..1000,
            failures in 0_u32..4,
            reopens in 0_u64..1000,
            listed in proptest::option::of(0_u64..5000),
            spread in 0.0..1.0_f64,
        ) {
            let settings = HealthSettings::default();
            let looks = ProbeSchedule {
                proven: at(proven), looked: at(looked), failures, reopens: at(reopens), list_due: listed.map(at),
            };
            let (due, errand) = looks.next(&settings, spread).unwrap();
            let last = at(looked.max(proven));
            prop_assert!(due.since(last) <= settings.interval.mul_f64(1.0 + SPREAD) + Duration::from_micros(1));
            let trusted = failures == 0 && reopens <= looked && listed.is_none();
            prop_assert!(!trusted || due.since(last) + Duration::from_micros(1) >= settings.interval.mul_f64(1.0 - SPREAD));
            prop_assert!(errand == Probe::Check || listed.is_some());
            // After the look that is due, the next one lies ahead of it by a twentieth at least.
            let after = ProbeSchedule { looked: due, list_due: listed.map(|_| due + settings.refresh), ..looks };
            prop_assert!(after.next(&settings, spread).unwrap().0.since(due) >= SECOND || after.reopens > due);
        }
    }
}
