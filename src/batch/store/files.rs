//! Uploaded files and the files of answers. A file belongs to the key that made it. An upload counts for its
//! key from its first byte, and exists when its last line is stored.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{BatchStore, unix_now};
use crate::{
    batch::settings::BatchSettings,
    database::{Cell, DatabaseError, ResultRow},
};

/// Rows and bytes of one insert.
const MAX_ROWS: usize = 64;
const MAX_BYTES: usize = 1 << 20;
/// An upload that has not ended by then never will.
const UPLOAD_TIME: i64 = 3600;

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Input,
    /// Good answers.
    Output,
    /// Errors.
    Errors,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub id: String,
    pub name: String,
    pub bytes: i64,
    pub created: i64,
    pub expires: i64,
    pub kind: FileKind,
    /// The batch that it has the answers of. Empty: it is an input file.
    pub batch: String,
}

/// The outcome of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload {
    Stored(StoredFile),
    /// The key's files fill their number or their bytes.
    Full,
    /// More lines than a batch may have.
    TooManyLines,
}

impl FileKind {
    /// The number in the tables.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Input => -1,
            Self::Output => 0,
            Self::Errors => 1,
        }
    }

    const fn of(number: i64) -> Self {
        match number {
            0 => Self::Output,
            1 => Self::Errors,
            _ => Self::Input,
        }
    }

    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Input => "batch",
            Self::Output | Self::Errors => "batch_output",
        }
    }
}

impl StoredFile {
    /// OpenAI's file object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": self.created,
            "expires_at": self.expires,
            "filename": self.name,
            "purpose": self.kind.purpose(),
            "status": "processed",
            "status_details": null,
        })
    }
}

const COLUMNS: &str = "id, name, bytes, created, expires, kind, batch";

fn file(row: &ResultRow) -> Result<StoredFile, DatabaseError> {
    Ok(StoredFile {
        id: row.text(0)?.unwrap_or_default().to_owned(),
        name: row.text(1)?.unwrap_or_default().to_owned(),
        bytes: row.int(2)?.unwrap_or_default(),
        created: row.int(3)?.unwrap_or_default(),
        expires: row.int(4)?.unwrap_or_default(),
        kind: FileKind::of(row.int(5)?.unwrap_or(-1)),
        batch: row.text(6)?.unwrap_or_default().to_owned(),
    })
}

impl BatchStore {
    /// Stores an input file line by line.
    ///
    /// # Errors
    /// The database's own; the file does not exist then.
    pub async fn upload(
        &self,
        owner: &str,
        name: &str,
        text: &Bytes,
        settings: &BatchSettings,
    ) -> Result<Upload, DatabaseError> {
        let lines = memchr::memchr_iter(b'\n', text).count() + usize::from(!text.ends_with(b"\n"));
        if lines > settings.max_requests {
            return Ok(Upload::TooManyLines);
        }
        let (id, now) = (self.make_id("file-"), unix_now());
        let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let expires = now.saturating_add(seconds(settings.keep));
        let reserve = "INSERT INTO batch_files (id, owner, name, bytes, created, expires, kind, batch, state) \
                       SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), \
                       CAST($5 AS BIGINT), CAST($6 AS BIGINT), -1, NULL, 0 \
                       WHERE (SELECT COUNT(*) FROM batch_files WHERE owner = $2) < $7 AND \
                       (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM batch_files WHERE owner = $2) \
                       <= CAST($8 AS BIGINT) - $4 ON CONFLICT (id) DO NOTHING";
        let limits: [i64; 2] = [settings.files_per_key, settings.bytes_per_key]
            .map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let cells = vec![
            Cell::text(&id),
            Cell::text(owner),
            Cell::text(name),
            bytes.into(),
            now.into(),
            expires.into(),
            limits[0].into(),
            limits[1].into(),
        ];
        self.database.run(reserve, cells).await?;
        let found =
            self.database.fetch("SELECT 1 FROM batch_files WHERE id = $1", vec![Cell::text(&id)]).await?;
        if found.is_empty() {
            return Ok(Upload::Full);
        }
        if let Err(error) = self.insert_lines(&id, text).await {
            // If this fails, too, the upload is removed when its time is over.
            let _ = self.remove_file(&id).await;
            return Err(error);
        }
        self.database.run("UPDATE batch_files SET state = 1 WHERE id = $1", vec![Cell::text(&id)]).await?;
        let (name, kind, batch) = (name.to_owned(), FileKind::Input, String::new());
        Ok(Upload::Stored(StoredFile { id, name, bytes, created: now, expires, kind, batch }))
    }

    async fn insert_lines(&self, id: &str, text: &Bytes) -> Result<(), DatabaseError> {
        let (mut cells, mut bytes) = (Vec::new(), 0);
        for (number, line) in (1i64..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            let length = i64::try_from(line.len()).unwrap_or(i64::MAX);
            cells.extend([Cell::text(id), number.into(), length.into(), line.to_vec().into()]);
            bytes += line.len();
            if cells.len() >= MAX_ROWS * 4 || bytes >= MAX_BYTES {
                self.database.insert(&self.insert_lines, std::mem::take(&mut cells)).await?;
                bytes = 0;
            }
        }
        if !cells.is_empty() {
            self.database.insert(&self.insert_lines, cells).await?;
        }
        Ok(())
    }

