//! Rows that wait in a file while the database is away. A record is a batch: its length, the beginning of its
//! SHA-256, then the rows as JSON, one per line. A record is on the disk when [`Spool::append`] returns.
//! A tail that a crash cut off, or a record that does not match its digest, is where reading stops: what stands behind is
//! not understood and not replayed, but put aside under a name of its own. Found while the process runs, the whole file is,
//! and what comes next is kept in a new one.
//!
//! What waits is bounded. The file may be twice as large, since what was replayed stays in it until all is: then what
//! waits is copied into a new one.
//!
//! The file belongs to one process at a time (a lock, released by the system however the process ends). A second process
//! takes the next name, and whoever has nothing of its own to replay replays what the files without an owner hold.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::row::Row;

/// Length, digest.
const HEAD: usize = 4 + 16;
/// No record is longer; a length beyond is garbage.
const LONGEST: u64 = 256 << 20;
/// Processes that may share a place.
const OWNERS: usize = 16;

#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    /// `None` until something has to wait.
    file: Option<File>,
    /// Under which of the names.
    name: PathBuf,
    limit: u64,
    /// Where the next record begins, and the next one to be replayed.
    end: u64,
    next: u64,
    /// How long that is, once it was read.
    peeked: u64,
}

/// What became of rows that were to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolState {
    Yes,
    /// The bound is reached.
    Full,
}

impl Spool {
    /// A spool at `path` in which at most `limit` bytes wait. Touches nothing yet.
    #[must_use]
    pub const fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, file: None, name: PathBuf::new(), limit, end: 0, next: 0, peeked: 0 }
    }

    /// Takes over what an earlier process left, if it left something.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn recover(&mut self) -> io::Result<()> {
        if self.file.is_none() && names(&self.path).any(|name| name.exists()) {
            self.open(false)?;
        }
        Ok(())
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.end - self.next
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// Writes rows down, and waits until the disk has them.
    ///
    /// # Errors
    /// The disk's own. Nothing of the rows is kept then.
    pub fn append(&mut self, rows: &[Row]) -> io::Result<SpoolState> {
        let record = record(rows)?;
        let length = record.len() as u64;
        if self.waiting() + length > self.limit {
            return Ok(SpoolState::Full);
        }
        if self.is_short()? {
            self.put_aside()?;
        }
        match self.file {
            None => self.open(true)?,
            Some(_) if self.end + length > self.limit.saturating_mul(2) => self.renew()?,
            // Somebody took it away: what it holds is still ours.
            Some(_) if !self.name.exists() => self.renew()?,
            Some(_) => {}
        }
        let end = self.end;
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let mut write = || {
            file.seek(SeekFrom::Start(end))?;
            file.write_all(&record)?;
            file.sync_data()
        };
        match write() {
            Ok(()) => {
                self.end += length;
                Ok(SpoolState::Yes)
            }
            Err(error) => {
                // Half a record would hide what is written behind it later. A disk that is full can still cut.
                let _ = file.set_len(end);
                Err(error)
            }
        }
    }

    /// The oldest rows that wait; the same until [`Spool::advance`]. What should be there and is not is put aside.
    ///
    /// # Errors
    /// The disk's own.
    pub fn peek(&mut self) -> io::Result<Option<Vec<Row>>> {
        let waiting = self.waiting();
        let Some(file) = self.file.as_mut().filter(|_| waiting > 0) else { return Ok(None) };
        file.seek(SeekFrom::Start(self.next))?;
        if let Ok(Some(record)) = read(file, waiting) {
            self.peeked = record.size;
            return Ok(Some(record.rows()));
        }
        self.put_aside()?;
        Ok(None)
    }

    /// Those rows are where they belong. When all are, the file is emptied.
    ///
    /// # Errors
    /// The disk's own; the rows will come again, which does no harm.
    pub fn advance(&mut self) -> io::Result<()> {
        self.next += std::mem::take(&mut self.peeked);
        if self.is_empty() { self.clear() } else { Ok(()) }
    }

    fn clear(&mut self) -> io::Result<()> {
        (self.end, self.next) = (0, 0);
        self.file.as_mut().map_or(Ok(()), |file| file.set_len(0))
    }

    /// Somebody else has cut the file.
    fn is_short(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        Ok(file.metadata()?.len() < self.end)
    }

    /// Goes on without what is in the file, which is kept for whoever wants to look.
    fn put_aside(&mut self) -> io::Result<()> {
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
        (self.file, self.end, self.next, self.peeked) = (None, 0, 0, 0);
        Ok(())
    }

    /// Copies what waits into a new file, which takes the other's place when it is whole.
    fn renew(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let name = with(&self.name, ".new");
        let mut copy = || {
            let mut fresh = options(true).truncate(true).open(&name)?;
            // Before anybody can find it.
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
                self.file = Some(fresh);
                (self.end, self.next) = (self.end - self.next, 0);
                // That the folder knows is worth a try; without, a crash of the machine brings the old file back, whose
                // rows are known by then.
                let _ = self.name.parent().map(|folder| File::open(folder)?.sync_all());
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_file(&name);
                Err(error)
            }
        }
    }

    /// Opens the first name that nobody owns; with `make`, one that is not there is made. What is there is counted in as
    /// far as it is whole.
    fn open(&mut self, make: bool) -> io::Result<()> {
        for name in names(&self.path) {
            let mut file = match options(make).open(&name) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !make => continue,
                Err(error) => return Err(error),
            };
            if file.try_lock().is_err() || !is_at(&file, &name) {
                continue;
            }
            let whole = trim(&mut file, &name)?;
            (self.end, self.next, self.peeked) = (whole, 0, 0);
            (self.file, self.name) = (Some(file), name);
            return Ok(());
        }
        if make { Err(io::Error::new(io::ErrorKind::ResourceBusy, "every name is taken")) } else { Ok(()) }
    }

    /// Takes over, one after the other, what processes that are gone left under further names. `true`: there is
    /// something. Only when nothing of our own waits.
    ///
    /// # Errors
    /// The disk's own.
    pub fn adopt(&mut self) -> io::Result<bool> {
        for name in names(&self.path) {
            let Ok(mut file) = OpenOptions::new().read(true).write(true).open(&name) else { continue };
            // Ours among them: its lock is held.
            if file.try_lock().is_err() || !is_at(&file, &name) {
                continue;
            }
            let whole = trim(&mut file, &name)?;
            if whole == 0 {
                continue;
            }
            (self.end, self.next, self.peeked) = (whole, 0, 0);
            (self.file, self.name) = (Some(file), name);
            return Ok(true);
        }
        Ok(false)
    }
}

