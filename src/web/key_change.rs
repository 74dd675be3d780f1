//! The body of a request that makes or changes a key, checked member by member. A limit that is absent does
//! not change; null removes it.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::{
    auth::{
        KeyLimits,
        key_text::{self, Expiry},
    },
    proxy::Refusal,
    routing::Strategy,
};

/// The requests that have such a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyRequest {
    Make,
    Limit,
    Rotate,
}

#[derive(Debug, Default)]
pub(super) struct KeyChange {
    pub(super) name: Option<String>,
    pub(super) admin: bool,
    /// How long the token before a rotation is accepted.
    pub(super) overlap: Duration,
    /// The beginning of the token that a rotation replaces.
    pub(super) prefix: Option<String>,
    models: Option<Vec<String>>,
    strategies: Option<Option<Vec<String>>>,
    requests: Option<Option<u32>>,
    tokens: Option<Option<u32>>,
    concurrent: Option<Option<u32>>,
    budget: Option<Option<i64>>,
    expires: Option<Option<Expiry>>,
}

/// A member's value is wrong: the reason.
type MemberResult<T> = Result<T, &'static str>;

impl KeyChange {
    /// # Errors
    /// It is no object, or one of its members is unknown or wrong (400).
    pub(super) fn read(body: &[u8], request: KeyRequest) -> Result<Self, Box<Refusal>> {
        let body = if body.is_empty() { &b"{}"[..] } else { body };
        let members: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| wrong(None, format!("this is no JSON object: {error}")))?;
        let mut change = Self::default();
        for (name, value) in &members {
            let Some(name) = NAMES.iter().find(|known| *known == name) else {
                return Err(wrong(
                    None,
                    "a key has name, admin, models, strategies, rpm, tpm, concurrent, budget and expires; a rotation has overlap and prefix",
                ));
            };
            let of_other = match *name {
                "name" | "admin" => request != KeyRequest::Make,
                "overlap" | "prefix" => request != KeyRequest::Rotate,
                _ => request == KeyRequest::Rotate,
            };
            let taken = if of_other { Err("is not for this request") } else { change.take(name, value) };
            taken.map_err(|reason| wrong(Some(name), format!("`{name}`: {reason}")))?;
        }
        if request == KeyRequest::Make && change.name.is_none() {
            return Err(wrong(Some("name"), "`name` is missing"));
        }
        Ok(change)
    }

    fn take(&mut self, name: &str, value: &Value) -> MemberResult<()> {
        match name {
            "name" => self.name = Some(key_text::name(text(value)?)?),
            "admin" => self.admin = value.as_bool().ok_or("expected true or false")?,
            "overlap" => self.overlap = key_text::overlap(text(value)?)?,
            "prefix" => self.prefix = Some(text(value)?.to_owned()),
            "models" => {
                let models = optional(value, |value| list(value, key_text::name))?.unwrap_or_default();
                let has_all = models.iter().any(|pattern| pattern == "*");
                self.models = Some(if has_all { Vec::new() } else { models });
            }
            "strategies" => self.strategies = Some(optional(value, |value| list(value, strategy))?),
            "rpm" => self.requests = Some(optional(value, count)?),
            "tpm" => self.tokens = Some(optional(value, count)?),
            "concurrent" => self.concurrent = Some(optional(value, count)?),
            "budget" => self.budget = Some(optional(value, money)?),
            _ => self.expires = Some(optional(value, |value| key_text::expiry(text(value)?))?),
        }
        Ok(())
    }

    pub(super) fn apply(self, limits: &mut KeyLimits, now: SystemTime) {
        set(&mut limits.models, self.models);
        set(&mut limits.strategies, self.strategies);
        set(&mut limits.allowance.requests, self.requests);
        set(&mut limits.allowance.tokens, self.tokens);
        set(&mut limits.allowance.concurrent, self.concurrent);
        set(&mut limits.allowance.budget, self.budget);
        set(&mut limits.expires, self.expires.map(|expires| expires.map(|expiry| expiry.moment(now))));
    }
}

const NAMES: [&str; 11] = [
    "name",
    "admin",
    "overlap",
    "prefix",
    "models",
    "strategies",
    "rpm",
    "tpm",
    "concurrent",
    "budget",
    "expires",
];

fn set<T>(place: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *place = new;
    }
}

fn optional<T>(value: &Value, read: impl FnOnce(&Value) -> MemberResult<T>) -> MemberResult<Option<T>> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

fn text(value: &Value) -> MemberResult<&str> {
    value.as_str().ok_or("expected a string")
}

fn list(value: &Value, read: impl Fn(&str) -> MemberResult<String>) -> MemberResult<Vec<String>> {
    let values = value.as_array().ok_or("expected a list of strings")?;
    values.iter().map(|value| read(text(value)?)).collect()
}

