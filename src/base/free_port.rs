//! Ports for the servers that tests start.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A port on which nothing listens, and that the kernel gives to no other socket until this process ends: a
/// socket that is bound and does not listen holds it, beside which a server may listen, and do so again. The
/// port 10,000 above is held, too: servers of a Redis cluster speak to each other there.
pub fn free_port() -> u16 {
    loop {
        let socket = tcp_socket();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let above = tcp_socket();
        // Without this option the bind fails beside any other socket.
        let is_alone = port < 55_000
            && above.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port + 10_000)).into()).is_ok();
        if is_alone {
            above.set_reuse_address(true).unwrap();
            std::mem::forget((socket, above));
            return port;
        }
    }
}

fn tcp_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap()
}
