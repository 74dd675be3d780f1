//! Keys of the database for pages: each question opens the database, asks and closes it, on the caller's
//! thread, as the ledger's queries do.

use std::{io, sync::Arc, time::Duration};

use tokio::{runtime::Builder, sync::Semaphore, time::timeout};

use super::{
    editor::{KeyEditor, StoreError},
    store::{KeyRows, KeyStore},
};
use crate::database::{DatabaseError, DatabaseSettings};

/// For one question, waiting for its turn included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions at once, each with a connection of its own.
const MAX_AT_ONCE: usize = 1;

/// Asks for keys and changes them. Cloning shares it.
#[derive(Clone, Debug)]
pub struct KeyDesk {
    /// `None`: there is no database.
    database: Option<Arc<DatabaseSettings>>,
    permits: Arc<Semaphore>,
}

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

    /// All keys, revoked ones included. Blocks the calling thread.
    ///
    /// # Errors
    /// There is no database, or it does not answer.
    pub fn keys(&self) -> Result<KeyRows, KeyDeskError> {
        self.ask(async |database| {
            let store = KeyStore::open(database).await?;
            let keys = store.keys().await;
            store.close().await;
            Ok(keys?)
        })
    }

    /// Changes keys. Blocks the calling thread.
    ///
    /// # Errors
    /// The change's own, there is no database, or it does not answer.
    pub fn change<T>(
        &self,
        change: impl AsyncFnOnce(&mut KeyEditor) -> Result<T, StoreError>,
    ) -> Result<T, KeyDeskError> {
        self.ask(async |database| {
            let mut editor = KeyEditor::open(database).await?;
            let changed = change(&mut editor).await;
            editor.close().await;
            changed
        })
    }

    fn ask<T>(
        &self,
        work: impl AsyncFnOnce(&DatabaseSettings) -> Result<T, StoreError>,
    ) -> Result<T, KeyDeskError> {
        let database = self.database.as_ref().ok_or(KeyDeskError::Absent)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let working = async {
                // The semaphore is never closed.
                let _permit = self.permits.acquire().await;
                work(database).await
            };
            let late = |_| StoreError::Database(DatabaseError::Late);
            Ok(timeout(ANSWER_TIMEOUT, working).await.map_err(late)??)
        })
    }
}
