//! Rows that wait in a file while the database is away. A record is a batch: its length, the beginning of its
//! SHA-256, then the rows as JSON, one per line. A record is on the disk when [`Spool::append`] returns.
//! A tail that a crash cut off, or a record that does not match its digest, is where reading stops: what stands behind is
//! not understood and not replayed.
//!
//! The file belongs to one process at a time (a lock, released by the system however the process ends). A second process
//! takes the next name, and whoever starts later replays what the files without an owner hold.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::entry::Row;

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
    limit: u64,
    /// Where the next record begins, and the next one to be replayed.
    end: u64,
    next: u64,
}

/// What became of rows that were to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Yes,
    /// The bound is reached.
    Full,
}

impl Spool {
    /// A spool at `path` that holds at most `limit` bytes. Touches nothing yet.
    #[must_use]
    pub const fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, file: None, limit, end: 0, next: 0 }
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
    pub fn append(&mut self, rows: &[Row]) -> io::Result<Kept> {
        let record = record(rows)?;
        if self.end + record.len() as u64 > self.limit {
            return Ok(Kept::Full);
        }
        if self.file.is_none() {
            self.open(true)?;
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
                self.end += record.len() as u64;
                Ok(Kept::Yes)
            }
            Err(error) => {
                // Half a record would hide what is written behind it later. A disk that is full can still cut.
                let _ = file.set_len(end);
                Err(error)
            }
        }
    }

    /// The oldest rows that wait; the same until [`Spool::advance`].
    ///
    /// # Errors
    /// The disk's own.
    pub fn peek(&mut self) -> io::Result<Option<Vec<Row>>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        file.seek(SeekFrom::Start(self.next))?;
        let Some(record) = read(file, self.end - self.next)? else { return Ok(None) };
        Ok(Some(record.rows()))
    }

    /// Those rows are where they belong. When all are, the file is emptied.
    ///
    /// # Errors
    /// The disk's own; the rows will come again, which does no harm.
    pub fn advance(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.seek(SeekFrom::Start(self.next))?;
        match read(file, self.end - self.next)? {
            Some(record) => self.next += record.size,
            None => self.next = self.end,
        }
        if self.is_empty() { self.clear() } else { Ok(()) }
    }

    fn clear(&mut self) -> io::Result<()> {
        (self.end, self.next) = (0, 0);
        self.file.as_mut().map_or(Ok(()), |file| file.set_len(0))
    }

    /// Opens the first name that nobody owns; with `make`, one that is not there is made. What is there is counted in as
    /// far as it is whole.
    fn open(&mut self, make: bool) -> io::Result<()> {
        for name in names(&self.path) {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(make).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = match options.open(&name) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !make => continue,
                Err(error) => return Err(error),
            };
            if file.try_lock().is_err() {
                continue;
            }
            let length = file.metadata()?.len();
            let whole = whole(&mut file, length)?;
            if whole < length {
                tracing::warn!(file = %name.display(), bytes = length - whole, "the spool's end is cut off or damaged: left out");
                file.set_len(whole)?;
            }
            (self.end, self.next) = (whole, 0);
            self.file = Some(file);
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
            if file.try_lock().is_err() {
                continue;
            }
            let length = file.metadata()?.len();
            let whole = whole(&mut file, length)?;
            if whole == 0 {
                continue;
            }
            (self.end, self.next) = (whole, 0);
            self.file = Some(file);
            return Ok(true);
        }
        Ok(false)
    }
}

/// `thalweg.db.spool`, `thalweg.db.spool.2`, …
fn names(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=OWNERS).map(move |number| {
        let mut name = path.as_os_str().to_owned();
        if number > 1 {
            name.push(format!(".{number}"));
        }
        name.into()
    })
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

struct Record {
    rows: Vec<u8>,
    /// Bytes in the file.
    size: u64,
}

