//! Ports for the servers that tests start.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A port on which nothing listens, and that the kernel gives to no other socket until this process ends: a
/// socket that is bound and does not listen holds it, beside which a server may listen, and do so again.
pub fn free_port() -> u16 {
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        // A cluster's server also listens 10,000 above.
        if port < 55_000 {
            std::mem::forget(socket);
            return port;
        }
    }
}
