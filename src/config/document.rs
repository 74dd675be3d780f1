//! Parses JSON text into a tree that keeps the order of keys and duplicate keys, which serde_json's `Value`
//! loses. serde_json bounds the depth (128). No `Debug` and no `Display`, because the tree holds secret keys.
//! Duplicate keys are kept so that `section` can report them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::problem::{Problem, ValueError};

/// Numbers are `f64`: exact up to 2^53, which no setting exceeds.
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl Value {
    /// The keys of an object with a value other than null.
    pub(super) fn keys(&self) -> Vec<String> {
        let Self::Table(entries) = self else { return Vec::new() };
        let has_value = |(key, value): &(String, Self)| (!matches!(value, Self::Null)).then(|| key.clone());
        entries.iter().filter_map(has_value).collect()
    }

    /// The type in words, for "expected a number, found a list".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Table(_) => "an object",
        }
    }
}

/// Parses the whole text; skips a byte order mark.
///
/// # Errors
/// The first position that is not JSON, by line and column.
pub(super) fn read(text: &str) -> Result<Value, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let described = error.to_string();
        let message = described.split(" at line ").next().unwrap_or(&described);
        let comment =
            text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.trim_start().starts_with("//"));
        let error =
            if comment { ValueError::from("JSON has no comments") } else { ValueError::from(message) };
        Problem::new(format!("line {line}, column {column}"), error)
    })
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Table(entries))
    }
}
