//! The keys `redis` and `instance`, and the variables `THALWEG_REDIS_URL`, `REDIS_URL`, `REDIS_POOL_SIZE`
//! (S4.3) and `THALWEG_INSTANCE`. Without
//! a configuration file `REDIS_URL` is not used, because it may be another application's.

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    scalar,
    section::{Located, Section},
    settings::Settings,
};
use crate::{
    cluster::{
        RedisAuthority, RedisSettings, RedisUrl,
        settings::{MAX_WAIT, POOL_SIZE, PREFIX, WAIT},
    },
    telemetry::instance::is_name,
};

const MAX_CONNECTIONS: u64 = 1000;
/// Longer prefixes cost memory with each key.
const MAX_PREFIX: usize = 64;

pub(super) fn read(root: &mut Section<'_, '_, '_>, settings: &mut Settings) {
    settings.instance = root.read("instance", |value| instance(scalar::text(value)?));
    let Some(mut field) = root.field("redis") else { return };
    settings.redis = match field.value {
        Value::Bool(false) => None,
        Value::Table(_) => field.section(section).flatten(),
        Value::Text(_) | Value::List(_) | Value::Null | Value::Bool(true) | Value::Number(_) => {
            url(&mut field).map(RedisSettings::plain)
        }
    };
}

fn section(section: &mut Section<'_, '_, '_>) -> Option<RedisSettings> {
    let folder = section.context.folder.clone();
    let mut place = |key: &'static str| section.field(key).map(|mut field| url(&mut field));
    let [both, limits, cache] = ["url", "limits", "cache"].map(&mut place);
    let is_missing = both.is_none() && limits.is_none() && cache.is_none();
    if is_missing {
        section.report("url", "missing");
    }
    let both = both.flatten();
    let mut pool_size = POOL_SIZE;
    section.set("pool_size", &mut pool_size, scalar::integer(1..=MAX_CONNECTIONS));
    let prefix = section.read("prefix", prefix);
    let mut wait = WAIT;
    section.set("wait", &mut wait, |value| {
        let wait = scalar::duration(value)?;
        if wait > MAX_WAIT { Err("must be at most 2s".into()) } else { Ok(wait) }
    });
    let authority = section.read("ca", |value| {
        let file = scalar::file(folder.as_deref())(value)?;
        let read = || RedisAuthority::read(&file).map_err(|error| error.reason.to_string());
        Ok(folder.is_some().then(read).transpose()?)
    });
    (!is_missing).then(|| RedisSettings {
        limits: limits.unwrap_or_else(|| both.clone()),
        cache: cache.unwrap_or_else(|| both.clone()),
        authority: authority.flatten(),
        pool_size,
        prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()),
        wait,
    })
}

/// A URL, or a list of a cluster's nodes. It may hold a password, so no problem shows it.
fn url(field: &mut Located<'_, '_, '_>) -> Option<RedisUrl> {
    if let Value::List(_) = field.value {
        let mut nodes = Vec::new();
        field.items(|mut item| {
            let text = item.resolved();
            nodes.extend(text.and_then(|text| item.read(|_| parse(&text).map(|_| text))));
        });
        if nodes.is_empty() {
            field.report("names no node");
            return None;
        }
        return parse(&nodes.join(",")).map_err(|error| field.report(error)).ok();
    }
    let text = field.resolved()?;
    field.read(|_| parse(&text))
}

fn parse(text: &str) -> Result<RedisUrl, ValueError> {
    RedisUrl::parse(text).map_err(ValueError::from)
}

/// Braces would decide the place of a key in a cluster.
fn prefix(value: &Value) -> Result<String, ValueError> {
    let text = scalar::text(value)?;
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'*' | b'?' | b'[' | b']');
    if text.len() > MAX_PREFIX || !text.bytes().all(fits) {
        return Err("expected up to 64 letters without spaces, braces and wildcards".into());
    }
    Ok(text.to_owned())
}

fn instance(text: &str) -> Result<String, ValueError> {
    if !is_name(text) {
        return Err("expected up to 64 letters, digits, `.`, `_` and `-`".into());
    }
    Ok(text.to_owned())
}

