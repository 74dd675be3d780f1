//! Measures the ledger: every query of the product over a million rows (S4.2: under 100 ms), and how many
//! rows a second the writer sustains (20,000 on SQLite). `cargo bench --bench ledger`; PostgreSQL too inside
//! `tests/postgres.sh cargo bench --bench ledger`. `LEDGER_ROWS` sets another number of rows.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench that cannot run should say so")]

use std::{
    borrow::Cow,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use thalweg::{
    base::Secret,
    database::{Connection, Database, DatabaseSettings, DatabaseUrl, RowBatch},
    ledger::{
        LedgerGauges, LedgerSettings, Row, RowIds, query,
        query::{GroupBy, UsageQuery},
        row_writer::RowWriter,
        schema::SCHEMAS,
    },
};

const HOUR: i64 = 3_600_000_000;
/// Samples per query.
const SAMPLES: usize = 15;

fn main() {
    let rows = std::env::var("LEDGER_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = Folder::new();
        for span in [24, 30 * 24] {
            let site = DatabaseUrl::Sqlite(folder.0.join(format!("{span}.db")));
            measure(&format!("SQLite, {span} h"), &DatabaseSettings::new(site), rows, span).await;
        }
        hold("SQLite", &DatabaseSettings::new(DatabaseUrl::Sqlite(folder.0.join("writer.db"))), &folder)
            .await;
        match std::env::var("THALWEG_TEST_POSTGRES") {
            Ok(url) => {
                let settings = DatabaseSettings::new(DatabaseUrl::Postgres(Secret::new(url)));
                for span in [24, 30 * 24] {
                    clear(&settings).await;
                    measure(&format!("PostgreSQL, {span} h"), &settings, rows, span).await;
                }
                clear(&settings).await;
                hold("PostgreSQL", &settings, &folder).await;
            }
            Err(_) => println!("PostgreSQL is left out: THALWEG_TEST_POSTGRES is not set"),
        }
    });
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn clear(settings: &DatabaseSettings) {
    let mut connection = Connection::open(settings).await.expect("a connection");
    for table in ["requests", "rollups", "thalweg_schema"] {
        connection.run(format!("DROP TABLE IF EXISTS {table}"), Vec::new()).await.expect("a statement");
    }
    connection.close().await;
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A plausible request: eight models at three providers, twenty keys, one request in twenty fails.
fn row(ids: &mut RowIds, number: i64, at: i64) -> Row<'static> {
    // Pseudo-random, the same in every run.
    let rng = |sides: i64, salt: i64| {
        ((number + salt).wrapping_mul(6_364_136_223_846_793_005) >> 33).rem_euclid(sides)
    };
    let model = rng(8, 1);
    let key = rng(20, 2);
    let outcome = match rng(60, 3) {
        0 => "refused",
        1 => "failed",
        2 => "gone",
        _ => "ok",
    };
    let text = |text: &'static str| Some(Cow::Borrowed(text));
    Row {
        request_id: Some(format!("req_{number:032x}").into()),
        principal: Some(format!("team-{key}").into()),
        key_id: Some(format!("key_{key:08}").into()),
        model_asked: Some(format!("model-{model}").into()),
        model: Some(format!("model-{model}").into()),
        path: text("/v1/chat/completions"),
        dialect: text("chat"),
        provider: Some(format!("provider-{}", model % 3).into()),
        provider_kind: text("openai"),
        strategy: text("priority"),
        attempts: Some(1 + rng(2, 4)),
        wasted: Some(0),
        mode: text("asgi"),
        status: Some(if outcome == "ok" { 200 } else { 502 }),
        outcome: text(outcome),
        first_byte_us: Some(200_000 + rng(3_000_000, 5)),
        ttft_us: Some(210_000 + rng(3_000_000, 5)),
        total_us: Some(1_000_000 + rng(30_000_000, 6)),
        queue_us: Some(rng(200, 7)),
        upstream_us: Some(200_000 + rng(3_000_000, 5)),
        added_first_ns: Some(80_000 + rng(50_000, 8)),
        added_p50_ns: Some(6000 + rng(1000, 9)),
        added_p99_ns: Some(20_000 + rng(9000, 9)),
        added_max_ns: Some(60_000 + rng(90_000, 9)),
        frames: Some(rng(400, 10)),
        events: Some(rng(400, 10)),
        request_bytes: Some(rng(20_000, 11)),
        bytes: Some(rng(200_000, 10)),
        tokens_in: Some(rng(5000, 12)),
        tokens_out: Some(rng(800, 10)),
        tokens_cached: Some(rng(100, 13)),
        usage_source: text("reported"),
        cost: Some(rng(90_000, 12)),
        client: text("203.0.113.77"),
        user_agent: text("OpenAI/Python 1.99.1"),
        ..Row::new(ids.make(at), at)
    }
}

/// Fills a database with `count` rows over `hours` hours and runs the queries.
async fn measure(what: &str, settings: &DatabaseSettings, count: i64, hours: i64) {
    let (begin, mut ids, filling) = (now() - hours * HOUR, RowIds::default(), Instant::now());
    let mut book = RowWriter::open(settings).await.expect("a database");
    for from in (0..count).step_by(2000) {
        let to = (from + 2000).min(count);
        let rows: RowBatch =
            (from..to).map(|number| row(&mut ids, number, begin + hours * HOUR / count * number)).collect();
        book.write(&rows, false).await.expect("written");
    }
    if let DatabaseUrl::Postgres(_) = &settings.url {
        // autovacuum does this within minutes.
        book.connection().run("VACUUM ANALYZE", Vec::new()).await.expect("a statement");
    }
    book.close().await;
    println!(
        "{what}: {count} rows in {:.1} s, made and written one batch after the other",
        filling.elapsed().as_secs_f64()
    );
    let database = Database::open(settings, &SCHEMAS).await.expect("a database");
    let day = [("24 h", 24), ("7 d", 7 * 24), ("30 d", 30 * 24)];
    for (since, back) in day.into_iter().filter(|(_, back)| *back <= hours.max(24)) {
        for (name, by, times) in [
            ("all of it", &[][..], false),
            ("by model", &[GroupBy::Model], false),
            ("by provider", &[GroupBy::Provider], false),
            ("by key", &[GroupBy::Key], false),
            ("by model, provider, key", &[GroupBy::Model, GroupBy::Provider, GroupBy::Key], false),
            ("by day", &[GroupBy::Day], false),
            ("by hour", &[GroupBy::Hour], false),
            ("percentiles of all", &[], true),
            ("percentiles by model", &[GroupBy::Model], true),
            ("percentiles by provider", &[GroupBy::Provider], true),
            ("percentiles by model, provider, key", &[GroupBy::Model, GroupBy::Provider, GroupBy::Key], true),
        ] {
            // `since` is in the middle of an hour, so that rows are read too.
            let question = UsageQuery { since: now() - back * HOUR, by: by.to_vec(), times };
            ask(&format!("{what}: {name}, {since}"), &database, &question).await;
        }
    }
    let question = UsageQuery { since: now() - 10 * HOUR / 60, by: vec![GroupBy::Model], times: false };
    ask(&format!("{what}: by model, 10 min"), &database, &question).await;
    database.close().await;
}

async fn ask(what: &str, database: &Database, question: &UsageQuery) {
    let (mut took, mut lines) = (Vec::new(), 0);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        lines = query::ask(database, question).await.expect("an answer").len();
        took.push(begun.elapsed());
    }
    took.sort();
    let (median, worst) = (took.get(SAMPLES / 2), took.last());
    let millis = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let verdict = if millis(worst) < 100.0 { "" } else { "  OVER" };
    println!(
        "{what:<72} {lines:>5} lines  median {:>6.1} ms  worst {:>6.1} ms{verdict}",
        millis(median),
        millis(worst)
    );
}

