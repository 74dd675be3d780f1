//! Reads certificates and keys from PEM files, and notices that a file has changed. Does not validate
//! certificates: the TLS library does. Errors name the file and the reason, never a byte of the content,
//! which may be a key.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

/// A file from which no certificate or key could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct PemError {
    pub file: PathBuf,
    pub reason: PemReason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemReason {
    /// The file cannot be read.
    #[error("{0}")]
    Read(ErrorKind),
    /// The file holds no such item.
    #[error("no {0} in it")]
    Missing(&'static str),
    /// Not PEM.
    #[error("not valid PEM")]
    Garbled,
    /// The TLS library refused the content.
    #[error("{0}")]
    Refused(String),
}

/// All certificates of a file, in order. Never empty.
///
/// # Errors
/// The file cannot be read, is not PEM or holds none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read = |error| PemError::new(file, reason(&error, "certificate"));
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if found.is_empty() { Err(read(Error::NoItemsFound)) } else { Ok(found) }
}

/// The first private key of a file.
///
/// # Errors
/// The file cannot be read, is not PEM or holds none.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| PemError::new(file, reason(&error, "private key")))
}

fn reason(error: &Error, wanted: &'static str) -> PemReason {
    if let Error::Io(error) = error {
        PemReason::Read(error.kind())
    } else if matches!(error, Error::NoItemsFound) {
        PemReason::Missing(wanted)
    } else {
        PemReason::Garbled
    }
}

impl PemError {
    #[must_use]
    pub fn new(file: &Path, reason: PemReason) -> Self {
        Self { file: file.to_owned(), reason }
    }
}

/// Time and length of a file, to notice a change. A missing file has a stamp of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp(Option<(SystemTime, u64)>);

impl FileStamp {
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let facts = fs::metadata(file).and_then(|facts| Ok((facts.modified()?, facts.len())));
        Self(facts.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_file_and_never_its_content() {
        let folder = std::env::temp_dir().join(format!("thalweg-pem-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("key.pem");
        let shown = |file: &Path| private_key(file).unwrap_err().to_string();
        assert!(shown(&file).ends_with("key.pem: entity not found"), "{}", shown(&file));
        let absent = FileStamp::of(&file);
        fs::write(&file, "c2VjcmV0").unwrap();
        assert!(shown(&file).ends_with("no private key in it"), "{}", shown(&file));
        assert_ne!(FileStamp::of(&file), absent);
        fs::write(&file, "-----BEGIN PRIVATE KEY c2VjcmV0\nc2VjcmV0\n").unwrap();
        assert!(shown(&file).ends_with("not valid PEM"), "{}", shown(&file));
        fs::remove_dir_all(&folder).unwrap();
    }
}
