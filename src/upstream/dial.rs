//! A fresh connection: name lookup, TCP and its options, TLS, all within `connect_timeout`. Leaves permits
//! and reuse to `connection` and `pool`. Its error texts name no address, because clients see them.
//!
//! A name's addresses are tried as RFC 8305 says: the families in turn, the next one when the one before
//! fails or after 250 ms, and the first that answers is taken. The next dial begins with it. Many addresses,
//! or a short timeout, shorten the interval, so that each address is tried in the first half of the time.

use std::{
    borrow::Cow,
    cell::Cell,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    task::Poll,
};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep, timeout_at},
};

use super::{
    io::ProviderStream,
    target::{Protocol, Target},
    tls::{NegotiatedProtocol, TrustStore},
    tunnel,
};
use crate::base::{DeadlineKind, Fault, FaultKind, Sent, Side, Stage, fault::NO_SOCKET, keep_alive};

/// From one attempt to connect to the next, and the shortest interval (RFC 8305 sections 5 and 8).
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(250);
const MIN_ATTEMPT_INTERVAL: Duration = Duration::from_millis(10);
/// Addresses that are tried. Each attempt holds a socket.
const MAX_ADDRESSES: usize = 32;

/// Connects to `target`. `trust`: the accepted authorities; `None` for a plain connection. `answered`: the
/// address that answered last.
pub(super) async fn dial(
    target: &Target,
    trust: Option<&TrustStore>,
    answered: &Cell<Option<IpAddr>>,
) -> Result<(ProviderStream, NegotiatedProtocol), Fault> {
    let given = target.connect_timeout;
    let deadline = Instant::now() + given;
    timeout_at(deadline, open(target, trust, (answered, deadline))).await.unwrap_or_else(|_| Err(late(given)))
}

fn late(given: Duration) -> Fault {
    Fault::provider(Stage::Connect, FaultKind::Timeout(DeadlineKind::Connect, given), Sent::Nothing)
}

async fn open(
    target: &Target,
    trust: Option<&TrustStore>,
    (answered, deadline): (&Cell<Option<IpAddr>>, Instant),
) -> Result<(ProviderStream, NegotiatedProtocol), Fault> {
    let connected = connect(target, answered, deadline).await;
    let mut stream = connected.map_err(|error| unconnected(target, &error))?;
    if let Some(proxy) = &target.proxy {
        tunnel::open(&mut stream, proxy, &target.base).await.map_err(|reason| {
            Fault::provider(Stage::Connect, FaultKind::Unreachable(reason), Sent::Nothing)
        })?;
    }
    let Some(trust) = trust else {
        let negotiated = match target.protocol {
            Protocol::Auto | Protocol::Http1 => NegotiatedProtocol::Http1,
            Protocol::Http2 => NegotiatedProtocol::Http2,
        };
        return Ok((ProviderStream::Plain(stream), negotiated));
    };
    let (stream, negotiated) = trust.connect(stream, &target.base.host).await?;
    Ok((ProviderStream::Tls(stream), negotiated))
}

/// The fault of a connection that could not be opened.
fn unconnected(target: &Target, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::TimedOut {
        return late(target.connect_timeout);
    }
    if is_own(error) {
        let kind = FaultKind::Refused(NO_SOCKET);
        return Fault { side: Side::Gateway, stage: Stage::Connect, kind, sent: Sent::Nothing };
    }
    Fault::provider(Stage::Connect, FaultKind::Unreachable(reason(error)), Sent::Nothing)
}

