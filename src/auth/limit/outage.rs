//! A time without answers about one key, though the store answers about others: a master of a cluster that
//! dies takes its keys with it. Pure: times are arguments, in milliseconds of the process.

/// Failures for shorter than this are lost answers, and no outage.
const OUTAGE_MS: u64 = 500;
/// After a loss or an outage, the other replicas have reported all that they know by then.
pub const RECOVERY_MS: u64 = 5000;

#[derive(Debug, Default)]
pub(super) struct KeyOutage {
    /// When the first of the last reports without an answer was made.
    fails_since: Option<u64>,
    recovers_until: u64,
}

impl KeyOutage {
    /// A report made at this moment had no answer. True: the one before it had one.
    pub(super) fn note_failure(&mut self, sent: u64) -> bool {
        let is_first = self.fails_since.is_none();
        self.fails_since.get_or_insert(sent);
        is_first
    }

    /// A report made at this moment was answered.
    pub(super) fn note_answer(&mut self, sent: u64) {
        if self.is_long(sent) {
            self.recovers_until = sent.saturating_add(RECOVERY_MS);
        }
        self.fails_since = None;
    }

    /// The store may not know all that other replicas have used.
    pub(super) fn recovers(&self, now: u64) -> bool {
        self.is_long(now) || now < self.recovers_until
    }

    fn is_long(&self, now: u64) -> bool {
        self.fails_since.is_some_and(|since| now.saturating_sub(since) >= OUTAGE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_longer_than_a_lost_answer() {
        let mut outage = KeyOutage::default();
        outage.note_failure(1000);
        outage.note_answer(1499);
        assert!(!outage.recovers(1500));
        outage.note_failure(2000);
        outage.note_failure(2400);
        assert!(!outage.recovers(2499) && outage.recovers(2500));
        outage.note_answer(2600);
        outage.note_answer(2700);
        assert!(outage.recovers(7599) && !outage.recovers(7600));
    }
}
