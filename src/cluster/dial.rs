//! A server, as the client library dials it: with the certificate of the authority that the settings name.

use std::path::Path;

use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};

use super::RedisFault;

pub(super) fn certificates(file: &Path) -> Result<TlsCertificates, RedisFault> {
    let root = std::fs::read(file).map_err(|error| RedisFault::Authority(error.to_string()))?;
    Ok(TlsCertificates { client_tls: None, root_cert: Some(root) })
}

pub(super) fn client(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> Result<Client, RedisFault> {
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    Ok(match certificates.filter(|_| is_tls) {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    })
}
