//! Keys of the database for pages: each question opens the database, asks and closes it, on the caller's
//! thread, as the ledger's queries do. The answer is given before the database is closed: a change is made
//! then, and a token that is shown once must not be lost to a slow end.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    runtime::Builder,
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{
    editor::{KeyEditor, StoreError},
    store::{KeyRows, KeyStore},
};
use crate::database::{DatabaseError, DatabaseSettings};

/// For one question, waiting for its turn included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For closing the database after the answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Questions at once, each with a connection of its own.
const MAX_AT_ONCE: usize = 1;

/// Asks for keys and changes them. Cloning shares it.
#[derive(Clone, Debug)]
pub struct KeyDesk {
    /// `None`: there is no database.
    database: Option<Arc<DatabaseSettings>>,
    permits: Arc<Semaphore>,
}

pub type KeyAnswer<T> = Result<T, KeyDeskError>;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum KeyDeskError {
    #[error("there is no database to keep keys in")]
    Absent,
    #[error(transparent)]
    System(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyDesk {
    #[must_use]
    pub fn new(database: Option<DatabaseSettings>) -> Self {
        Self { database: database.map(Arc::new), permits: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }

    #[must_use]
    pub const fn has_database(&self) -> bool {
        self.database.is_some()
    }

    /// Answers with all keys, revoked ones included. Blocks the calling thread.
    pub fn keys(&self, answer: oneshot::Sender<KeyAnswer<KeyRows>>) {
        let work = async |database: &DatabaseSettings| {
            let store = KeyStore::open(database).await?;
            Ok((store.keys().await.map_err(StoreError::from), store))
        };
        self.ask(answer, work, async |store: KeyStore| store.close().await);
    }

    /// Changes keys, and answers with the result. Blocks the calling thread.
    pub fn change<T>(
        &self,
        answer: oneshot::Sender<KeyAnswer<T>>,
        change: impl AsyncFnOnce(&mut KeyEditor) -> Result<T, StoreError>,
    ) {
        let work = async |database: &DatabaseSettings| {
            let mut editor = KeyEditor::open(database).await?;
            Ok((change(&mut editor).await, editor))
        };
        self.ask(answer, work, async |editor: KeyEditor| editor.close().await);
    }

    /// Asks, answers and closes, in this order.
    fn ask<T, C>(
        &self,
        answer: oneshot::Sender<KeyAnswer<T>>,
        work: impl AsyncFnOnce(&DatabaseSettings) -> Result<(Result<T, StoreError>, C), StoreError>,
        close: impl AsyncFnOnce(C),
    ) {
        // An answer that is not awaited any more is dropped.
        let answer = |found| drop(answer.send(found));
        let Some(database) = &self.database else { return answer(Err(KeyDeskError::Absent)) };
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return answer(Err(error.into())),
        };
        runtime.block_on(async {
            let working = async {
                // The semaphore is never closed.
                let permit = self.permits.acquire().await;
                (work(database).await, permit)
            };
            let late = || StoreError::Database(DatabaseError::Late);
            match timeout(ANSWER_TIMEOUT, working).await {
                Ok((Ok((found, open)), _permit)) => {
                    answer(found.map_err(KeyDeskError::from));
                    let _ = timeout(CLOSE_TIMEOUT, close(open)).await;
                }
                Ok((Err(error), _)) => answer(Err(error.into())),
                Err(_) => answer(Err(late().into())),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseUrl;

    #[test]
    fn the_answer_is_given_before_the_database_is_closed() {
        let desk = KeyDesk::new(Some(DatabaseSettings::new(DatabaseUrl::Sqlite("none.db".into()))));
        let (sender, mut receiver) = oneshot::channel();
        let mut closed = 0;
        desk.ask(
            sender,
            async |_: &DatabaseSettings| Ok((Ok("made"), 1)),
            async |open| {
                assert!(matches!(receiver.try_recv(), Ok(Ok("made"))));
                closed = open;
            },
        );
        assert_eq!(closed, 1);
    }
}
