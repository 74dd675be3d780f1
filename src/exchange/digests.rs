//! Checkable byte identity (B3): SHA-256 of the bytes that came from the provider and of the bytes that were
//! given to the client, so that `sha256sum` at either end shows whether a byte was changed on the way. Only
//! computed on request.

use sha2::{Digest as _, Sha256};

use crate::base::ByteList;

/// Of one response's body. In hexadecimal they equal the output of `sha256sum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Bytes from the provider.
    pub received: [u8; 32],
    /// Bytes to the client.
    pub given: [u8; 32],
}

impl Digests {
    /// Of a body that is passed on unchanged.
    #[must_use]
    pub fn of(body: &ByteList) -> Self {
        let mut sum = Sha256::new();
        body.iter().for_each(|bytes| sum.update(bytes));
        let digest = sum.finalize().into();
        Self { received: digest, given: digest }
    }

    /// A digest in hexadecimal.
    #[must_use]
    pub fn hex(digest: &[u8; 32]) -> String {
        hex::encode(digest)
    }
}
