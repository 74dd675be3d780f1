//! The lines of files, and the answers to items. Both are read in pages of bounded size.

use bytes::{Bytes, BytesMut};

use super::{BatchStore, FileKind, StoredFile};
use crate::database::{Cell, DatabaseError};

/// Lines and bytes of a page; a page has one line at least.
const MAX_LINES: i64 = 512;
const MAX_BYTES: i64 = 1 << 20;

impl BatchStore {
    /// The part of a file behind the line of number `after`, and the number of its last line. `None`: there
    /// is no more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn page(&self, file: &StoredFile, after: i64) -> Result<Option<(i64, Bytes)>, DatabaseError> {
        let (table, place, owner) = match file.kind {
            FileKind::Input => ("batch_lines", "file = $1", &file.id),
            FileKind::Output | FileKind::Errors => ("batch_answers", "batch = $1 AND kind = $3", &file.batch),
        };
        let is_input = file.kind == FileKind::Input;
        let cells = |after: i64| {
            let mut cells = vec![Cell::text(owner), after.into()];
            if !is_input {
                cells.push(file.kind.number().into());
            }
            cells
        };
        let sql = format!(
            "SELECT number, bytes FROM {table} WHERE {place} AND number > $2 ORDER BY number LIMIT {MAX_LINES}"
        );
        let (mut last, mut bytes) = (None, 0);
        for row in self.database.fetch(sql, cells(after)).await? {
            bytes += row.int(1)?.unwrap_or_default();
            if last.is_some() && bytes > MAX_BYTES {
                break;
            }
            last = row.int(0)?;
        }
        let Some(last) = last else { return Ok(None) };
        let upto = if is_input { "$3" } else { "$4" };
        let sql = format!(
            "SELECT text FROM {table} WHERE {place} AND number > $2 AND number <= {upto} ORDER BY number"
        );
        let mut cells = cells(after);
        cells.push(last.into());
        let mut text = BytesMut::new();
        for row in self.database.fetch(sql, cells).await? {
            text.extend_from_slice(row.blob(0)?.unwrap_or_default());
        }
        Ok(Some((last, text.freeze())))
    }

    /// Numbers of lines behind `after` that have no answer of `batch` yet.
    ///
    /// # Errors
    /// The database's own.
    pub async fn unanswered(&self, input: &str, batch: &str, after: i64) -> Result<Vec<i64>, DatabaseError> {
        let sql = format!(
            "SELECT l.number FROM batch_lines l WHERE l.file = $1 AND l.number > $2 AND NOT EXISTS (SELECT 1 \
             FROM batch_answers a WHERE a.batch = $3 AND a.number = l.number) ORDER BY l.number LIMIT {MAX_LINES}"
        );
        let cells = vec![Cell::text(input), after.into(), Cell::text(batch)];
        let rows = self.database.fetch(sql, cells).await?;
        rows.iter().map(|row| row.int(0).map(Option::unwrap_or_default)).collect()
    }

    /// One line of an input file. `None`: it is gone.
    ///
    /// # Errors
    /// The database's own.
    pub async fn line(&self, input: &str, number: i64) -> Result<Option<Bytes>, DatabaseError> {
        let sql = "SELECT text FROM batch_lines WHERE file = $1 AND number = $2";
        let rows = self.database.fetch(sql, vec![Cell::text(input), number.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(row.blob(0)?.map(Bytes::copy_from_slice))
    }

    /// Stores an item's answer, unless it has one, or another replica runs the batch.
    ///
    /// # Errors
    /// The database's own; the answer may be stored all the same.
    pub async fn answer(
        &self,
        (batch, runner): (&str, &str),
        number: i64,
        is_good: bool,
        line: &[u8],
    ) -> Result<(), DatabaseError> {
        let kind = if is_good { FileKind::Output } else { FileKind::Errors };
        let text = [line, b"\n"].concat();
        let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO batch_answers (batch, number, kind, bytes, text) SELECT j.id, CAST($2 AS BIGINT), \
                   CAST($3 AS BIGINT), CAST($4 AS BIGINT), $5 FROM batch_jobs j WHERE j.id = $1 AND j.runner = $6 \
                   ON CONFLICT (batch, number) DO NOTHING";
        let cells = vec![
            Cell::text(batch),
            number.into(),
            kind.number().into(),
            bytes.into(),
            text.into(),
            Cell::text(runner),
        ];
        self.database.run(sql, cells).await.map(|_| ())
    }
}
