//! Rows that wait in a file while the database is down. The spool appends batches and gives them back, the
//! oldest first. It bounds the bytes that wait; the file may be twice as large, because replayed records stay
//! in it until all are replayed or the waiting ones are copied into a new file.
//!
//! The records' format is in [`record`]; [`file`] has the file, which belongs to one process at a time.
//! Damaged records are never replayed and never deleted: they are put aside under a name of their own.

use std::{io, path::PathBuf};

use self::file::SpoolFile;
use super::row::Row;

mod file;
mod record;

#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    /// The most bytes that may wait.
    limit: u64,
    /// `None` until rows have to wait.
    file: Option<SpoolFile>,
}

/// The outcome of appending rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolState {
    /// The disk has the rows.
    Appended,
    /// The limit is reached; nothing was appended.
    Full,
}

impl Spool {
    /// A spool at `path` in which at most `limit` bytes wait. Creates no file yet.
    #[must_use]
    pub const fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, limit, file: None }
    }

    /// Takes over the rows that an earlier process left, if there are any.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn recover(&mut self) -> io::Result<()> {
        if self.file.is_none() && file::names(&self.path).any(|name| name.exists()) {
            self.file = SpoolFile::take_first(&self.path, false)?;
        }
        Ok(())
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        match &self.file {
            Some(file) => file.waiting(),
            None => 0,
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// Appends rows and waits until the disk has them.
    ///
    /// # Errors
    /// The disk's own. None of the rows is kept then.
    pub fn append(&mut self, rows: &[Row<'_>]) -> io::Result<SpoolState> {
        let record = record::encode(rows)?;
        let length = record.len() as u64;
        if self.waiting() + length > self.limit {
            return Ok(SpoolState::Full);
        }
        if let Some(file) = &self.file
            && file.is_short()?
        {
            file.put_aside()?;
            self.file = None;
        }
        match &mut self.file {
            None => self.file = SpoolFile::take_first(&self.path, true)?,
            // Another program may have removed the name: the rows are still in the open file.
            Some(file) if file.end() + length > self.limit.saturating_mul(2) || !file.exists() => {
                file.renew()?
            }
            Some(_) => {}
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.append(&record).map(|()| SpoolState::Appended)
    }

    /// The oldest rows that wait; the same until [`Spool::advance`]. A file that does not hold them is put
    /// aside.
    ///
    /// # Errors
    /// The disk's own.
    pub fn peek(&mut self) -> io::Result<Option<Vec<Row<'static>>>> {
        let Some(file) = self.file.as_mut().filter(|file| file.waiting() > 0) else { return Ok(None) };
        let rows = file.peek()?;
        if rows.is_none() {
            file.put_aside()?;
            self.file = None;
        }
        Ok(rows)
    }

    /// Drops the rows that [`Spool::peek`] gave. When none waits any more, the file is emptied.
    ///
    /// # Errors
    /// The disk's own; the rows come again then, which does no harm.
    pub fn advance(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), SpoolFile::advance)
    }

    /// Takes over the rows of one process that has ended. True: there were some. To be called only while no
    /// own rows wait.
    ///
    /// # Errors
    /// The disk's own.
    pub fn adopt(&mut self) -> io::Result<bool> {
        let adopted = SpoolFile::take_filled(&self.path)?;
        let is_adopted = adopted.is_some();
        self.file = adopted.or_else(|| self.file.take());
        Ok(is_adopted)
    }
}

#[cfg(test)]
mod tests;
