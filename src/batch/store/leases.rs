//! Batches as their runner sees them. A batch runs at one replica: it holds a lease, which it renews; one
//! that died holds it no longer when its time is over, and another goes on. Each step of a batch is taken
//! only by the holder of its lease.

use super::{BatchJob, BatchStatus, BatchStore, FileKind, files::seconds, unix_now};
use crate::database::{Cell, DatabaseError};

/// Batches that are looked at for one to run.
const MAX_FOUND: i64 = 64;
const UNENDED: &str = "status IN ('validating', 'in_progress', 'finalizing', 'cancelling')";

impl BatchStore {
    /// Batches that have not ended and that no replica runs: id and key. The oldest of each key come first,
    /// so that one key's many hide no other's.
    ///
    /// # Errors
    /// The database's own.
    pub async fn free(&self) -> Result<Vec<(String, String)>, DatabaseError> {
        let sql = format!(
            "SELECT id, owner FROM (SELECT id, owner, created, \
             ROW_NUMBER() OVER (PARTITION BY owner ORDER BY created, id) AS place FROM batch_jobs \
             WHERE {UNENDED} AND (runner IS NULL OR leased_until < {})) AS free \
             ORDER BY place, created, id LIMIT {MAX_FOUND}",
            self.clock
        );
        let rows = self.database.fetch(sql, Vec::new()).await?;
        let text = |row: &crate::database::ResultRow, column| {
            row.text(column).map(|text| text.unwrap_or_default().to_owned())
        };
        rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?))).collect()
    }

    /// Takes the lease of a batch that no other holds, or renews it. False: another holds it, or it has
    /// ended.
    ///
    /// # Errors
    /// The database's own.
    pub async fn lease(
        &self,
        id: &str,
        runner: &str,
        time: std::time::Duration,
    ) -> Result<bool, DatabaseError> {
        let sql = format!(
            "UPDATE batch_jobs SET runner = $1, leased_until = {0} + $2 WHERE id = $3 AND {UNENDED} AND \
             (runner IS NULL OR runner = $1 OR leased_until < {0})",
            self.clock
        );
        let cells = vec![Cell::text(runner), seconds(time).max(1).into(), Cell::text(id)];
        Ok(self.database.run(sql, cells).await? > 0)
    }

    /// Gives a lease back, so that another replica need not wait.
    ///
    /// # Errors
    /// The database's own.
    pub async fn give_back(&self, id: &str, runner: &str) -> Result<(), DatabaseError> {
        let sql = "UPDATE batch_jobs SET runner = NULL WHERE id = $1 AND runner = $2";
        self.database.run(sql, vec![Cell::text(id), Cell::text(runner)]).await.map(|_| ())
    }

    /// From `from` to `to`. False: the batch is at another step (its key has cancelled it), or another
    /// replica runs it.
    ///
    /// # Errors
    /// The database's own.
    pub async fn advance(
        &self,
        (id, runner): (&str, &str),
        (from, to): (BatchStatus, BatchStatus),
        total: Option<i64>,
    ) -> Result<bool, DatabaseError> {
        let time = to.time().unwrap_or("created");
        let sql = format!(
            "UPDATE batch_jobs SET status = $1, {time} = $2, total = COALESCE($3, total) \
             WHERE id = $4 AND runner = $5 AND status IN ($6, $1)"
        );
        let cells = vec![
            Cell::text(to.as_str()),
            unix_now().into(),
            Cell::Int(total),
            Cell::text(id),
            Cell::text(runner),
            Cell::text(from.as_str()),
        ];
        Ok(self.database.run(sql, cells).await? > 0)
    }

    /// The input cannot be run. `mistakes`: JSON.
    ///
    /// # Errors
    /// The database's own.
    pub async fn fail(&self, id: &str, runner: &str, mistakes: &str) -> Result<(), DatabaseError> {
        let sql = "UPDATE batch_jobs SET status = 'failed', failed_at = $1, mistakes = $2, runner = NULL \
                   WHERE id = $3 AND runner = $4 AND status = 'validating'";
        let cells = vec![unix_now().into(), Cell::text(mistakes), Cell::text(id), Cell::text(runner)];
        self.database.run(sql, cells).await.map(|_| ())
    }

    /// Makes the files of the answers, and ends the batch with this status. Files are kept for `keep` seconds
    /// at most.
    ///
    /// # Errors
    /// The database's own; the step may be repeated.
    pub async fn finish(
        &self,
        job: &BatchJob,
        runner: &str,
        status: BatchStatus,
        keep: i64,
    ) -> Result<(), DatabaseError> {
        let (output, completed) = self.answer_file((job, runner), FileKind::Output, keep).await?;
        let (errors, failed) = self.answer_file((job, runner), FileKind::Errors, keep).await?;
        let time = status.time().unwrap_or("completed_at");
        let sql = format!(
            "UPDATE batch_jobs SET status = $1, {time} = $2, output = $3, errors = $4, completed = $5, \
             failed = $6, runner = NULL WHERE id = $7 AND runner = $8"
        );
        let cells = vec![
            Cell::text(status.as_str()),
            unix_now().into(),
            Cell::Text(output),
            Cell::Text(errors),
            completed.into(),
            failed.into(),
            Cell::text(&job.id),
            Cell::text(runner),
        ];
        self.database.run(sql, cells).await.map(|_| ())
    }

    /// The file of the answers of one kind, and their number. `None`: there are none. A runner that has lost
    /// the lease makes no file: another runner still answers items.
    async fn answer_file(
        &self,
        (job, runner): (&BatchJob, &str),
        kind: FileKind,
        keep: i64,
    ) -> Result<(Option<String>, i64), DatabaseError> {
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM batch_answers \
                   WHERE batch = $1 AND kind = $2";
        let rows = self.database.fetch(sql, vec![Cell::text(&job.id), kind.number().into()]).await?;
        let Some(row) = rows.first() else { return Ok((None, 0)) };
        let count = row.int(0)?.unwrap_or_default();
        if count == 0 {
            return Ok((None, 0));
        }
        let word = if kind == FileKind::Output { "output" } else { "error" };
        // The same name in every attempt, so that a second one makes no second file.
        let id = format!("file-{}-{word}", job.id.trim_start_matches("batch_"));
        let (name, now) = (format!("{}_{word}.jsonl", job.id), unix_now());
        let sql = "INSERT INTO batch_files (id, owner, name, bytes, created, expires, kind, batch, state) \
                   SELECT $1, $2, $3, $4, $5, $6, $7, $8, 1 FROM batch_jobs WHERE id = $8 AND runner = $9 \
                   ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes";
        let cells = vec![
            Cell::text(&id),
            Cell::text(&job.owner),
            Cell::text(&name),
            row.int(1)?.unwrap_or_default().into(),
            now.into(),
            now.saturating_add(job.output_keep.unwrap_or(keep).min(keep)).into(),
            kind.number().into(),
            Cell::text(&job.id),
            Cell::text(runner),
        ];
        self.database.run(sql, cells).await?;
        Ok((Some(id), count))
    }
}
