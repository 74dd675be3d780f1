//! The background tasks that keep the connections to Redis open. They start before the workers and end after
//! them. Nothing waits for their first connection.

use std::io;

use tokio::sync::watch;

use super::background::{Background, BackgroundTask};
use crate::{
    auth::{LimitHub, StoredKeys, limit::WhenAlone},
    cache::{AnswerCache, AnswerTier},
    cluster::{DocumentBoard, RedisClient, RedisKeeper, RedisSettings, RedisUrl, ReplicaChannel, ValueShelf},
    config::Settings,
    prober::FactExchange,
    proxy::Snapshot,
    telemetry::{RedisGauges, RedisServers},
};

/// Dropping it ends the tasks.
#[derive(Debug, Default)]
pub(super) struct RunningRedis {
    stop: Option<watch::Sender<bool>>,
    limits: Option<(watch::Sender<bool>, BackgroundTask)>,
    answers: Option<(watch::Sender<bool>, BackgroundTask)>,
    exchange: Option<FactExchange>,
    tasks: Vec<BackgroundTask>,
}

/// Starts a task for each server, one that shares the limits of keys, and one that shares stored answers.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    settings: &Settings,
    snapshot: &Snapshot,
    servers: &RedisServers,
    background: &Background,
) -> io::Result<RunningRedis> {
    let Some(redis) = &settings.redis else { return Ok(RunningRedis::default()) };
    let (stop, stopped) = watch::channel(false);
    let mut running = RunningRedis { stop: Some(stop), ..RunningRedis::default() };
    let mut gauges = Vec::new();
    for (purpose, url) in [("limits", &redis.limits), ("cache", &redis.cache)] {
        let Some(url) = url else { continue };
        let own = RedisGauges::default();
        gauges.push((purpose, own.clone()));
        let client = RedisClient::new(own, redis.wait * 2);
        if purpose == "limits" {
            running.limits =
                Some(share_limits(redis, settings.when_alone, &snapshot.keys, client.clone(), background)?);
        }
        if purpose == "cache" {
            running.answers = Some(share_answers(redis, &snapshot.answers, client.clone(), background)?);
        }
        // On the first server that there is: the one for limits, which forgets nothing.
        if running.exchange.is_none() {
            let (client, prefix) = (client.clone(), redis.prefix.clone());
            snapshot.sessions.share(ValueShelf::new(client.clone(), &prefix, "session"));
            running.exchange = Some(FactExchange { client, prefix });
        }
        let keeper = keeper(redis, (purpose, url), client);
        let mut stopped = stopped.clone();
        running.tasks.push(background.spawn("redis", move || async move {
            tokio::select! {
                _ = keeper.run() => {}
                // Also ends when the sender is gone.
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        })?);
    }
    servers.set(gauges);
    Ok(running)
}

/// Starts the task that gets grants for keys.
fn share_limits(
    redis: &RedisSettings,
    when_alone: WhenAlone,
    keys: &StoredKeys,
    client: RedisClient,
    background: &Background,
) -> io::Result<(watch::Sender<bool>, BackgroundTask)> {
    let (stop, mut stopped) = watch::channel(false);
    let (hub, keeper) = LimitHub::open(client, keys.clock(), &redis.prefix, (when_alone, redis.wait));
    keys.share_limits(hub);
    let task = background.spawn("limits", move || async move {
        let ended = async {
            // Also ends when the sender is gone.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        keeper.run(ended).await;
    })?;
    Ok((stop, task))
}

/// Starts the task that stores answers for the other replicas.
fn share_answers(
    redis: &RedisSettings,
    answers: &AnswerCache,
    client: RedisClient,
    background: &Background,
) -> io::Result<(watch::Sender<bool>, BackgroundTask)> {
    let (stop, mut stopped) = watch::channel(false);
    let shelf = ValueShelf::new(client, &redis.prefix, "cache");
    let (tier, writer) = AnswerTier::open(shelf, redis.wait);
    answers.share(tier);
    let task = background.spawn("answers", move || async move {
        let ended = async {
            // Also ends when the sender is gone.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        writer.run(ended).await;
    })?;
    Ok((stop, task))
}

fn keeper(
    settings: &RedisSettings,
    (purpose, url): (&'static str, &RedisUrl),
    client: RedisClient,
) -> RedisKeeper {
    RedisKeeper {
        client,
        url: url.clone(),
        authority: settings.authority.clone(),
        connections: if purpose == "limits" { 1 } else { settings.pool_size },
        proof: format!("{}1:up", settings.prefix),
        purpose,
        keeps_limits: purpose == "limits",
    }
}

impl RunningRedis {
    /// Where facts are shared with the other replicas. `None`: nowhere.
    pub(super) fn exchange(&self) -> Option<FactExchange> {
        self.exchange.clone()
    }

    /// Where the statistics of replicas are. `None`: there is no Redis.
    pub(super) fn stats_board(&self) -> Option<DocumentBoard> {
        let FactExchange { client, prefix } = self.exchange.as_ref()?;
        Some(DocumentBoard::new(client.clone(), prefix, "stats"))
    }

    /// Where the running requests of replicas are. `None`: there is no Redis.
    pub(super) fn running_documents(&self) -> Option<DocumentBoard> {
        let FactExchange { client, prefix } = self.exchange.as_ref()?;
        Some(DocumentBoard::new(client.clone(), prefix, "running"))
    }

    /// Where events of replicas pass. `None`: there is no Redis.
    pub(super) fn event_channel(&self) -> Option<ReplicaChannel> {
        let FactExchange { client, prefix } = self.exchange.as_ref()?;
        Some(ReplicaChannel::new(client.clone(), prefix, "events"))
    }

    /// Blocks until the tasks have ended.
    pub(super) fn stop(self) {
        // While the connection is there, so that grants are given back and answers stored.
        for (stop, task) in [self.limits, self.answers].into_iter().flatten() {
            drop(stop);
            task.join();
        }
        drop(self.stop);
        self.tasks.into_iter().for_each(BackgroundTask::join);
    }
}
