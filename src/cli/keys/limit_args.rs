//! The limits of a key on the command line. A limit that is not given does not change; `none` removes it.
//!
//! The `auth` room enforces limits; this file only parses them.

use std::{str::FromStr, time::SystemTime};

use crate::{
    auth::{
        KeyLimits,
        key_text::{self, Expiry},
    },
    routing::Strategy,
};

const NONE: &str = "none";

/// The new value of a limit that was given. `None`: the limit is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewLimit<T>(Option<T>);

#[derive(clap::Args, Debug)]
pub(super) struct LimitArgs {
    /// Models that it may ask for, as `gpt-*`, several with commas between; `*`: all
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',', value_parser = key_text::name)]
    models: Vec<String>,
    /// Strategies that it may choose for a request, as `hedge,race:2`; none: those that the file gives to all
    #[arg(long, value_name = "STRATEGIES", value_delimiter = ',', value_parser = strategy)]
    strategies: Vec<String>,
    /// Requests per minute
    #[arg(long, value_name = "N", value_parser = count)]
    rpm: Option<NewLimit<u32>>,
    /// Tokens per minute, of prompts and answers together
    #[arg(long, value_name = "N", value_parser = count)]
    tpm: Option<NewLimit<u32>>,
    /// Requests at once
    #[arg(long, value_name = "N", value_parser = count)]
    concurrent: Option<NewLimit<u32>>,
    /// What it may spend in all, in the currency that prices are in
    #[arg(long, value_name = "AMOUNT", value_parser = money)]
    budget: Option<NewLimit<i64>>,
    /// When it ends: a time from now, as 30d or 12h, or a day, as 2027-01-31
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<NewLimit<Expiry>>,
}

impl LimitArgs {
    pub(super) fn apply(&self, limits: &mut KeyLimits, now: SystemTime) {
        if !self.models.is_empty() {
            limits.models.clone_from(&self.models);
            if self.models.iter().any(|pattern| pattern == "*") {
                limits.models.clear();
            }
        }
        if !self.strategies.is_empty() {
            let are_general = self.strategies.iter().any(|strategy| strategy == NONE);
            limits.strategies = (!are_general).then(|| self.strategies.clone());
        }
        let allowance = &mut limits.allowance;
        set(&mut allowance.requests, self.rpm);
        set(&mut allowance.tokens, self.tpm);
        set(&mut allowance.concurrent, self.concurrent);
        set(&mut allowance.budget, self.budget);
        let moment = |expiry: Expiry| expiry.moment(now);
        set(&mut limits.expires, self.expires.map(|NewLimit(expiry)| NewLimit(expiry.map(moment))));
    }
}

fn set<T>(slot: &mut Option<T>, new_limit: Option<NewLimit<T>>) {
    if let Some(NewLimit(value)) = new_limit {
        *slot = value;
    }
}

fn strategy(text: &str) -> Result<String, &'static str> {
    if text == NONE || Strategy::is_permission(text) {
        return Ok(text.to_owned());
    }
    Err("expected race, race:3 (up to three at once), hedge, priority, weighted, adaptive, or none")
}

/// `none`, or a value that `read` parses.
fn or_none<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<NewLimit<T>, &'static str> {
    if text.eq_ignore_ascii_case(NONE) {
        Ok(NewLimit(None))
    } else {
        read(text).map(|value| NewLimit(Some(value)))
    }
}

fn count(text: &str) -> Result<NewLimit<u32>, &'static str> {
    or_none(text, |text| match u32::from_str(text) {
        Ok(0) | Err(_) => Err("expected a whole number from 1 to 4000000000, or none"),
        Ok(number) => Ok(number),
    })
}

fn money(text: &str) -> Result<NewLimit<i64>, &'static str> {
    or_none(text, |text| key_text::millionths(text).ok_or("expected an amount as 5 or 5.00, or none"))
}

fn expiry(text: &str) -> Result<NewLimit<Expiry>, &'static str> {
    or_none(text, key_text::expiry)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_not_said_stays_and_none_takes_away() {
        let now = SystemTime::UNIX_EPOCH;
        let mut limits = KeyLimits::default();
        let new_limit = LimitArgs {
            models: vec!["gpt-*".into()],
            strategies: vec!["race:2".into()],
            rpm: count("60").ok(),
            tpm: None,
            concurrent: None,
            budget: money("5").ok(),
            expires: expiry("1h").ok(),
        };
        new_limit.apply(&mut limits, now);
        assert_eq!(limits.expires, Some(now + Duration::from_secs(3600)));
        assert_eq!(limits.strategies, Some(vec!["race:2".into()]));
        let less = LimitArgs {
            models: vec!["*".into()],
            strategies: vec!["none".into()],
            rpm: count("none").ok(),
            tpm: count("9").ok(),
            concurrent: None,
            budget: None,
            expires: expiry("2099-01-31").ok(),
        };
        less.apply(&mut limits, now);
        assert_eq!((limits.allowance.requests, limits.allowance.tokens), (None, Some(9)));
        assert_eq!(limits.allowance.budget, Some(5_000_000));
        assert!(limits.models.is_empty() && limits.strategies.is_none());
        for bad in ["0", "-1", "x", "4294967296"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "yesterday", "400d"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }
}
