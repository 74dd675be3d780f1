//! Who asked, as far as his connection and his headers say. Kept as they came, which costs nothing; what is to be made of
//! them is decided when the request has ended.

use std::net::IpAddr;

use http::HeaderValue;

#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// `X-Forwarded-For`, line by line.
    pub forwarded: Vec<HeaderValue>,
    pub agent: Option<HeaderValue>,
    /// Bytes of the request's body.
    pub bytes: u64,
}
