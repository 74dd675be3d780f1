//! The configuration file as it may be shown to an operator: without secrets. A value is covered by its key's
//! name (`api_key`, `token`, all `headers`), by its form (`name|url|key`, user and query of an address), and
//! if it holds a secret that the settings know, wherever it stands. `${NAME}` is shown, because it holds
//! none.

use serde_json::Value;

use super::{document, settings::Settings};
use crate::upstream::forwarded_headers::names_a_secret;

const COVER: &str = "***";
/// Bytes of the shortest secret that is looked for in other values.
const MIN_SECRET: usize = 4;

/// The document of a file, covered by names and forms.
pub(super) fn by_form(document: &document::Value) -> Value {
    covered("", document, false)
}

/// Covers the values that hold a secret of the settings.
pub(super) fn by_value(shown: &mut Value, settings: &Settings) {
    let tokens = settings.tokens.iter().map(|token| token.token.expose().as_str());
    let providers = settings.providers.iter().flat_map(|provider| provider.target.secrets());
    let secrets: Vec<&str> = tokens.chain(providers).filter(|secret| secret.len() >= MIN_SECRET).collect();
    cover_secrets(shown, &secrets);
}

fn cover_secrets(shown: &mut Value, secrets: &[&str]) {
    match shown {
        Value::String(text) if secrets.iter().any(|secret| text.contains(secret)) => *text = COVER.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| cover_secrets(item, secrets)),
        Value::Object(members) => members.values_mut().for_each(|member| cover_secrets(member, secrets)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `key`: the name under which the value stands, or its list. `is_secret`: all below it is.
fn covered(key: &str, value: &document::Value, is_secret: bool) -> Value {
    // A `keys…` or `token` that holds a list or an object has values with names of their own.
    match value {
        document::Value::Null => Value::Null,
        document::Value::Bool(flag) => (*flag).into(),
        document::Value::Number(number) => number_of(*number),
        document::Value::Text(text) => shown_text(key, text, is_secret).into(),
        document::Value::List(items) => items.iter().map(|item| covered(key, item, is_secret)).collect(),
        document::Value::Table(entries) => {
            let is_secret = is_secret || key == "headers";
            entries.iter().map(|(name, value)| (name.clone(), covered(name, value, is_secret))).collect()
        }
    }
}

fn number_of(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with the number itself")]
    if whole as f64 == number { whole.into() } else { number.into() }
}

fn shown_text(key: &str, text: &str, is_secret: bool) -> String {
    let is_variable =
        |text: &str| text.starts_with("${") && text.ends_with('}') && text.matches('$').count() == 1;
    // A word among few, and not a secret, in spite of its name.
    let is_word = key == "key_header" || key == "tokens";
    if is_variable(text) {
        return text.to_owned();
    }
    if is_secret || (names_a_secret(&key.to_ascii_lowercase()) && !is_word) {
        return COVER.to_owned();
    }
    let mut parts = text.split('|');
    let first = parts.next().unwrap_or_default();
    let part = |part: &str| match part.contains("://") {
        true => address(part),
        false if is_variable(part) => part.to_owned(),
        false => COVER.to_owned(),
    };
    let rest: Vec<String> = parts.map(part).collect();
    match rest.is_empty() {
        // A token without a description is a mistake, which is not shown either.
        true if key == "tokens" => COVER.to_owned(),
        true => address(first),
        false => [first.to_owned()].into_iter().chain(rest).collect::<Vec<_>>().join("|"),
    }
}

/// An address without user, password and query; any other text as it is.
fn address(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let is_address = !scheme.is_empty() || text.contains('@');
    if !is_address {
        return text.to_owned();
    }
    let (rest, query) = rest.split_once(['?', '#']).map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    // A password may hold any sign: the last `@` of all ends it.
    let (covered, host) = match rest.rsplit_once('@') {
        Some((_, host)) => ("***@", host.to_owned()),
        None => ("", format!("{authority}{path}")),
    };
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{covered}{host}{query}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Env, parse};

    #[test]
    fn secrets_are_covered_wherever_they_stand() {
        let file = json!({
            "port": 9000,
            "providers": [
                "a|https://a.example/v1|sk-in-a-line",
                "b|https://b.example/v1|${B_KEY}",
                {"name": "c", "base_url": "https://user:s3cret@c.example/v1?api-version=1&key=sk-query", "api_key": "sk-member",
                 "key_header": "x-api-key", "headers": {"x-team": "sk-header"}},
            ],
            "tokens": ["alice|sk-alice", {"description": "holds sk-bob itself", "token": "sk-bob", "rpm": 2.5}],
            "database": "postgres://u:p@ss/w@db.example/thalweg?sslmode=require",
            "redis": "redis://:s3cret@redis.example",
            "proxy": "user:s3cret@proxy.example:8080",
            "supported_models": ["^gpt-"],
            "watch": false,
        });
        let document = document::read(&file.to_string()).ok().unwrap();
        let mut shown = by_form(&document);
        let settings = Settings {
            tokens: vec![crate::auth::TokenSettings::plain(
                "",
                crate::base::Secret::new("sk-bob".to_owned()),
            )],
            ..Settings::default()
        };
        by_value(&mut shown, &settings);
        let expected = json!({
            "port": 9000,
            "providers": [
                "a|https://a.example/v1|***",
                "b|https://b.example/v1|${B_KEY}",
                {"name": "c", "base_url": "https://***@c.example/v1?***", "api_key": "***",
                 "key_header": "x-api-key", "headers": {"x-team": "***"}},
            ],
            "tokens": ["alice|***", {"description": "***", "token": "***", "rpm": 2.5}],
            "database": "postgres://***@db.example/thalweg?***",
            "redis": "redis://***@redis.example",
            "proxy": "***@proxy.example:8080",
            "supported_models": ["^gpt-"],
            "watch": false,
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn settings_have_their_file_as_it_may_be_shown() {
        let text = r#"{"tokens": ["alice|sk-alice"], "instance": "has-sk-alice"}"#;
        let shown = parse(text, &Env::empty()).unwrap().shown;
        assert_eq!(*shown, json!({"tokens": ["alice|***"], "instance": "***"}));
    }
}
