//! What the ledger is asked: sums over a time, by model, provider, key, hour or day. Whole days and hours come from the
//! roll-ups; only the part of an hour that the time begins with comes from rows, and is exact. Percentiles come from the
//! roll-ups alone, so that first hour counts for them as a whole. Rows that have been retired are counted by their hours.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    histogram::{self, CLASSES},
    rollup::{DAY, HOUR, RollupSums, SUMS, TOTAL, TTFT, WHOLE_HOUR},
    row::RowId,
};
use crate::database::{Cell, Database, DatabaseError, ResultRow};

/// What sums are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupBy {
    Model,
    Provider,
    /// By whose key, and which of his.
    Key,
    Hour,
    Day,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// In microseconds since 1970.
    pub since: i64,
    pub by: Vec<GroupBy>,
    /// Percentiles, too: it takes longer.
    pub times: bool,
}

/// One line of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageLine {
    /// What it is about, in the order that was asked for; hours and days as seconds since 1970.
    pub names: Vec<String>,
    /// Of all outcomes together.
    pub sums: RollupSums,
    pub refused: i64,
    pub failed: i64,
    pub gone: i64,
}

impl UsageLine {
    /// The sum of a column of [`SUMS`].
    #[must_use]
    pub fn sum(&self, column: &str) -> i64 {
        SUMS.iter()
            .position(|name| *name == column)
            .and_then(|at| self.sums.sums.get(at))
            .copied()
            .unwrap_or(0)
    }

    /// A percentile of the time to the first token, in microseconds.
    #[must_use]
    pub fn ttft(&self, share: f64) -> Option<i64> {
        histogram::quantile(&self.sums.ttft, share)
    }

    /// A percentile of the whole time, in microseconds.
    #[must_use]
    pub fn total(&self, share: f64) -> Option<i64> {
        histogram::quantile(&self.sums.total, share)
    }
}

impl GroupBy {
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["model"],
            Self::Provider => &["provider"],
            Self::Key => &["principal", "key_id"],
            Self::Hour | Self::Day => &["start"],
        }
    }
}

/// Where sums come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuerySource {
    /// Rows, from one moment to another in microseconds.
    Rows(i64, i64),
    /// Roll-ups of a span, from one second on, to another.
    Rollups(i64, i64, i64),
    /// The classes of times alone, of one hour.
    Times(i64),
}

/// Sums since a moment, the busiest line first; by hours or days in their order.
///
/// # Errors
/// The database's own.
pub async fn ask(database: &Database, question: &UsageQuery) -> Result<Vec<UsageLine>, DatabaseError> {
    let mut lines: BTreeMap<Vec<String>, UsageLine> = BTreeMap::new();
    for source in sources(question) {
        let (sql, cells) = statement(source, question);
        for record in database.fetch(Cow::Owned(sql), cells).await? {
            add(&mut lines, &record, source, question)?;
        }
    }
    // An hour's times are there as a whole: some belong to who asked for nothing in the part of it that was asked about.
    let mut lines: Vec<UsageLine> = lines.into_values().filter(|line| line.sum("requests") > 0).collect();
    if !question.by.iter().any(|by| matches!(by, GroupBy::Hour | GroupBy::Day)) {
        lines.sort_by_key(|line| std::cmp::Reverse(line.sum("requests")));
    }
    Ok(lines)
}

/// The fewest sources that cover the time.
fn sources(question: &UsageQuery) -> Vec<QuerySource> {
    const SECOND: i64 = 1_000_000;
    let since = question.since.max(0);
    let floor = since.div_euclid(HOUR * SECOND) * HOUR;
    let hour = if floor * SECOND == since { floor } else { floor + HOUR };
    let mut sources = Vec::new();
    if hour > floor {
        sources.push(QuerySource::Rows(since, hour * SECOND));
        if question.times {
            sources.push(QuerySource::Times(floor));
        }
    }
    if question.by == [GroupBy::Hour] {
        sources.push(QuerySource::Rollups(WHOLE_HOUR, hour, i64::MAX));
    } else if question.by.contains(&GroupBy::Hour) {
        sources.push(QuerySource::Rollups(HOUR, hour, i64::MAX));
    } else {
        let day = (hour + DAY - 1).div_euclid(DAY) * DAY;
        if hour < day {
            sources.push(QuerySource::Rollups(HOUR, hour, day));
        }
        sources.push(QuerySource::Rollups(DAY, day, i64::MAX));
    }
    sources
}

