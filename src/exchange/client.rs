//! The client as its connection and its headers describe it. The client's address is found after the request,
//! by [`super::client_address`]. Values are copies, because a part of the head would keep all of the buffer
//! that it was read into until then.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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
    pub fn of(peer: Option<IpAddr>, headers: &HeaderMap) -> Self {
        let lines = headers.get_all(&FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
        Self {
            peer,
            forwarded: lines.map(Box::from).collect(),
            user_agent: headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).map(Box::from),
            request_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_described_by_its_headers() {
        let mut headers = HeaderMap::new();
        for line in [&b"10.0.0.1, 10.0.0.2"[..], b"\xff", b"10.0.0.3"] {
            headers.append(FORWARDED_FOR.clone(), HeaderValue::from_bytes(line).unwrap());
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_bytes(b"curl \xe9").unwrap());
        let client = ClientInfo::of(None, &headers);
        assert_eq!(client.forwarded, ["10.0.0.1, 10.0.0.2".into(), "10.0.0.3".into()] as [Box<str>; 2]);
        assert_eq!(client.user_agent.as_deref(), Some(&b"curl \xe9"[..]));
    }
}
