//! The background tasks that keep the connections to Redis open. They start before the workers and end after
//! them. Nothing waits for their first connection.

use std::io;

use tokio::sync::watch;

use super::background::{Background, BackgroundTask};
use crate::{
    cluster::{RedisClient, RedisKeeper, RedisSettings, RedisUrl},
    telemetry::{RedisGauges, RedisServers},
};

/// Dropping it ends the tasks.
#[derive(Debug, Default)]
pub(super) struct RunningRedis {
    stop: Option<watch::Sender<bool>>,
    tasks: Vec<BackgroundTask>,
}

/// Starts a task for each server.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    settings: Option<&RedisSettings>,
    servers: &RedisServers,
    background: &Background,
) -> io::Result<RunningRedis> {
    let Some(settings) = settings else { return Ok(RunningRedis::default()) };
    let (stop, stopped) = watch::channel(false);
    let (mut tasks, mut gauges) = (Vec::new(), Vec::new());
    let purposes = [("limits", &settings.limits, 1), ("cache", &settings.cache, settings.pool_size)];
    for (purpose, url, connections) in purposes {
        let Some(url) = url else { continue };
        let own = RedisGauges::default();
        gauges.push((purpose, own.clone()));
        let keeper = keeper(settings, (purpose, url), connections, RedisClient::new(own));
        let mut stopped = stopped.clone();
        tasks.push(background.spawn("redis", move || async move {
            tokio::select! {
                _ = keeper.run() => {}
                // Also ends when the sender is gone.
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        })?);
    }
    servers.set(gauges);
    Ok(RunningRedis { stop: Some(stop), tasks })
}

fn keeper(
    settings: &RedisSettings,
    (purpose, url): (&'static str, &RedisUrl),
    connections: usize,
    client: RedisClient,
) -> RedisKeeper {
    RedisKeeper {
        client,
        url: url.clone(),
        authority: settings.authority.clone(),
        connections,
        proof: format!("{}1:up", settings.prefix),
        purpose,
        keeps_limits: purpose == "limits",
    }
}

impl RunningRedis {
    /// Blocks until the tasks have ended.
    pub(super) fn stop(self) {
        drop(self.stop);
        self.tasks.into_iter().for_each(BackgroundTask::join);
    }
}
