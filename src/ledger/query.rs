//! Queries: sums over a time, by model, provider, key, dialect, hour or day. Whole days and hours come from
//! the roll-ups. The part of an hour at the beginning comes from rows, and is exact. Percentiles come from
//! the roll-ups alone, so the first hour counts for them as a whole. Rows past their retention are still in
//! the sums of their hours. Sums by dialect come from rows alone: they end with the rows' retention and have
//! no percentiles.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    histogram::{self, CLASSES},
    rollup::{DAY, HOUR, RollupSums, SUMS, TOTAL, TTFT, WHOLE_HOUR},
    row::RowId,
};
use crate::database::{Cell, Database, DatabaseError, ResultRow};

/// The groups of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupBy {
    Model,
    Provider,
    /// By the key's owner, and by the key among the owner's.
    Key,
    /// The client's, and the provider's where it is another: `chat`, `messages>chat`.
    Dialect,
    Hour,
    Day,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// In microseconds since 1970.
    pub since: i64,
    pub by: Vec<GroupBy>,
    /// With percentiles: the query takes longer.
    pub times: bool,
}

/// One line of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageLine {
    /// The names of the groups, in the order of the query; hours and days in seconds since 1970.
    pub names: Vec<String>,
    /// Sums over all outcomes.
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
            Self::Dialect => &["dialects", "dialect"],
            Self::Hour | Self::Day => &["start"],
        }
    }
}

/// The year 10000 in microseconds: an id's time has 48 bits of milliseconds.
const LAST: i64 = 253_402_300_800_000_000;

/// One source of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuerySource {
    /// Rows, from one time to another in microseconds.
    Rows(i64, i64),
    /// Roll-ups of a span, from one second to another.
    Rollups(i64, i64, i64),
    /// Only the histograms, of one hour.
    Times(i64),
}

/// Sums since a moment. The busiest line comes first; lines by hour or day are in their order.
///
/// # Errors
/// The database's own.
pub async fn ask(database: &Database, query: &UsageQuery) -> Result<Vec<UsageLine>, DatabaseError> {
    let mut lines: BTreeMap<Vec<String>, UsageLine> = BTreeMap::new();
    for source in sources(query) {
        let (sql, cells) = statement(source, query);
        for row in database.fetch(Cow::Owned(sql), cells).await? {
            add(&mut lines, &row, source, query)?;
        }
    }
    // The histograms are those of the whole first hour, so some may belong to groups without a request in the
    // part of it that the query covers.
    let mut lines: Vec<UsageLine> = lines.into_values().filter(|line| line.sum("requests") > 0).collect();
    if !query.by.iter().any(|by| matches!(by, GroupBy::Hour | GroupBy::Day)) {
        lines.sort_by_key(|line| std::cmp::Reverse(line.sum("requests")));
    }
    Ok(lines)
}

