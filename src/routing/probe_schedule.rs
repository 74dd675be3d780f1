//! Decides when a provider is probed (S0.6, S1.1): at an interval, but not while live traffic succeeds;
//! sooner after one failed probe; when a cool-down ends. Pure: [`app`](crate::app) runs the probes.
//!
//! The time of the next probe depends only on this state, the settings and a jitter.

use std::time::Duration;

use crate::base::{Moment, Rng};

/// After the first failed probe the next one comes after this fraction of the interval, because one failure
/// may be an accident.
const FIRST_RETRY_DIVISOR: u32 = 6;
/// How much earlier or later than the interval a probe may come, as a share of the interval.
const JITTER: f64 = 0.1;
/// A provider that is down is probed again after this, or after the interval if that is shorter.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The settings of health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// From one probe of a provider to the next. Zero: only at start.
    pub interval: Duration,
    /// Timeout of a probe's whole response.
    pub timeout: Duration,
    /// The maximum age of a model list.
    pub refresh: Duration,
    /// Providers that are probed at once at start and after a reload; the first to answer is preferred
    /// (S1.5).
    pub precheck: usize,
    /// Providers to which connections are opened at start and after a reload (S1.9).
    pub warmup: usize,
}

/// The state of one provider's probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeSchedule {
    /// When live traffic last succeeded.
    pub last_success: Moment,
    /// When it was last probed.
    pub last_probe: Moment,
    /// Failed probes in a row.
    pub failures: u32,
    /// When the latest cool-down of its candidates ends or ended.
    pub cool_down_ends: Moment,
    /// When its model list becomes too old. `None`: the list is not needed.
    pub list_due: Option<Moment>,
}

/// The purpose of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Checks whether the provider is alive.
    Check,
    /// The same, and fetches its model list.
    Refresh,
}

impl ProbeSchedule {
    /// When the next probe is due, and its purpose. `jitter` is from 0 to 1, drawn once for each probe.
    /// `None`: no probe is due by time.
    #[must_use]
    pub fn next(&self, settings: &HealthSettings, jitter: f64) -> Option<(Moment, Probe)> {
        match (self.check(settings, jitter), self.refresh(settings)) {
            (None, refresh) => refresh.map(|at| (at, Probe::Refresh)),
            (Some(check), None) => Some((check, Probe::Check)),
            // A provider that was down may come back with other models.
            (Some(check), Some(refresh)) if refresh <= check || self.failures > 0 => {
                Some((refresh.min(check), Probe::Refresh))
            }
            (Some(check), Some(_)) => Some((check, Probe::Check)),
        }
    }

    fn check(&self, settings: &HealthSettings, jitter: f64) -> Option<Moment> {
        if settings.interval.is_zero() {
            return None;
        }
        let regular = settings.interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter.clamp(0.0, 1.0));
        let wait = match self.failures {
            0 => regular,
            1 => settings.interval / FIRST_RETRY_DIVISOR,
            // Even with a long interval, a provider that is down is probed soon.
            _ => regular.min(MAX_RETRY_INTERVAL),
        };
        let at = self.last_probe.max(self.last_success) + wait;
        // A probe at the end of the cool-down finds out whether the provider is back, before traffic does.
        Some(if self.cool_down_ends > self.last_probe { at.min(self.cool_down_ends) } else { at })
    }

    fn refresh(&self, settings: &HealthSettings) -> Option<Moment> {
        let pause = match (self.failures, settings.interval) {
            (0, _) => return self.list_due,
            (_, Duration::ZERO) => MAX_RETRY_INTERVAL,
            (_, interval) => interval,
        };
        self.list_due.map(|due| due.max(self.last_probe + pause))
    }
}

