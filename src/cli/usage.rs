//! `thalweg usage`: prints requests, tokens and costs from the ledger. Opens the database itself, so no
//! gateway needs to run.
//!
//! A SQLite file that does not exist is an error and is not created.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use super::{
    Failure, print_database,
    table::{Micros, Table},
};
use crate::{
    base::time,
    config::{self, Env},
    database::DatabaseUrl,
    ledger::{
        LedgerGauges, LedgerReader,
        query::{GroupBy, UsageLine, UsageQuery},
        reader::report,
    },
};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// What to tell apart: model, provider, key, dialect, hour, day, in any order
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',', value_parser = GroupBy::parse, default_value = "model")]
    by: Vec<GroupBy>,
    /// How far to look back: 90m, 24h, 30d
    #[arg(long, value_name = "TIME", value_parser = look_back, default_value = "24h")]
    since: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The file that says where the database is [default: THALWEG_CONFIG, or ./config.json when there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// # Errors
/// There is no ledger, or it cannot be read.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let database = config::load_database(options.config.as_deref(), &Env::of_process())?;
    let database =
        database.ok_or("there is no database: no configuration file and no THALWEG_DATABASE_URL")?;
    print_database(&database.url);
    if let DatabaseUrl::Sqlite(file) = &database.url
        && !file.exists()
    {
        return Err(format!("there is no ledger yet: {} is not there", file.display()).into());
    }
    let query = UsageQuery::back(options.since, options.by.clone());
    let answer = LedgerReader::new(LedgerGauges::default(), Some(database)).ask(&query)?;
    if let Some(copy) = &answer.copy {
        // A closed stderr is no reason to fail.
        let _ = writeln!(io::stderr(), "{copy}");
    }
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", report(&answer, &query))?;
    } else {
        write!(out, "{}", table_text(&answer.lines, &options.by))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn look_back(text: &str) -> Result<Duration, String> {
    time::duration::parse(text).ok_or_else(|| "expected a time as 90m, 24h or 30d, a year at most".to_owned())
}

/// A group's name as text.
fn shown(by: GroupBy, name: &str) -> String {
    match by {
        GroupBy::Model | GroupBy::Provider | GroupBy::Key | GroupBy::Dialect => {
            if name.is_empty() {
                "(none)".to_owned()
            } else {
                name.to_owned()
            }
        }
        GroupBy::Hour => moment(name, 16),
        GroupBy::Day => moment(name, 10),
    }
}

/// Seconds since 1970 as a date of `length` characters.
fn moment(seconds: &str, length: usize) -> String {
    let seconds = seconds.parse().unwrap_or(0);
    let text = time::Rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    text.get(..length).unwrap_or(&text).replace('T', " ")
}

fn table_text(lines: &[UsageLine], by: &[GroupBy]) -> String {
    let figures = [
        "requests",
        "refused",
        "failed",
        "gone",
        "translated",
        "reused",
        "tokens in",
        "out",
        "cached",
        "saved",
        "cost",
        "ttft p50",
        "p95",
        "total p50",
        "p95",
    ];
    let head = by.iter().map(|by| by.as_str()).chain(figures).map(str::to_owned).collect();
    let mut table = Table::with_text_columns(by.len(), head);
    let time = |micros: Option<i64>| {
        micros.map_or_else(|| "–".to_owned(), |micros| Micros(micros as f64).to_string())
    };
    for line in lines {
        let counts = [
            line.sum("requests"),
            line.refused,
            line.failed,
            line.gone,
            line.sum("translated"),
            line.sum("reused"),
            line.sum("tokens_in"),
            line.sum("tokens_out"),
            line.sum("tokens_cached"),
            line.sum("tokens_saved"),
        ];
        let times = [line.ttft(0.5), line.ttft(0.95), line.total(0.5), line.total(0.95)];
        let names = by.iter().zip(&line.names).map(|(by, name)| shown(*by, name));
        let row = names
            .chain(counts.map(|count| count.to_string()))
            .chain([money(line)])
            .chain(times.map(time))
            .collect();
        table.add(row);
    }
    if table.is_empty() { "  nothing\n".to_owned() } else { table.to_string() }
}

/// The cost in the operator's currency; with a plus if some requests have no price.
fn money(line: &UsageLine) -> String {
    let (cost, unpriced) = (line.sum("cost"), line.sum("unpriced"));
    let (sign, units) = (if cost < 0 { "-" } else { "" }, cost.unsigned_abs());
    let amount = format!("{sign}{}.{:06}", units / 1_000_000, units % 1_000_000);
    match (cost, unpriced) {
        (0, 1..) => "no price".to_owned(),
        (_, 1..) => format!("{amount}+"),
        _ => amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_up_names_and_figures() {
        let mut line =
            UsageLine { names: vec!["m".into(), "7200".into()], failed: 1, ..UsageLine::default() };
        line.sums.sums[0] = 12;
        line.sums.sums[8] = 1_500_000;
        let text = table_text(std::slice::from_ref(&line), &[GroupBy::Model, GroupBy::Hour]);
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[0].starts_with("  model  hour"), "{text}");
        assert!(rows[1].starts_with("  m      1970-01-01 02:00        12"), "{text}");
        assert!(rows[1].contains("1.500000") && rows[0].chars().count() == rows[1].chars().count(), "{text}");
        line.sums.sums[9] = 1;
        assert_eq!(money(&line), "1.500000+");
        line.sums.sums[8] = -500_000;
        assert_eq!(money(&line), "-0.500000+");
        line.sums.sums[8] = 0;
        assert_eq!(
            (money(&line), table_text(&[], &[GroupBy::Model])),
            ("no price".to_owned(), "  nothing\n".to_owned())
        );
    }
}
