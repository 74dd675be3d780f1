//! The keys `database`, `ledger`, `prices` and `trusted_proxies`, and their environment variables. With a
//! configuration file there is a database unless it is `false`: `thalweg.db` beside the file, or in systemd's
//! `STATE_DIRECTORY`. Without a file there is none unless `THALWEG_DATABASE_URL` names it, because
//! `DATABASE_URL` may be another application's.

use std::path::{Path, PathBuf};

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    scalar,
    section::{Located, Section},
    settings::Settings,
};
use crate::{
    base::Network,
    database::{
        ConnectionBound, DatabaseSettings, DatabaseUrl,
        settings::{MAX_OVERFLOW, POOL_SIZE},
    },
    ledger::{LedgerSettings, Price, Prices},
};

const DEFAULT_NAME: &str = "thalweg.db";
/// More connections than a PostgreSQL server accepts.
const MAX_CONNECTIONS: u64 = 10_000;
/// Money per million tokens; no model costs as much.
const MAX_PRICE: f64 = 1e9;

pub(super) fn read(root: &mut Section<'_, '_, '_>, settings: &mut Settings) {
    let folder = base_folder(root.context.env, root.context.folder.clone());
    settings.database = match root.field("database") {
        None => Some(DatabaseSettings::new(DatabaseUrl::Sqlite(folder.join(DEFAULT_NAME)))),
        Some(mut field) => database(&mut field, &folder),
    };
    root.section("ledger", |section| ledger(section, &folder, &mut settings.ledger));
    settings.prices = root.section("prices", prices).unwrap_or_default();
    if let Some(mut field) = root.field("trusted_proxies") {
        field.items(|mut item| {
            settings.trusted_proxies.extend(item.read(|value| network(scalar::text(value)?)));
        });
    }
}

/// The folder of relative names: systemd's `STATE_DIRECTORY`, or else the configuration file's folder.
fn base_folder(env: &Env, folder: Option<PathBuf>) -> PathBuf {
    let given = env.variable("STATE_DIRECTORY").and_then(|folders| folders.split(':').next());
    given.map(PathBuf::from).or(folder).unwrap_or_default()
}

fn database(field: &mut Located<'_, '_, '_>, folder: &Path) -> Option<DatabaseSettings> {
    match field.value {
        Value::Bool(false) => None,
        Value::Table(_) => field.section(|section| {
            let (mut size, mut overflow) = (POOL_SIZE, MAX_OVERFLOW);
            section.set("pool_size", &mut size, scalar::integer(1..=MAX_CONNECTIONS));
            section.set("max_overflow", &mut overflow, scalar::integer(0..=MAX_CONNECTIONS));
            let site = section.field("url").map_or_else(
                || Some(DatabaseUrl::Sqlite(folder.join(DEFAULT_NAME))),
                |mut field| database_url(&mut field, folder),
            )?;
            let read_url = section.field("read_url").and_then(|mut field| copy_url(&mut field, folder));
            Some(DatabaseSettings { url: site, read_url, connections: ConnectionBound::new(size + overflow) })
        })?,
        Value::Text(_) | Value::Null | Value::Bool(true) | Value::Number(_) | Value::List(_) => {
            database_url(field, folder).map(DatabaseSettings::new)
        }
    }
}

/// The URL may hold a password from the environment, so no problem shows it.
fn database_url(field: &mut Located<'_, '_, '_>, folder: &Path) -> Option<DatabaseUrl> {
    let text = field.resolved()?;
    field.read(|_| DatabaseUrl::parse(&text, folder).map_err(ValueError::from))
}

/// A copy for reading is PostgreSQL's: of a file there is no second one that follows it.
fn copy_url(field: &mut Located<'_, '_, '_>, folder: &Path) -> Option<DatabaseUrl> {
    let text = field.resolved()?;
    field.read(|_| parse_copy(&text, folder).map_err(ValueError::from))
}

fn parse_copy(text: &str, folder: &Path) -> Result<DatabaseUrl, &'static str> {
    match DatabaseUrl::parse(text, folder) {
        Ok(url @ DatabaseUrl::Postgres(_)) => Ok(url),
        Ok(DatabaseUrl::Sqlite(_)) | Err(_) => {
            Err("expected a URL that begins with postgres:// or postgresql://")
        }
    }
}

