//! Batches of files and their items at this replica, for `/metrics` and `/stats`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use serde_json::{Map, Value, json};

use super::{
    exposition::{Exposition, MetricKind},
    gauge::Gauge,
};

/// The states in which a batch ends, as OpenAI's API names them.
const ENDS: [&str; 4] = ["completed", "failed", "expired", "cancelled"];

/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct BatchGauges(Arc<BatchCounts>);

#[derive(Debug, Default)]
struct BatchCounts {
    /// Batches are kept and run here.
    is_on: AtomicBool,
    /// In the database, without a replica that runs them.
    waiting: AtomicU64,
    running: Gauge,
    /// By [`ENDS`].
    ended: [AtomicU64; 4],
    items_waiting: Gauge,
    items_running: Gauge,
    done: AtomicU64,
    failed: AtomicU64,
}

impl BatchGauges {
    /// They are shown from now on.
    pub fn show(&self) {
        self.0.is_on.store(true, Relaxed);
    }

    /// So many batches in the database wait for a replica.
    pub fn set_waiting(&self, count: usize) {
        self.0.waiting.store(count as u64, Relaxed);
    }

    /// Batches that run.
    #[must_use]
    pub fn running(&self) -> &Gauge {
        &self.0.running
    }

    /// Items that wait for a place, for room in their key's limits, or for a time that an answer named.
    #[must_use]
    pub fn items_waiting(&self) -> &Gauge {
        &self.0.items_waiting
    }

    /// Items under way.
    #[must_use]
    pub fn items_running(&self) -> &Gauge {
        &self.0.items_running
    }

    /// A batch has ended in this state.
    pub fn count_end(&self, status: &str) {
        for (_, count) in ENDS.iter().zip(&self.0.ended).filter(|(name, _)| **name == status) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// An item has its final answer.
    pub fn count_item(&self, is_good: bool) {
        let count = if is_good { &self.0.done } else { &self.0.failed };
        count.fetch_add(1, Relaxed);
    }

    fn ended(&self) -> [(&'static str, u64); 4] {
        std::array::from_fn(|index| (ENDS[index], self.0.ended[index].load(Relaxed)))
    }

    fn results(&self) -> [(&'static str, u64); 2] {
        [("done", self.0.done.load(Relaxed)), ("failed", self.0.failed.load(Relaxed))]
    }

    /// Writes the series for Prometheus; none if no batches run here.
    pub(super) fn write(&self, page: &mut Exposition) {
        if !self.0.is_on.load(Relaxed) {
            return;
        }
        let help = "Batches of files: running here, and waiting in the database for a gateway.";
        page.family("thalweg_batches", MetricKind::Gauge, help)
            .sample(&[("state", "running")], self.0.running.read() as f64)
            .sample(&[("state", "waiting")], self.0.waiting.load(Relaxed) as f64);
        let help = "Batches of files that have ended here, by their last status.";
        let mut family = page.family("thalweg_batches_ended_total", MetricKind::Counter, help);
        for (status, count) in self.ended() {
            family.sample(&[("status", status)], count as f64);
        }
        let help = "Items of running batches: under way, and waiting for a place, a limit or a time.";
        page.family("thalweg_batch_items", MetricKind::Gauge, help)
            .sample(&[("state", "running")], self.0.items_running.read() as f64)
            .sample(&[("state", "waiting")], self.0.items_waiting.read() as f64);
        let help = "Items of batches with their final answer.";
        let mut family = page.family("thalweg_batch_items_total", MetricKind::Counter, help);
        for (result, count) in self.results() {
            family.sample(&[("result", result)], count as f64);
        }
    }

    /// The same for `/stats`. `None`: no batches run here.
    pub(super) fn report(&self) -> Option<Value> {
        let counts = |all: &[(&str, u64)]| -> Map<String, Value> {
            all.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect()
        };
        let mut items = counts(&self.results());
        items.insert("running".to_owned(), self.0.items_running.read().into());
        items.insert("waiting".to_owned(), self.0.items_waiting.read().into());
        self.0.is_on.load(Relaxed).then(|| {
            json!({
                "running": self.0.running.read(),
                "waiting_in_database": self.0.waiting.load(Relaxed),
                "ended": counts(&self.ended()),
                "items": items,
            })
        })
    }
}
