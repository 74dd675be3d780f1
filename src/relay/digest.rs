//! The digests of a stream while it passes (B3). They are computed from the bytes as they were received and
//! as they were given to the client, so that a changed byte shows. Only on request.

use sha2::{Digest as _, Sha256};

use crate::exchange::Digests;

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

    /// Of all bytes that passed so far.
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
