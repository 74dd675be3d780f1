//! A tunnel to a provider through an HTTP proxy (RFC 9110 section 9.3.6): the proxy connects, and the
//! connection is then as if it were the provider's. The proxy itself is spoken to without TLS. Its error
//! texts name no address, because clients see them.

use std::borrow::Cow;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::target::{BaseUrl, ProxyServer};

/// Bytes of the proxy's answer.
const MAX_ANSWER: usize = 16 * 1024;

/// Asks `proxy`, to which `stream` is connected, for a connection to `base`.
///
/// # Errors
/// The reason why there is none.
pub(super) async fn open(
    stream: &mut TcpStream,
    proxy: &ProxyServer,
    base: &BaseUrl,
) -> Result<(), Cow<'static, str>> {
    let host = if base.host.contains(':') { format!("[{}]", base.host) } else { base.host.to_string() };
    let authority = format!("{host}:{}", base.port);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        for part in ["proxy-authorization: ", authorization.expose(), "\r\n"] {
            request.push_str(part);
        }
    }
    request.push_str("\r\n");
    let closed = |_| Cow::Borrowed("the proxy closed the connection");
    stream.write_all(request.as_bytes()).await.map_err(closed)?;
    let mut answer = Vec::new();
    // Byte by byte at the end, because what follows is the provider's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == MAX_ANSWER {
            return Err("the proxy's answer is too long".into());
        }
        answer.push(stream.read_u8().await.map_err(closed)?);
    }
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    match status.and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        Some(407) => Err("the proxy wants other credentials (407)".into()),
        Some(status) => Err(format!("the proxy answered {status}").into()),
        None => Err("the proxy does not speak HTTP".into()),
    }
}
