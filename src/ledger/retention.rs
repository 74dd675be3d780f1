//! Rows go when they are older than they are kept, some at a time, so that nobody waits long for the lock. Roll-ups stay.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::row::RowId;
use crate::{
    base::time::unix_micros,
    database::{Connection, DatabaseError},
};

/// First time after the start, then each time after the last.
const FIRST: Duration = Duration::from_secs(60);
const EACH: Duration = Duration::from_secs(3600);
/// Rows that go at once, and the pause before the next.
const SOME: u64 = 2000;
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Retention {
    /// Zero: for ever.
    kept: Duration,
    due: Instant,
}

impl Retention {
    pub(super) fn new(kept: Duration) -> Self {
        let first = if kept.is_zero() { EACH } else { FIRST };
        Self { kept, due: Instant::now() + first }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Lets some go, if it is time.
    pub(super) async fn retire(&mut self, connection: &mut Connection) -> Result<(), DatabaseError> {
        if Instant::now() < self.due {
            return Ok(());
        }
        self.due = Instant::now() + EACH;
        let Some(oldest) = SystemTime::now().checked_sub(self.kept).filter(|_| !self.kept.is_zero()) else {
            return Ok(());
        };
        if retire_before(connection, unix_micros(oldest)).await? == SOME {
            self.due = Instant::now() + PAUSE;
        }
        Ok(())
    }
}

/// Lets some rows go that came before `at`; gives how many.
pub(super) async fn retire_before(connection: &mut Connection, at: i64) -> Result<u64, DatabaseError> {
    let sql = format!(
        "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE id < $1 ORDER BY id LIMIT {SOME})"
    );
    connection.run(sql, vec![RowId::floor(at).0.to_vec().into()]).await
}
