//! What is said about trouble: once when it begins, once when it ends, and about lost rows again and again, since each
//! is money that nobody accounts for.

use std::{io, time::Duration};

use tokio::time::Instant;

use super::{gauges::LedgerGauges, spool::Spool};
use crate::database::{DatabaseError, DatabaseUrl};

/// Between two lines about losses.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct OutageLog {
    gauges: LedgerGauges,
    away: bool,
    /// Slow first and away then are two things to be said.
    slow: bool,
    disk: bool,
    /// Rows lost that nobody was told of, and when somebody was told last.
    untold: usize,
    told: Option<Instant>,
}

impl OutageLog {
    pub(super) const fn new(gauges: LedgerGauges) -> Self {
        Self { gauges, away: false, slow: false, disk: false, untold: 0, told: None }
    }

    /// The database is away.
    pub(super) fn away(&mut self, site: &DatabaseUrl, error: &DatabaseError) {
        if !self.away {
            tracing::error!(database = %site, %error, "the ledger's database is away: rows wait in the spool");
        }
        self.away = true;
    }

    /// The database takes less than comes.
    pub(super) fn slow(&mut self) {
        if !self.away && !self.slow {
            tracing::warn!("the ledger's database is slower than rows come: some wait in the spool");
        }
        self.slow = true;
    }

    /// The database has taken something.
    pub(super) fn back(&mut self, spool: &Spool) {
        if (self.away || self.slow) && spool.is_empty() {
            tracing::warn!("the ledger's database keeps up again, and nothing waits any more");
            (self.away, self.slow) = (false, false);
        }
        self.disk = false;
    }

    /// The spool cannot be read or written.
    pub(super) fn disk(&mut self, error: &io::Error) {
        if !self.disk {
            tracing::error!(%error, "the ledger's spool fails: rows wait in memory");
        }
        self.disk = true;
    }

    /// Rows are lost.
    pub(super) fn lost(&mut self, rows: usize) {
        self.gauges.add_lost(rows);
        self.tell(rows);
    }

    /// Rows are lost that have been counted already.
    pub(super) fn tell(&mut self, rows: usize) {
        if rows == 0 {
            return;
        }
        self.untold += rows;
        if self.told.is_none_or(|told| told.elapsed() > AGAIN) {
            tracing::error!(
                rows = self.untold,
                total = self.gauges.read().lost,
                "rows of the ledger are lost"
            );
            self.untold = 0;
            self.told = Some(Instant::now());
        }
    }

    /// When losses were spoken of last.
    #[cfg(test)]
    pub(super) const fn has_told(&self) -> Option<Instant> {
        self.told
    }
}

impl Drop for OutageLog {
    fn drop(&mut self) {
        if self.untold > 0 {
            tracing::error!(
                rows = self.untold,
                total = self.gauges.read().lost,
                "rows of the ledger are lost"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that was slow before it was away is said to be away all the same.
    #[test]
    fn slow_and_away_are_two_things() {
        let mut episode = OutageLog::new(LedgerGauges::default());
        episode.slow();
        assert_eq!((episode.slow, episode.away), (true, false));
        episode.away(&DatabaseUrl::Sqlite("t.db".into()), &DatabaseError::Late);
        assert_eq!((episode.slow, episode.away), (true, true));
        episode.back(&Spool::new("s".into(), 0));
        assert_eq!((episode.slow, episode.away), (false, false));
    }
}
