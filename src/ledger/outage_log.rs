//! Log lines about outages: one when an outage begins, one when it ends. Lost rows are reported repeatedly,
//! because each is money that no account has.

use std::{io, time::Duration};

use tokio::time::Instant;

use super::{gauges::LedgerGauges, spool::Spool};
use crate::{
    base::Episode,
    database::{DatabaseError, DatabaseUrl},
};

/// Between two lines about lost rows.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct OutageLog {
    gauges: LedgerGauges,
    down: Episode,
    /// A database that is slow first and down later is reported twice.
    slow: Episode,
    disk: Episode,
    /// Lost rows since the last line about them, and the time of that line.
    unreported: usize,
    reported_at: Option<Instant>,
}

impl OutageLog {
    pub(super) const fn new(gauges: LedgerGauges) -> Self {
        Self {
            gauges,
            down: Episode::new(),
            slow: Episode::new(),
            disk: Episode::new(),
            unreported: 0,
            reported_at: None,
        }
    }

    /// The database is down.
    pub(super) fn database_down(&mut self, url: &DatabaseUrl, error: &DatabaseError) {
        if self.down.begin() {
            tracing::error!(database = %url, %error, "the ledger's database is away: rows wait in the spool");
        }
    }

    /// The database takes fewer rows than come.
    pub(super) fn database_slow(&mut self) {
        if self.slow.begin() && !self.down.holds() {
            tracing::warn!("the ledger's database is slower than rows come: some wait in the spool");
        }
    }

    /// The database has taken rows.
    pub(super) fn database_up(&mut self, spool: &Spool) {
        if (self.down.holds() || self.slow.holds()) && spool.is_empty() {
            tracing::warn!("the ledger's database keeps up again, and nothing waits any more");
            self.down.end();
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

    /// Reports lost rows that have been counted already.
    pub(super) fn report_lost(&mut self, rows: usize) {
        if rows == 0 {
            return;
        }
        self.unreported += rows;
        if self.reported_at.is_none_or(|at| at.elapsed() > REPORT_INTERVAL) {
            tracing::error!(
                rows = self.unreported,
                total = self.gauges.read().lost,
                "rows of the ledger are lost"
            );
            self.unreported = 0;
            self.reported_at = Some(Instant::now());
        }
    }

    /// When lost rows were reported last.
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

    /// A database that was slow before it was down is reported as down all the same.
    #[test]
    fn slow_and_down_are_reported_apart() {
        let mut log = OutageLog::new(LedgerGauges::default());
        log.database_slow();
        assert_eq!((log.slow.holds(), log.down.holds()), (true, false));
        log.database_down(&DatabaseUrl::Sqlite("t.db".into()), &DatabaseError::Late);
        assert_eq!((log.slow.holds(), log.down.holds()), (true, true));
        log.database_up(&Spool::new("s".into(), 0));
        assert_eq!((log.slow.holds(), log.down.holds()), (false, false));
    }
}
