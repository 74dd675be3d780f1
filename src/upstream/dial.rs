//! A fresh connection: name lookup, TCP and its options, TLS, all within `connect_timeout`. Leaves permits
//! and reuse to `connection` and `pool`. Its error texts name no address, because clients see them.

use std::{
    borrow::Cow,
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    io::Io,
    target::{Protocol, Target},
    tls::{NegotiatedProtocol, TrustStore},
};
use crate::base::{DeadlineKind, Fault, FaultKind, Sent, Stage};

/// Connects to `target`, trying its addresses in order, each with an equal share of the time that is left.
/// `trust`: the accepted authorities; `None` for a plain connection.
pub(super) async fn dial(
    target: &Target,
    trust: Option<&TrustStore>,
) -> Result<(Io, NegotiatedProtocol), Fault> {
    let given = target.connect_timeout;
    timeout(given, open(target, trust, Instant::now() + given)).await.unwrap_or_else(|_| {
        Err(Fault::provider(Stage::Connect, FaultKind::Timeout(DeadlineKind::Connect, given), Sent::Nothing))
    })
}

async fn open(
    target: &Target,
    trust: Option<&TrustStore>,
    deadline: Instant,
) -> Result<(Io, NegotiatedProtocol), Fault> {
    let stream = connect(target, deadline).await.map_err(|error| {
        Fault::provider(Stage::Connect, FaultKind::Unreachable(reason(&error)), Sent::Nothing)
    })?;
    let Some(trust) = trust else {
        let negotiated = match target.protocol {
            Protocol::Auto | Protocol::Http1 => NegotiatedProtocol::Http1,
            Protocol::Http2 => NegotiatedProtocol::Http2,
        };
        return Ok((Io::Plain(stream), negotiated));
    };
    let (stream, negotiated) = trust.connect(stream, &target.base.host).await?;
    Ok((Io::Tls(stream), negotiated))
}

async fn connect(target: &Target, deadline: Instant) -> io::Result<TcpStream> {
    let addresses = resolve(&target.base.host, target.base.port).await?;
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last_error = error,
            Err(_) => last_error = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last_error)
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// The error in words that name no address.
fn reason(error: &io::Error) -> Cow<'static, str> {
    if error.kind() == io::ErrorKind::TimedOut {
        "no answer".into()
    } else if error.raw_os_error().is_none() {
        "name not found".into()
    } else {
        error.kind().to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::BaseUrl;

    #[tokio::test]
    async fn dialled_sockets_do_not_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let target =
            Target { protocol: Protocol::Http1, ..Target::plain("p", BaseUrl::parse(&base).unwrap()) };
        let stream = connect(&target, Instant::now() + Duration::from_secs(5)).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }
}