fn ledger(section: &mut Section<'_, '_, '_>, folder: &Path, ledger: &mut LedgerSettings) {
    section.set("enabled", &mut ledger.enabled, scalar::boolean);
    section.set("retention", &mut ledger.retention, scalar::duration_or_zero);
    section.section("spool", |section| {
        ledger.spool = section.read("file", |value| Ok(folder.join(scalar::text(value)?)));
        section.set("size", &mut ledger.spool_size, scalar::size(1 << 20..=1 << 40));
    });
    section.section("batch", |section| {
        section.set("rows", &mut ledger.batch_rows, scalar::integer(1..=10_000));
        section.set("delay", &mut ledger.batch_delay, scalar::duration_or_zero);
    });
}

fn prices(section: &mut Section<'_, '_, '_>) -> Prices {
    let mut read = Vec::new();
    section.each(|name, mut field| {
        let price = field.section(|section| {
            let input = section.required("input").and_then(|mut field| field.read(money));
            let output = section.required("output").and_then(|mut field| field.read(money));
            let cached = section.read("cached", money);
            let cache_write = section.read("cache_write", money);
            let cache_write_1h = section.read("cache_write_1h", money);
            Some(Price { input: input?, output: output?, cached, cache_write, cache_write_1h })
        });
        read.extend(price.flatten().map(|price| (name.to_owned(), price)));
    });
    Prices::new(read)
}

