//! A client token in the file: `"description|token"`, or an object with these two, `admin` and limits.
//! Problems are reported under the names of these keys and never show the token. The `auth` room enforces the
//! limits.

use std::time::SystemTime;

use super::{
    document::Value,
    problem::ValueError,
    provider::secret,
    routing::permissions,
    scalar,
    section::{Located, Section},
};
use crate::{
    auth::{KeyLimits, TokenSettings},
    base::{Secret, time::date},
};

/// The largest limit of requests, tokens, and requests at once.
const MAX_LIMIT: u64 = 4_000_000_000;

/// `None`: a problem has been reported.
pub(super) fn read(field: &mut Located<'_, '_, '_>) -> Option<TokenSettings> {
    match field.value {
        Value::Text(text) => from_string(field, text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
            field.section(from_object).flatten()
        }
    }
}

/// Only the first bar separates.
fn from_string(field: &mut Located<'_, '_, '_>, text: &str) -> Option<TokenSettings> {
    let Some((description_text, token_text)) = text.split_once('|') else {
        field.report("expected \"description|token\"");
        return None;
    };
    let description = field.part("description", description(description_text));
    let resolved = field.context.env.resolve(token_text);
    let token = field.part("token", resolved.and_then(token));
    Some(TokenSettings::plain(&description?, token?))
}

fn from_object(section: &mut Section<'_, '_, '_>) -> Option<TokenSettings> {
    let mut description_text = String::new();
    section.set("description", &mut description_text, |value| description(scalar::text(value)?));
    let token = section.required("token").and_then(|mut field| {
        let text = field.resolved()?;
        field.read(|_| token(text))
    });
    let mut admin = false;
    section.set("admin", &mut admin, scalar::boolean);
    let limits = limits(section);
    if limits.allowance.budget.is_some() && description_text.is_empty() {
        section.report("budget", "needs a description, under which it is booked what was spent");
    }
    Some(TokenSettings { description: description_text, token: token?, admin, limits })
}

fn limits(section: &mut Section<'_, '_, '_>) -> KeyLimits {
    let mut limits = KeyLimits::default();
    if let Some(mut field) = section.field("models") {
        field.items(|mut item| limits.models.extend(item.read(scalar::label)));
        if limits.models.is_empty() {
            field.report("must name a model, or be left out");
        }
    }
    limits.strategies = permissions(section, "strategies");
    let allowance = &mut limits.allowance;
    allowance.requests = section.read("rpm", scalar::integer(1..=MAX_LIMIT));
    allowance.tokens = section.read("tpm", scalar::integer(1..=MAX_LIMIT));
    allowance.concurrent = section.read("concurrent", scalar::integer(1..=MAX_LIMIT));
    allowance.budget = section.read("budget", money);
    limits.cache = section.read("cache", scalar::boolean);
    limits.expires = section.read("expires", moment);
    limits
}

/// An amount in millionths of the currency.
#[expect(clippy::cast_possible_truncation, reason = "is checked to be in range")]
fn money(value: &Value) -> Result<i64, ValueError> {
    const MAX_BUDGET: f64 = 1e9;
    match value {
        Value::Number(amount) if (0.0..=MAX_BUDGET).contains(amount) => Ok((amount * 1e6).round() as i64),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => Err("expected an amount as 5.00, of the currency that prices are in".into()),
    }
}

fn moment(value: &Value) -> Result<SystemTime, ValueError> {
    const EXPECTED: &str = "expected a day as \"2027-01-31\", or a moment as \"2027-01-31T12:00:00Z\"";
    date::parse(scalar::text(value)?).ok_or_else(|| EXPECTED.into())
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
