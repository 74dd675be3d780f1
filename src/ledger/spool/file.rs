//! The spool's file. A [`SpoolFile`] exists only while this process holds the file's lock, so a file belongs
//! to one process at a time; the system releases the lock however the process ends. A second process takes
//! the next name, and a process without waiting rows of its own takes over the files that no process owns.
//!
//! A file found damaged at the start loses its tail, which is put aside; found damaged while the process
//! runs, the whole file is put aside and a new one begun.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::record;
use crate::ledger::row::Row;

/// Processes that may share a path.
const MAX_PROCESSES: usize = 16;

#[derive(Debug)]
pub(super) struct SpoolFile {
    pub(super) file: File,
    name: PathBuf,
    /// Where the next record is appended.
    end: u64,
    /// Where the next record to be replayed begins.
    next: u64,
    /// The size of that record, once it was read.
    peeked: u64,
}

/// The lock is released by name, and not only with the descriptor: a process that is just being started has a
/// copy of every descriptor until it runs its own program, and the copy would keep the lock.
impl Drop for SpoolFile {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl SpoolFile {
    /// Takes the first name that no process owns; with `create`, one that does not exist is created. Whole
    /// records in the file wait to be replayed. `None`: there is no such file, and none was to be created.
    pub(super) fn take_first(path: &Path, create: bool) -> io::Result<Option<Self>> {
        for name in names(path) {
            match options(create).open(&name) {
                Ok(file) => {
                    if let Some(taken) = Self::take(file, name)? {
                        return Ok(Some(taken));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !create => {}
                Err(error) => return Err(error),
            }
        }
        if create {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "every name is taken"))
        } else {
            Ok(None)
        }
    }

    /// Takes the first file with waiting rows that no process owns. This process's own is not among them,
    /// because its lock is held.
    pub(super) fn take_filled(path: &Path) -> io::Result<Option<Self>> {
        for name in names(path) {
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&name) else { continue };
            if let Some(taken) = Self::take(file, name)?.filter(|taken| taken.waiting() > 0) {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// `None`: another process owns the file, or has just put another in its place.
    fn take(mut file: File, name: PathBuf) -> io::Result<Option<Self>> {
        if file.try_lock().is_err() || !is_at(&file, &name) {
            return Ok(None);
        }
        let end = trim(&mut file, &name)?;
        Ok(Some(Self { file, name, end, next: 0, peeked: 0 }))
    }

    pub(super) const fn waiting(&self) -> u64 {
        self.end - self.next
    }

    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn exists(&self) -> bool {
        self.name.exists()
    }

    /// Another program has truncated the file.
    pub(super) fn is_short(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() < self.end)
    }

    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let (file, end) = (&mut self.file, self.end);
        let mut write = || {
            file.seek(SeekFrom::Start(end))?;
            file.write_all(record)?;
            file.sync_data()
        };
        let written = write();
        match &written {
            Ok(()) => self.end += record.len() as u64,
            Err(_) => {
                // Half a record would hide the records that are appended behind it later. A full disk can
                // still cut.
                let _ = file.set_len(end);
            }
        }
        written
    }

    /// The rows of the next record. `None`: the file is damaged there.
    pub(super) fn peek(&mut self) -> io::Result<Option<Vec<Row<'static>>>> {
        self.file.seek(SeekFrom::Start(self.next))?;
        let waiting = self.waiting();
        let Ok(Some(record)) = record::read(&mut self.file, waiting) else { return Ok(None) };
        self.peeked = record.size;
        Ok(Some(record.rows()))
    }

    pub(super) fn advance(&mut self) -> io::Result<()> {
        self.next += std::mem::take(&mut self.peeked);
        if self.waiting() > 0 {
            return Ok(());
        }
        (self.end, self.next) = (0, 0);
        self.file.set_len(0)
    }

    /// Renames a damaged file, so that an operator can look at it. The caller drops it then.
    pub(super) fn put_aside(&self) -> io::Result<()> {
        let aside = aside(&self.name);
        match fs::rename(&self.name, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        tracing::error!(
            file = %self.name.display(),
            bytes = self.waiting(),
            aside = %aside.display(),
            "the ledger's spool is damaged: its rows are not in the ledger, the file is put aside"
        );
        Ok(())
    }

    /// Copies the waiting records into a new file, which replaces this one when it is whole.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let name = with(&self.name, ".new");
        let file = &mut self.file;
        let mut copy = || {
            let mut fresh = options(true).truncate(true).open(&name)?;
            // Before the rename, because another process may lock the file as soon as it has the name.
            fresh.try_lock()?;
            file.seek(SeekFrom::Start(self.next))?;
            let copied = io::copy(&mut file.take(self.end - self.next), &mut fresh)?;
            if copied < self.end - self.next {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            fresh.sync_data()?;
            fs::rename(&name, &self.name)?;
            Ok(fresh)
        };
        match copy() {
            Ok(fresh) => {
                self.file = fresh;
                (self.end, self.next) = (self.end - self.next, 0);
                // Best effort: without it, a crash of the machine brings the old file back, with rows that
                // are in the database by then.
                let _ = self.name.parent().map(|folder| File::open(folder)?.sync_all());
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_file(&name);
                Err(error)
            }
        }
    }
}

/// `thalweg.db.spool`, `thalweg.db.spool.2`, …
pub(super) fn names(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=MAX_PROCESSES).map(
        move |number| {
            if number > 1 { with(path, &format!(".{number}")) } else { path.to_owned() }
        },
    )
}

pub(super) fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// For reading and writing, by the file's owner alone.
fn options(create: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Whether the name still leads to the file: its owner may have renewed it since it was opened.
fn is_at(file: &File, name: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (own, there) = (file.metadata().map(identity), fs::metadata(name).map(identity));
        own.ok().is_some_and(|own| there.is_ok_and(|there| own == there))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, name);
        true
    }
}

/// Cuts the file behind its last whole record and returns the length that remains. The tail, cut off by a
/// crash or damaged, is put aside.
fn trim(file: &mut File, name: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    file.rewind()?;
    let mut whole = 0;
    while let Some(record) = record::read(file, length - whole)? {
        whole += record.size;
    }
    if whole < length {
        let (aside, bytes) = (aside(name), length - whole);
        let mut copy = || {
            file.seek(SeekFrom::Start(whole))?;
            let mut kept = options(true).open(&aside)?;
            io::copy(file, &mut kept)?;
            kept.sync_data()
        };
        match copy() {
            Ok(()) => tracing::warn!(
                file = %name.display(),
                bytes,
                aside = %aside.display(),
                "the spool's end is cut off or damaged: put aside"
            ),
            // A full disk must not keep new rows out of the spool.
            Err(error) => {
                let _ = fs::remove_file(&aside);
                tracing::error!(
                    file = %name.display(),
                    bytes,
                    %error,
                    "the spool's end is cut off or damaged, and left out: there is no room to put it aside"
                );
            }
        }
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// A free name for a damaged file or tail.
fn aside(name: &Path) -> PathBuf {
    let first = with(name, ".damaged");
    let more = (2..).map(|number| with(&first, &format!(".{number}")));
    std::iter::once(first.clone()).chain(more).find(|name| !name.exists()).unwrap_or(first)
}