    /// The file of this id. `None`: the key has none.
    ///
    /// # Errors
    /// The database's own.
    pub async fn file(&self, owner: &str, id: &str) -> Result<Option<StoredFile>, DatabaseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM batch_files WHERE id = $1 AND owner = $2 AND state = 1 AND expires > $3"
        );
        let cells = vec![Cell::text(id), Cell::text(owner), unix_now().into()];
        let rows = self.database.fetch(sql, cells).await?;
        rows.first().map(file).transpose()
    }

    /// The key's files after that of the id `after`, in the order of their making or from the newest on, one
    /// more than `limit`. Only those of this purpose, if one is given.
    ///
    /// # Errors
    /// The database's own.
    pub async fn files(
        &self,
        owner: &str,
        purpose: Option<&str>,
        (after, newest_first): (Option<&str>, bool),
        limit: usize,
    ) -> Result<Vec<StoredFile>, DatabaseError> {
        let (beyond, order) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
        let kinds = match purpose {
            Some("batch") => "AND kind < 0",
            Some("batch_output") => "AND kind >= 0",
            Some(_) => "AND 1 = 0",
            None => "",
        };
        let mut cells = vec![
            Cell::text(owner),
            i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX).into(),
            unix_now().into(),
        ];
        let place = match after {
            Some(after) => {
                cells.push(Cell::text(after));
                format!(
                    "AND (created {beyond} (SELECT created FROM batch_files WHERE id = $4) OR (created = \
                     (SELECT created FROM batch_files WHERE id = $4) AND id {beyond} $4))"
                )
            }
            None => String::new(),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM batch_files WHERE owner = $1 AND state = 1 AND expires > $3 {kinds} {place} \
             ORDER BY created {order}, id {order} LIMIT $2"
        );
        self.database.fetch(sql, cells).await?.iter().map(file).collect()
    }

    /// Whether the key's files leave room for the answers of one more batch.
    ///
    /// # Errors
    /// The database's own.
    pub async fn has_room(&self, owner: &str, settings: &BatchSettings) -> Result<bool, DatabaseError> {
        let sql = "SELECT (SELECT COUNT(*) FROM batch_files WHERE owner = $1) + (SELECT COUNT(*) FROM batch_jobs \
                   WHERE owner = $1 AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling')), \
                   (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM batch_files WHERE owner = $1)";
        let rows = self.database.fetch(sql, vec![Cell::text(owner)]).await?;
        let Some(row) = rows.first() else { return Ok(true) };
        let below = |number: Option<i64>, limit: u64| {
            u64::try_from(number.unwrap_or_default()).unwrap_or_default() < limit
        };
        Ok(below(row.int(0)?, settings.files_per_key) && below(row.int(1)?, settings.bytes_per_key))
    }

    /// Whether a batch that has not ended reads this file.
    ///
    /// # Errors
    /// The database's own.
    pub async fn is_in_use(&self, id: &str) -> Result<bool, DatabaseError> {
        let sql = "SELECT 1 FROM batch_jobs WHERE input = $1 AND status IN \
                   ('validating', 'in_progress', 'finalizing', 'cancelling') LIMIT 1";
        Ok(!self.database.fetch(sql, vec![Cell::text(id)]).await?.is_empty())
    }

    /// Removes a file and its lines or answers.
    ///
    /// # Errors
    /// The database's own; the file may be removed later.
    pub async fn remove_file(&self, id: &str) -> Result<(), DatabaseError> {
        let cells = || vec![Cell::text(id)];
        self.database.run("DELETE FROM batch_lines WHERE file = $1", cells()).await?;
        let answers = "DELETE FROM batch_answers WHERE EXISTS (SELECT 1 FROM batch_files f WHERE f.id = $1 AND \
                       f.batch = batch_answers.batch AND f.kind = batch_answers.kind)";
        self.database.run(answers, cells()).await?;
        self.database.run("DELETE FROM batch_files WHERE id = $1", cells()).await.map(|_| ())
    }

    /// Removes the files whose time is over, the uploads that never ended, and the batches that ended before
    /// `oldest`.
    ///
    /// # Errors
    /// The database's own.
    pub async fn clean(&self, oldest: i64) -> Result<(), DatabaseError> {
        let now = unix_now();
        let sql = "SELECT id FROM batch_files WHERE (expires < $1 OR (state = 0 AND created < $2)) AND NOT EXISTS \
                   (SELECT 1 FROM batch_jobs j WHERE j.input = batch_files.id AND j.status IN \
                   ('validating', 'in_progress', 'finalizing', 'cancelling')) LIMIT 1000";
        let cells = vec![now.into(), now.saturating_sub(UPLOAD_TIME).into()];
        for row in self.database.fetch(sql, cells).await? {
            if let Some(id) = row.text(0)? {
                self.remove_file(id).await?;
            }
        }
        let sql = "DELETE FROM batch_jobs WHERE created < $1 AND status NOT IN \
                   ('validating', 'in_progress', 'finalizing', 'cancelling')";
        self.database.run(sql, vec![oldest.into()]).await.map(|_| ())
    }
}

pub(super) fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
