//! Listening sockets: the same addresses once per worker by `SO_REUSEPORT`, so that the kernel shares connections out
//! and no worker hands one to another. A port that another process listens on is refused, though `SO_REUSEPORT` alone
//! would share it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::settings::Listen;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;

/// Bytes written to a client that the kernel has not sent yet.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 128 * 1024;

/// How often a kernel-picked port is given back because another family has it already.
const PORT_ATTEMPTS: usize = 16;

/// The sockets of all workers. Nothing is accepted before [`serve`](super::serve()) runs, but clients may connect.
#[derive(Debug)]
pub struct BoundListeners {
    pub addresses: Vec<SocketAddr>,
    /// For each worker, one listener per address.
    pub per_worker: Vec<Vec<TcpListener>>,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host has no address.
    #[error("the host {host:?} has no address{}", error.as_ref().map_or_else(String::new, |error| format!(": {error}")))]
    Resolve { host: String, error: Option<io::Error> },
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
}

/// Listens on every address of `listen.host` for each of `workers`.
///
/// # Errors
/// The host is unknown, or an address is in use or not ours. `localhost` needs only one of its two families.
pub fn bind(listen: &Listen, workers: usize) -> Result<BoundListeners, BindError> {
    let mut attempts = PORT_ATTEMPTS;
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

/// IPv4 first; a machine without the other family answers with one of these.
fn lacks_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(97)
}

fn resolve(listen: &Listen) -> Result<Vec<SocketAddr>, BindError> {
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
        // Without SO_REUSEPORT the kernel refuses a port on which anybody listens.
        open(address, false)?;
    }
    for listeners in per_worker {
        let socket = open(address, true)?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(address)
}

/// What is accepted inherits it: no more than this waits in the kernel for a client whose window is closed, instead of the
/// 4 MiB that it would let a send buffer grow to.
#[cfg(target_os = "linux")]
fn bound_unsent(socket: &Socket) {
    let _ = socket.set_tcp_notsent_lowat(MAX_UNSENT);
}

#[cfg(not(target_os = "linux"))]
const fn bound_unsent(_: &Socket) {}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
    bound_unsent(&socket);
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
    fn names_a_host_that_is_not_there() {
        let error = bind(&listen("no host has a blank", 0), 1).unwrap_err();
        assert!(error.to_string().starts_with("the host \"no host has a blank\" has no address"), "{error}");
    }
}