/// Hands in 20,000 rows a second for ten seconds, then more than the writer can take.
async fn hold(what: &str, database: &DatabaseSettings, folder: &Folder) {
    for (wanted, seconds) in [(20_000_usize, 10_u32), (60_000, 5)] {
        let gauges = LedgerGauges::default();
        let settings = LedgerSettings { spool: Some(folder.0.join("spool")), ..LedgerSettings::default() };
        let (inbox, thread) =
            thalweg::ledger::start(settings, database.clone(), gauges.clone()).expect("a thread");
        let (mut ids, begun, mut number) = (RowIds::default(), Instant::now(), 0);
        // Fifty batches a second, like the settlement thread.
        let batch = wanted / 50;
        let mut making = Duration::ZERO;
        for round in 0..seconds * 50 {
            let from = Instant::now();
            let at = now();
            let rows = (0..batch).map(|_| {
                number += 1;
                row(&mut ids, number, at)
            });
            let rows: RowBatch = rows.collect();
            making += from.elapsed();
            inbox.book(rows);
            let due = begun + Duration::from_millis(20) * (round + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let handed = begun.elapsed();
        drop(inbox);
        thread.join().expect("the ledger's thread");
        let (state, all) = (gauges.read(), begun.elapsed());
        println!(
            "{what}: {number} rows handed in at {:.0} a second; written at {:.0} a second, {} spooled, {} lost, {} \
             transactions of {:.1} ms; making the rows took {:.1} s",
            f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / handed.as_secs_f64(),
            state.written as f64 / all.as_secs_f64(),
            state.spooled,
            state.lost,
            state.queries,
            state.query.as_secs_f64() * 1e3,
            making.as_secs_f64(),
        );
    }
}
