//! The certificates of the authority that signs those of Redis servers, as the configuration's file has them.

use std::{fmt, fs, path::Path, sync::Arc};

use redis::TlsCertificates;

use crate::base::pem::{PemError, PemReason, certificates};

/// Read once, with the configuration: a connection does not look at the file again. Cloning shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAuthority(Arc<[u8]>);

impl RedisAuthority {
    /// # Errors
    /// The file cannot be read, is not PEM or holds no certificate.
    pub fn read(file: &Path) -> Result<Self, PemError> {
        certificates(file)?;
        let pem = fs::read(file).map_err(|error| PemError::new(file, PemReason::Read(error.kind())))?;
        Ok(Self(pem.into()))
    }

    /// As the client library takes them.
    pub(super) fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: Some(self.0.to_vec()) }
    }
}

impl fmt::Debug for RedisAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAuthority({} bytes)", self.0.len())
    }
}
