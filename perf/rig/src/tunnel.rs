//! The control: a bare TCP tunnel on the runtime that thalweg uses. One read, one write, no protocol. What a
//! proxy costs above it is the price of understanding HTTP.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::net;

#[derive(clap::Args)]
pub struct Ends {
    /// Where the bytes go.
    #[arg(long)]
    to: SocketAddr,
}

const BUFFER: usize = 8 * 1024;

pub async fn serve(ends: Ends) -> io::Result<()> {
    let listener = net::listen(0)?;
    loop {
        let downstream = net::accept(&listener).await?;
        net::serve(async move {
            let (down_read, down_write) = downstream.into_split();
            let (up_read, up_write) = net::connect(ends.to).await?.into_split();
            net::serve(copy(down_read, up_write));
            copy(up_read, down_write).await
        });
    }
}

/// Ends the writing side with the reading side, so that a client that leaves is seen by the upstream.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}