/// The fewest sources that cover the time.
fn sources(query: &UsageQuery) -> Vec<QuerySource> {
    const SECOND: i64 = 1_000_000;
    let since = query.since.max(0);
    if query.by.contains(&GroupBy::Dialect) {
        return vec![QuerySource::Rows(since, LAST)];
    }
    let floor = since.div_euclid(HOUR * SECOND) * HOUR;
    let hour = if floor * SECOND == since { floor } else { floor + HOUR };
    let mut sources = Vec::new();
    if hour > floor {
        sources.push(QuerySource::Rows(since, hour * SECOND));
        if query.times {
            sources.push(QuerySource::Times(floor));
        }
    }
    if query.by == [GroupBy::Hour] {
        sources.push(QuerySource::Rollups(WHOLE_HOUR, hour, i64::MAX));
    } else if query.by.contains(&GroupBy::Hour) {
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

fn statement(source: QuerySource, query: &UsageQuery) -> (String, Vec<Cell>) {
    let names: Vec<&str> = query.by.iter().flat_map(|by| by.columns()).copied().collect();
    let (table, start, sums, condition, cells) = match source {
        QuerySource::Rows(from, to) => {
            let floor = |at| RowId::floor(at).0.to_vec().into();
            // The id's time is in milliseconds, the row's own in microseconds.
            let condition = "id >= $1 AND id < $2 AND at >= $3 AND at < $4";
            let cells = vec![floor(from), floor(to + 1000), from.into(), to.into()];
            ("requests", format!("at / {} * {HOUR}", HOUR * 1_000_000), sums_of_rows(), condition, cells)
        }
        QuerySource::Rollups(span, from, to) => {
            let columns = SUMS
                .into_iter()
                .chain(query.times.then_some(TTFT.into_iter().chain(TOTAL)).into_iter().flatten());
            let condition = "span = $1 AND start >= $2 AND start < $3";
            (
                "rollups",
                "start".to_owned(),
                sum_of(columns),
                condition,
                vec![span.into(), from.into(), to.into()],
            )
        }
        QuerySource::Times(hour) => {
            let columns = TTFT.into_iter().chain(TOTAL);
            let condition = "span = $1 AND start = $2";
            ("rollups", "start".to_owned(), sum_of(columns), condition, vec![HOUR.into(), hour.into()])
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
    let ordinals: Vec<String> = (1..=selected.len()).map(|number| number.to_string()).collect();
    let sql = format!(
        "SELECT {}, {} FROM {table} WHERE {condition} GROUP BY {}",
        selected.join(", "),
        sums.join(", "),
        ordinals.join(", ")
    );
    (sql, cells)
}

fn sum_of(columns: impl Iterator<Item = &'static str>) -> Vec<String> {
    columns.map(|column| format!("CAST(SUM({column}) AS BIGINT)")).collect()
}

/// The same as [`RollupSums::add`], in SQL.
fn sums_of_rows() -> Vec<String> {
    let expression = |column: &str| match column {
        "requests" => "COUNT(*)".to_owned(),
        "estimated" => "COUNT(CASE WHEN usage_source <> 'reported' THEN 1 END)".to_owned(),
        "unpriced" => {
            "COUNT(CASE WHEN cost IS NULL AND (tokens_in IS NOT NULL OR tokens_out IS NOT NULL) THEN 1 END)"
                .to_owned()
        }
        "ttft_count" => "COUNT(ttft_us)".to_owned(),
        "translated" => "COUNT(dialects)".to_owned(),
        "reused" => "COUNT(reuse)".to_owned(),
        column => format!("COALESCE(SUM({column}), 0)"),
    };
    SUMS.iter().map(|column| format!("CAST({} AS BIGINT)", expression(column))).collect()
}

fn add(
    lines: &mut BTreeMap<Vec<String>, UsageLine>,
    row: &ResultRow,
    source: QuerySource,
    query: &UsageQuery,
) -> Result<(), DatabaseError> {
    let (mut names, mut column) = (Vec::new(), 0);
    for by in &query.by {
        names.push(match by {
            GroupBy::Model | GroupBy::Provider => row.text(column)?.unwrap_or_default().to_owned(),
            GroupBy::Key => {
                let (principal, key) = (row.text(column)?, row.text(column + 1)?);
                key_name(principal.unwrap_or_default(), key.unwrap_or_default())
            }
            GroupBy::Dialect => {
                let both = row.text(column)?.filter(|both| !both.is_empty());
                both.or(row.text(column + 1)?).unwrap_or_default().to_owned()
            }
            GroupBy::Hour => row.int(column)?.unwrap_or(0).to_string(),
            GroupBy::Day => (row.int(column)?.unwrap_or(0).div_euclid(DAY) * DAY).to_string(),
        });
        column += by.columns().len();
    }
    let outcome = row.text(column)?.unwrap_or_default();
    column += 1;
    let mut sums = RollupSums::default();
    let mut fill = |target: &mut [i64]| {
        for sum in target {
            *sum = row.int(column)?.unwrap_or(0);
            column += 1;
        }
        Ok::<(), DatabaseError>(())
    };
    if !matches!(source, QuerySource::Times(_)) {
        fill(&mut sums.sums)?;
    }
    if query.times && !matches!(source, QuerySource::Rows(..)) {
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

/// A stored key by its owner and id, a configured token by its description.
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
    use crate::database::{RowBatch, tests::Scratch};

    const MINUTE: i64 = 60_000_000;

    fn rows() -> Vec<Row<'static>> {
        let mut ids = RowIds::default();
        // A row every seven minutes over four days.
        let times = (0..4 * 1440).step_by(7).map(|minute| minute * MINUTE + 123_456);
        let row = |(at, number): (i64, i64)| Row {
            model: (number % 5 > 0).then(|| format!("m{}", number % 3).into()),
            provider: Some(format!("p{}", number % 2).into()),
            principal: Some("alice".into()),
            key_id: (number % 4 == 0).then(|| "k1".into()),
            outcome: Some(["ok", "ok", "refused", "failed", "gone"][(number % 5) as usize].into()),
            tokens_in: (number % 3 > 0).then_some(number),
            tokens_out: Some(2),
            cost: (number % 2 == 0).then_some(5),
            usage_source: Some(["reported", "estimated"][(number % 2) as usize].into()),
            ttft_us: (number % 2 == 0).then_some(1000 * number),
            total_us: Some(3000 * number),
            dialect: Some("messages".into()),
            dialects: (number % 3 == 0).then(|| "messages>chat".into()),
            attempts: Some(1),
            ..Row::new(ids.make(at), at)
        };
        times.zip(1..).map(row).collect()
    }

    fn names(row: &Row<'_>, by: &[GroupBy]) -> Vec<String> {
        by.iter()
            .map(|by| match by {
                GroupBy::Model => row.model.clone().unwrap_or_default().into_owned(),
                GroupBy::Provider => row.provider.clone().unwrap_or_default().into_owned(),
                GroupBy::Key => key_name("alice", row.key_id.as_deref().unwrap_or_default()),
                GroupBy::Dialect => row.dialects.as_deref().unwrap_or("messages").to_owned(),
                GroupBy::Hour => (row.at / 1_000_000 / HOUR * HOUR).to_string(),
                GroupBy::Day => (row.at / 1_000_000 / DAY * DAY).to_string(),
            })
            .collect()
    }

    /// A result equals the sum of the rows one by one, whatever hour or day the time begins in.
    #[tokio::test]
    async fn results_equal_the_sums_of_the_rows() {
        let rows = rows();
        for scratch in Scratch::each().await {
            let mut row_writer = RowWriter::open(&scratch.settings).await.unwrap();
            let batch: RowBatch = rows.iter().cloned().collect();
            for part in rows.chunks(100) {
                row_writer.write(&part.iter().cloned().collect(), false).await.unwrap();
            }
            let database = Database::prepare(&scratch.settings);
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
                    &[GroupBy::Dialect],
                    &[GroupBy::Day, GroupBy::Dialect, GroupBy::Hour],
                ] {
                    let query = UsageQuery { since, by: by.to_vec(), times: true };
                    let mut wanted: BTreeMap<Vec<String>, UsageLine> = BTreeMap::new();
                    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.at >= since) {
                        let line = wanted.entry(names(row, by)).or_default();
                        line.sums.add(&batch, at);
                        match row.outcome.as_deref() {
                            Some("refused") => line.refused += 1,
                            Some("failed") => line.failed += 1,
                            Some("gone") => line.gone += 1,
                            _ => {}
                        }
                    }
                    let found = ask(&database, &query).await.unwrap();
                    assert_eq!(found.len(), wanted.len(), "{query:?}");
                    for line in &found {
                        let own = &wanted[&line.names];
                        assert_eq!(line.sums.sums, own.sums.sums, "{query:?} {:?}", line.names);
                        let others = |line: &UsageLine| (line.refused, line.failed, line.gone);
                        assert_eq!(others(line), others(own), "{query:?} {:?}", line.names);
                        if by.contains(&GroupBy::Dialect) {
                            assert_eq!(line.total(0.5), None, "rows have no percentiles");
                            continue;
                        }
                        let times = |line: &UsageLine| line.sums.total.iter().sum::<i64>();
                        assert!(times(line) >= times(own), "the first hour counts as a whole");
                        assert!(since % HOUR != 0 || line.sums.ttft == own.sums.ttft, "{query:?}");
                    }
                }
            }
            database.close().await;
            row_writer.close().await;
        }
    }

    #[test]
    fn a_line_has_its_sums_by_name() {
        let mut line = UsageLine::default();
        line.sums.sums[8] = 7;
        assert_eq!((line.sum("cost"), line.sum("nothing"), line.ttft(0.5)), (7, 0, None));
    }
}
