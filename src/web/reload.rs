//! What an administrator has the process do. A worker only carries the errand to the one thread that may do it and waits
//! for what is told; the line of errands is bounded, and done one after another.

use http::request::Parts;
use serde_json::Value;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

use crate::proxy::Refusal;

/// Errands that may wait.
const WAITING: usize = 16;

/// Load the configuration again.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Say what would change, and change nothing.
    pub check: bool,
    /// For the log: `request`, `signal`.
    pub asked_by: &'static str,
    pub reply: oneshot::Sender<ReloadOutcome>,
}

/// What became of it.
#[derive(Debug)]
pub enum ReloadOutcome {
    Done(Value),
    /// Nothing was changed.
    Wrong {
        message: String,
        /// One object per mistake: `path`, `message`, `suggestion`.
        errors: Vec<Value>,
    },
}

/// S2.6. Whether the request asks for a report of what would change (`?check=true`) and for no change.
pub(super) fn is_check(head: &Parts) -> bool {
    let mut query = head.uri.query().unwrap_or_default().split('&');
    query.any(|part| matches!(part, "check" | "check=true" | "check=1"))
}

/// Where errands are handed in. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ReloadHandle(Sender<ReloadRequest>);

impl ReloadHandle {
    /// The desk, and the line behind it.
    #[must_use]
    pub fn open() -> (Self, Receiver<ReloadRequest>) {
        let (sender, receiver) = channel(WAITING);
        (Self(sender), receiver)
    }

    /// Hands in an errand. The reply is told in its turn; `None`: too many wait already, or nobody does them any more.
    pub fn put(&self, check: bool, asked_by: &'static str) -> Option<oneshot::Receiver<ReloadOutcome>> {
        let (reply, told) = oneshot::channel();
        self.0.try_send(ReloadRequest { check, asked_by, reply }).ok().map(|()| told)
    }

    /// Hands in an errand and waits for its reply.
    ///
    /// # Errors
    /// Too many wait already (429), or the process is ending (503).
    pub async fn reload(&self, check: bool) -> Result<ReloadOutcome, Box<Refusal>> {
        let Some(told) = self.put(check, "request") else {
            return Err(if self.0.is_closed() { shutting_down() } else { busy() });
        };
        told.await.map_err(|_| shutting_down())
    }
}

fn busy() -> Box<Refusal> {
    Refusal::request(429, "reload_busy", "too many reloads are waiting already")
}

fn shutting_down() -> Box<Refusal> {
    Refusal::gateway(503, "shutting_down", "the gateway is shutting down")
}