/// How long a provider that was found down rests: until the probe after the next one. A successful probe ends
/// the rest.
#[must_use]
pub fn rest_duration(settings: &HealthSettings, rng: &mut Rng) -> Duration {
    let interval = settings.interval.min(MAX_RETRY_INTERVAL);
    interval * 2 + rng.jitter(interval / 2)
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
    /// No health checks; only model lists are fetched.
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

    fn next(schedule: &ProbeSchedule) -> Option<(u64, Probe)> {
        let (at, probe) = schedule.next(&HealthSettings::default(), 0.5)?;
        Some((at.since(Moment(1)).as_secs(), probe))
    }

    #[test]
    fn looks_every_interval_but_not_at_what_traffic_proves() {
        let schedule = ProbeSchedule { last_probe: at(100), ..ProbeSchedule::default() };
        assert_eq!(next(&schedule), Some((130, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { last_success: at(110), ..schedule }), Some((140, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { last_success: at(90), ..schedule }), Some((130, Probe::Check)));
        assert_eq!(schedule.next(&HealthSettings::off(), 0.5), None);
    }

    #[test]
    fn doubts_once_and_waits_for_a_cool_down_to_end() {
        let schedule = ProbeSchedule { last_probe: at(100), failures: 1, ..ProbeSchedule::default() };
        assert_eq!(next(&schedule), Some((105, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { failures: 2, ..schedule }), Some((130, Probe::Check)));
        let tripped = ProbeSchedule { failures: 2, cool_down_ends: at(112), ..schedule };
        assert_eq!(next(&tripped), Some((112, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { last_probe: at(112), ..tripped }), Some((142, Probe::Check)));
    }

    #[test]
    fn a_list_is_asked_for_when_it_is_old_or_its_provider_was_gone() {
        let wanted = ProbeSchedule { list_due: Some(Moment::NEVER), ..ProbeSchedule::default() };
        assert_eq!(next(&wanted), Some((0, Probe::Refresh)), "at once");
        let listed =
            ProbeSchedule { last_probe: at(100), list_due: Some(at(3700)), ..ProbeSchedule::default() };
        assert_eq!(next(&listed), Some((130, Probe::Check)));
        assert_eq!(next(&ProbeSchedule { last_probe: at(3690), ..listed }), Some((3700, Probe::Refresh)));
        assert_eq!(next(&ProbeSchedule { failures: 3, ..listed }), Some((130, Probe::Refresh)));
        let failed = ProbeSchedule { last_probe: at(1), failures: 1, ..wanted };
        assert_eq!(
            failed.next(&HealthSettings::off(), 0.5),
            Some((at(31), Probe::Refresh)),
            "without checks"
        );
    }

    proptest! {
        /// Not sooner after a success than nine tenths of the interval, unless a probe failed, and not later
        /// than eleven tenths.
        #[test]
        fn neither_too_often_nor_too_seldom(
            last_probe in 0_u64..1000,
            last_success in 0_u64..1000,
            failures in 0_u32..4,
            cool_down_ends in 0_u64..1000,
            listed in proptest::option::of(0_u64..5000),
            jitter in 0.0..1.0_f64,
        ) {
            let settings = HealthSettings::default();
            let schedule = ProbeSchedule {
                last_success: at(last_success), last_probe: at(last_probe), failures, cool_down_ends: at(cool_down_ends), list_due: listed.map(at),
            };
            let (due, probe) = schedule.next(&settings, jitter).unwrap();
            let last = at(last_probe.max(last_success));
            prop_assert!(due.since(last) <= settings.interval.mul_f64(1.0 + JITTER) + Duration::from_micros(1));
            let trusted = failures == 0 && cool_down_ends <= last_probe && listed.is_none();
            prop_assert!(!trusted || due.since(last) + Duration::from_micros(1) >= settings.interval.mul_f64(1.0 - JITTER));
            prop_assert!(probe == Probe::Check || listed.is_some());
            // After the probe that is due, the next one is at least a twentieth of the interval later.
            let after = ProbeSchedule { last_probe: due, list_due: listed.map(|_| due + settings.refresh), ..schedule };
            prop_assert!(after.next(&settings, jitter).unwrap().0.since(due) >= SECOND || after.cool_down_ends > due);
        }
    }
}
