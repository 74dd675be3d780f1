//! The open connections to one server or cluster. Each carries many calls at once.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, TlsCertificates, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};

use super::{RedisFault, RedisUrl};

/// For opening a connection, with the greeting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The client library's own bound on an answer. It ends the connection, so it is above the longest of a call.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) enum RedisLink {
    /// Used in turns.
    Server {
        connections: Vec<MultiplexedConnection>,
        next: AtomicUsize,
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
        authority: Option<&Path>,
        count: usize,
    ) -> Result<Self, RedisFault> {
        let infos = url.infos().ok_or(RedisFault::Form)?;
        let certificates = authority.map(certificates).transpose()?;
        if url.is_cluster() {
            let mut builder = ClusterClientBuilder::new(infos)
                // A repeated call may count twice.
                .retries(0)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(RESPONSE_TIMEOUT);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return Ok(Self::Cluster(builder.build()?.get_async_connection().await?));
        }
        let info = infos.into_iter().next().ok_or(RedisFault::Form)?;
        let client = client(info, certificates)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count.max(1) {
            connections.push(client.get_multiplexed_async_connection_with_config(&config).await?);
        }
        Ok(Self::Server { connections, next: AtomicUsize::new(0) })
    }

    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisFault> {
        let answer = match self {
            Self::Server { connections, next } => {
                let turn = if connections.len() > 1 { next.fetch_add(1, Relaxed) } else { 0 };
                let chosen = connections.get(turn % connections.len().max(1)).ok_or(RedisFault::Away)?;
                chosen.clone().req_packed_command(command).await?
            }
            Self::Cluster(connection) => connection.clone().req_packed_command(command).await?,
        };
        // A server's error comes as a value.
        Ok(answer.extract_error()?)
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

fn certificates(file: &Path) -> Result<TlsCertificates, RedisFault> {
    let root = std::fs::read(file).map_err(|error| RedisFault::Authority(error.to_string()))?;
    Ok(TlsCertificates { client_tls: None, root_cert: Some(root) })
}

fn client(info: ConnectionInfo, certificates: Option<TlsCertificates>) -> Result<Client, RedisFault> {
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    Ok(match certificates.filter(|_| is_tls) {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    })
}
