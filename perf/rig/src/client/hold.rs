//! Streams that are opened and then only held, so that the proxy's memory can be read. Prints the report when every
//! stream has had its first byte, and ends with its standard input.

use std::{cell::RefCell, io, rc::Rc};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use super::{
    Target,
    reader::Reader,
    report::{Seen, print},
};
use crate::{clock, net};

#[derive(Clone, Debug, clap::Args)]
pub struct Hold {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    streams: usize,
    /// Streams that may be waiting for their first byte.
    #[arg(long, default_value_t = 16)]
    opening: usize,
}

impl Hold {
    pub async fn run(self) -> io::Result<()> {
        let seen = Rc::new(RefCell::new(Seen::new()));
        let held = Rc::new(RefCell::new(Vec::with_capacity(self.streams)));
        let start = clock::now();
        let mut tasks = JoinSet::new();
        for number in 0..self.opening {
            let share = (self.streams + number) / self.opening;
            tasks.spawn_local(open(self.target.clone(), share, Rc::clone(&seen), Rc::clone(&held)));
        }
        let errors = super::outcome(tasks).await;
        print(&seen.borrow(), clock::now() - start, &errors);
        io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
    }
}

async fn open(
    target: Target,
    streams: usize,
    seen: Rc<RefCell<Seen>>,
    held: Rc<RefCell<Vec<TcpStream>>>,
) -> io::Result<()> {
    let request = target.request(true);
    for _ in 0..streams {
        let mut stream = net::connect(target.to).await?;
        let mut reader = Reader::new(&seen);
        stream.write_all(&request).await?;
        reader.read(&stream).await?;
        held.borrow_mut().push(stream);
    }
    Ok(())
}
