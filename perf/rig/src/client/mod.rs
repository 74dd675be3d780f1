//! The measuring side: opens streams, sends short requests or holds streams open, and prints what it saw as one JSON
//! object on one line. It counts only what it verified: an answer that is not 200, or that ends early, is an error.

mod answer;
mod hold;
mod reader;
mod report;
mod requests;
mod streams;

use std::{io, net::SocketAddr};

use tokio::task::JoinSet;

#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The proxy, or the emulator itself for the direct leg.
    #[arg(long)]
    to: SocketAddr,
    /// Sent as bearer token; only thalweg looks at it.
    #[arg(long, default_value = "sk-rig")]
    key: String,
}

#[derive(clap::Subcommand)]
pub enum Load {
    /// N streams at once, read to their ends; the age of each event when it arrives.
    Streams(streams::Streams),
    /// Short non-streamed requests over connections that are kept.
    Requests(requests::Requests),
    /// N streams held open until standard input ends.
    Hold(hold::Hold),
}

pub async fn run(load: Load) -> io::Result<()> {
    match load {
        Load::Streams(streams) => streams.run().await,
        Load::Requests(requests) => requests.run().await,
        Load::Hold(hold) => hold.run().await,
    }
}

/// Waits for all connections; the errors of those that failed.
async fn outcome(mut tasks: JoinSet<io::Result<()>>) -> Vec<String> {
    let mut errors = Vec::new();
    while let Some(result) = tasks.join_next().await {
        if let Err(error) = result.map_err(io::Error::other).flatten() {
            errors.push(error.to_string());
        }
    }
    errors
}

impl Target {
    fn request(&self, stream: bool) -> Vec<u8> {
        let body = format!(
            concat!(
                r#"{{"model":"rig-model","messages":[{{"role":"system","content":"You are a helpful assistant. Answer briefly."}},"#,
                r#"{{"role":"user","content":"What is the line of fastest flow along a river bed called, and \"why\"?"}}],"#,
                r#""temperature":0.7,"max_tokens":256,"stream":{}}}"#
            ),
            stream
        );
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: */*\r\nuser-agent: rig\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.to,
            self.key,
            body.len()
        )
        .into_bytes()
    }
}
