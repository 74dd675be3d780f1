//! The configuration file without its secrets, for the operator's page. A value is covered when
//! - its key is the name of a secret (`api_key`, `token`, all `headers`),
//! - its form has a secret (`name|url|key`; user and query of an address): that part of it,
//! - it is a comment (`_…`, `//…`), because operators put keys aside there,
//! - it contains a secret of the settings, under any key.
//!
//! A reference (`${NAME}`) is shown, because it holds no secret.

use serde_json::Value;

use super::{document, env::is_reference, section::is_comment_key, settings::Settings};
use crate::upstream::forwarded_headers::names_a_secret;

const COVER: &str = "***";
/// Bytes of the shortest secret that is looked for in other values.
const MIN_SECRET: usize = 4;
/// Keys whose texts are addresses, also without a scheme.
const ADDRESSES: [&str; 8] = ["base_url", "proxy", "database", "url", "read_url", "redis", "limits", "cache"];

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

/// `key`: the key of the value, or of the list that has it. `is_secret`: every text and number of it is a
/// secret.
fn covered(key: &str, value: &document::Value, is_secret: bool) -> Value {
    // A list or an object under a key like `token` is not covered as a whole: its members have own keys.
    match value {
        document::Value::Null => Value::Null,
        document::Value::Bool(flag) => (*flag).into(),
        document::Value::Number(_) if is_secret || holds_secret(key) => COVER.into(),
        document::Value::Number(number) => number_of(*number),
        document::Value::Text(text) if is_reference(text) => text.as_str().into(),
        document::Value::Text(_) if is_secret || holds_secret(key) => COVER.into(),
        document::Value::Text(text) => shown_text(key, text).into(),
        document::Value::List(items) => items.iter().map(|item| covered(key, item, is_secret)).collect(),
        document::Value::Table(entries) => {
            let is_secret = is_secret || key == "headers";
            let shown = |(name, value): &(String, _)| (name.clone(), shown_member(name, value, is_secret));
            entries.iter().map(shown).collect()
        }
    }
}

fn shown_member(name: &str, value: &document::Value, is_secret: bool) -> Value {
    let is_comment = is_comment_key(name) && name != "$schema";
    let holds_text = !matches!(value, document::Value::Null | document::Value::Bool(_));
    if is_comment && holds_text { COVER.into() } else { covered(name, value, is_secret) }
}

/// Whether the value of this key is a secret. Some keys have the name of a secret and hold none.
fn holds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_other = matches!(&*key, "tokens" | "key_header" | "client_key" | "key")
        || key.ends_with("_timeout")
        || key.ends_with("_per_key");
    names_a_secret(&key) && !is_other
}

fn number_of(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with the number itself")]
    if whole as f64 == number { whole.into() } else { number.into() }
}

fn shown_text(key: &str, text: &str) -> String {
    // Split as the configuration's reader splits it: a provider's key may contain further bars.
    match key {
        "providers" => {
            let mut parts = text.splitn(3, '|');
            let [name, base, secret] = [(); 3].map(|()| parts.next());
            // A text without bars is a mistake, and may be a key.
            let (Some(name), Some(base)) = (name, base) else { return COVER.to_owned() };
            let secret = secret.map_or_else(String::new, |secret| format!("|{}", shown_secret(secret)));
            format!("{name}|{}{secret}", address(base))
        }
        "tokens" => text.split_once('|').map_or_else(
            || COVER.to_owned(),
            |(description, token)| format!("{description}|{}", shown_secret(token)),
        ),
        // Names of files. A PEM key in their place is a mistake.
        "client_key" | "key" if text.contains("-----") => COVER.to_owned(),
        _ if text.contains("://") || (ADDRESSES.contains(&key) && text.contains('@')) => address(text),
        _ => text.to_owned(),
    }
}

fn shown_secret(text: &str) -> &str {
    if text.is_empty() || is_reference(text) { text } else { COVER }
}

/// An address without user, password and query.
fn address(text: &str) -> String {
    let from = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(from);
    let last = rest.rfind('@').filter(|_| !begins_with_host(scheme, rest));
    let rest = match last {
        // The `@` may end a password that holds a `?`, or stand in a query.
        Some(at) if rest.find(['?', '#']).is_some_and(|query| query < at) => {
            return format!("{scheme}{COVER}");
        }
        // A password may hold any sign: the last `@` of all ends it.
        Some(at) => format!("{COVER}{}", &rest[at..]),
        None => rest.to_owned(),
    };
    match rest.split_once(['?', '#']) {
        Some((rest, _)) => format!("{scheme}{rest}?{COVER}"),
        None => format!("{scheme}{rest}"),
    }
}

