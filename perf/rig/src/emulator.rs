//! The provider of a measurement: minimal HTTP/1.1 by hand, so that it costs less than anything it feeds. A request is
//! read to its end and answered by the workload of the command line: a stream of events at a pace, or as fast as they
//! go, when its body says `"stream":true`, else one small completion. One write per event, the head with the first.

use std::{io, time::Duration};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::{
    event::{self, Event},
    net,
};

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
    /// Fall silent after the events instead of ending the stream.
    #[arg(long)]
    silent: bool,
}

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
const COMPLETION: &[u8] = concat!(
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 339\r\n\r\n",
    r#"{"id":"chatcmpl-rig","object":"chat.completion","created":1750000000,"model":"rig-model","choices":[{"index":0,"#,
    r#""message":{"role":"assistant","content":"The thalweg is the line of fastest flow along a river bed.","refusal":null},"#,
    r#""logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":14,"total_tokens":33}}"#
)
.as_bytes();
const STREAM_FIELD: &[u8] = br#""stream":true"#;
/// The golden ratio's fraction of 2^32: successive multiples of it spread streams evenly over an interval.
const SPREAD: u32 = 2_654_435_769;

pub async fn serve(workload: Workload) -> io::Result<()> {
    let listener = net::listen()?;
    let mut number: u32 = 0;
    loop {
        let stream = net::accept(&listener).await?;
        number = number.wrapping_add(1);
        net::serve(converse(stream, workload, number.wrapping_mul(SPREAD)));
    }
}

/// Answers the requests of one connection, in order, until the peer leaves.
async fn converse(mut stream: TcpStream, workload: Workload, phase: u32) -> io::Result<()> {
    let mut unread = Vec::with_capacity(4096);
    loop {
        let Some(length) = request_length(&unread) else {
            if stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let streams = memmem::find(&unread[..length], STREAM_FIELD).is_some();
        unread.drain(..length);
        if streams {
            send_events(&mut stream, workload, phase).await?;
        } else {
            stream.write_all(COMPLETION).await?;
        }
    }
}

/// Bytes of the first request in `bytes`, head and body; `None` when it is not all there. The rig's clients and the
/// proxies under test all send Content-Length.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    let body = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok())
        .unwrap_or(0);
    Some(head + body).filter(|length| *length <= bytes.len())
}

async fn send_events(stream: &mut TcpStream, workload: Workload, phase: u32) -> io::Result<()> {
    let mut event = Event::of_size(workload.size);
    let mut first = STREAM_HEAD.to_vec();
    first.extend_from_slice(event.chunk_now());
    stream.write_all(&first).await?;
    let interval = Duration::from_micros(workload.interval_us);
    let mut due = Instant::now() + interval.mul_f64(f64::from(phase) / f64::from(u32::MAX));
    for _ in 1..workload.events {
        if workload.interval_us > 0 {
            due += interval;
            tokio::time::sleep_until(due).await;
        } else {
            // One event of each stream in turn: no stream gathers a burst that a proxy could read at once.
            tokio::task::yield_now().await;
        }
        stream.write_all(event.chunk_now()).await?;
    }
    if workload.silent {
        return stream.read_u8().await.map(drop);
    }
    let mut last = format!("{:x}\r\n", event::END.len()).into_bytes();
    last.extend_from_slice(event::END);
    last.extend_from_slice(b"\r\n");
    last.extend_from_slice(event::LAST_CHUNK);
    stream.write_all(&last).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_complete_with_its_body() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        assert_eq!(request_length(request), Some(request.len() - 3));
        assert_eq!(request_length(&request[..request.len() - 4]), None);
    }

    #[test]
    fn the_completion_is_as_long_as_it_says() {
        let head = memmem::find(COMPLETION, b"\r\n\r\n").unwrap() + 4;
        assert_eq!(COMPLETION.len() - head, 339);
    }
}
