//! Sockets as every part of the rig wants them: no delay, a backlog for thousands at once, tasks that live as
//! long as the run.

use std::{future::Future, io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Enough for every stream of a run to connect before the first is accepted.
const BACKLOG: i32 = 4096;

/// A listener on loopback whose port is printed as the process's first line. 0: one that the kernel picks.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    println!("{}", listener.local_addr()?.port());
    Ok(listener)
}

pub async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Serves one connection; its errors are its peer's matter, which counts them.
#[expect(clippy::disallowed_methods, reason = "the process is stopped as a whole; there is nothing to drain")]
pub fn serve(connection: impl Future<Output = io::Result<()>> + 'static) {
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
}