/// Reads money per million tokens; returns micro-units.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within u64's exact range")]
fn money(value: &Value) -> Result<u64, ValueError> {
    match value {
        Value::Number(number) if (0.0..=MAX_PRICE).contains(number) => Ok((number * 1e6).round() as u64),
        Value::Number(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => Err("expected money per million tokens, as 2.5".into()),
    }
}

fn network(text: &str) -> Result<Network, ValueError> {
    text.parse().map_err(|error: &str| error.into())
}

/// `THALWEG_DATABASE_URL`, `DATABASE_URL`, `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` (S4.1) override the file.
/// `is_written`: the file names a database.
pub(super) fn apply_env(env: &Env, settings: &mut Settings, is_written: bool, problems: &mut Vec<Problem>) {
    let mut error = |name: &str, error: &str| problems.push(Problem::new(name, error));
    let given = ["THALWEG_DATABASE_URL", "DATABASE_URL"]
        .into_iter()
        .find_map(|name| Some((name, env.variable(name)?)))
        .filter(|(name, _)| *name != "DATABASE_URL" || settings.file.is_some());
    if let Some((name, url)) = given {
        match DatabaseUrl::parse(url, &base_folder(env, None)) {
            Ok(site) => {
                let set = settings.database.as_ref().map(|set| set.connections.clone());
                let connections = set.unwrap_or_else(|| ConnectionBound::new(POOL_SIZE + MAX_OVERFLOW));
                // The copy is one of the database that the file names.
                let read_url = settings.database.as_ref().filter(|set| set.url == site);
                let read_url = read_url.and_then(|set| set.read_url.clone());
                let new = DatabaseSettings { url: site, read_url, connections };
                if is_written && settings.database.as_ref() != Some(&new) {
                    settings
                        .notes
                        .push(format!("database is {} by {name}, and not as the file has it", new.url));
                }
                settings.database = Some(new);
            }
            Err(expected) => error(name, expected),
        }
    } else if env.variable("DATABASE_URL").is_some() {
        let note = "DATABASE_URL is not used without a configuration file, because it may be another application's: set \
                    THALWEG_DATABASE_URL";
        settings.notes.push(note.to_owned());
    }
    read_url_from_env(env, settings, &mut error);
    // A service's current folder may be read-only.
    let is_postgres =
        matches!(&settings.database, Some(DatabaseSettings { url: DatabaseUrl::Postgres(_), .. }));
    if is_postgres && settings.ledger.spool.is_none() && env.variable("STATE_DIRECTORY").is_some() {
        settings.ledger.spool = Some(base_folder(env, None).join("thalweg.spool"));
    }
    let (size, overflow) = (env.variable("DB_POOL_SIZE"), env.variable("DB_MAX_OVERFLOW"));
    if size.is_none() && overflow.is_none() {
        return;
    }
    let mut number = |name: &str, text: Option<&str>, default: u32, min: u32| {
        let parsed = text.map_or(Some(default), |text| text.parse().ok());
        let fits = parsed.filter(|count| *count >= min && u64::from(*count) <= MAX_CONNECTIONS);
        if fits.is_none() {
            error(name, "expected a number of connections, up to 10000");
        }
        fits.unwrap_or(default)
    };
    let sum =
        number("DB_POOL_SIZE", size, POOL_SIZE, 1) + number("DB_MAX_OVERFLOW", overflow, MAX_OVERFLOW, 0);
    if let Some(database) = &mut settings.database {
        database.connections = ConnectionBound::new(sum);
    }
}

/// `THALWEG_DATABASE_READ_URL` and, as the database's own, `DATABASE_READ_URL`.
fn read_url_from_env(env: &Env, settings: &mut Settings, error: &mut impl FnMut(&str, &str)) {
    let (own, usual) = ("THALWEG_DATABASE_READ_URL", "DATABASE_READ_URL");
    let usual = Some(usual).filter(|_| settings.file.is_some());
    let mut names = [Some(own), usual].into_iter().flatten();
    let Some((name, text)) = names.find_map(|name| Some((name, env.variable(name)?))) else { return };
    match (parse_copy(text, Path::new("")), &mut settings.database) {
        (Ok(url), Some(database)) => database.read_url = Some(url),
        // Without a database there is nothing to read.
        (Ok(_), None) => {}
        (Err(expected), _) => error(name, expected),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rows_wait_in_the_folder_of_a_services_state() {
        let spool = |variables: &[(&str, &str)]| {
            let mut settings = Settings { file: Some("config.json".into()), ..Settings::default() };
            let env = Env::new(variables.iter().copied(), |_, _| false);
            apply_env(&env, &mut settings, false, &mut Vec::new());
            settings.ledger.spool
        };
        let postgres = ("DATABASE_URL", "postgres://u@h/d");
        let state = ("STATE_DIRECTORY", "/var/lib/thalweg");
        assert_eq!(spool(&[postgres, state]), Some("/var/lib/thalweg/thalweg.spool".into()));
        assert_eq!(spool(&[postgres]), None);
        assert_eq!(spool(&[("DATABASE_URL", "sqlite:a.db"), state]), None, "beside the database");
    }
    use crate::config::parse;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::new(variables.iter().copied(), |_, _| false)
    }

    fn parsed(text: &str) -> Settings {
        parse(text, &env(&[("PASSWORD", "p")])).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn a_copy_for_reading_is_postgres_alone() {
        let read = |text: &str| {
            let database = parsed(text).database.unwrap();
            database.read_url.map(|url| url.to_string())
        };
        assert_eq!(read("{}"), None);
        let text = r#"{"database": {"url": "postgres://h/d", "read_url": "postgres://u:${PASSWORD}@r/d"}}"#;
        assert_eq!(read(text).as_deref(), Some("PostgreSQL, r/d"));
        let over = |variables: &[(&str, &str)]| {
            let mut settings = parsed(r#"{"database": "postgres://h/d"}"#);
            settings.file = Some("config.json".into());
            let (env, mut problems) = (Env::new(variables.iter().copied(), |_, _| false), Vec::new());
            apply_env(&env, &mut settings, true, &mut problems);
            (settings.database.and_then(|all| all.read_url).map(|url| url.to_string()), problems.len())
        };
        assert_eq!(over(&[("DATABASE_READ_URL", "postgres://r/d")]).0.as_deref(), Some("PostgreSQL, r/d"));
        let both = [
            ("DATABASE_READ_URL", "postgres://r/d"),
            ("THALWEG_DATABASE_READ_URL", "postgres://s/d"),
            ("DATABASE_URL", "postgres://other/d"),
        ];
        assert_eq!(over(&both).0.as_deref(), Some("PostgreSQL, s/d"));
        assert_eq!(over(&[("DATABASE_READ_URL", "copy.db")]), (None, 1));
        // The file's copy is none of another database.
        let text = r#"{"database": {"url": "postgres://h/d", "read_url": "postgres://r/d"}}"#;
        for (url, copy) in [("postgres://h/d", Some("PostgreSQL, r/d")), ("postgres://other/d", None)] {
            let mut settings = parsed(text);
            apply_env(&env(&[("THALWEG_DATABASE_URL", url)]), &mut settings, true, &mut Vec::new());
            let read_url = settings.database.and_then(|all| all.read_url).map(|url| url.to_string());
            assert_eq!(read_url.as_deref(), copy, "{url}");
        }
    }

    #[test]
    fn the_database_is_where_the_nearest_word_says() {
        let field = |text: &str| parsed(text).database.map(|database| database.url.to_string());
        assert_eq!(field("{}").as_deref(), Some("SQLite, thalweg.db"));
        assert_eq!(field(r#"{"database": "/var/t.db"}"#).as_deref(), Some("SQLite, /var/t.db"));
        assert_eq!(field(r#"{"database": false}"#), None);
        let text =
            r#"{"database": {"url": "postgres://u:${PASSWORD}@h/d", "pool_size": 3, "max_overflow": 1}}"#;
        assert_eq!(field(text).as_deref(), Some("PostgreSQL, h/d"));
        assert_eq!(parsed(text).database.unwrap().connections.max(), 4);
        assert_eq!(parsed("{}").database.unwrap().connections.max(), 75);

        let over = |text: &str, variables: &[(&str, &str)]| {
            let (mut settings, mut problems) = (parsed(text), Vec::new());
            settings.file = Some("config.json".into());
            apply_env(&env(variables), &mut settings, true, &mut problems);
            let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
            (
                settings.database.map(|database| (database.url.to_string(), database.connections.max())),
                messages,
            )
        };
        let variables = [("DATABASE_URL", "postgres://h/d"), ("DB_POOL_SIZE", "5"), ("DB_MAX_OVERFLOW", "0")];
        assert_eq!(over(text, &variables), (Some(("PostgreSQL, h/d".to_owned(), 5)), Vec::new()));
        assert_eq!(over(r#"{"database": false}"#, &[("DB_POOL_SIZE", "5")]).0, None);
        let variables = [("DATABASE_URL", "mysql://h"), ("THALWEG_DATABASE_URL", "t.db")];
        assert_eq!(over("{}", &variables).0.unwrap().0, "SQLite, t.db", "the own variable goes first");
        let (_, messages) = over("{}", &[("DATABASE_URL", "mysql://u:hidden@h"), ("DB_POOL_SIZE", "0")]);
        assert!(messages.len() == 2 && !messages[0].contains("hidden"), "{messages:?}");
    }

    /// CASES F9: without a file nothing says that the variable is meant for thalweg.
    #[test]
    fn without_a_file_only_thalwegs_own_variable_counts() {
        for url in ["sqlite:///app.db", "postgres://h/app", "mysql://u:hidden@h/app"] {
            let (mut settings, mut problems) = (Settings::default(), Vec::new());
            apply_env(&env(&[("DATABASE_URL", url)]), &mut settings, false, &mut problems);
            assert!(settings.database.is_none() && problems.is_empty(), "{url}: {problems:?}");
            let [note] = &settings.notes[..] else { panic!("{:?}", settings.notes) };
            assert!(note.contains("THALWEG_DATABASE_URL") && !note.contains("hidden"), "{note}");
        }
        let (mut settings, mut problems) = (Settings::default(), Vec::new());
        let variables = [("DATABASE_URL", "mysql://h/app"), ("THALWEG_DATABASE_URL", "postgres://h/d")];
        apply_env(&env(&variables), &mut settings, false, &mut problems);
        assert_eq!(
            settings.database.map(|database| database.url.to_string()).as_deref(),
            Some("PostgreSQL, h/d")
        );
        assert!(problems.is_empty() && settings.notes.is_empty(), "{problems:?} {:?}", settings.notes);
    }

    #[test]
    fn the_ledger_and_its_prices() {
        let text = r#"{
            "ledger": {"retention": "7d", "spool": {"file": "s", "size": "1MiB"}, "batch": {"rows": 5}},
            "prices": {"_note": 1, "gpt-4o": {"input": 2.5, "output": 10, "cached": 1.25, "cache_write": 3, "cache_write_1h": 5}, "*": {"input": 0, "output": 0.1}},
            "trusted_proxies": ["10.0.0.0/8", "::1"]
        }"#;
        let settings = parsed(text);
        assert_eq!(settings.ledger.retention, Duration::from_secs(7 * 24 * 3600));
        assert_eq!((settings.ledger.spool_size, settings.ledger.batch_rows), (1 << 20, 5));
        assert_eq!(settings.ledger.spool, Some("s".into()));
        let price = Price {
            input: 2_500_000,
            output: 10_000_000,
            cached: Some(1_250_000),
            cache_write: Some(3_000_000),
            cache_write_1h: Some(5_000_000),
        };
        assert_eq!((settings.prices.len(), settings.prices.find("p", "gpt-4o")), (2, Some(&price)));
        assert!(settings.trusted_proxies[0].contains([10, 1, 2, 3].into()));

        let error = parse(
            r#"{"prices": {"m": {"input": -1}, "n": 3}, "trusted_proxies": ["10/8"], "ledger": {"retain": 1},
                "database": "mysql://u:hidden@h/d"}"#,
            &Env::empty(),
        );
        let mut messages: Vec<String> = error.unwrap_err().iter().map(ToString::to_string).collect();
        messages.sort();
        let paths: Vec<&str> = messages.iter().filter_map(|line| line.split(": ").next()).collect();
        let expected = [
            "database",
            "ledger.retain",
            "prices.m.input",
            "prices.m.output",
            "prices.n",
            "trusted_proxies[0]",
        ];
        assert_eq!(paths, expected, "{messages:#?}");
        assert!(!messages[0].contains("hidden"), "{messages:?}");
    }
}