fn statement(source: QuerySource, question: &UsageQuery) -> (String, Vec<Cell>) {
    let names: Vec<&str> = question.by.iter().flat_map(|by| by.columns()).copied().collect();
    let (table, start, sums, place, cells) = match source {
        QuerySource::Rows(from, to) => {
            let floor = |at| RowId::floor(at).0.to_vec().into();
            // The id's time is in milliseconds, the row's own in microseconds.
            let place = "id >= $1 AND id < $2 AND at >= $3 AND at < $4";
            let cells = vec![floor(from), floor(to + 1000), from.into(), to.into()];
            let hour = from.div_euclid(HOUR * 1_000_000) * HOUR;
            ("requests", hour.to_string(), of_rows(), place, cells)
        }
        QuerySource::Rollups(span, from, to) => {
            let columns = SUMS
                .into_iter()
                .chain(question.times.then_some(TTFT.into_iter().chain(TOTAL)).into_iter().flatten());
            let place = "span = $1 AND start >= $2 AND start < $3";
            ("rollups", "start".to_owned(), sum_of(columns), place, vec![span.into(), from.into(), to.into()])
        }
        QuerySource::Times(hour) => {
            let columns = TTFT.into_iter().chain(TOTAL);
            let place = "span = $1 AND start = $2";
            ("rollups", "start".to_owned(), sum_of(columns), place, vec![HOUR.into(), hour.into()])
        }
    };
    let selected: Vec<String> = names
        .iter()
        .map(|name| match (*name, table) {
            ("start", _) => format!("CAST({start} AS BIGINT)"),
            (name, "requests") => format!("COALESCE({name}, '')"),
            (name, _) => name.to_owned(),
        })
        .chain([if table == "requests" { "COALESCE(outcome, '')".to_owned() } else { "outcome".to_owned() }])
        .collect();
    let places: Vec<String> = (1..=selected.len()).map(|number| number.to_string()).collect();
    let sql = format!(
        "SELECT {}, {} FROM {table} WHERE {place} GROUP BY {}",
        selected.join(", "),
        sums.join(", "),
        places.join(", ")
    );
    (sql, cells)
}

fn sum_of(columns: impl Iterator<Item = &'static str>) -> Vec<String> {
    columns.map(|column| format!("CAST(SUM({column}) AS BIGINT)")).collect()
}

/// What [`RollupSums::add`] does, by the database.
fn of_rows() -> Vec<String> {
    let expression = |column: &str| match column {
        "requests" => "COUNT(*)".to_owned(),
        "estimated" => "COUNT(CASE WHEN usage_source <> 'reported' THEN 1 END)".to_owned(),
        "unpriced" => {
            "COUNT(CASE WHEN cost IS NULL AND (tokens_in IS NOT NULL OR tokens_out IS NOT NULL) THEN 1 END)"
                .to_owned()
        }
        "ttft_count" => "COUNT(ttft_us)".to_owned(),
        column => format!("COALESCE(SUM({column}), 0)"),
    };
    SUMS.iter().map(|column| format!("CAST({} AS BIGINT)", expression(column))).collect()
}

fn add(
    lines: &mut BTreeMap<Vec<String>, UsageLine>,
    record: &ResultRow,
    source: QuerySource,
    question: &UsageQuery,
) -> Result<(), DatabaseError> {
    let (mut names, mut column) = (Vec::new(), 0);
    for by in &question.by {
        names.push(match by {
            GroupBy::Model | GroupBy::Provider => record.text(column)?.unwrap_or_default().to_owned(),
            GroupBy::Key => {
                let (principal, key) = (record.text(column)?, record.text(column + 1)?);
                key_name(principal.unwrap_or_default(), key.unwrap_or_default())
            }
            GroupBy::Hour => record.int(column)?.unwrap_or(0).to_string(),
            GroupBy::Day => (record.int(column)?.unwrap_or(0).div_euclid(DAY) * DAY).to_string(),
        });
        column += by.columns().len();
    }
    let outcome = record.text(column)?.unwrap_or_default();
    column += 1;
    let mut sums = RollupSums::default();
    let mut fill = |place: &mut [i64]| {
        for sum in place {
            *sum = record.int(column)?.unwrap_or(0);
            column += 1;
        }
        Ok::<(), DatabaseError>(())
    };
    if !matches!(source, QuerySource::Times(_)) {
        fill(&mut sums.sums)?;
    }
    if question.times && !matches!(source, QuerySource::Rows(..)) {
        fill(&mut sums.ttft)?;
        fill(&mut sums.total)?;
    }
    let line = lines.entry(names.clone()).or_insert_with(|| UsageLine { names, ..UsageLine::default() });
    line.sums.merge(&sums);
    let requests = sums.sums.first().copied().unwrap_or(0);
    match outcome {
        "refused" => line.refused += requests,
        "failed" => line.failed += requests,
        "gone" => line.gone += requests,
        _ => {}
    }
    Ok(())
}

/// A key of the store by its owner and id, a token of the configuration by its description.
fn key_name(principal: &str, key: &str) -> String {
    if key.is_empty() || key == principal { principal.to_owned() } else { format!("{principal} ({key})") }
}

