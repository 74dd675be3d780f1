//! A server, as the client library dials it: with the certificate of the authority that the settings name.

use redis::{Client, ConnectionAddr, ConnectionInfo};

use super::{RedisAuthority, RedisFault};

pub(super) fn client(info: ConnectionInfo, authority: Option<&RedisAuthority>) -> Result<Client, RedisFault> {
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    Ok(match authority.filter(|_| is_tls) {
        Some(authority) => Client::build_with_tls(info, authority.certificates())?,
        None => Client::open(info)?,
    })
}
