//! Deletes rows past their retention, few at a time, so that other statements do not wait long for the lock.
//! Roll-ups stay.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::row::RowId;
use crate::{
    base::time::unix_micros,
    database::{Connection, DatabaseError},
};

/// From the start to the first deletion, and from one to the next.
const FIRST_INTERVAL: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(3600);
/// Rows deleted at once, and the pause while there are more.
const MAX_DELETED_ROWS: u64 = 2000;
const PAUSE_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Retention {
    /// Zero: rows are retention for ever.
    retention: Duration,
    due: Instant,
}

impl Retention {
    pub(super) fn new(retention: Duration) -> Self {
        let first = if retention.is_zero() { INTERVAL } else { FIRST_INTERVAL };
        Self { retention, due: Instant::now() + first }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Deletes some rows, if it is time.
    pub(super) async fn retire(&mut self, connection: &mut Connection) -> Result<(), DatabaseError> {
        if Instant::now() < self.due {
            return Ok(());
        }
        self.due = Instant::now() + INTERVAL;
        let Some(oldest) =
            SystemTime::now().checked_sub(self.retention).filter(|_| !self.retention.is_zero())
        else {
            return Ok(());
        };
        if retire_before(connection, unix_micros(oldest)).await? == MAX_DELETED_ROWS {
            self.due = Instant::now() + PAUSE_INTERVAL;
        }
        Ok(())
    }
}

/// Deletes some rows older than `at`; returns how many.
pub(super) async fn retire_before(connection: &mut Connection, at: i64) -> Result<u64, DatabaseError> {
    let sql = format!(
        "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE id < $1 ORDER BY id LIMIT {MAX_DELETED_ROWS})"
    );
    connection.run(sql, vec![RowId::floor(at).0.to_vec().into()]).await
}