/// The variables override the file.
pub(super) fn apply_env(env: &Env, settings: &mut Settings, is_written: bool, problems: &mut Vec<Problem>) {
    if let Some(name) = env.variable("THALWEG_INSTANCE") {
        match instance(name) {
            Ok(name) => settings.instance = Some(name),
            Err(expected) => problems.push(Problem::new("THALWEG_INSTANCE", expected)),
        }
    }
    let own = env.variable("THALWEG_REDIS_URL").map(|url| ("THALWEG_REDIS_URL", url));
    let shared = env.variable("REDIS_URL").map(|url| ("REDIS_URL", url));
    let usual = shared.filter(|_| settings.file.is_some());
    match own.or(usual) {
        Some((name, text)) => match RedisUrl::parse(text) {
            Ok(url) => {
                if is_written {
                    settings.notes.push(format!("redis is {url} by {name}, and not as the file has it"));
                }
                let plain = RedisSettings::plain(url);
                settings.redis = Some(match settings.redis.take() {
                    Some(written) => RedisSettings { limits: plain.limits, cache: plain.cache, ..written },
                    None => plain,
                });
            }
            Err(expected) => problems.push(Problem::new(name, expected)),
        },
        None if shared.is_some() => {
            let note = "REDIS_URL is not used without a configuration file, because it may be another \
                        application's: set THALWEG_REDIS_URL";
            settings.notes.push(note.to_owned());
        }
        None => {}
    }
    if let Some(text) = env.variable("REDIS_POOL_SIZE") {
        match text.parse().ok().filter(|size| (1..=MAX_CONNECTIONS).contains(size)) {
            Some(size) => {
                if let Some(redis) = &mut settings.redis {
                    redis.pool_size = usize::try_from(size).unwrap_or(POOL_SIZE);
                }
            }
            None => {
                problems.push(Problem::new("REDIS_POOL_SIZE", "expected a number of connections, up to 1000"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Overrides, load, parse};

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::new(variables.iter().copied(), |_, _| false)
    }

    fn read(text: &str) -> Option<RedisSettings> {
        parse(text, &env(&[("PASSWORD", "s3cret")])).unwrap_or_else(|problems| panic!("{problems:?}")).redis
    }

    fn shown(settings: &RedisSettings) -> [Option<String>; 2] {
        [&settings.limits, &settings.cache].map(|url| url.as_ref().map(ToString::to_string))
    }

    #[test]
    fn each_purpose_has_its_server() {
        assert!(read("{}").is_none() && read(r#"{"redis": false}"#).is_none());
        let both = read(r#"{"redis": "redis://:${PASSWORD}@h"}"#).unwrap();
        assert_eq!(shown(&both), [Some("Redis, h:6379".to_owned()), Some("Redis, h:6379".to_owned())]);
        assert_eq!((both.pool_size, both.prefix.as_str()), (10, "thalweg:"));
        let text =
            r#"{"redis": {"url": "redis://h", "cache": "redis://c:1", "pool_size": 3, "prefix": "t:"}}"#;
        let own = read(text).unwrap();
        assert_eq!(shown(&own), [Some("Redis, h:6379".to_owned()), Some("Redis, c:1".to_owned())]);
        assert_eq!((own.pool_size, own.prefix.as_str()), (3, "t:"));
        assert_eq!(shown(&read(r#"{"redis": {"cache": "redis://c"}}"#).unwrap())[0], None);
        let nodes = read(r#"{"redis": ["redis://a:1", "redis://b:2"]}"#).unwrap();
        assert_eq!(shown(&nodes)[0].as_deref(), Some("Redis cluster, a:1, b:2"));
        // The options of one are not a part of the next.
        let text = r#"{"redis": ["redis+sentinel://a/m?sentinel_password=s3cret", "redis+sentinel://b/m"]}"#;
        assert_eq!(shown(&read(text).unwrap())[0].as_deref(), Some("Redis m by Sentinel, a:26379, b:26379"));
    }

    #[test]
    fn mistakes_name_their_place_and_no_password() {
        for (text, path) in [
            (r#"{"redis": "http://:${PASSWORD}@h"}"#, "redis"),
            (r#"{"redis": true}"#, "redis"),
            (r#"{"redis": {}}"#, "redis.url"),
            (r#"{"redis": {"limits": "redis+sentinel://:${PASSWORD}@h"}}"#, "redis.limits"),
            (r#"{"redis": {"cache": "redis+sentinel://h/m?sentinel_pass=${PASSWORD}"}}"#, "redis.cache"),
            (r#"{"redis": {"url": "redis+sentinel://h/m,rediss+sentinel://i/m"}}"#, "redis.url"),
            (r#"{"redis": "redis+sentinel://:${PASSWORD}@h,:${PASSWORD}@i/m"}"#, "redis"),
            (r#"{"redis": "redis://:${PASSWORD}@h?db=1"}"#, "redis"),
            (r#"{"redis": ["redis+sentinel://h/m", "redis+sentinel://i"]}"#, "redis[1]"),
            (r#"{"redis": ["redis+sentinel://h/m", "redis+sentinel://i/n"]}"#, "redis"),
            (r#"{"redis": ["redis://:${PASSWORD}@h?protocol=resp3", "redis://i?protocol=resp2"]}"#, "redis"),
            (r#"{"redis": {"url": "redis://h", "prefix": "{a}"}}"#, "redis.prefix"),
            (r#"{"redis": {"url": "redis://h", "pool_size": 0}}"#, "redis.pool_size"),
            (r#"{"redis": {"url": "redis://h", "wait": 0}}"#, "redis.wait"),
            (r#"{"redis": {"url": "redis://h", "wait": "3s"}}"#, "redis.wait"),
        ] {
            let problems = parse(text, &env(&[("PASSWORD", "s3cret")])).unwrap_err();
            assert_eq!(problems[0].path, path, "{text}");
            assert!(!format!("{problems:?}").contains("s3cret"), "{problems:?}");
        }
    }

    #[test]
    fn the_authoritys_file_is_read_with_the_configuration() {
        let folder = std::env::temp_dir().join(format!("thalweg-redis-ca-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.json");
        fs::write(&file, r#"{"redis": {"url": "rediss://h", "ca": "ca.pem"}}"#).unwrap();
        let loaded = || load(Some(&file), &Overrides::default(), &env(&[]));
        let problem = || loaded().unwrap_err().to_string();
        assert!(problem().contains("redis.ca: there is no such file"), "{}", problem());
        fs::write(folder.join("ca.pem"), "s3cret").unwrap();
        assert!(problem().contains("redis.ca: no certificate in it"), "{}", problem());
        let issuer = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::default().self_signed(&issuer).unwrap();
        fs::write(folder.join("ca.pem"), own.pem()).unwrap();
        assert!(loaded().unwrap().redis.unwrap().authority.is_some());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_replica_has_the_name_that_the_variable_or_the_file_has() {
        let named = |text: &str, variables: &[(&str, &str)]| {
            let (mut settings, mut problems) = (parse(text, &env(&[])).unwrap(), Vec::new());
            apply_env(&env(variables), &mut settings, false, &mut problems);
            (settings.instance, problems.len())
        };
        assert_eq!(named("{}", &[]), (None, 0));
        let file = r#"{"instance": "pod-1"}"#;
        assert_eq!(named(file, &[]), (Some("pod-1".to_owned()), 0));
        assert_eq!(named(file, &[("THALWEG_INSTANCE", "b.2")]), (Some("b.2".to_owned()), 0));
        assert_eq!(named("{}", &[("THALWEG_INSTANCE", "b 2")]), (None, 1));
        let problems = parse(r#"{"instance": "a{b}"}"#, &env(&[])).unwrap_err();
        assert_eq!(problems[0].path, "instance");
    }

    #[test]
    fn variables_override_the_file() {
        let over = |file: bool, variables: &[(&str, &str)]| {
            let (mut settings, mut problems) = (Settings::default(), Vec::new());
            settings.file = file.then(|| "config.json".into());
            apply_env(&env(variables), &mut settings, false, &mut problems);
            assert!(problems.is_empty(), "{problems:?}");
            (settings.redis.map(|redis| (shown(&redis)[0].clone().unwrap(), redis.pool_size)), settings.notes)
        };
        let named = Some(("Redis, h:6379".to_owned(), 4));
        assert_eq!(over(true, &[("REDIS_URL", "redis://h"), ("REDIS_POOL_SIZE", "4")]).0, named);
        let (none, notes) = over(false, &[("REDIS_URL", "redis://h")]);
        assert!(none.is_none() && notes[0].contains("THALWEG_REDIS_URL"), "{notes:?}");
        let both = [("REDIS_URL", "redis://x"), ("THALWEG_REDIS_URL", "redis://h"), ("REDIS_POOL_SIZE", "4")];
        assert_eq!(over(false, &both).0, named);
        let mut problems = Vec::new();
        let wrong = env(&[("THALWEG_REDIS_URL", "s3cret"), ("REDIS_POOL_SIZE", "many")]);
        apply_env(&wrong, &mut Settings::default(), false, &mut problems);
        assert!(problems.len() == 2 && !format!("{problems:?}").contains("s3cret"), "{problems:?}");
    }
}