fn strategy(text: &str) -> MemberResult<String> {
    let expected = "expected race, race:3 (up to three at once), hedge, priority, weighted or adaptive";
    if Strategy::is_permission(text) { Ok(text.to_owned()) } else { Err(expected) }
}

fn count(value: &Value) -> MemberResult<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or("expected a whole number from 1 to 4000000000, or null")
}

/// A number, or its digits as a string.
fn money(value: &Value) -> MemberResult<i64> {
    let digits = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    key_text::millionths(&digits).ok_or("expected an amount as 5 or \"5.00\", or null")
}

fn wrong(param: Option<&'static str>, message: impl Into<std::borrow::Cow<'static, str>>) -> Box<Refusal> {
    Refusal::request(400, "invalid_request", message).of(param)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, request: KeyRequest) -> Result<KeyChange, (String, Option<String>)> {
        let shown = |refusal: Box<Refusal>| {
            (refusal.message.to_string(), refusal.param.map(std::borrow::Cow::into_owned))
        };
        KeyChange::read(body.as_bytes(), request).map_err(shown)
    }

    #[test]
    fn absent_members_change_nothing_and_null_removes() {
        let now = SystemTime::UNIX_EPOCH;
        let mut limits = KeyLimits::default();
        let all = r#"{"name":" a ","admin":true,"models":["gpt-*"],"strategies":["race:2"],"rpm":60,"tpm":9,
            "concurrent":4,"budget":0.1,"expires":"1h"}"#;
        let change = read(all, KeyRequest::Make).unwrap();
        assert_eq!((change.name.as_deref(), change.admin), (Some("a"), true));
        change.apply(&mut limits, now);
        assert_eq!(limits.expires, Some(now + Duration::from_secs(3600)));
        assert_eq!((limits.allowance.requests, limits.allowance.budget), (Some(60), Some(100_000)));
        let before = limits.clone();
        read("", KeyRequest::Limit).unwrap().apply(&mut limits, now);
        assert_eq!(limits, before);
        let none = r#"{"models":null,"strategies":null,"rpm":null,"tpm":8,"budget":"5.00","expires":null}"#;
        read(none, KeyRequest::Limit).unwrap().apply(&mut limits, now);
        assert!(limits.models.is_empty() && limits.strategies.is_none() && limits.expires.is_none());
        assert_eq!((limits.allowance.requests, limits.allowance.tokens), (None, Some(8)));
        assert_eq!((limits.allowance.concurrent, limits.allowance.budget), (Some(4), Some(5_000_000)));
        read(r#"{"models":["a","*"]}"#, KeyRequest::Limit).unwrap().apply(&mut limits, now);
        assert!(limits.models.is_empty(), "all");
    }

    #[test]
    fn a_wrong_member_is_named() {
        for (body, request, param) in [
            ("{}", KeyRequest::Make, Some("name")),
            (r#"{"name":""}"#, KeyRequest::Make, Some("name")),
            (r#"{"name":"a","rpm":0}"#, KeyRequest::Make, Some("rpm")),
            (r#"{"name":"a","overlap":"1h"}"#, KeyRequest::Make, Some("overlap")),
            (r#"{"name":"a"}"#, KeyRequest::Limit, Some("name")),
            (r#"{"admin":true}"#, KeyRequest::Limit, Some("admin")),
            (r#"{"rpm":"60"}"#, KeyRequest::Limit, Some("rpm")),
            (r#"{"tpm":1.5}"#, KeyRequest::Limit, Some("tpm")),
            (r#"{"concurrent":4294967296}"#, KeyRequest::Limit, Some("concurrent")),
            (r#"{"budget":-1}"#, KeyRequest::Limit, Some("budget")),
            (r#"{"budget":1e-7}"#, KeyRequest::Limit, Some("budget")),
            (r#"{"expires":"yesterday"}"#, KeyRequest::Limit, Some("expires")),
            (r#"{"expires":"2001-01-01"}"#, KeyRequest::Limit, Some("expires")),
            (r#"{"models":"gpt"}"#, KeyRequest::Limit, Some("models")),
            (r#"{"strategies":["fast"]}"#, KeyRequest::Limit, Some("strategies")),
            (r#"{"rpm":1}"#, KeyRequest::Rotate, Some("rpm")),
            (r#"{"overlap":"soon"}"#, KeyRequest::Rotate, Some("overlap")),
            (r#"{"prefix":null}"#, KeyRequest::Rotate, Some("prefix")),
            (r#"{"prefix":"sk-"}"#, KeyRequest::Limit, Some("prefix")),
            (r#"{"price":1}"#, KeyRequest::Limit, None),
            ("[]", KeyRequest::Limit, None),
        ] {
            let (message, named) = read(body, request).unwrap_err();
            assert_eq!(named.as_deref(), param, "{body}: {message}");
        }
    }
}