async fn connect(
    target: &Target,
    answered: &Cell<Option<IpAddr>>,
    deadline: Instant,
) -> io::Result<TcpStream> {
    let (host, port) = match &target.proxy {
        None => (&target.base.host, target.base.port),
        Some(proxy) => (&proxy.host, proxy.port),
    };
    let addresses = resolve(host, port).await?;
    let stream = match *addresses {
        // Without the timer of the next attempt, because a timer that is due before all others wakes the
        // worker by a system call.
        [address] => TcpStream::connect(address).await?,
        _ => {
            let stream = connect_first(&in_order(addresses, answered.get()), deadline).await?;
            answered.set(stream.peer_addr().ok().map(|address| address.ip()));
            stream
        }
    };
    stream.set_nodelay(true)?;
    let _ = keep_alive(SockRef::from(&stream));
    Ok(stream)
}

/// `answered` first, then its family and the other in turn.
fn in_order(addresses: Vec<SocketAddr>, answered: Option<IpAddr>) -> Vec<SocketAddr> {
    let first = answered.or_else(|| addresses.first().map(SocketAddr::ip));
    let is_first_family =
        |address: &SocketAddr| first.is_some_and(|first| first.is_ipv6() == address.is_ipv6());
    let (mut first_family, second_family): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(is_first_family);
    first_family.sort_by_key(|address| Some(address.ip()) != answered);
    let (mut first_family, mut second_family) = (first_family.into_iter(), second_family.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [first_family.next(), second_family.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// Whether this system is the reason that a connection cannot be opened: it has no file descriptor, port or
/// memory left.
fn is_own(error: &io::Error) -> bool {
    // Linux: ENFILE, EMFILE, ENOBUFS.
    matches!(error.raw_os_error(), Some(23 | 24 | 105))
        || matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::AddrNotAvailable)
}

/// From one attempt to the next, so that so many addresses are tried in half of the time that is left; the
/// other half is for the last one's answer and for TLS.
fn attempt_interval(addresses: usize, left: Duration) -> Duration {
    let share = left / 2 / u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    share.clamp(MIN_ATTEMPT_INTERVAL, ATTEMPT_INTERVAL)
}

/// The first of these addresses that answers; of the errors the last, those of this system only if
/// there is no other: it may lack a family of addresses.
async fn connect_first(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let addresses = addresses.get(..MAX_ADDRESSES).unwrap_or(addresses);
    let interval = attempt_interval(addresses.len(), deadline.saturating_duration_since(Instant::now()));
    let mut rest = addresses.iter();
    let mut attempts: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>> = Vec::new();
    let mut error = Some(io::Error::new(io::ErrorKind::NotFound, "no address"));
    let mut has_failed_there = false;
    let mut pause = pin!(sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            let running = attempts.len();
            let mut connected = None;
            attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    connected = Some(stream);
                    false
                }
                Poll::Ready(Err(failure)) => {
                    if !is_own(&failure) || !has_failed_there {
                        has_failed_there |= !is_own(&failure);
                        error = Some(failure);
                    }
                    false
                }
                Poll::Pending => true,
            });
            if let Some(stream) = connected {
                return Poll::Ready(Ok(stream));
            }
            let has_failed = attempts.len() < running;
            if !attempts.is_empty() && !has_failed && pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match (rest.next(), error.take()) {
                (Some(address), last) => {
                    error = last;
                    attempts.push(Box::pin(TcpStream::connect(*address)));
                    pause.as_mut().reset(Instant::now() + interval);
                }
                (None, Some(last)) if attempts.is_empty() => return Poll::Ready(Err(last)),
                (None, last) => {
                    error = last;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        // Loopback by its name (RFC 6761, section 6.3), though a bare system has no file of hosts.
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
        Err(error) => Err(error),
    }
}

/// The error in words that name no address.
fn reason(error: &io::Error) -> Cow<'static, str> {
    if error.raw_os_error().is_none() { "name not found".into() } else { error.kind().to_string().into() }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{base::keepalive::KEEPALIVE_TIME, upstream::BaseUrl};

    /// A deadline that plays no part.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn dialled_sockets_do_not_delay_and_are_kept_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let target =
            Target { protocol: Protocol::Http1, ..Target::plain("p", BaseUrl::parse(&base).unwrap()) };
        let stream = connect(&target, &Cell::new(None), later()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_TIME);
    }

    #[test]
    fn families_take_turns_and_the_address_that_answered_comes_first() {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let addresses = all(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let order = |answered: Option<&str>| {
            in_order(addresses.clone(), answered.map(|answered| answered.parse().unwrap()))
        };
        assert_eq!(order(None), all(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        let known = all(&["2.2.2.2:1", "[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(order(Some("2.2.2.2")), known);
        let gone = all(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(order(Some("9.9.9.9")), gone, "its family");
    }

    /// A listener whose queue is full: the kernel drops what else comes.
    async fn black_hole() -> (Socket, SocketAddr, TcpStream) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let filling = TcpStream::connect(address).await.unwrap();
        (socket, address, filling)
    }

    /// E5: an address that does not answer delays by a quarter of a second, one that refuses not at all.
    #[tokio::test]
    async fn the_next_address_is_tried_soon() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let (_socket, silent, _filling) = black_hole().await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let start = Instant::now();
        let stream = connect_first(&[closed, silent, good], later()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let after = start.elapsed();
        assert!(after >= ATTEMPT_INTERVAL && after < 4 * ATTEMPT_INTERVAL, "{after:?}");
        let error = connect_first(&[closed], later()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn each_address_is_tried_in_half_of_the_time() {
        let interval = |addresses, left| attempt_interval(addresses, Duration::from_millis(left));
        for (addresses, left, milliseconds) in [
            (1, 5000, 250),
            (2, 5000, 250),
            (10, 5000, 250),
            (14, 5000, 178),
            (2, 200, 50),
            (2, 10, 10),
            (0, 0, 10),
        ] {
            let found = interval(addresses, left).as_millis();
            assert_eq!(found, milliseconds, "{addresses} {left}");
        }
    }

    /// E5: thirteen addresses that do not answer leave time for the fourteenth, and one for the second.
    #[tokio::test]
    async fn silent_addresses_do_not_use_up_the_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let (_socket, silent, _filling) = black_hole().await;
        for (silent_ones, milliseconds) in [(13, 1500), (1, 2000)] {
            let mut addresses = vec![silent; silent_ones];
            addresses.push(good);
            let deadline = Instant::now() + Duration::from_millis(milliseconds);
            let stream = timeout_at(deadline, connect_first(&addresses, deadline)).await;
            assert_eq!(stream.expect("in time").unwrap().peer_addr().unwrap(), good);
        }
    }

    /// Of a system without file descriptors or ports, none of which a provider can cause.
    #[tokio::test]
    async fn a_lack_of_this_system_is_no_fault_of_the_provider() {
        for number in [12, 23, 24, 99, 105] {
            assert!(is_own(&io::Error::from_raw_os_error(number)), "{number}");
        }
        for number in [101, 104, 110, 111, 113] {
            assert!(!is_own(&io::Error::from_raw_os_error(number)), "{number}");
        }
        let base = BaseUrl::parse("http://h/v1").unwrap();
        let target = Target::plain("p", base);
        let fault = unconnected(&target, &io::Error::from_raw_os_error(24));
        assert_eq!((fault.side, fault.code()), (Side::Gateway, NO_SOCKET));
        let fault = unconnected(&target, &io::Error::from_raw_os_error(111));
        assert_eq!((fault.side, fault.code()), (Side::Provider, "upstream_unreachable"));
    }

    /// G2: no answer is a timeout of its own, however many addresses there are.
    #[tokio::test]
    async fn no_answer_is_a_connect_timeout() {
        let (_socket, silent, _filling) = black_hole().await;
        let base = BaseUrl::parse(&format!("http://{silent}/v1")).unwrap();
        let connect_timeout = Duration::from_millis(100);
        let target = Target { connect_timeout, ..Target::plain("p", base) };
        let fault = dial(&target, None, &Cell::new(None)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Timeout(DeadlineKind::Connect, connect_timeout));
    }
}
