//! Streams side by side in one thread, each read to its end, and what all of them saw together.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::{io::AsyncWriteExt, task::JoinSet};

use super::{
    Target,
    reader::Reader,
    report::{Seen, print},
};
use crate::{clock, net};

#[derive(Clone, Debug, clap::Args)]
pub struct Streams {
    #[command(flatten)]
    target: Target,
    /// Streams at once, each on a connection of its own.
    #[arg(long)]
    streams: usize,
    /// Streams after one another on each connection.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Time between the starts of two connections.
    #[arg(long, default_value_t = 1000)]
    ramp_us: u64,
}

impl Streams {
    pub async fn run(self) -> io::Result<()> {
        let seen = Rc::new(RefCell::new(Seen::new()));
        let start = clock::now();
        let mut tasks = JoinSet::new();
        for number in 0..self.streams {
            if number > 0 && self.ramp_us > 0 {
                tokio::time::sleep(Duration::from_micros(self.ramp_us)).await;
            }
            tasks.spawn_local(connection(self.target.clone(), self.rounds, Rc::clone(&seen)));
        }
        let errors = super::outcome(tasks).await;
        print(&seen.borrow(), clock::now() - start, &errors);
        Ok(())
    }
}

async fn connection(target: Target, rounds: usize, seen: Rc<RefCell<Seen>>) -> io::Result<()> {
    let mut stream = net::connect(target.to).await?;
    let request = target.request(true);
    for _ in 0..rounds {
        let mut reader = Reader::new(&seen);
        stream.write_all(&request).await?;
        reader.read_to_end(&stream).await?;
    }
    Ok(())
}
