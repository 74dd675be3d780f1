//! Sums over the rows of an hour or a day with the same model, provider, key and outcome. A batch of rows is
//! summed here first, so that the database adds few numbers to few rows.

use std::collections::BTreeMap;

use super::{
    histogram::{self, CLASSES},
    row::{AT, column},
};
use crate::database::{Cell, ColumnKind, Insert, RowBatch};

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 86_400;
/// The span of an hour's sums over all models, providers and keys: a month by hours is read from these.
pub const WHOLE_HOUR: i64 = -HOUR;

/// The common values of a sum's rows. The order is that of the primary key, so that two gateways that update
/// the same rows lock them in the same order and never deadlock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupKey {
    span: i64,
    start: i64,
    /// Model, provider, principal, key id, outcome. A missing value is an empty text.
    names: [String; NAMES.len()],
}

pub const NAMES: [&str; 5] = ["model", "provider", "principal", "key_id", "outcome"];

/// Columns of sums, in front of the histograms.
pub const SUMS: [&str; 21] = [
    "requests",
    "attempts",
    "wasted",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "tokens_reasoning",
    "estimated",
    "cost",
    "unpriced",
    "request_bytes",
    "bytes",
    "frames",
    "ttft_count",
    "ttft_us",
    "total_us",
    "queue_us",
    "upstream_us",
    "translated",
    "reused",
    "tokens_saved",
];

pub const TTFT: [&str; CLASSES] = [
    "ttft_00", "ttft_01", "ttft_02", "ttft_03", "ttft_04", "ttft_05", "ttft_06", "ttft_07", "ttft_08",
    "ttft_09", "ttft_10", "ttft_11", "ttft_12", "ttft_13", "ttft_14", "ttft_15", "ttft_16", "ttft_17",
    "ttft_18", "ttft_19",
];
pub const TOTAL: [&str; CLASSES] = [
    "total_00", "total_01", "total_02", "total_03", "total_04", "total_05", "total_06", "total_07",
    "total_08", "total_09", "total_10", "total_11", "total_12", "total_13", "total_14", "total_15",
    "total_16", "total_17", "total_18", "total_19",
];

/// All columns that are summed, in order.
pub fn added() -> impl Iterator<Item = &'static str> {
    SUMS.into_iter().chain(TTFT).chain(TOTAL)
}

/// The sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupSums {
    pub sums: [i64; SUMS.len()],
    pub ttft: histogram::Histogram,
    pub total: histogram::Histogram,
}

impl Default for RollupSums {
    fn default() -> Self {
        Self { sums: [0; SUMS.len()], ttft: [0; CLASSES], total: [0; CLASSES] }
    }
}

/// The columns that [`RollupSums::add`] reads.
mod columns {
    use super::column;

    pub(super) const NAMES: [usize; super::NAMES.len()] =
        [column("model"), column("provider"), column("principal"), column("key_id"), column("outcome")];
    pub(super) const ATTEMPTS: usize = column("attempts");
    pub(super) const WASTED: usize = column("wasted");
    pub(super) const TOKENS_IN: usize = column("tokens_in");
    pub(super) const TOKENS_OUT: usize = column("tokens_out");
    pub(super) const TOKENS_CACHED: usize = column("tokens_cached");
    pub(super) const TOKENS_REASONING: usize = column("tokens_reasoning");
    pub(super) const USAGE_SOURCE: usize = column("usage_source");
    pub(super) const COST: usize = column("cost");
    pub(super) const REQUEST_BYTES: usize = column("request_bytes");
    pub(super) const BYTES: usize = column("bytes");
    pub(super) const FRAMES: usize = column("frames");
    pub(super) const TTFT: usize = column("ttft_us");
    pub(super) const TOTAL: usize = column("total_us");
    pub(super) const QUEUE: usize = column("queue_us");
    pub(super) const UPSTREAM: usize = column("upstream_us");
    pub(super) const DIALECTS: usize = column("dialects");
    pub(super) const REUSE: usize = column("reuse");
    pub(super) const TOKENS_SAVED: usize = column("tokens_saved");
}

