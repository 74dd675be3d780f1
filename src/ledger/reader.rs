//! The ledger for other rooms: its gauges, and its queries, each run on the caller's thread, at the copy of
//! the database for reading where there is one; and results as JSON, the same in `thalweg usage --json` and
//! `/stats?since=24h`.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};

use super::{
    LedgerGauges,
    query::{self, GroupBy, UsageLine, UsageQuery},
    rollup::SUMS,
    schema::SCHEMAS,
};
use crate::{
    base::{Episode, time},
    database::{Database, DatabaseError, DatabaseSettings},
};

/// For one query, waiting for its turn included.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Queries at once, each with a connection of its own; fewer if the settings allow few connections.
const MAX_QUERIES: usize = 4;
/// For one query to the copy for reading; then the database itself is asked.
const COPY_TIMEOUT: Duration = Duration::from_secs(4);

/// Reads the ledger. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    pub gauges: LedgerGauges,
    /// `None`: there is no ledger.
    database: Option<Arc<DatabaseSettings>>,
    permits: Arc<Semaphore>,
    /// The copy for reading does not answer.
    copy_outage: Arc<Mutex<Episode>>,
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
        Self {
            gauges,
            database: database.map(Arc::new),
            permits: Arc::new(Semaphore::new(queries)),
            copy_outage: Arc::default(),
        }
    }

    /// Opens the database, runs one query and closes it. The copy for reading is asked first, if there is
    /// one. Blocks the calling thread.
    ///
    /// # Errors
    /// There is no ledger, or the database does not answer.
    pub fn ask(&self, query: &UsageQuery) -> Result<UsageAnswer, QueryError> {
        let settings = self.database.as_ref().ok_or(QueryError::Nothing)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(QueryError::System)?.block_on(async {
            let copy = match settings.copy() {
                Some(copy) => Some(self.ask_copy(&copy, query).await),
                None => None,
            };
            let copy = match copy {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => Some(CopyState::Away { reason: error.to_string() }),
                None => None,
            };
            let asking = self.ask_once(async || Database::open(settings, &SCHEMAS).await, query);
            let (lines, _) = late(timeout(QUERY_TIMEOUT, asking).await)?;
            Ok(UsageAnswer { lines, copy })
        })
    }

    /// Asks the copy for reading. The log has one line when it fails and one when it answers again.
    async fn ask_copy(
        &self,
        copy: &DatabaseSettings,
        query: &UsageQuery,
    ) -> Result<UsageAnswer, DatabaseError> {
        // It takes no writes, so its tables are those that the database has made.
        let asking = self.ask_once(async || Ok(Database::prepare(copy)), query);
        let answered = timeout(COPY_TIMEOUT, asking).await.unwrap_or(Err(DatabaseError::Late));
        let mut outage = self.copy_outage.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Ok((lines, lag)) => {
                if outage.end() {
                    tracing::info!("the copy of the database for reading answers again");
                }
                Ok(UsageAnswer { lines, copy: Some(CopyState::Read { lag }) })
            }
            Err(error) => {
                if outage.begin() {
                    tracing::warn!(
                        database = %copy.url,
                        %error,
                        "the copy of the database for reading does not answer: the database itself is read"
                    );
                }
                Err(error)
            }
        }
    }

    /// One query, and how far the database lags behind the one that it copies.
    async fn ask_once(
        &self,
        open: impl AsyncFnOnce() -> Result<Database, DatabaseError>,
        query: &UsageQuery,
    ) -> Result<(Vec<UsageLine>, Option<Duration>), DatabaseError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let database = open().await?;
        let answer = query::ask(&database, query).await;
        let lag = if answer.is_ok() { database.lag().await } else { None };
        database.close().await;
        answer.map(|lines| (lines, lag))
    }
}

fn late<T>(outcome: Result<Result<T, DatabaseError>, Elapsed>) -> Result<T, QueryError> {
    outcome.unwrap_or(Err(DatabaseError::Late)).map_err(QueryError::Database)
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageAnswer {
    pub lines: Vec<UsageLine>,
    /// `None`: there is no copy for reading.
    pub copy: Option<CopyState>,
}

/// The copy of the database for reading, as a query found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It answered. `lag`: behind the database; `None`: it does not know that.
    Read { lag: Option<Duration> },
    /// It did not answer, and the database itself was read.
    Away { reason: String },
}

/// For an operator.
impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { lag: Some(lag) } => {
                write!(f, "from its copy for reading, {:.1} s behind it", lag.as_secs_f64())
            }
            Self::Read { lag: None } => f.write_str("from its copy for reading; how far behind is not known"),
            Self::Away { reason } => {
                write!(f, "from the database itself: its copy for reading does not answer: {reason}")
            }
        }
    }
}

impl CopyState {
    fn report(&self) -> Value {
        match self {
            Self::Read { lag } => json!({
                "used": true,
                "lag_seconds": lag.map(|lag| lag.as_secs_f64()),
            }),
            Self::Away { reason } => json!({"used": false, "reason": reason}),
        }
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
pub fn report(answer: &UsageAnswer, query: &UsageQuery) -> Value {
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(query.since.unsigned_abs());
    let mut report = json!({
        "since": time::Rfc3339(since).to_string(),
        "by": query.by.iter().map(|by| by.as_str()).collect::<Vec<_>>(),
        "usage": answer.lines.iter().map(|line| line_report(line, &query.by)).collect::<Vec<_>>(),
    });
    if let Some(copy) = &answer.copy {
        report["read_replica"] = copy.report();
    }
    report
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
