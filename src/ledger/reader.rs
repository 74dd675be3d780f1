//! The ledger for other rooms: its gauges, and its queries, each run on the caller's thread; and results as
//! JSON, the same in `thalweg usage --json` and `/stats?since=24h`.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    LedgerGauges,
    query::{self, GroupBy, UsageLine, UsageQuery},
    rollup::SUMS,
    schema::SCHEMAS,
};
use crate::{
    base::time,
    database::{Database, DatabaseError, DatabaseSettings},
};

/// For one query, waiting for its turn included.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Queries at once, each with a connection of its own; fewer if the settings allow few connections.
const MAX_QUERIES: usize = 4;

/// Reads the ledger. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    pub gauges: LedgerGauges,
    /// `None`: there is no ledger.
    database: Option<Arc<DatabaseSettings>>,
    permits: Arc<Semaphore>,
}

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no ledger.
    #[error("there is no ledger: no configuration file and no THALWEG_DATABASE_URL")]
    Nothing,
    #[error(transparent)]
    System(io::Error),
    #[error(transparent)]
    Database(DatabaseError),
}

impl LedgerReader {
    #[must_use]
    pub fn new(gauges: LedgerGauges, database: Option<DatabaseSettings>) -> Self {
        // Queries leave a connection to the ledger and one to the keys, where there are more than two.
        let max = database.as_ref().map_or(1, |database| database.connections.max());
        let queries = usize::try_from(max).unwrap_or(MAX_QUERIES).saturating_sub(2).clamp(1, MAX_QUERIES);
        Self { gauges, database: database.map(Arc::new), permits: Arc::new(Semaphore::new(queries)) }
    }

    /// Opens the database, runs one query and closes it. Blocks the calling thread.
    ///
    /// # Errors
    /// There is no ledger, or the database does not answer.
    pub fn ask(&self, query: &UsageQuery) -> Result<Vec<UsageLine>, QueryError> {
        let settings = self.database.as_ref().ok_or(QueryError::Nothing)?;
        let asking = async {
            // The semaphore is never closed.
            let _permit = self.permits.acquire().await;
            let database = Database::open(settings, &SCHEMAS).await?;
            let answer = query::ask(&database, query).await;
            database.close().await;
            answer
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answered =
            runtime.map_err(QueryError::System)?.block_on(async { timeout(QUERY_TIMEOUT, asking).await });
        answered.unwrap_or(Err(DatabaseError::Late)).map_err(QueryError::Database)
    }
}

impl GroupBy {
    pub const ALL: [Self; 6] = [Self::Model, Self::Provider, Self::Key, Self::Dialect, Self::Hour, Self::Day];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Key => "key",
            Self::Dialect => "dialect",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// # Errors
    /// The text is none of these words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|by| by.as_str().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

impl UsageQuery {
    /// About the time from `ago` until now.
    #[must_use]
    pub fn back(ago: Duration, by: Vec<GroupBy>) -> Self {
        let since = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        Self { since: time::unix_micros(since), by, times: true }
    }
}

/// A result as JSON.
#[must_use]
pub fn report(lines: &[UsageLine], query: &UsageQuery) -> Value {
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(query.since.unsigned_abs());
    json!({
        "since": time::Rfc3339(since).to_string(),
        "by": query.by.iter().map(|by| by.as_str()).collect::<Vec<_>>(),
        "usage": lines.iter().map(|line| line_report(line, &query.by)).collect::<Vec<_>>(),
    })
}

fn line_report(line: &UsageLine, by: &[GroupBy]) -> Value {
    let mut object = Map::new();
    for (by, name) in by.iter().zip(&line.names) {
        let value = match by {
            GroupBy::Model | GroupBy::Provider | GroupBy::Key | GroupBy::Dialect => {
                if name.is_empty() {
                    Value::Null
                } else {
                    name.as_str().into()
                }
            }
            GroupBy::Hour | GroupBy::Day => {
                let seconds = name.parse().unwrap_or(0);
                time::Rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string().into()
            }
        };
        object.insert(by.as_str().to_owned(), value);
    }
    for column in SUMS {
        let name = if column == "cost" { "cost_micros" } else { column };
        object.insert(name.to_owned(), line.sum(column).into());
    }
    for (name, count) in [("refused", line.refused), ("failed", line.failed), ("gone", line.gone)] {
        object.insert(name.to_owned(), count.into());
    }
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
        object.insert(format!("ttft_{name}_us"), line.ttft(share).into());
        object.insert(format!("total_{name}_us"), line.total(share).into());
    }
    object.into()
}
