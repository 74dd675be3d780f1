//! HTTP/1.1 by hand: heads are rendered before, an event is one chunk in one write.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{COMPLETION, ERROR, Workload, asks_for_stream, pace::Phases};
use crate::event;

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Answers the requests of one connection, in order, until the peer leaves.
pub async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    workload: Workload,
    phases: Phases,
) -> io::Result<()> {
    let completion = whole(200, COMPLETION);
    let failure = whole(workload.error.unwrap_or(500), ERROR);
    let mut unread = Vec::with_capacity(4096);
    loop {
        let Some(length) = request_length(&unread) else {
            if stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let streams = asks_for_stream(&unread[..length]);
        unread.drain(..length);
        if workload.delay_us > 0 {
            tokio::time::sleep(Duration::from_micros(workload.delay_us)).await;
        }
        if workload.error.is_some() {
            stream.write_all(&failure).await?;
        } else if streams {
            send_events(&mut stream, workload, &phases).await?;
        } else {
            stream.write_all(&completion).await?;
        }
    }
}

fn whole(status: u16, body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Bytes of the first request in `bytes`, head and body; `None` when it is not all there. The rig's clients
/// and the proxies under test all send Content-Length.
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

async fn send_events(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    workload: Workload,
    phases: &Phases,
) -> io::Result<()> {
    let mut event = workload.event();
    stream.write_all(&[STREAM_HEAD, event.chunk_now()].concat()).await?;
    stream.flush().await?;
    let mut pace = phases.start(workload);
    for _ in 1..workload.events {
        pace.wait().await;
        stream.write_all(event.chunk_now()).await?;
        stream.flush().await?;
    }
    if workload.silent {
        return stream.read_u8().await.map(drop);
    }
    let last_event = event::chunk(workload.end());
    stream.write_all(&[&last_event, LAST_CHUNK].concat()).await?;
    stream.flush().await
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
}
