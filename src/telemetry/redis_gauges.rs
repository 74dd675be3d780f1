//! The state of the connections to Redis, for `/metrics` and `/stats`.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use serde_json::{Map, Value, json};

use super::exposition::{Exposition, MetricKind};

/// One server. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct RedisGauges(Arc<RedisCounts>);

#[derive(Debug, Default)]
struct RedisCounts {
    up: AtomicBool,
    commands: AtomicU64,
    errors: AtomicU64,
}

impl RedisGauges {
    pub fn set_up(&self, up: bool) {
        self.0.up.store(up, Relaxed);
    }

    pub fn count_command(&self) {
        self.0.commands.fetch_add(1, Relaxed);
    }

    pub fn count_error(&self) {
        self.0.errors.fetch_add(1, Relaxed);
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.up.load(Relaxed)
    }

    /// Commands sent so far.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.0.commands.load(Relaxed)
    }
}

/// The servers that the process uses, by purpose. Cloning shares the list, which is set once.
#[derive(Clone, Debug, Default)]
pub struct RedisServers(Arc<OnceLock<Vec<(&'static str, RedisGauges)>>>);

impl RedisServers {
    /// Sets the list; a later call changes nothing.
    pub fn set(&self, servers: Vec<(&'static str, RedisGauges)>) {
        let _ = self.0.set(servers);
    }

    fn all(&self) -> &[(&'static str, RedisGauges)] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    /// Writes the series for Prometheus; none if there is no server.
    pub(super) fn write(&self, page: &mut Exposition) {
        if self.all().is_empty() {
            return;
        }
        let help = "Whether the Redis server for this purpose answers and takes writes.";
        let mut family = page.family("thalweg_redis_up", MetricKind::Gauge, help);
        for (purpose, gauges) in self.all() {
            family.sample(&[("purpose", purpose)], f64::from(u8::from(gauges.is_up())));
        }
        let help = "Commands sent to Redis.";
        let mut family = page.family("thalweg_redis_commands_total", MetricKind::Counter, help);
        for (purpose, gauges) in self.all() {
            family.sample(&[("purpose", purpose)], gauges.commands() as f64);
        }
        let help = "Commands to Redis without an answer in time, or with an error.";
        let mut family = page.family("thalweg_redis_errors_total", MetricKind::Counter, help);
        for (purpose, gauges) in self.all() {
            family.sample(&[("purpose", purpose)], gauges.0.errors.load(Relaxed) as f64);
        }
    }

    /// The same for `/stats`. `None`: there is no server.
    pub(super) fn report(&self) -> Option<Value> {
        let servers: Map<String, Value> = self
            .all()
            .iter()
            .map(|(purpose, gauges)| {
                let RedisCounts { up, commands, errors } = &*gauges.0;
                let (up, commands, errors) = (up.load(Relaxed), commands.load(Relaxed), errors.load(Relaxed));
                ((*purpose).to_owned(), json!({ "up": up, "commands": commands, "errors": errors }))
            })
            .collect();
        (!servers.is_empty()).then_some(Value::Object(servers))
    }
}