impl RollupSums {
    /// Adds a row of a batch.
    pub(super) fn add(&mut self, rows: &RowBatch, row: usize) {
        let int = |column| rows.int(row, column);
        let has_text = |column| !rows.cell(row, column).is_null();
        let has_tokens = int(columns::TOKENS_IN).is_some() || int(columns::TOKENS_OUT).is_some();
        let source = rows.text(row, columns::USAGE_SOURCE);
        let (ttft, total, cost) = (int(columns::TTFT), int(columns::TOTAL), int(columns::COST));
        let values = [
            Some(1),
            int(columns::ATTEMPTS),
            int(columns::WASTED),
            int(columns::TOKENS_IN),
            int(columns::TOKENS_OUT),
            int(columns::TOKENS_CACHED),
            int(columns::TOKENS_REASONING),
            Some(i64::from(source.is_some_and(|source| source != "reported"))),
            cost,
            Some(i64::from(has_tokens && cost.is_none())),
            int(columns::REQUEST_BYTES),
            int(columns::BYTES),
            int(columns::FRAMES),
            Some(i64::from(ttft.is_some())),
            ttft,
            total,
            int(columns::QUEUE),
            int(columns::UPSTREAM),
            Some(i64::from(has_text(columns::DIALECTS))),
            Some(i64::from(has_text(columns::REUSE))),
            int(columns::TOKENS_SAVED),
        ];
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(value.unwrap_or(0));
        }
        for (histogram, time) in [(&mut self.ttft, ttft), (&mut self.total, total)] {
            if let Some(count) = time.and_then(|time| histogram.get_mut(histogram::class(time))) {
                *count += 1;
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        let own = self.sums.iter_mut().chain(&mut self.ttft).chain(&mut self.total);
        for (sum, value) in own.zip(other.sums.iter().chain(&other.ttft).chain(&other.total)) {
            *sum = sum.saturating_add(*value);
        }
    }
}

/// Sums of these rows, by hour and by day.
#[must_use]
pub fn roll_up(rows: &RowBatch) -> BTreeMap<RollupKey, RollupSums> {
    // Names are looked at where they change, and copied for each sum, not for each row.
    let mut groups: BTreeMap<(i64, [&str; NAMES.len()]), RollupSums> = BTreeMap::new();
    let hour = |row| rows.int(row, AT).unwrap_or_default().div_euclid(1_000_000 * HOUR);
    let mut row = 0;
    while row < rows.len() {
        let names = columns::NAMES.map(|column| rows.text(row, column).unwrap_or_default());
        let hour_of_group = hour(row);
        let group = groups.entry((hour_of_group, names)).or_default();
        loop {
            group.add(rows, row);
            row += 1;
            let is_of_group = row < rows.len()
                && columns::NAMES.into_iter().all(|column| rows.repeats(row, column))
                && hour(row) == hour_of_group;
            if !is_of_group {
                break;
            }
        }
    }
    let mut sums: BTreeMap<RollupKey, RollupSums> = BTreeMap::new();
    for ((hour, names), group) in groups {
        let [.., outcome] = names;
        let (start, whole) = (hour * HOUR, ["", "", "", "", outcome]);
        for (span, names) in [(HOUR, names), (DAY, names), (WHOLE_HOUR, whole)] {
            let start = start.div_euclid(span.abs()) * span.abs();
            let key = RollupKey { span, start, names: names.map(str::to_owned) };
            sums.entry(key).or_default().merge(&group);
        }
    }
    sums
}

/// The statement that adds sums to those in the database.
#[must_use]
pub fn insert() -> Insert {
    let mut columns = vec![("span", ColumnKind::Int), ("start", ColumnKind::Int)];
    columns.extend(NAMES.map(|name| (name, ColumnKind::Text)));
    columns.extend(added().map(|name| (name, ColumnKind::Int)));
    let adding: Vec<String> =
        added().map(|name| format!("{name} = rollups.{name} + excluded.{name}")).collect();
    let key = NAMES.join(", ");
    Insert::new(
        "rollups",
        columns,
        &format!("ON CONFLICT (span, start, {key}) DO UPDATE SET {}", adding.join(", ")),
    )
}

/// The cells for [`insert`].
#[must_use]
pub fn cells(rollups: BTreeMap<RollupKey, RollupSums>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (RollupKey { span, start, names }, RollupSums { sums, ttft, total }) in rollups {
        cells.extend([span.into(), start.into()]);
        cells.extend(names.map(Cell::from));
        cells.extend(sums.into_iter().chain(ttft).chain(total).map(Cell::from));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::{
        super::row::{Row, RowIds},
        *,
    };

    #[test]
    fn every_row_is_counted_in_its_hour_and_its_day() {
        let mut ids = RowIds::default();
        let mut rows = Vec::new();
        // Two hours of one day, and the next.
        for (at, model) in [(3_600, "a"), (7_199, "a"), (7_200, "a"), (7_200, "b"), (86_400, "a")] {
            let mut row = Row::new(ids.make(at * 1_000_000), at * 1_000_000);
            row.model = Some(model.into());
            row.tokens_in = Some(10);
            row.total_us = Some(5000);
            rows.push(row);
        }
        let rollups = roll_up(&rows.into_iter().collect());
        let count = |span: i64, start: i64, model: &str| {
            let found = rollups
                .iter()
                .find(|(group, _)| group.span == span && group.start == start && group.names[0] == model);
            found.map_or(0, |(_, sums)| sums.sums[0])
        };
        assert_eq!([count(HOUR, 3600, "a"), count(HOUR, 7200, "a"), count(HOUR, 7200, "b")], [2, 1, 1]);
        assert_eq!([count(DAY, 0, "a"), count(DAY, 0, "b"), count(DAY, 86_400, "a")], [3, 1, 1]);
        for span in [HOUR, DAY, WHOLE_HOUR] {
            let mut sum = RollupSums::default();
            rollups.iter().filter(|(group, _)| group.span == span).for_each(|(_, sums)| sum.merge(sums));
            assert_eq!((sum.sums[0], sum.sums[3], sum.sums[9]), (5, 50, 5));
            assert_eq!((sum.total[1], sum.ttft.iter().sum::<i64>()), (5, 0));
        }
        let width = insert().columns.len();
        assert_eq!(cells(rollups).len() % width, 0);
    }
}
