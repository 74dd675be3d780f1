//! The strategies: in which order candidates are tried and how many at once (S3.1–S3.3, B4). Also their text
//! form in the configuration and in the header `x-thalweg-strategy`; an unknown text is no strategy. A parsed
//! strategy is always within its bounds.

use std::{fmt, time::Duration};

/// The parser of durations, which the configuration owns.
pub type ReadDuration = fn(&str) -> Option<Duration>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Up to `width` attempts at once; the first good response is used.
    Race { width: u8 },
    /// The next attempt starts after a delay without a good response.
    Hedge { delay: HedgeDelay },
    /// One after another, in the configuration's order.
    #[default]
    Priority,
    /// One after another, in a random order by weight.
    Weighted,
    /// One after another, by expected latency.
    Adaptive,
}

/// How long a hedge waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeDelay {
    Fixed(Duration),
    /// This percentile of the candidate's recent times to the first token, from 1 to 99.
    Percentile(u8),
}

/// The width and the delay of a strategy that is named without an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrategyDefaults {
    pub width: u8,
    pub delay: HedgeDelay,
}

impl Default for StrategyDefaults {
    fn default() -> Self {
        Self { width: 3, delay: HedgeDelay::Percentile(95) }
    }
}

/// The largest width of a race.
pub const MAX_WIDTH: u8 = 16;

impl Strategy {
    /// Parses `race`, `race:2`, `hedge`, `hedge:300ms`, `hedge:p95`, `priority`, `weighted` or `adaptive`, in
    /// any letter case. `None`: another text.
    #[must_use]
    pub fn parse(text: &str, strategy_defaults: StrategyDefaults, duration: ReadDuration) -> Option<Self> {
        let text = text.trim();
        let (name, argument) =
            text.split_once(':').map_or((text, None), |(name, argument)| (name, Some(argument)));
        let named = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match argument {
            None if named("race") => Some(Self::Race { width: strategy_defaults.width }),
            None if named("hedge") => Some(Self::Hedge { delay: strategy_defaults.delay }),
            None if named("priority") => Some(Self::Priority),
            None if named("weighted") => Some(Self::Weighted),
            None if named("adaptive") => Some(Self::Adaptive),
            Some(argument) if named("race") => {
                let width = argument.parse().ok().filter(|width| (2..=MAX_WIDTH).contains(width))?;
                Some(Self::Race { width })
            }
            Some(argument) if named("hedge") => {
                Some(Self::Hedge { delay: HedgeDelay::parse(argument, duration)? })
            }
            None | Some(_) => None,
        }
    }

    /// Whether `permission` permits this strategy: its name, or for a race also the largest width, as
    /// `race:3`.
    #[must_use]
    pub fn is_permitted_by(self, permission: &str) -> bool {
        let (name, width) =
            permission.split_once(':').map_or((permission, None), |(name, width)| (name, Some(width)));
        let is_named = name.trim().eq_ignore_ascii_case(self.as_str());
        match (self, width) {
            (_, None) => is_named,
            (Self::Race { width }, Some(most)) => {
                is_named && most.trim().parse::<u8>().is_ok_and(|most| width <= most)
            }
            (Self::Hedge { .. } | Self::Priority | Self::Weighted | Self::Adaptive, Some(_)) => false,
        }
    }

    /// Whether a text is a permission that [`Strategy::is_permitted_by`] knows.
    #[must_use]
    pub fn is_permission(text: &str) -> bool {
        match Self::parse(text, StrategyDefaults::default(), |_| None) {
            Some(Self::Race { .. }) => true,
            Some(strategy) => strategy.is_permitted_by(text),
            None => false,
        }
    }

    /// The name without the argument.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Race { .. } => "race",
            Self::Hedge { .. } => "hedge",
            Self::Priority => "priority",
            Self::Weighted => "weighted",
            Self::Adaptive => "adaptive",
        }
    }
}

impl HedgeDelay {
    /// Parses `p95`, or a duration above zero. `None`: another text.
    #[must_use]
    pub fn parse(text: &str, duration: ReadDuration) -> Option<Self> {
        let text = text.trim();
        match text.strip_prefix(['p', 'P']) {
            Some(percent) => {
                percent.parse().ok().filter(|percent| (1..=99).contains(percent)).map(Self::Percentile)
            }
            None => duration(text).filter(|delay| !delay.is_zero()).map(Self::Fixed),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Race { width } => write!(f, "race:{width}"),
            Self::Hedge { delay } => write!(f, "hedge:{delay}"),
            Self::Priority | Self::Weighted | Self::Adaptive => f.write_str(self.as_str()),
        }
    }
}

impl fmt::Display for HedgeDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(delay) => write!(f, "{}us", delay.as_micros()),
            Self::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn micros(text: &str) -> Option<Duration> {
        text.strip_suffix("us")?.parse().ok().map(Duration::from_micros)
    }

    fn parse(text: &str) -> Option<Strategy> {
        Strategy::parse(text, StrategyDefaults::default(), micros)
    }

    #[test]
    fn a_permission_names_a_strategy_and_the_width_of_a_race() {
        let is_permitted = |strategy: &str, permission: &str| {
            assert!(Strategy::is_permission(permission), "{permission}");
            parse(strategy).unwrap().is_permitted_by(permission)
        };
        for (strategy, permission) in [
            ("race:16", "race"),
            ("race:3", "race:3"),
            ("race:2", "Race:3"),
            ("hedge:p50", "hedge"),
            ("priority", "priority"),
        ] {
            assert!(is_permitted(strategy, permission), "{strategy} {permission}");
        }
        for (strategy, permission) in [("race:4", "race:3"), ("race", "race:2"), ("hedge", "race")] {
            assert!(!is_permitted(strategy, permission), "{strategy} {permission}");
        }
        for text in ["", "races", "race:1", "race:99", "hedge:p95", "priority:1", "race:"] {
            assert!(!Strategy::is_permission(text), "{text}");
        }
    }

    #[test]
    fn names_take_the_configured_figures() {
        assert_eq!(parse("race"), Some(Strategy::Race { width: 3 }));
        assert_eq!(parse(" Hedge "), Some(Strategy::Hedge { delay: HedgeDelay::Percentile(95) }));
        assert_eq!(parse("PRIORITY"), Some(Strategy::Priority));
        for text in
            ["", "races", "race:", "race:1", "race:17", "hedge:p0", "hedge:p100", "hedge:0us", "priority:1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(width in 2_u8..=MAX_WIDTH, percent in 1_u8..=99, after in 1_u64..1 << 40) {
            for strategy in [
                Strategy::Race { width },
                Strategy::Hedge { delay: HedgeDelay::Percentile(percent) },
                Strategy::Hedge { delay: HedgeDelay::Fixed(Duration::from_micros(after)) },
                Strategy::Priority,
                Strategy::Weighted,
                Strategy::Adaptive,
            ] {
                prop_assert_eq!(parse(&strategy.to_string()), Some(strategy));
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,20}") {
            parse(&text);
            parse(&format!("race:{text}"));
            parse(&format!("hedge:{text}"));
        }
    }
}
