//! The state file on disk: read with a size limit, written beside and renamed. Knows nothing of its content.
//! Invariant: a reader finds the old file or the new one and never half of either.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Bytes; a longer file is not a state file.
const MAX_SIZE: u64 = 16 << 20;

/// # Errors
/// The file is not there, not readable, or too long.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let length = File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut text)?;
    if length as u64 > MAX_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Writes a file that only its owner reads. Creates its folder if the folder above that exists.
///
/// # Errors
/// The system's error; no temporary file is left, and an older file stays as it was.
pub(super) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = temporary(path);
    let written = fill(&beside, text).or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(folder)) => {
            fs::create_dir(folder)?;
            fill(&beside, text)
        }
        _ => Err(error),
    });
    written.and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

fn fill(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    // Without this, a loss of power after the rename could leave an empty file under the name.
    file.sync_data()
}

/// With this process's number, because two processes may share a state file.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("thalweg-state-{}", std::process::id()));
        let path = folder.join("state.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        let unwritable = folder.join("state.json").join("below");
        assert!(write(&unwritable, b"x").is_err());
        assert_eq!(read(&path).unwrap(), b"two");
        fs::remove_dir_all(&folder).unwrap();
        assert!(write(&folder.join("deep").join("state.json"), b"x").is_err(), "one folder is made, not two");
        assert!(!folder.exists());
    }

    /// A disk that is full, as Linux has one for tests.
    #[test]
    fn a_full_disk_is_an_error_and_nothing_more() {
        if Path::new("/dev/full").exists() {
            assert_eq!(fill(Path::new("/dev/full"), b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }
}
