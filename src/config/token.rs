//! A client token of the file: `"description|token"`, or an object with these two, `admin` and limits.

use std::time::SystemTime;

use super::{
    document::Value,
    problem::ValueError,
    provider::secret,
    scalar,
    section::{Located, Section},
};
use crate::{
    auth::{KeyLimits, TokenSettings},
    base::{Secret, time::date},
};

/// Of requests, tokens and what runs at once.
const MANY: u64 = 4_000_000_000;

/// `None`: something was wrong and has been reported.
pub(super) fn read(place: &mut Located<'_, '_, '_>) -> Option<TokenSettings> {
    match place.value {
        Value::Text(text) => from_string(place, text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
            place.section(from_object).flatten()
        }
    }
}

/// Only the first bar separates.
fn from_string(place: &mut Located<'_, '_, '_>, text: &str) -> Option<TokenSettings> {
    let Some((said, written)) = text.split_once('|') else {
        place.wrong("expected \"description|token\"");
        return None;
    };
    let description = place.part("description", description(said));
    let resolved = place.reader.env.resolve(written);
    let token = place.part("token", resolved.and_then(token));
    Some(TokenSettings::plain(&description?, token?))
}

fn from_object(section: &mut Section<'_, '_, '_>) -> Option<TokenSettings> {
    let mut said = String::new();
    section.set("description", &mut said, |value| description(scalar::text(value)?));
    let token = section.required("token").and_then(|mut place| {
        let text = place.resolved()?;
        place.read(|_| token(text))
    });
    let mut admin = false;
    section.set("admin", &mut admin, scalar::boolean);
    let limits = limits(section);
    if limits.allowance.budget.is_some() && said.is_empty() {
        section.wrong("budget", "needs a description, under which it is booked what was spent");
    }
    Some(TokenSettings { description: said, token: token?, admin, limits })
}

fn limits(section: &mut Section<'_, '_, '_>) -> KeyLimits {
    let mut limits = KeyLimits::default();
    if let Some(mut place) = section.place("models") {
        place.items(|mut item| limits.models.extend(item.read(scalar::label)));
        if limits.models.is_empty() {
            place.wrong("must name a model, or be left out");
        }
    }
    let allowance = &mut limits.allowance;
    allowance.requests = section.read("rpm", scalar::whole(1..=MANY));
    allowance.tokens = section.read("tpm", scalar::whole(1..=MANY));
    allowance.concurrent = section.read("concurrent", scalar::whole(1..=MANY));
    allowance.budget = section.read("budget", money);
    limits.expires = section.read("expires", moment);
    limits
}

/// Millionths of the currency.
#[expect(clippy::cast_possible_truncation, reason = "is checked to be in range")]
fn money(value: &Value) -> Result<i64, ValueError> {
    const MOST: f64 = 1e9;
    match value {
        Value::Number(amount) if (0.0..=MOST).contains(amount) => Ok((amount * 1e6).round() as i64),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => Err("expected an amount as 5.00, of the currency that prices are in".into()),
    }
}

fn moment(value: &Value) -> Result<SystemTime, ValueError> {
    const WHAT: &str = "expected a day as \"2027-01-31\", or a moment as \"2027-01-31T12:00:00Z\"";
    date::parse(scalar::text(value)?).ok_or_else(|| WHAT.into())
}

/// May be empty.
fn description(text: &str) -> Result<String, ValueError> {
    match text.trim() {
        text if text.chars().any(char::is_control) => Err("must hold no control character".into()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn token(text: String) -> Result<Secret<String>, ValueError> {
    match secret(text)? {
        text if text.expose().is_empty() => Err("must not be empty".into()),
        text => Ok(text),
    }
}
