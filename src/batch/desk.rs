//! The way of other threads to the store, which lives on one. A question that is not answered in time is
//! given up by its asker; the work goes on.

use std::{future::Future, pin::Pin, rc::Rc, time::Duration};

use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    time::timeout,
};

use super::store::BatchStore;
use crate::{base::spawn::TaskSet, database::DatabaseError, proxy::Refusal};

/// Questions that may wait, and those that are answered at once.
const MAX_WAITING: usize = 64;
const MAX_AT_ONCE: usize = 16;
/// Longer than an upload of the largest body takes on a slow disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

type DeskWork = Box<dyn FnOnce(Rc<BatchStore>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Why the store has no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It is not open yet, is closed, has too many questions, or has not answered in time.
    #[error("the database of files and batches does not answer")]
    Away,
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<DeskError> for Box<Refusal> {
    fn from(error: DeskError) -> Self {
        match &error {
            DeskError::Database(cause) if cause.is_full() => {
                tracing::warn!(%error, "batches: the database is full");
                let message = "the gateway's database has no space left for files and batches";
                Refusal::gateway(507, "batch_storage_full", message)
            }
            DeskError::Away | DeskError::Database(_) => {
                tracing::warn!(%error, "batches: the database does not answer");
                let message = "the gateway's database of files and batches does not answer";
                let mut refusal = Refusal::gateway(503, "batch_storage_unavailable", message);
                refusal.retry_after = Some(Duration::from_secs(1));
                refusal
            }
        }
    }
}

/// Asks the store. Cloning shares it.
#[derive(Clone, Debug)]
pub struct BatchDesk(Sender<DeskWork>);

/// The questions, for the thread of the store.
#[derive(Debug)]
pub struct DeskQueue(Receiver<DeskWork>);

impl BatchDesk {
    #[must_use]
    pub fn open() -> (Self, DeskQueue) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), DeskQueue(receiver))
    }

    /// Runs `work` on the thread of the store.
    ///
    /// # Errors
    /// The store's own, or it is away.
    pub async fn ask<T, F>(
        &self,
        work: impl FnOnce(Rc<BatchStore>) -> F + Send + 'static,
    ) -> Result<T, DeskError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DatabaseError>> + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work: DeskWork = Box::new(move |store| {
            let working = work(store);
            Box::pin(async move {
                // Fails if the asker has gone.
                let _ = answer.send(working.await);
            })
        });
        self.0.try_send(work).map_err(|_| DeskError::Away)?;
        match timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(result)) => result.map_err(DeskError::from),
            Ok(Err(_)) | Err(_) => Err(DeskError::Away),
        }
    }
}

impl DeskQueue {
    /// Answers until no asker is left.
    pub async fn serve(&mut self, store: &Rc<BatchStore>) {
        let mut working = TaskSet::default();
        loop {
            tokio::select! {
                work = self.0.recv(), if working.len() < MAX_AT_ONCE => match work {
                    Some(work) => working.spawn((), work(Rc::clone(store))),
                    None => break,
                },
                Some(_) = working.next(), if !working.is_empty() => {}
            }
        }
        while working.next().await.is_some() {}
    }

    /// Turns questions away, as long as there is no store.
    pub async fn turn_away(&mut self) {
        while self.0.recv().await.is_some() {}
        std::future::pending().await
    }
}
