//! Checkable byte identity (B3): SHA-256 of the bytes that came from the provider and of those that were given to the
//! client, so that `sha256sum` at either end can say whether a byte was changed on the way. Only when asked for.

use sha2::{Digest as _, Sha256};

use crate::base::ByteList;

/// What was received and given. In hexadecimal they are what `sha256sum` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    pub received: [u8; 32],
    pub given: [u8; 32],
}

impl Digests {
    /// Of a body that goes as it came.
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
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
        digest.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
    }
}

/// Both digests of a stream under way.
#[derive(Debug, Default)]
pub(super) struct RunningDigests {
    received: Sha256,
    given: Sha256,
}

impl RunningDigests {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.received.update(bytes);
    }

    pub(super) fn give(&mut self, bytes: &[u8]) {
        self.given.update(bytes);
    }

    /// Of all that passed so far.
    pub(super) fn read(&self) -> Digests {
        Digests {
            received: self.received.clone().finalize().into(),
            given: self.given.clone().finalize().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn is_what_sha256sum_prints_however_the_bytes_were_cut() {
        let mut running = RunningDigests::default();
        running.receive(b"abc");
        running.give(b"a");
        running.give(b"bc");
        let digests = running.read();
        assert_eq!(digests.received, digests.given);
        assert_eq!(
            Digests::hex(&digests.given),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digests, Digests::of(&Bytes::from_static(b"abc").into()));
        running.give(b"!");
        assert_ne!(running.read().given, digests.given);
    }
}
