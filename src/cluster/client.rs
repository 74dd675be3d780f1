//! Calls to Redis, each with a deadline of its own and a bound on calls under way. Without a connection a
//! call fails at once. Usable from every thread with a runtime; the connections themselves live on the
//! background runtime. Invariant: no call is repeated that may have been carried out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{Cmd, Value};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::timeout,
};

use super::{RedisFault, RedisScript, link::RedisLink, sentinel::MasterPlace};
use crate::telemetry::RedisGauges;

/// Calls under way at once. A server that keeps up has a few.
const MAX_CALLS: usize = 512;
/// So many calls without an answer in a row, and the server counts as away.
const MAX_LATE: u32 = 3;

/// Clones share the connections.
#[derive(Clone, Debug)]
pub struct RedisClient(Arc<ClientParts>);

#[derive(Debug)]
struct ClientParts {
    link: ArcSwapOption<RedisLink>,
    calls: Semaphore,
    /// The number of the link, so that a late error of a former one does not end its successor.
    generation: AtomicU64,
    late: AtomicU32,
    answered: AtomicU64,
    lost: Notify,
    opened: Notify,
    /// The first try to connect has ended.
    tried: watch::Sender<bool>,
    gauges: RedisGauges,
    /// For one call.
    timeout: Duration,
}

impl RedisClient {
    /// Without a connection; a [`RedisKeeper`](super::RedisKeeper) opens it. `timeout`: for one call.
    #[must_use]
    pub fn new(gauges: RedisGauges, timeout: Duration) -> Self {
        Self(Arc::new(ClientParts {
            link: ArcSwapOption::empty(),
            calls: Semaphore::new(MAX_CALLS),
            generation: AtomicU64::new(0),
            late: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            lost: Notify::new(),
            opened: Notify::new(),
            tried: watch::Sender::new(false),
            gauges,
            timeout,
        }))
    }

    /// Whether a connection is open. A call may fail all the same.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.link.load().is_some()
    }

    /// One command.
    ///
    /// # Errors
    /// There is no connection, the server refuses it, or the answer is not there in time.
    pub async fn call(&self, command: &Cmd) -> Result<Value, RedisFault> {
        match self.call_once(command).await {
            // Not carried out; the client library knows the right node by now.
            Err(fault) if fault.is_redirection() => self.call_once(command).await,
            outcome => outcome,
        }
    }

    /// Stores bytes under a key, for this time.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn put(&self, key: &str, bytes: &[u8], life: Duration) -> Result<(), RedisFault> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(bytes).arg("PX").arg(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        self.call(&command).await.map(|_| ())
    }

    /// The bytes under a key. `None`: there are none.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisFault> {
        let mut command = redis::cmd("GET");
        command.arg(key);
        let value = self.call(&command).await?;
        Ok(if let Value::BulkString(bytes) = value { Some(bytes) } else { None })
    }

    /// A script on one key, with these arguments. A server that refuses its writes is of no use to the others
    /// either, and counts as away; a stored answer that it refuses may be found there all the same.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn run(&self, script: &RedisScript, key: &str, args: &[Vec<u8>]) -> Result<Value, RedisFault> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(key).arg(args);
            command
        };
        let generation = self.generation();
        let outcome = match self.call(&command("EVALSHA", script.digest())).await {
            Err(fault) if fault.is_unknown_script() => self.call(&command("EVAL", script.text())).await,
            outcome => outcome,
        };
        // Other masters of a cluster may take them.
        if outcome.as_ref().is_err_and(RedisFault::refuses_writes) && !self.is_of_cluster() {
            self.drop_link(generation);
        }
        outcome
    }

    async fn call_once(&self, command: &Cmd) -> Result<Value, RedisFault> {
        let parts = &*self.0;
        let generation = parts.generation.load(Relaxed);
        let link = parts.link.load_full().ok_or(RedisFault::Away)?;
        let _place = parts.calls.try_acquire().map_err(|_| RedisFault::Crowded)?;
        parts.gauges.count_command();
        let outcome = timeout(parts.timeout, link.send(command)).await.unwrap_or(Err(RedisFault::Late));
        match &outcome {
            Ok(_) => self.note_answer(),
            Err(fault) if fault.is_unknown_script() || fault.is_redirection() => self.note_answer(),
            Err(fault) => {
                parts.gauges.count_error();
                let is_late = matches!(fault, RedisFault::Late)
                    && parts.late.fetch_add(1, Relaxed).saturating_add(1) >= MAX_LATE;
                // A cluster's client opens connections to single nodes again by itself, and one that is
                // frozen takes nothing from the keys of the others.
                if (is_late || fault.ends_connection()) && !link.is_cluster() {
                    self.drop_link(generation);
                }
            }
        }
        outcome
    }

    fn is_of_cluster(&self) -> bool {
        self.0.link.load().as_ref().is_some_and(|link| link.is_cluster())
    }

    fn note_answer(&self) {
        self.0.late.store(0, Relaxed);
        self.0.answered.fetch_add(1, Relaxed);
    }

    /// Answers so far.
    pub(super) fn answered(&self) -> u64 {
        self.0.answered.load(Relaxed)
    }

    /// Uses this connection from now on.
    pub(super) fn set_link(&self, link: RedisLink) {
        self.0.late.store(0, Relaxed);
        self.0.generation.fetch_add(1, Relaxed);
        self.0.link.store(Some(Arc::new(link)));
        self.0.gauges.set_up(true);
        self.0.opened.notify_one();
    }

    /// The number of the connection, which changes when it is opened or given up.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Relaxed)
    }

    /// The place of the master that sentinels have named. `None`: there are no sentinels, or no connection.
    pub(super) fn master(&self) -> Option<MasterPlace> {
        self.0.link.load().as_ref().and_then(|link| link.master().cloned())
    }

    /// A number of the master that sentinels have named, so that users notice another one. 0: there are no
    /// sentinels, or no connection.
    #[must_use]
    pub fn master_mark(&self) -> u64 {
        self.master().map_or(0, |master| master.mark())
    }

    /// The connection of this number is of no use. Its keeper opens another one.
    pub(super) fn drop_link(&self, generation: u64) {
        if self.0.generation.compare_exchange(generation, generation + 1, Relaxed, Relaxed).is_ok() {
            self.0.link.store(None);
            self.0.gauges.set_up(false);
            self.0.lost.notify_one();
        }
    }

    /// Returns when the first try to connect has ended, well or not.
    pub async fn tried(&self) {
        // The sender lives as long as this.
        let _ = self.0.tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// Whether [`Self::tried`] returns at once.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        *self.0.tried.borrow()
    }

    pub(super) fn note_tried(&self) {
        self.0.tried.send_if_modified(|tried| !std::mem::replace(tried, true));
    }

    /// Returns when a connection was opened. For one waiter.
    pub async fn opened(&self) {
        self.0.opened.notified().await;
    }

    /// Returns when the connection was given up.
    pub(super) async fn lost(&self) {
        self.0.lost.notified().await;
    }
}
