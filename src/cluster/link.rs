//! The open connections to one server or cluster. Each carries many calls at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};

use super::{
    RedisAuthority, RedisFault, RedisUrl,
    dial::client,
    sentinel::{self, MasterPlace},
};

/// For opening a connection, with the greeting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The client library's own bound on an answer. It ends the connection, so it is above the longest of a call.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) enum RedisLink {
    Server {
        /// Used in turns.
        connections: Vec<MultiplexedConnection>,
        next: AtomicUsize,
        /// The place that sentinels have named.
        master: Option<MasterPlace>,
    },
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server { connections, .. } => write!(f, "Server({})", connections.len()),
            Self::Cluster(_) => f.write_str("Cluster"),
        }
    }
}

impl RedisLink {
    /// Opens `count` connections to a server, or the connections of a cluster.
    pub(super) async fn open(
        url: &RedisUrl,
        authority: Option<&RedisAuthority>,
        count: usize,
    ) -> Result<Self, RedisFault> {
        if let Some(service) = url.service() {
            let master = sentinel::master_of(url, service, authority, None).await?;
            let info = service.at(&master.host, master.port).ok_or(RedisFault::Form)?;
            return Self::open_server(info, authority, count, Some(master)).await;
        }
        let infos = url.infos().ok_or(RedisFault::Form)?;
        if url.is_cluster() {
            let mut builder = ClusterClientBuilder::new(infos)
                // A repeated call may count twice.
                .retries(0)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(RESPONSE_TIMEOUT);
            if let Some(authority) = authority {
                builder = builder.certs(authority.certificates());
            }
            return Ok(Self::Cluster(builder.build()?.get_async_connection().await?));
        }
        let info = infos.into_iter().next().ok_or(RedisFault::Form)?;
        Self::open_server(info, authority, count, None).await
    }

    async fn open_server(
        info: ConnectionInfo,
        authority: Option<&RedisAuthority>,
        count: usize,
        master: Option<MasterPlace>,
    ) -> Result<Self, RedisFault> {
        let client = client(info, authority)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count.max(1) {
            connections.push(client.get_multiplexed_async_connection_with_config(&config).await?);
        }
        Ok(Self::Server { connections, next: AtomicUsize::new(0), master })
    }

    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisFault> {
        let answer = match self {
            Self::Server { connections, next, .. } => {
                let turn = if connections.len() > 1 { next.fetch_add(1, Relaxed) } else { 0 };
                let chosen = connections.get(turn % connections.len().max(1)).ok_or(RedisFault::Away)?;
                chosen.clone().req_packed_command(command).await?
            }
            Self::Cluster(connection) => connection.clone().req_packed_command(command).await?,
        };
        // A server's error comes as a value.
        Ok(answer.extract_error()?)
    }

    /// The place that sentinels have named. `None`: there are none.
    pub(super) const fn master(&self) -> Option<&MasterPlace> {
        if let Self::Server { master, .. } = self { master.as_ref() } else { None }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}
