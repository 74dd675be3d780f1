//! Single values: one function per kind, each of which names the expected form in its error. No message
//! repeats the found value, because it may be a secret key. Each function checks the range too, so that a
//! value that passes is valid.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use regex::{Regex, RegexBuilder};

use super::{document::Value, problem::ValueError, suggestion::nearest, units};
use crate::base::time;

/// Bytes of a compiled `supported_models` expression.
const MAX_REGEX_SIZE: usize = 1 << 20;

pub(super) fn text(value: &Value) -> Result<&str, ValueError> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
            Err(expected("a string", value))
        }
    }
}

/// A name for display: not empty, and without control characters, which would move a terminal's cursor.
pub(super) fn label(value: &Value) -> Result<String, ValueError> {
    match text(value)?.trim() {
        "" => Err("must not be empty".into()),
        label if label.chars().any(char::is_control) => Err("must hold no control character".into()),
        label => Ok(label.to_owned()),
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, ValueError> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Table(_) => {
            Err(expected("true or false", value))
        }
    }
}

/// A whole number within `range`.
pub(super) fn integer<T>(range: RangeInclusive<u64>) -> impl FnOnce(&Value) -> Result<T, ValueError>
where
    T: TryFrom<u64>,
{
    move |value| match value {
        Value::Number(number) => bounded(*number, &range, "a whole number"),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Table(_) => {
            Err(expected("a whole number", value))
        }
    }
}

/// A share from 0 to 1: 0.05, or "5%".
pub(super) fn share(value: &Value) -> Result<f64, ValueError> {
    let share = match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => {
            text.trim().strip_suffix('%').and_then(|text| Some(text.parse::<f64>().ok()? / 100.0))
        }
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Table(_) => None,
    };
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a share from 0 to 1, or as \"5%\"".into())
}

/// Bytes within `range`, as a number or with a unit.
pub(super) fn size<T>(range: RangeInclusive<u64>) -> impl FnOnce(&Value) -> Result<T, ValueError>
where
    T: TryFrom<u64>,
{
    const EXPECTED: &str = "a number of bytes, or a string as \"32MiB\",";
    move |value| match value {
        Value::Number(number) => bounded(*number, &range, EXPECTED),
        Value::Text(text) => {
            let number = units::size(text)
                .ok_or_else(|| format!("expected {EXPECTED} with a unit of KiB, MiB or GiB"))?;
            bounded(number.round(), &range, EXPECTED)
        }
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Table(_) => Err(expected(EXPECTED, value)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within u64's exact range by the check"
)]
fn bounded<T: TryFrom<u64>>(
    number: f64,
    range: &RangeInclusive<u64>,
    expected_form: &str,
) -> Result<T, ValueError> {
    let exact = (0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0;
    exact
        .then_some(number as u64)
        .filter(|integer| range.contains(integer))
        .and_then(|integer| T::try_from(integer).ok())
        .ok_or_else(|| format!("expected {expected_form} from {} to {}", range.start(), range.end()).into())
}

/// A duration above zero.
pub(super) fn duration(value: &Value) -> Result<Duration, ValueError> {
    match duration_or_zero(value)? {
        Duration::ZERO => Err("must be longer than 0".into()),
        duration => Ok(duration),
    }
}

pub(super) fn duration_or_zero(value: &Value) -> Result<Duration, ValueError> {
    const EXPECTED: &str = "seconds, or a string as \"300s\", \"50ms\" or \"1m\"";
    let duration = match value {
        Value::Number(number) => time::duration::seconds(*number),
        Value::Text(text) => time::duration::parse(text),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Table(_) => {
            return Err(expected(EXPECTED, value));
        }
    };
    duration.ok_or_else(|| format!("expected {EXPECTED}, from 0 to a year").into())
}

/// A duration above zero, or `false` (`Ok(None)`).
pub(super) fn duration_or_off(value: &Value) -> Result<Option<Duration>, ValueError> {
    match value {
        Value::Bool(false) => Ok(None),
        Value::Null
        | Value::Bool(true)
        | Value::Number(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => duration(value).map(Some),
    }
}

/// One of a few words, in any letter case.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl FnOnce(&Value) -> Result<T, ValueError> {
    move |value| word(text(value)?, choices)
}

pub(super) fn word<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, ValueError> {
    let text = text.trim();
    choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, meaning)| *meaning).ok_or_else(
        || {
            let known: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            ValueError {
                message: format!("expected one of {}", known.join(", ")),
                suggestion: nearest(text, known),
            }
        },
    )
}

/// A regular expression of bounded size.
pub(super) fn regex(value: &Value) -> Result<Regex, ValueError> {
    RegexBuilder::new(text(value)?).size_limit(MAX_REGEX_SIZE).build().map_err(|error| {
        let described = error.to_string();
        let reason = described.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("not a regular expression: {reason}").into()
    })
}

/// A file that exists; a relative name starts at `folder`. `None`: the disk is not accessed.
pub(super) fn file(folder: Option<&Path>) -> impl FnOnce(&Value) -> Result<PathBuf, ValueError> {
    move |value| {
        let name = text(value)?;
        if name.is_empty() {
            return Err("must not be empty".into());
        }
        let Some(folder) = folder else { return Ok(name.into()) };
        let file = folder.join(name);
        if file.is_file() { Ok(file) } else { Err("there is no such file".into()) }
    }
}

fn expected(expected_form: &str, found: &Value) -> ValueError {
    format!("expected {expected_form}, found {}", found.kind()).into()
}