const _: () = assert!(CLASSES == TTFT.len() && CLASSES == TOTAL.len());

#[cfg(test)]
mod tests {
    use super::{
        super::{
            row::{Row, RowIds},
            row_writer::RowWriter,
        },
        *,
    };
    use crate::database::tests::Scratch;

    const MINUTE: i64 = 60_000_000;

    fn rows() -> Vec<Row> {
        let mut ids = RowIds::default();
        // A row every seven minutes over four days.
        let times = (0..4 * 1440).step_by(7).map(|minute| minute * MINUTE + 123_456);
        let row = |(at, number): (i64, i64)| Row {
            model: (number % 5 > 0).then(|| format!("m{}", number % 3)),
            provider: Some(format!("p{}", number % 2)),
            principal: Some("alice".into()),
            key_id: (number % 4 == 0).then(|| "k1".into()),
            outcome: Some(["ok", "ok", "refused", "failed", "gone"][(number % 5) as usize].into()),
            tokens_in: (number % 3 > 0).then_some(number),
            tokens_out: Some(2),
            cost: (number % 2 == 0).then_some(5),
            usage_source: Some(["reported", "estimated"][(number % 2) as usize].into()),
            ttft_us: (number % 2 == 0).then_some(1000 * number),
            total_us: Some(3000 * number),
            attempts: Some(1),
            ..Row::new(ids.make(at), at)
        };
        times.zip(1..).map(row).collect()
    }

    fn names(row: &Row, by: &[GroupBy]) -> Vec<String> {
        by.iter()
            .map(|by| match by {
                GroupBy::Model => row.model.clone().unwrap_or_default(),
                GroupBy::Provider => row.provider.clone().unwrap_or_default(),
                GroupBy::Key => key_name("alice", row.key_id.as_deref().unwrap_or_default()),
                GroupBy::Hour => (row.at / 1_000_000 / HOUR * HOUR).to_string(),
                GroupBy::Day => (row.at / 1_000_000 / DAY * DAY).to_string(),
            })
            .collect()
    }

    /// Answers are what adding the rows up one by one gives, whatever hour or day the time begins in.
    #[tokio::test]
    async fn answers_are_what_the_rows_add_up_to() {
        let rows = rows();
        for scratch in Scratch::each().await {
            let mut book = RowWriter::open(&scratch.settings).await.unwrap();
            for part in rows.chunks(100) {
                book.write(part, false).await.unwrap();
            }
            let database = Database::prepare(&scratch.settings).unwrap();
            for since in [
                0,
                1,
                123_456,
                17 * MINUTE,
                59 * MINUTE + 1,
                60 * MINUTE,
                1440 * MINUTE,
                1501 * MINUTE,
                9999 * MINUTE,
            ] {
                for by in [
                    &[][..],
                    &[GroupBy::Model],
                    &[GroupBy::Provider, GroupBy::Key],
                    &[GroupBy::Hour],
                    &[GroupBy::Hour, GroupBy::Key],
                    &[GroupBy::Day, GroupBy::Model],
                ] {
                    let question = UsageQuery { since, by: by.to_vec(), times: true };
                    let mut wanted: BTreeMap<Vec<String>, UsageLine> = BTreeMap::new();
                    for row in rows.iter().filter(|row| row.at >= since) {
                        let line = wanted.entry(names(row, by)).or_default();
                        line.sums.add(row);
                        match row.outcome.as_deref() {
                            Some("refused") => line.refused += 1,
                            Some("failed") => line.failed += 1,
                            Some("gone") => line.gone += 1,
                            _ => {}
                        }
                    }
                    let found = ask(&database, &question).await.unwrap();
                    assert_eq!(found.len(), wanted.len(), "{question:?}");
                    for line in &found {
                        let own = &wanted[&line.names];
                        assert_eq!(line.sums.sums, own.sums.sums, "{question:?} {:?}", line.names);
                        let others = |line: &UsageLine| (line.refused, line.failed, line.gone);
                        assert_eq!(others(line), others(own), "{question:?} {:?}", line.names);
                        let times = |line: &UsageLine| line.sums.total.iter().sum::<i64>();
                        assert!(times(line) >= times(own), "the first hour counts as a whole");
                        assert!(since % HOUR != 0 || line.sums.ttft == own.sums.ttft, "{question:?}");
                    }
                }
            }
            database.close().await;
            book.close().await;
        }
    }

    #[test]
    fn a_line_tells_its_sums_by_name() {
        let mut line = UsageLine::default();
        line.sums.sums[8] = 7;
        assert_eq!((line.sum("cost"), line.sum("nothing"), line.ttft(0.5)), (7, 0, None));
    }
}
