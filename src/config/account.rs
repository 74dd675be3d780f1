//! The keys of the account: `database`, `ledger`, `prices`, `trusted_proxies`, and the variables beside them. With a file
//! there is a database unless it says `false`: `thalweg.db` beside the file, or in the folder that systemd gives
//! (`STATE_DIRECTORY`). Without a file there is none unless `DATABASE_URL` names it.

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
        DatabaseSettings, DatabaseUrl,
        settings::{MAX_OVERFLOW, POOL_SIZE},
    },
    ledger::{LedgerSettings, Price, Prices},
};

const USUAL_NAME: &str = "thalweg.db";
/// More connections than a PostgreSQL takes.
const MANY: u64 = 10_000;
/// A unit of money per million tokens that no model costs.
const DEAR: f64 = 1e9;

pub(super) fn read(root: &mut Section<'_, '_, '_>, settings: &mut Settings) {
    let folder = home(root.reader.env, root.reader.folder.clone());
    settings.database = match root.place("database") {
        None => Some(DatabaseSettings::new(DatabaseUrl::Sqlite(folder.join(USUAL_NAME)))),
        Some(mut place) => database(&mut place, &folder),
    };
    root.section("ledger", |section| ledger(section, &folder, &mut settings.ledger));
    settings.prices = root.section("prices", prices).unwrap_or_default();
    if let Some(mut place) = root.place("trusted_proxies") {
        place.items(|mut item| {
            settings.trusted_proxies.extend(item.read(|value| network(scalar::text(value)?)));
        });
    }
}

/// Where relative names start: what systemd set aside, else the file's own folder.
fn home(env: &Env, folder: Option<PathBuf>) -> PathBuf {
    let given = env.variable("STATE_DIRECTORY").and_then(|folders| folders.split(':').next());
    given.map(PathBuf::from).or(folder).unwrap_or_default()
}

fn database(place: &mut Located<'_, '_, '_>, folder: &Path) -> Option<DatabaseSettings> {
    match place.value {
        Value::Bool(false) => None,
        Value::Table(_) => place.section(|section| {
            let (mut size, mut overflow) = (POOL_SIZE, MAX_OVERFLOW);
            section.set("pool_size", &mut size, scalar::whole(1..=MANY));
            section.set("max_overflow", &mut overflow, scalar::whole(0..=MANY));
            let site = section.place("url").map_or_else(
                || Some(DatabaseUrl::Sqlite(folder.join(USUAL_NAME))),
                |mut place| site(&mut place, folder),
            )?;
            Some(DatabaseSettings { site, connections: size + overflow })
        })?,
        Value::Text(_) | Value::Null | Value::Bool(true) | Value::Number(_) | Value::List(_) => {
            site(place, folder).map(DatabaseSettings::new)
        }
    }
}

/// The URL may hold a password out of the environment.
fn site(place: &mut Located<'_, '_, '_>, folder: &Path) -> Option<DatabaseUrl> {
    let text = place.resolved()?;
    place.read(|_| DatabaseUrl::parse(&text, folder).map_err(ValueError::from))
}

fn ledger(section: &mut Section<'_, '_, '_>, folder: &Path, ledger: &mut LedgerSettings) {
    section.set("enabled", &mut ledger.enabled, scalar::boolean);
    section.set("retention", &mut ledger.retention, scalar::duration_or_zero);
    section.section("spool", |section| {
        ledger.spool = section.read("file", |value| Ok(folder.join(scalar::text(value)?)));
        section.set("size", &mut ledger.spool_size, scalar::size(1 << 20..=1 << 40));
    });
    section.section("batch", |section| {
        section.set("rows", &mut ledger.batch_rows, scalar::whole(1..=10_000));
        section.set("delay", &mut ledger.batch_delay, scalar::duration_or_zero);
    });
}

fn prices(section: &mut Section<'_, '_, '_>) -> Prices {
    let mut read = Vec::new();
    section.each(|name, mut place| {
        let price = place.section(|section| {
            let input = section.required("input").and_then(|mut place| place.read(money));
            let output = section.required("output").and_then(|mut place| place.read(money));
            let cached = section.read("cached", money);
            Some(Price { input: input?, output: output?, cached })
        });
        read.extend(price.flatten().map(|price| (name.to_owned(), price)));
    });
    Prices::new(read)
}