/// Whether a web address begins with its host, so that an `@` in its path or query ends no password.
fn begins_with_host(scheme: &str, rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.starts_with("http") && authority.contains('.') && !authority.contains(['@', ':'])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, json};

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

    /// One member of the file, and that member as it is shown.
    #[test]
    fn secrets_of_all_forms_are_covered_and_other_values_are_not() {
        for (member, shown) in [
            // Comments.
            (json!({"_api_key": "sk-1"}), json!({"_api_key": "***"})),
            (json!({"//key": "sk-1", "// was": "sk-1"}), json!({"//key": "***", "// was": "***"})),
            (json!({"_providers": ["a|https://a.example|sk-1"]}), json!({"_providers": "***"})),
            (json!({"_old": {"name": "a", "api_key": "${A}"}, "_n": 1}), json!({"_old": "***", "_n": "***"})),
            (json!({"tls": {"_key": "k"}}), json!({"tls": {"_key": "***"}})),
            (json!({"$schema": "https://a.example/s.json"}), json!({"$schema": "https://a.example/s.json"})),
            // References, and texts that begin and end as one.
            (json!({"api_key": "${A}"}), json!({"api_key": "${A}"})),
            (json!({"api_key": "env.A"}), json!({"api_key": "env.A"})),
            (json!({"token": "os.environ/A"}), json!({"token": "os.environ/A"})),
            (json!({"api_key": "${A}${B}"}), json!({"api_key": "${A}${B}"})),
            (json!({"api_key": "${A}literal}"}), json!({"api_key": "***"})),
            (json!({"api_key": "${A}-${B}"}), json!({"api_key": "***"})),
            (json!({"api_key": "${not a name}"}), json!({"api_key": "***"})),
            (json!({"api_key": "env.sk-1"}), json!({"api_key": "***"})),
            (json!({"api_key": 12345}), json!({"api_key": "***"})),
            (
                json!({"headers": {"x-a": "1", "authorization": "Bearer ${A}"}}),
                json!({"headers": {"x-a": "***", "authorization": "***"}}),
            ),
            // Lines of providers and tokens.
            (
                json!({"providers": ["a|http://a.example/v1|"]}),
                json!({"providers": ["a|http://a.example/v1|"]}),
            ),
            (
                json!({"providers": ["a|http://a.example/v1"]}),
                json!({"providers": ["a|http://a.example/v1"]}),
            ),
            (
                json!({"providers": ["a|http://a.example|x://sk|1"]}),
                json!({"providers": ["a|http://a.example|***"]}),
            ),
            (
                json!({"providers": ["a|http://a.example|${A}literal}"]}),
                json!({"providers": ["a|http://a.example|***"]}),
            ),
            (json!({"providers": ["sk-1"]}), json!({"providers": ["***"]})),
            (
                json!({"tokens": ["a|x://sk|1", "b|${B}", "sk-1"]}),
                json!({"tokens": ["a|***", "b|${B}", "***"]}),
            ),
            // Addresses.
            (json!({"database": "postgres://u:p?w@h/d"}), json!({"database": "postgres://***"})),
            (json!({"database": "postgres://u:p#w@h/d?a=b"}), json!({"database": "postgres://***"})),
            (json!({"database": "postgres://u:p/1@h/d#x"}), json!({"database": "postgres://***@h/d?***"})),
            (
                json!({"database": {"url": "postgres://h/d?password=p@ss"}}),
                json!({"database": {"url": "postgres://***"}}),
            ),
            (json!({"redis": ["redis://:p@a:1", "b:2"]}), json!({"redis": ["redis://***@a:1", "b:2"]})),
            (json!({"redis": {"limits": "u:p@a"}}), json!({"redis": {"limits": "***@a"}})),
            (
                json!({"base_url": "https://a.example/v1?mail=a@b&key=sk"}),
                json!({"base_url": "https://a.example/v1?***"}),
            ),
            (json!({"base_url": "https://a.example/@b/v1"}), json!({"base_url": "https://a.example/@b/v1"})),
            (json!({"base_url": "https://a:1/v1#sk"}), json!({"base_url": "https://a:1/v1?***"})),
            (
                json!({"base_url": "https://sk.1:p@a.example/v1"}),
                json!({"base_url": "https://***@a.example/v1"}),
            ),
        ] {
            let document = document::read(&member.to_string()).ok().unwrap();
            assert_eq!(by_form(&document), shown, "{member}");
        }
        for member in [
            json!({"first_token_timeout": "60s", "limits": {"unfinished_per_key": "4MiB"}}),
            json!({"batch": {"bytes_per_key": "1GiB", "files_per_key": 500}, "body_memory_per_key": "1GiB"}),
            json!({"key_header": "x-api-key", "client_key": "of/client.pem", "tls": {"key": "key.pem"}}),
            json!({"supported_models": ["^gpt-|claude", "claude@20240620"], "models": ["a@1", "a|b"]}),
            json!({"tokens": [{"description": "a|b@c", "models": ["claude@*"]}]}),
            json!({"database": "thalweg.db", "redis": "unix:///run/redis.sock"}),
        ] {
            let document = document::read(&member.to_string()).ok().unwrap();
            assert_eq!(by_form(&document), member, "shown as it is");
        }
    }

    /// No key of the file is covered for its name alone.
    #[test]
    fn of_the_files_own_keys_two_hold_secrets() {
        fn walk(value: &Value, found: &mut BTreeSet<String>) {
            let Some(members) = value.as_object() else {
                return value.as_array().into_iter().flatten().for_each(|item| walk(item, found));
            };
            found.extend(
                members.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned(),
            );
            members.values().for_each(|member| walk(member, found));
        }
        let mut found = BTreeSet::new();
        walk(&crate::config::schema::schema(), &mut found);
        assert!(found.contains("first_token_timeout") && found.contains("read_url"), "{found:?}");
        found.retain(|key| holds_secret(key));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["api_key", "token"]);
    }

    #[test]
    fn settings_have_their_file_as_it_may_be_shown() {
        let text = r#"{"tokens": ["alice|sk-alice"], "instance": "has-sk-alice"}"#;
        let shown = parse(text, &Env::empty()).unwrap().shown;
        assert_eq!(*shown, json!({"tokens": ["alice|***"], "instance": "***"}));
    }
}
