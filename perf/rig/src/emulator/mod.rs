//! The provider of a measurement, as cheap as it can be made, so that it costs less than anything it feeds. A
//! request is read to its end and answered by the workload of the command line: a stream of events at a pace,
//! or as fast as they go, when its body says `"stream":true`, else one small completion. One write per event,
//! the head with the first.
//!
//! `http1` by hand; `http2` on h2; `tls` around either; `pace` says when the next event is due.

mod http1;
mod http2;
mod pace;
mod tls;

use std::{io, path::PathBuf};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    event::{self, Event},
    net,
};
use pace::Phases;

#[derive(Clone, Debug, clap::Args)]
pub struct Provider {
    #[command(flatten)]
    workload: Workload,
    /// Listen here: where one that was stopped is to be found again.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Speak HTTP/2 by prior knowledge.
    #[arg(long)]
    http2: bool,
    /// Speak TLS with this certificate, a PEM file.
    #[arg(long, requires = "private_key")]
    certificate: Option<PathBuf>,
    #[arg(long, requires = "certificate")]
    private_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Workload {
    /// Events of a stream, the first of them with the head.
    #[arg(long, default_value_t = 1)]
    events: u32,
    /// Time between two events of a stream; 0: as fast as they go.
    #[arg(long, default_value_t = 0)]
    interval_us: u64,
    /// Bytes of an event.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Write the time into the event's text, which a translation keeps, and end with a reason and usage.
    #[arg(long)]
    stamp_text: bool,
    /// Fall silent after the events instead of ending the stream.
    #[arg(long)]
    silent: bool,
    /// Time before an answer's head.
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
    /// Answer with this status and an error instead (HTTP/1.1).
    #[arg(long)]
    error: Option<u16>,
}

impl Workload {
    fn event(&self) -> Event {
        if self.stamp_text { Event::of_text_size(self.size) } else { Event::of_size(self.size) }
    }

    const fn end(&self) -> &'static [u8] {
        if self.stamp_text { event::REASONED_END } else { event::END }
    }
}

const COMPLETION: &str = concat!(
    r#"{"id":"chatcmpl-rig","object":"chat.completion","created":1750000000,"model":"rig-model","choices":[{"index":0,"#,
    r#""message":{"role":"assistant","content":"The thalweg is the line of fastest flow along a river bed.","refusal":null},"#,
    r#""logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":14,"total_tokens":33}}"#
);
const ERROR: &str =
    r#"{"error":{"message":"The rig was told to fail.","type":"server_error","param":null,"code":null}}"#;
const STREAM_FIELD: &[u8] = br#""stream":true"#;

pub async fn serve(provider: Provider) -> io::Result<()> {
    let files = provider.certificate.zip(provider.private_key);
    let acceptor = files.map(|(certificate, key)| tls::acceptor(&certificate, &key)).transpose()?;
    let listener = net::listen(provider.port)?;
    let phases = Phases::default();
    loop {
        let stream = net::accept(&listener).await?;
        let (workload, phases) = (provider.workload, phases.clone());
        match acceptor.clone() {
            Some(acceptor) => net::serve(async move {
                converse(acceptor.accept(stream).await?, provider.http2, workload, phases).await
            }),
            None => net::serve(converse(stream, provider.http2, workload, phases)),
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    http2: bool,
    workload: Workload,
    phases: Phases,
) -> io::Result<()> {
    if http2 {
        http2::converse(stream, workload, phases).await.map_err(io::Error::other)
    } else {
        http1::converse(stream, workload, phases).await
    }
}

fn asks_for_stream(request: &[u8]) -> bool {
    memmem::find(request, STREAM_FIELD).is_some()
}