/// `thalweg.db.spool`, `thalweg.db.spool.2`, …
fn names(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=OWNERS).map(
        move |number| {
            if number > 1 { with(path, &format!(".{number}")) } else { path.to_owned() }
        },
    )
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// For reading and writing, by the owner alone.
fn options(make: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(make).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Whether that is what stands under the name: its owner may have put a new file there since it was opened.
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

fn record(rows: &[Row]) -> io::Result<Vec<u8>> {
    let mut record = vec![0; HEAD];
    for row in rows {
        serde_json::to_writer(&mut record, row)?;
        record.push(b'\n');
    }
    let length =
        u32::try_from(record.len() - HEAD).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let digest = Sha256::digest(record.get(HEAD..).unwrap_or_default());
    let head = length.to_le_bytes().into_iter().chain(digest);
    for (place, byte) in record.iter_mut().zip(head).take(HEAD) {
        *place = byte;
    }
    Ok(record)
}

struct SpoolRecord {
    rows: Vec<u8>,
    /// Bytes in the file.
    size: u64,
}

impl SpoolRecord {
    /// A row that is not understood was written by a thalweg of another kind, and is left out, loudly.
    fn rows(&self) -> Vec<Row> {
        let lines = self.rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows = lines.map(serde_json::from_slice);
        rows.filter_map(|row| {
            row.inspect_err(|error| tracing::error!(%error, "a row in the spool is not understood")).ok()
        })
        .collect()
    }
}

/// The record that the file stands at, if there is a whole one within `rest` bytes.
fn read(file: &mut File, rest: u64) -> io::Result<Option<SpoolRecord>> {
    let mut head = [0; HEAD];
    if rest < HEAD as u64 {
        return Ok(None);
    }
    file.read_exact(&mut head)?;
    let (length, digest) = (head.first_chunk().copied().map_or(0, u32::from_le_bytes), head.get(4..));
    let length = u64::from(length);
    if length == 0 || length > LONGEST || length > rest - HEAD as u64 {
        return Ok(None);
    }
    let mut rows = Vec::new();
    file.take(length).read_to_end(&mut rows)?;
    let own = Sha256::digest(&rows);
    let fits = own.get(..16) == digest;
    Ok(fits.then_some(SpoolRecord { rows, size: HEAD as u64 + length }))
}

/// How many bytes of the file are whole records. What stands behind them was cut off by a crash or is damaged: it is put
/// aside.
fn trim(file: &mut File, name: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    file.rewind()?;
    let mut whole = 0;
    while let Some(record) = read(file, length - whole)? {
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
            // A full disk must not keep what comes from being kept.
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

/// A free name for what is damaged.
fn aside(name: &Path) -> PathBuf {
    let first = with(name, ".damaged");
    let more = (2..).map(|number| with(&first, &format!(".{number}")));
    std::iter::once(first.clone()).chain(more).find(|name| !name.exists()).unwrap_or(first)
}

#[cfg(test)]
mod tests;
