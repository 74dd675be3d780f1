//! Short requests over kept connections, each connection asking again as soon as it was answered.

use std::{cell::RefCell, io, rc::Rc};

use tokio::{io::AsyncWriteExt, task::JoinSet};

use super::{
    Target,
    reader::Reader,
    report::{Seen, print},
};
use crate::{clock, net};

#[derive(Clone, Debug, clap::Args)]
pub struct Requests {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    connections: usize,
    /// In total; a remainder that does not divide evenly is left out.
    #[arg(long)]
    requests: usize,
}

impl Requests {
    pub async fn run(self) -> io::Result<()> {
        let seen = Rc::new(RefCell::new(Seen::new()));
        let start = clock::now();
        let mut tasks = JoinSet::new();
        for _ in 0..self.connections {
            tasks.spawn_local(connection(
                self.target.clone(),
                self.requests / self.connections,
                Rc::clone(&seen),
            ));
        }
        let errors = super::outcome(tasks).await;
        print(&seen.borrow(), clock::now() - start, &errors);
        Ok(())
    }
}

async fn connection(target: Target, requests: usize, seen: Rc<RefCell<Seen>>) -> io::Result<()> {
    let mut stream = net::connect(target.to).await?;
    let request = target.request(false);
    for _ in 0..requests {
        let mut reader = Reader::new(&seen);
        stream.write_all(&request).await?;
        reader.read_answer(&stream).await?;
    }
    Ok(())
}
