//! TCP keepalive of both sides' connections: packets on a silent one, so that a NAT between the ends does not
//! forget it, and so that the kernel ends it when the other side is gone.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// From the last packet to the first probe.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
/// From a probe that was not answered to the next.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// # Errors
/// The kernel refuses the option.
pub fn keep_alive(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(PROBE_INTERVAL))
}
