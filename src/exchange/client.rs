//! The client as its connection and its headers describe it. The client's address is found after the request,
//! by [`super::client_address`]. Values are copies, because a part of the head would keep all of the buffer
//! that it was read into until then.

use std::net::IpAddr;

use crate::base::{HeaderFields, field_text};

#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The other end of the connection. `None`: a Unix socket.
    pub peer: Option<IpAddr>,
    /// `X-Forwarded-For`, line by line, without lines that are no text. Not to be trusted before the peer is
    /// known to be a trusted proxy.
    pub forwarded: Vec<Box<str>>,
    pub user_agent: Option<Box<[u8]>>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
}

impl ClientInfo {
    /// The client of a request before its body is read.
    #[must_use]
    pub fn of(peer: Option<IpAddr>, headers: &HeaderFields) -> Self {
        let lines = headers.get_all("x-forwarded-for").filter_map(field_text);
        Self {
            peer,
            forwarded: lines.map(Box::from).collect(),
            user_agent: headers.get("user-agent").map(Box::from),
            request_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_described_by_its_headers() {
        let lines = [&b"10.0.0.1, 10.0.0.2"[..], b"\xff", b"10.0.0.3"];
        let mut headers: HeaderFields = lines.iter().map(|line| ("x-forwarded-for", line)).collect();
        headers.append("user-agent", b"curl \xe9");
        let client = ClientInfo::of(None, &headers);
        assert_eq!(client.forwarded, ["10.0.0.1, 10.0.0.2".into(), "10.0.0.3".into()] as [Box<str>; 2]);
        assert_eq!(client.user_agent.as_deref(), Some(&b"curl \xe9"[..]));
    }
}
