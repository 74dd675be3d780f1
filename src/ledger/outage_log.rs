//! What is said about trouble: once when it begins, once when it ends, and about lost rows again and again, since each
//! is money that nobody accounts for.

use std::{io, time::Duration};

use tokio::time::Instant;

use super::{gauges::LedgerGauges, spool::Spool};
use crate::{
    base::Episode,
    database::{DatabaseError, DatabaseUrl},
};

/// Between two lines about losses.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct OutageLog {
    gauges: LedgerGauges,
    away: Episode,
    /// Slow first and away then are two things to be said.
    slow: Episode,
    disk: Episode,
    /// Rows lost that nobody was told of, and when somebody was told last.
    unreported: usize,
    reported_at: Option<Instant>,
}

impl OutageLog {
    pub(super) const fn new(gauges: LedgerGauges) -> Self {
        Self {
            gauges,
            away: Episode::new(),
            slow: Episode::new(),
            disk: Episode::new(),
            unreported: 0,
            reported_at: None,
        }
    }

    /// The database is away.
    pub(super) fn database_down(&mut self, site: &DatabaseUrl, error: &DatabaseError) {
        if self.away.begin() {
            tracing::error!(database = %site, %error, "the ledger's database is away: rows wait in the spool");
        }
    }

    /// The database takes less than comes.
    pub(super) fn database_slow(&mut self) {
        if self.slow.begin() && !self.away.holds() {
            tracing::warn!("the ledger's database is slower than rows come: some wait in the spool");
        }
    }

    /// The database has taken something.
    pub(super) fn database_up(&mut self, spool: &Spool) {
        if (self.away.holds() || self.slow.holds()) && spool.is_empty() {
            tracing::warn!("the ledger's database keeps up again, and nothing waits any more");
            self.away.end();
            self.slow.end();
        }
        self.disk.end();
    }

    /// The spool cannot be read or written.
    pub(super) fn disk_failed(&mut self, error: &io::Error) {
        if self.disk.begin() {
            tracing::error!(%error, "the ledger's spool fails: rows wait in memory");
        }
    }

    /// Rows are lost.
    pub(super) fn rows_lost(&mut self, rows: usize) {
        self.gauges.add_lost(rows);
        self.report_lost(rows);
    }

    /// Rows are lost that have been counted already.
    pub(super) fn report_lost(&mut self, rows: usize) {
        if rows == 0 {
            return;
        }
        self.unreported += rows;
        if self.reported_at.is_none_or(|at| at.elapsed() > AGAIN) {
            tracing::error!(
                rows = self.unreported,
                total = self.gauges.read().lost,
                "rows of the ledger are lost"
            );
            self.unreported = 0;
            self.reported_at = Some(Instant::now());
        }
    }

    /// When losses were spoken of last.
    #[cfg(test)]
    pub(super) const fn last_report(&self) -> Option<Instant> {
        self.reported_at
    }
}

impl Drop for OutageLog {
    fn drop(&mut self) {
        if self.unreported > 0 {
            tracing::error!(
                rows = self.unreported,
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
        let mut log = OutageLog::new(LedgerGauges::default());
        log.database_slow();
        assert_eq!((log.slow.holds(), log.away.holds()), (true, false));
        log.database_down(&DatabaseUrl::Sqlite("t.db".into()), &DatabaseError::Late);
        assert_eq!((log.slow.holds(), log.away.holds()), (true, true));
        log.database_up(&Spool::new("s".into(), 0));
        assert_eq!((log.slow.holds(), log.away.holds()), (false, false));
    }
}
