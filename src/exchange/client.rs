//! The client as its connection and its headers describe it. Values are kept as they came, which costs
//! nothing: the client's address is found after the request, by `settlement`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};

#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The other end of the connection. `None`: a Unix socket.
    pub peer: Option<IpAddr>,
    /// `X-Forwarded-For`, line by line. Not to be trusted before the peer is known to be a trusted proxy.
    pub forwarded: Vec<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
}

impl ClientInfo {
    /// The client of a request before its body is read.
    #[must_use]
    pub fn of(peer: Option<IpAddr>, headers: &HeaderMap) -> Self {
        let forwarded: Vec<HeaderValue> = headers.get_all("x-forwarded-for").iter().cloned().collect();
        Self { peer, forwarded, user_agent: headers.get(header::USER_AGENT).cloned(), request_bytes: 0 }
    }
}
