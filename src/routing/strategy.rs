//! In which order and how many at once candidates are asked (S3.1–S3.3, B4), and how that is written: in the file and in
//! the header `x-thalweg-strategy`.

use std::{fmt, time::Duration};

/// A duration's reader, as the configuration has it.
pub type ReadDuration = fn(&str) -> Option<Duration>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All at once, up to so many; the first good answer is used.
    Race { width: u8 },
    /// The next one after a delay without a good answer.
    Hedge { delay: HedgeDelay },
    /// One after another, in the configuration's order.
    #[default]
    Priority,
    /// One after another, in an order thrown by weight.
    Weighted,
    /// One after another, in an order by what was measured.
    Adaptive,
}

/// How long a hedge waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeDelay {
    Fixed(Duration),
    /// As long as this share of the candidate's first tokens took lately, in percent.
    Percentile(u8),
}

/// What a strategy's name means without figures of its own.
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

/// More at once is a mistake, not a race.
pub const WIDEST: u8 = 16;

impl Strategy {
    /// `race`, `race:2`, `hedge`, `hedge:300ms`, `hedge:p95`, `priority`, `weighted`, `adaptive`, in any case.
    #[must_use]
    pub fn parse(text: &str, figures: StrategyDefaults, duration: ReadDuration) -> Option<Self> {
        let text = text.trim();
        let (name, figure) = text.split_once(':').map_or((text, None), |(name, figure)| (name, Some(figure)));
        let named = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match figure {
            None if named("race") => Some(Self::Race { width: figures.width }),
            None if named("hedge") => Some(Self::Hedge { delay: figures.delay }),
            None if named("priority") => Some(Self::Priority),
            None if named("weighted") => Some(Self::Weighted),
            None if named("adaptive") => Some(Self::Adaptive),
            Some(figure) if named("race") => {
                let width = figure.parse().ok().filter(|width| (2..=WIDEST).contains(width))?;
                Some(Self::Race { width })
            }
            Some(figure) if named("hedge") => {
                Some(Self::Hedge { delay: HedgeDelay::parse(figure, duration)? })
            }
            None | Some(_) => None,
        }
    }

    /// The name alone.
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
    /// `p95`, or a duration longer than nothing.
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
        fn what_is_printed_is_read(width in 2_u8..=WIDEST, percent in 1_u8..=99, after in 1_u64..1 << 40) {
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
