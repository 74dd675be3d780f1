//! Keys as JSON, the same in `thalweg keys --json` and `/v1/keys`. Digests are not shown. Money is in the
//! currency of the prices.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{KeyLimits, limit::LimitValues, store::StoredKey};
use crate::base::time::Rfc3339;

/// An amount of money in the currency of the prices.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "amounts of money are far below 2^53 millionths")]
pub fn amount(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

/// The state of a key in one word.
#[must_use]
pub fn state(key: &StoredKey) -> &'static str {
    if key.revoked.is_some() { "revoked" } else { state_by(&key.limits, key.spent, key.admin) }
}

/// The state of a key that is in force.
#[must_use]
pub fn state_by(limits: &KeyLimits, spent: i64, is_admin: bool) -> &'static str {
    if limits.expires.is_some_and(|at| at <= SystemTime::now()) {
        "expired"
    } else if limits.allowance.budget.is_some_and(|budget| spent >= budget) {
        "spent"
    } else if is_admin {
        "admin"
    } else {
        "good"
    }
}

/// The limits of a key as JSON.
#[must_use]
pub fn limits_as_json(limits: &KeyLimits) -> Value {
    let LimitValues { requests, tokens, concurrent, budget } = limits.allowance;
    json!({
        "models": limits.models,
        "strategies": limits.strategies,
        "rpm": requests,
        "tpm": tokens,
        "concurrent": concurrent,
        "budget": budget.map(amount),
        "expires": moment(limits.expires),
    })
}

fn moment(at: Option<SystemTime>) -> Option<String> {
    at.map(|at| Rfc3339(at).to_string())
}

/// A key as JSON, without its digest.
#[must_use]
pub fn facts(key: &StoredKey) -> Value {
    let mut value = limits_as_json(&key.limits);
    value["id"] = key.id.as_str().into();
    value["name"] = key.name.as_str().into();
    value["prefix"] = key.shown.as_str().into();
    value["admin"] = key.admin.into();
    value["spent"] = amount(key.spent).into();
    value["created"] = moment(Some(key.created)).into();
    value["revoked"] = moment(key.revoked).into();
    value["previous_until"] = moment(key.old.map(|(_, until)| until)).into();
    value["state"] = state(key).into();
    value
}
