//! Prints keys, as a table or as JSON. A secret is printed only once, when it is created. Money is in the
//! currency of the prices.
//!
//! Digests are not printed.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use serde_json::{Value, json};

use crate::{
    auth::{KeyName, StoredKey, key_facts},
    base::time::Rfc3339,
    cli::table::Table,
};

/// Prints a new key or a new secret of a key; the secret is never shown again.
pub(super) fn made(out: &mut impl Write, as_json: bool, key: &StoredKey, secret: &str) -> io::Result<()> {
    if as_json {
        let mut value = key_facts::facts(key);
        value["key"] = secret.into();
        return writeln!(out, "{value}");
    }
    writeln!(out, "{secret}\n\nThis is the key of {} ({}). It is not shown again.", key.name, key.id)?;
    if let Some((_, until)) = key.old {
        if until > SystemTime::now() {
            writeln!(out, "The one before is accepted until {}.", Rfc3339(until))?;
        } else {
            writeln!(out, "The one before is refused within a second.")?;
        }
    }
    Ok(())
}

pub(super) fn changed(out: &mut impl Write, as_json: bool, key: &StoredKey) -> io::Result<()> {
    if as_json {
        return writeln!(out, "{}", key_facts::facts(key));
    }
    writeln!(out, "{} ({}) is changed; a running gateway knows it within a second.", key.name, key.id)
}

pub(super) fn revoked(out: &mut impl Write, as_json: bool, key: &KeyName) -> io::Result<()> {
    let KeyName { id, name } = key;
    if as_json {
        return writeln!(out, "{}", json!({"id": id, "name": name, "state": "revoked"}));
    }
    writeln!(out, "{name} ({id}) is revoked; a running gateway knows it within a second.")
}

pub(super) fn list(out: &mut impl Write, as_json: bool, keys: &[StoredKey]) -> io::Result<()> {
    if as_json {
        return writeln!(out, "{}", Value::Array(keys.iter().map(key_facts::facts).collect()));
    }
    let mut table =
        Table::new(["name", "key", "models", "rpm", "tpm", "at once", "spent", "budget", "expires", "state"]);
    for key in keys {
        let allowance = &key.limits.allowance;
        let limit = |limit: Option<u32>| limit.map_or_else(dash, |limit| limit.to_string());
        table.push([
            key.name.clone(),
            key.shown.clone(),
            if key.limits.models.is_empty() { "*".to_owned() } else { key.limits.models.join(",") },
            limit(allowance.requests),
            limit(allowance.tokens),
            limit(allowance.concurrent),
            money(key.spent),
            allowance.budget.map_or_else(dash, money),
            key.limits.expires.map_or_else(dash, |at| Rfc3339(at).to_string()),
            key_facts::state(key).to_owned(),
        ]);
    }
    if table.is_empty() {
        return writeln!(out, "There are no keys. Make one: thalweg keys create --name NAME");
    }
    write!(out, "{table}")
}

fn dash() -> String {
    "-".to_owned()
}

fn money(millionths: i64) -> String {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    let cents = text.len() - 4;
    let (short, rest) = text.split_at(cents);
    if rest == "0000" { short.to_owned() } else { text }
}