impl Record {
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
fn read(file: &mut File, rest: u64) -> io::Result<Option<Record>> {
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
    Ok(fits.then_some(Record { rows, size: HEAD as u64 + length }))
}

/// How many bytes of the file are whole records.
fn whole(file: &mut File, length: u64) -> io::Result<u64> {
    file.rewind()?;
    let mut whole = 0;
    while let Some(record) = read(file, length - whole)? {
        whole += record.size;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{entry::RowIds, tests::Folder},
        *,
    };

    fn rows(from: i64, count: i64) -> Vec<Row> {
        let mut ids = RowIds::default();
        (from..from + count).map(|at| Row { model: Some("m".into()), ..Row::new(ids.make(at), at) }).collect()
    }

    fn drain(spool: &mut Spool) -> Vec<Row> {
        let mut all = Vec::new();
        while let Some(mut rows) = spool.peek().unwrap() {
            all.append(&mut rows);
            spool.advance().unwrap();
        }
        all
    }

    #[test]
    fn gives_back_what_it_was_given_in_order_and_over_a_restart() {
        let folder = Folder::new();
        let path = folder.0.join("s");
        let (first, second) = (rows(0, 3), rows(3, 2));
        let mut spool = Spool::new(path.clone(), 1 << 20);
        assert!(spool.peek().unwrap().is_none() && !path.exists());
        assert_eq!(spool.append(&first).unwrap(), Kept::Yes);
        assert_eq!(spool.peek().unwrap().unwrap(), first);
        spool.advance().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "emptied when all is done");
        spool.append(&first).unwrap();
        spool.append(&second).unwrap();
        drop(spool);
        let mut spool = Spool::new(path, 1 << 20);
        spool.recover().unwrap();
        assert_eq!(drain(&mut spool), [first, second].concat());
        assert!(spool.is_empty());
    }

    #[test]
    fn a_torn_or_damaged_tail_costs_no_whole_record() {
        let folder = Folder::new();
        let path = folder.0.join("s");
        let whole = rows(0, 3);
        let mut spool = Spool::new(path.clone(), 1 << 20);
        spool.append(&whole).unwrap();
        let good = std::fs::metadata(&path).unwrap().len() as usize;
        spool.append(&rows(3, 2)).unwrap();
        drop(spool);
        let bytes = std::fs::read(&path).unwrap();
        // A file of its own each time: a process that another test is just starting has its parent's files, and their
        // locks with them, until it runs its own program.
        for cut in good..bytes.len() {
            let path = folder.0.join(format!("cut-{cut}"));
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut spool = Spool::new(path.clone(), 1 << 20);
            spool.recover().unwrap();
            // What comes next stands behind what is whole.
            let next = rows(9, 1);
            spool.append(&next).unwrap();
            assert_eq!(drain(&mut spool), [whole.clone(), next].concat(), "{cut}");
        }
        for flipped in good..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[flipped] ^= 1;
            let path = folder.0.join(format!("flipped-{flipped}"));
            std::fs::write(&path, &damaged).unwrap();
            let mut spool = Spool::new(path.clone(), 1 << 20);
            spool.recover().unwrap();
            let all = drain(&mut spool);
            assert_eq!(all, whole, "{flipped}");
        }
    }

    #[test]
    fn is_bounded() {
        let folder = Folder::new();
        let mut spool = Spool::new(folder.0.join("s"), 1000);
        let mut kept = 0;
        while spool.append(&rows(kept, 1)).unwrap() == Kept::Yes {
            kept += 1;
        }
        assert!((1..20).contains(&kept) && spool.waiting() <= 1000);
        assert_eq!(drain(&mut spool).len() as i64, kept);
        assert_eq!(spool.append(&rows(0, 1)).unwrap(), Kept::Yes);
    }

    #[test]
    fn a_full_disk_leaves_no_half_record() {
        let folder = Folder::new();
        let path = folder.0.join("s");
        let mut spool = Spool::new(path.clone(), 1 << 20);
        spool.append(&rows(0, 1)).unwrap();
        // A descriptor that cannot write stands for a disk that will not.
        let writable = spool.file.replace(File::open(&path).unwrap());
        assert!(spool.append(&rows(1, 1)).is_err());
        spool.file = writable;
        let next = rows(2, 1);
        spool.append(&next).unwrap();
        assert_eq!(drain(&mut spool)[1..], next);
    }

    #[test]
    fn two_processes_share_a_place_and_orphans_are_adopted() {
        let folder = Folder::new();
        let path = folder.0.join("s");
        let (mut one, mut two) = (Spool::new(path.clone(), 1 << 20), Spool::new(path, 1 << 20));
        one.append(&rows(0, 1)).unwrap();
        two.append(&rows(1, 2)).unwrap();
        assert!(folder.0.join("s.2").exists());
        assert!(!one.adopt().unwrap(), "its owner lives");
        drop(two);
        assert_eq!(drain(&mut one).len(), 1);
        assert!(one.adopt().unwrap());
        assert_eq!(drain(&mut one).len(), 2);
        assert!(!one.adopt().unwrap());
        // A spool that only ever looks makes no file.
        let mut three = Spool::new(folder.0.join("t"), 1 << 20);
        three.recover().unwrap();
        assert!(!folder.0.join("t").exists());
    }
}
