//! Requests to reload the configuration (S2.6). A worker passes the request to the one task that reloads
//! and waits for its outcome. The queue of requests is bounded, and reloads run one after another.

use serde_json::Value;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

use crate::{base::RequestHead, proxy::Refusal};

/// Requests that may wait.
const MAX_WAITING: usize = 16;

/// The work that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadWork {
    /// Report the changes and apply them.
    Apply,
    /// Report the changes and do not apply them.
    Check,
    /// Show the configuration in force and the last reload.
    Show,
}

/// A request to load the configuration again.
#[derive(Debug)]
pub struct ReloadRequest {
    pub work: ReloadWork,
    /// The origin of the request, for the log: `request`, `signal`.
    pub asked_by: &'static str,
    pub reply: oneshot::Sender<ReloadOutcome>,
}

/// The outcome of a reload.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// The report of changes, as the response has it.
    Done(Value),
    /// The configuration is wrong; nothing changed.
    Wrong {
        message: String,
        /// One object per problem: `path`, `message`, `suggestion`.
        errors: Vec<Value>,
    },
}

/// The work of `POST /v1/reload`: with `?check=true` a report of the changes only.
pub(super) fn work(head: &RequestHead) -> ReloadWork {
    let mut query = head.uri.query().unwrap_or_default().split('&');
    let is_check = query.any(|part| matches!(part, "check" | "check=true" | "check=1"));
    if is_check { ReloadWork::Check } else { ReloadWork::Apply }
}

/// The sender of reload requests. Clones share the queue.
#[derive(Clone, Debug)]
pub struct ReloadHandle(Sender<ReloadRequest>);

impl ReloadHandle {
    /// A handle and the receiver of its requests.
    #[must_use]
    pub fn open() -> (Self, Receiver<ReloadRequest>) {
        let (sender, receiver) = channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Queues a request and returns the receiver of its outcome. `None`: the queue is full, or the receiver
    /// of requests is gone.
    pub fn put(&self, work: ReloadWork, asked_by: &'static str) -> Option<oneshot::Receiver<ReloadOutcome>> {
        let (reply, outcome) = oneshot::channel();
        self.0.try_send(ReloadRequest { work, asked_by, reply }).ok().map(|()| outcome)
    }

    /// Queues a request and waits for its outcome.
    ///
    /// # Errors
    /// The queue is full (429), or the process stops (503).
    pub async fn reload(&self, work: ReloadWork) -> Result<ReloadOutcome, Box<Refusal>> {
        let Some(outcome) = self.put(work, "request") else {
            return Err(if self.0.is_closed() { shutting_down() } else { busy() });
        };
        outcome.await.map_err(|_| shutting_down())
    }
}

fn busy() -> Box<Refusal> {
    Refusal::request(429, "reload_busy", "too many reloads are waiting already")
}

fn shutting_down() -> Box<Refusal> {
    Refusal::gateway(503, "shutting_down", "the gateway is shutting down")
}
