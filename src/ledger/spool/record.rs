//! The format of the spool's records. A record is a batch: the length of its rows (4 bytes, little-endian),
//! the first 16 bytes of their SHA-256, then the rows as JSON, one per line.
//!
//! Reading stops at the first record that is cut off or does not match its digest: nothing behind it can be
//! trusted.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

use crate::ledger::row::Row;

/// Length and digest.
const HEAD: usize = 4 + 16;
/// A length beyond this is garbage.
const MAX_ROWS_LENGTH: u64 = 256 << 20;

/// A whole record, read from a file.
pub(super) struct SpoolRecord {
    rows: Vec<u8>,
    /// Bytes in the file.
    pub(super) size: u64,
}

impl SpoolRecord {
    /// A row that is not understood was written by another version; it is left out, with an error in the log.
    pub(super) fn rows(&self) -> Vec<Row<'static>> {
        let lines = self.rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows = lines.map(serde_json::from_slice);
        rows.filter_map(|row| {
            row.inspect_err(|error| tracing::error!(%error, "a row in the spool is not understood")).ok()
        })
        .collect()
    }
}

pub(super) fn encode(rows: &[Row<'_>]) -> io::Result<Vec<u8>> {
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

/// Reads the record at the file's position. `None`: there is no whole one within `rest` bytes.
pub(super) fn read(file: &mut File, rest: u64) -> io::Result<Option<SpoolRecord>> {
    let mut head = [0; HEAD];
    if rest < HEAD as u64 {
        return Ok(None);
    }
    file.read_exact(&mut head)?;
    let (length, digest) = (head.first_chunk().copied().map_or(0, u32::from_le_bytes), head.get(4..));
    let length = u64::from(length);
    if length == 0 || length > MAX_ROWS_LENGTH || length > rest - HEAD as u64 {
        return Ok(None);
    }
    let mut rows = Vec::new();
    file.take(length).read_to_end(&mut rows)?;
    let found = Sha256::digest(&rows);
    let matches = found.get(..16) == digest;
    Ok(matches.then_some(SpoolRecord { rows, size: HEAD as u64 + length }))
}
