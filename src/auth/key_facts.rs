//! Keys as JSON, the same in `thalweg keys --json` and `/v1/keys`. Digests are not shown. Money is in the
//! currency of the prices.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::store::StoredKey;
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
    let over = |at: Option<SystemTime>| at.is_some_and(|at| at <= SystemTime::now());
    if key.revoked.is_some() {
        "revoked"
    } else if over(key.limits.expires) {
        "expired"
    } else if key.limits.allowance.budget.is_some_and(|budget| key.spent >= budget) {
        "spent"
    } else if key.admin {
        "admin"
    } else {
        "good"
    }
}

/// A key as JSON, without its digest.
#[must_use]
pub fn facts(key: &StoredKey) -> Value {
    let moment = |at: Option<SystemTime>| at.map(|at| Rfc3339(at).to_string());
    let allowance = &key.limits.allowance;
    json!({
        "id": key.id,
        "name": key.name,
        "prefix": key.shown,
        "admin": key.admin,
        "models": key.limits.models,
        "strategies": key.limits.strategies,
        "rpm": allowance.requests,
        "tpm": allowance.tokens,
        "concurrent": allowance.concurrent,
        "budget": allowance.budget.map(amount),
        "spent": amount(key.spent),
        "expires": moment(key.limits.expires),
        "created": moment(Some(key.created)),
        "revoked": moment(key.revoked),
        "previous_until": moment(key.old.map(|(_, until)| until)),
        "state": state(key),
    })
}
