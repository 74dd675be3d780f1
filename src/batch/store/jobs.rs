//! Batches as their keys see them: OpenAI's batch object, made, listed, read and cancelled.

use serde_json::{Value, json};

use super::{BatchStore, unix_now};
use crate::database::{Cell, DatabaseError, ResultRow};

/// The only window that OpenAI's API has.
pub const WINDOW: &str = "24h";
const WINDOW_SECONDS: i64 = 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStatus {
    Validating,
    InProgress,
    Finalizing,
    Completed,
    Failed,
    Expired,
    Cancelling,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchJob {
    pub id: String,
    pub owner: String,
    /// The path of its items: `/v1/chat/completions`.
    pub endpoint: String,
    pub input: String,
    /// JSON. `None`: there is none.
    metadata: Option<String>,
    pub status: BatchStatus,
    pub created: i64,
    pub expires: i64,
    /// Seconds that the files of its answers are kept. `None`: as the configuration says.
    pub(super) output_keep: Option<i64>,
    /// As [`TIMES`] names them.
    times: [Option<i64>; TIMES.len()],
    total: i64,
    output: Option<String>,
    errors: Option<String>,
    /// JSON: a list of mistakes in the input.
    mistakes: Option<String>,
    completed: i64,
    failed: i64,
}

const TIMES: [&str; 7] = [
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
];

const COLUMNS: &str = "id, owner, endpoint, input, metadata, status, created, expires, total, output, errors, \
     mistakes, \
     COALESCE(completed, (SELECT COUNT(*) FROM batch_answers a WHERE a.batch = batch_jobs.id AND a.kind = 0)), \
     COALESCE(failed, (SELECT COUNT(*) FROM batch_answers a WHERE a.batch = batch_jobs.id AND a.kind = 1)), \
     in_progress_at, finalizing_at, completed_at, failed_at, expired_at, cancelling_at, cancelled_at, \
     output_keep";

impl BatchStatus {
    const ALL: [Self; 8] = [
        Self::Validating,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// The column with the time at which it was reached. `None`: it is the first.
    pub(super) const fn time(self) -> Option<&'static str> {
        match self {
            Self::Validating => None,
            Self::InProgress => Some("in_progress_at"),
            Self::Finalizing => Some("finalizing_at"),
            Self::Completed => Some("completed_at"),
            Self::Failed => Some("failed_at"),
            Self::Expired => Some("expired_at"),
            Self::Cancelling => Some("cancelling_at"),
            Self::Cancelled => Some("cancelled_at"),
        }
    }
}

fn job(row: &ResultRow) -> Result<BatchJob, DatabaseError> {
    let text = |column| row.text(column).map(|text| text.map(str::to_owned));
    let number = |column| row.int(column).map(Option::unwrap_or_default);
    let name = text(5)?.unwrap_or_default();
    let status = BatchStatus::ALL.into_iter().find(|status| status.as_str() == name);
    let mut times = [None; TIMES.len()];
    for (column, time) in (14..).zip(&mut times) {
        *time = row.int(column)?;
    }
    Ok(BatchJob {
        id: text(0)?.unwrap_or_default(),
        owner: text(1)?.unwrap_or_default(),
        endpoint: text(2)?.unwrap_or_default(),
        input: text(3)?.unwrap_or_default(),
        metadata: text(4)?,
        status: status.ok_or(DatabaseError::Column(5))?,
        created: number(6)?,
        expires: number(7)?,
        output_keep: row.int(14 + TIMES.len())?,
        times,
        total: number(8)?,
        output: text(9)?,
        errors: text(10)?,
        mistakes: text(11)?,
        completed: number(12)?,
        failed: number(13)?,
    })
}

impl BatchJob {
    /// OpenAI's batch object.
    #[must_use]
    pub fn json(&self) -> Value {
        let parsed = |text: &Option<String>| -> Value {
            text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        let errors = match &self.mistakes {
            Some(_) => json!({"object": "list", "data": parsed(&self.mistakes)}),
            None => Value::Null,
        };
        let mut object = json!({
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": errors,
            "input_file_id": self.input,
            "completion_window": WINDOW,
            "status": self.status.as_str(),
            "output_file_id": self.output,
            "error_file_id": self.errors,
            "created_at": self.created,
            "expires_at": self.expires,
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "metadata": parsed(&self.metadata),
        });
        for (name, time) in TIMES.iter().zip(&self.times) {
            object[*name] = (*time).into();
        }
        object
    }
}

impl BatchStore {
    /// Makes a batch. `metadata`: JSON; `output_keep`: seconds that the files of its answers are kept.
    ///
    /// # Errors
    /// The database's own.
    pub async fn create(
        &self,
        owner: &str,
        (endpoint, input): (&str, &str),
        metadata: Option<String>,
        output_keep: Option<i64>,
    ) -> Result<Option<BatchJob>, DatabaseError> {
        let (id, now) = (self.make_id("batch_"), unix_now());
        let sql = "INSERT INTO batch_jobs (id, owner, endpoint, input, metadata, status, created, expires, total, \
                   output_keep) VALUES ($1, $2, $3, $4, $5, 'validating', $6, $7, 0, CAST($8 AS BIGINT)) \
                   ON CONFLICT (id) DO NOTHING";
        let cells = vec![
            Cell::text(&id),
            Cell::text(owner),
            Cell::text(endpoint),
            Cell::text(input),
            Cell::Text(metadata),
            now.into(),
            now.saturating_add(WINDOW_SECONDS).into(),
            Cell::Int(output_keep),
        ];
        self.database.run(sql, cells).await?;
        self.tell();
        self.job(owner, &id).await
    }

    /// The batch of this id. `None`: the key has none.
    ///
    /// # Errors
    /// The database's own.
    pub async fn job(&self, owner: &str, id: &str) -> Result<Option<BatchJob>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM batch_jobs WHERE id = $1 AND owner = $2");
        let rows = self.database.fetch(sql, vec![Cell::text(id), Cell::text(owner)]).await?;
        rows.first().map(job).transpose()
    }

    /// The key's batches from the newest on, after that of the id `after`; one more than `limit`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn jobs(
        &self,
        owner: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<BatchJob>, DatabaseError> {
        let mut cells =
            vec![Cell::text(owner), i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX).into()];
        let place = match after {
            Some(after) => {
                cells.push(Cell::text(after));
                "AND (created < (SELECT created FROM batch_jobs WHERE id = $3) OR (created = \
                 (SELECT created FROM batch_jobs WHERE id = $3) AND id < $3))"
            }
            None => "",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM batch_jobs WHERE owner = $1 {place} ORDER BY created DESC, id DESC LIMIT $2"
        );
        self.database.fetch(sql, cells).await?.iter().map(job).collect()
    }

    /// Asks that a batch begins no further item. A batch that is about to end, or has, stays as it is.
    ///
    /// # Errors
    /// The database's own.
    pub async fn cancel(&self, owner: &str, id: &str) -> Result<Option<BatchJob>, DatabaseError> {
        let sql = "UPDATE batch_jobs SET status = 'cancelling', cancelling_at = $3 WHERE id = $1 AND owner = $2 \
                   AND status IN ('validating', 'in_progress')";
        self.database.run(sql, vec![Cell::text(id), Cell::text(owner), unix_now().into()]).await?;
        self.tell();
        self.job(owner, id).await
    }
}