/// Money per million tokens; gives micro-units.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within u64's exact range")]
fn money(value: &Value) -> Result<u64, ValueError> {
    match value {
        Value::Number(number) if (0.0..=DEAR).contains(number) => Ok((number * 1e6).round() as u64),
        Value::Number(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Table(_) => Err("expected money per million tokens, as 2.5".into()),
    }
}

fn network(text: &str) -> Result<Network, ValueError> {
    text.parse().map_err(|wrong: &str| wrong.into())
}

/// `DATABASE_URL`, `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` (S4.1) go over the file.
pub(super) fn override_by(env: &Env, settings: &mut Settings, problems: &mut Vec<Problem>) {
    let mut wrong = |name: &str, wrong: &str| problems.push(Problem::new(name, wrong));
    if let Some(url) = env.variable("DATABASE_URL") {
        match DatabaseUrl::parse(url, &home(env, None)) {
            Ok(site) => {
                let connections =
                    settings.database.as_ref().map_or(POOL_SIZE + MAX_OVERFLOW, |set| set.connections);
                settings.database = Some(DatabaseSettings { site, connections });
            }
            Err(expected) => wrong("DATABASE_URL", expected),
        }
    }
    let (size, overflow) = (env.variable("DB_POOL_SIZE"), env.variable("DB_MAX_OVERFLOW"));
    if size.is_none() && overflow.is_none() {
        return;
    }
    let mut number = |name: &str, text: Option<&str>, usual: u32, least: u32| {
        let parsed = text.map_or(Some(usual), |text| text.parse().ok());
        let fits = parsed.filter(|count| *count >= least && u64::from(*count) <= MANY);
        if fits.is_none() {
            wrong(name, "expected a number of connections, up to 10000");
        }
        fits.unwrap_or(usual)
    };
    let sum =
        number("DB_POOL_SIZE", size, POOL_SIZE, 1) + number("DB_MAX_OVERFLOW", overflow, MAX_OVERFLOW, 0);
    if let Some(database) = &mut settings.database {
        database.connections = sum;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::parse;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::new(variables.iter().copied(), |_, _| false)
    }

    fn parsed(text: &str) -> Settings {
        parse(text, &env(&[("PASSWORD", "p")])).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn the_database_is_where_the_nearest_word_says() {
        let place = |text: &str| parsed(text).database.map(|database| database.site.to_string());
        assert_eq!(place("{}").as_deref(), Some("SQLite, thalweg.db"));
        assert_eq!(place(r#"{"database": "/var/t.db"}"#).as_deref(), Some("SQLite, /var/t.db"));
        assert_eq!(place(r#"{"database": false}"#), None);
        let text =
            r#"{"database": {"url": "postgres://u:${PASSWORD}@h/d", "pool_size": 3, "max_overflow": 1}}"#;
        assert_eq!(place(text).as_deref(), Some("PostgreSQL, h/d"));
        assert_eq!(parsed(text).database.unwrap().connections, 4);
        assert_eq!(parsed("{}").database.unwrap().connections, 75);

        let over = |text: &str, variables: &[(&str, &str)]| {
            let (mut settings, mut problems) = (parsed(text), Vec::new());
            override_by(&env(variables), &mut settings, &mut problems);
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            (settings.database.map(|database| (database.site.to_string(), database.connections)), said)
        };
        let variables = [("DATABASE_URL", "postgres://h/d"), ("DB_POOL_SIZE", "5"), ("DB_MAX_OVERFLOW", "0")];
        assert_eq!(over(text, &variables), (Some(("PostgreSQL, h/d".to_owned(), 5)), Vec::new()));
        assert_eq!(over(r#"{"database": false}"#, &[("DB_POOL_SIZE", "5")]).0, None);
        let (_, said) = over("{}", &[("DATABASE_URL", "mysql://u:hidden@h"), ("DB_POOL_SIZE", "0")]);
        assert!(said.len() == 2 && !said[0].contains("hidden"), "{said:?}");
    }

    #[test]
    fn the_ledger_and_its_prices() {
        let text = r#"{
            "ledger": {"retention": "7d", "spool": {"file": "s", "size": "1MiB"}, "batch": {"rows": 5}},
            "prices": {"_note": 1, "gpt-4o": {"input": 2.5, "output": 10, "cached": 1.25}, "*": {"input": 0, "output": 0.1}},
            "trusted_proxies": ["10.0.0.0/8", "::1"]
        }"#;
        let settings = parsed(text);
        assert_eq!(settings.ledger.retention, Duration::from_secs(7 * 24 * 3600));
        assert_eq!((settings.ledger.spool_size, settings.ledger.batch_rows), (1 << 20, 5));
        assert_eq!(settings.ledger.spool, Some("s".into()));
        let price = Price { input: 2_500_000, output: 10_000_000, cached: Some(1_250_000) };
        assert_eq!((settings.prices.len(), settings.prices.find("p", "gpt-4o")), (2, Some(&price)));
        assert!(settings.trusted_proxies[0].contains([10, 1, 2, 3].into()));

        let wrong = parse(
            r#"{"prices": {"m": {"input": -1}, "n": 3}, "trusted_proxies": ["10/8"], "ledger": {"retain": 1},
                "database": "mysql://u:hidden@h/d"}"#,
            &Env::empty(),
        );
        let mut said: Vec<String> = wrong.unwrap_err().iter().map(ToString::to_string).collect();
        said.sort();
        let paths: Vec<&str> = said.iter().filter_map(|line| line.split(": ").next()).collect();
        let expected = [
            "database",
            "ledger.retain",
            "prices.m.input",
            "prices.m.output",
            "prices.n",
            "trusted_proxies[0]",
        ];
        assert_eq!(paths, expected, "{said:#?}");
        assert!(!said[0].contains("hidden"), "{said:?}");
    }
}
