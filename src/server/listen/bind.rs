//! Listening sockets: the same addresses once per worker by `SO_REUSEPORT`, so that the kernel distributes
//! connections and no worker hands one to another. Refuses a port that another process listens on, though
//! `SO_REUSEPORT` alone would share it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{base::keep_alive, server::settings::Listen};

/// Connections that the kernel keeps until a worker accepts them.
const BACKLOG_LIMIT: i32 = 4096;

/// Bytes written to a client that the kernel may keep unsent.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 128 * 1024;

/// How often a port of the kernel's choice is given back because it is taken in the other address family.
const MAX_PORT_ATTEMPTS: usize = 16;

/// The sockets of all workers. Clients can connect at once; [`serve`](super::serve()) accepts them.
#[derive(Debug)]
pub struct BoundListeners {
    pub addresses: Vec<SocketAddr>,
    /// For each worker, one listener per address.
    pub per_worker: Vec<Vec<TcpListener>>,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host has no address. `error: None`: the lookup succeeded and found none.
    #[error("the host {host:?} has no address{}", error.as_ref().map_or_else(String::new, |error| format!(": {error}")))]
    Resolve { host: String, error: Option<io::Error> },
    /// The kernel refused to listen on the address.
    #[error("cannot listen on {address}: {error}{}", hint(*address, error))]
    Listen { address: SocketAddr, error: io::Error },
}

/// The remedy of a common refusal.
fn hint(address: SocketAddr, error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024 {
        "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE (see docs/OPERATING.md, TLS)"
    } else {
        ""
    }
}

/// Listens on every address of `listen.host` for each of `workers`.
///
/// # Errors
/// The host is unknown, or an address is in use or not of this machine. `localhost` needs one of its two
/// families.
pub fn bind(listen: &Listen, workers: usize) -> Result<BoundListeners, BindError> {
    let mut attempts = MAX_PORT_ATTEMPTS;
    loop {
        match bind_once(listen, workers) {
            Err(BindError::Listen { error, .. })
                if listen.port == 0 && attempts > 0 && error.kind() == io::ErrorKind::AddrInUse =>
            {
                attempts -= 1;
            }
            result => return result,
        }
    }
}

fn bind_once(listen: &Listen, workers: usize) -> Result<BoundListeners, BindError> {
    let mut addresses = Vec::new();
    let mut per_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut port = listen.port;
    for mut address in resolve(listen)? {
        address.set_port(port);
        match open_all(address, &mut per_worker) {
            Ok(bound) => {
                port = bound.port();
                addresses.push(bound);
            }
            Err(error) if lacks_family(&error) && !addresses.is_empty() => {}
            Err(error) => return Err(BindError::Listen { address, error }),
        }
    }
    Ok(BoundListeners { addresses, per_worker })
}

/// The error of a machine without IPv6. The list of addresses begins with IPv4. 97 is Linux's `EAFNOSUPPORT`.
fn lacks_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(97)
}

/// The addresses of the host, sorted.
///
/// # Errors
/// It has none.
pub fn resolve(listen: &Listen) -> Result<Vec<SocketAddr>, BindError> {
    if listen.host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, listen.port).into(),
            (Ipv6Addr::LOCALHOST, listen.port).into(),
        ]);
    }
    let host = listen.host.trim_start_matches('[').trim_end_matches(']');
    let fail = |error| BindError::Resolve { host: listen.host.clone(), error };
    let mut found: Vec<_> =
        (host, listen.port).to_socket_addrs().map_err(|error| fail(Some(error)))?.collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Err(fail(None)) } else { Ok(found) }
}

fn open_all(mut address: SocketAddr, per_worker: &mut [Vec<TcpListener>]) -> io::Result<SocketAddr> {
    if address.port() != 0 {
        // Without SO_REUSEPORT the kernel refuses a port that has a listener.
        open(address, false)?;
    }
    for listeners in per_worker {
        let socket = open(address, true)?;
        socket.listen(BACKLOG_LIMIT)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(address)
}

/// Accepted sockets inherit the limit: no more than this waits in the kernel for a client with a closed
/// window, instead of the 4 MiB that a send buffer may grow to.
#[cfg(target_os = "linux")]
fn limit_unsent(socket: &Socket) {
    let _ = socket.set_tcp_notsent_lowat(MAX_UNSENT);
}

#[cfg(not(target_os = "linux"))]
const fn limit_unsent(_: &Socket) {}

fn open(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    #[cfg(unix)]
    socket.set_reuse_port(is_shared)?;
    limit_unsent(&socket);
    // Accepted sockets inherit both. Frames leave when they are written.
    socket.set_tcp_nodelay(true)?;
    let _ = keep_alive(SockRef::from(&socket));
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(host: &str, port: u16) -> Listen {
        Listen { host: host.to_owned(), port, tls: None }
    }

    #[test]
    fn gives_every_worker_the_same_addresses() {
        let bound = bind(&listen("localhost", 0), 3).unwrap();
        let port = bound.addresses[0].port();
        assert_ne!(port, 0);
        assert!(bound.addresses.iter().all(|address| address.port() == port && address.ip().is_loopback()));
        for listeners in &bound.per_worker {
            let own: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
            assert_eq!(own, bound.addresses);
        }
    }

    #[test]
    fn refuses_a_port_that_is_listened_on() {
        let first = bind(&listen("127.0.0.1", 0), 2).unwrap();
        let second = bind(&listen("127.0.0.1", first.addresses[0].port()), 2);
        assert!(matches!(second, Err(BindError::Listen { .. })), "{second:?}");
    }

    #[test]
    fn a_port_that_only_root_may_use_names_the_capability() {
        let refused = |port| BindError::Listen {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            error: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(refused(443).to_string().contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused(9000).to_string().contains("CAP_NET_BIND_SERVICE"));
    }

    #[test]
    fn names_an_unknown_host() {
        let error = bind(&listen("no host has a blank", 0), 1).unwrap_err();
        assert!(error.to_string().starts_with("the host \"no host has a blank\" has no address"), "{error}");
    }
}
