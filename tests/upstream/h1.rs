//! HTTP/1.1 by hand: reads requests strictly and as raw bytes, plays steps as raw bytes. Watches the
//! connection all the time, so that a close is seen at once, whatever the script does.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::{Event, Framing, How, Seen, Stage, Step, script::MOMENT};

/// The state of the connection after a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
    Reset,
}

/// Answers requests until a script or the peer ends the connection.
pub async fn serve<S>(stream: S, linger: socket2::Socket, connection: usize, stage: Stage)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut buffer = BytesMut::new();
    loop {
        let seen = match request(&mut reader, &mut buffer, connection).await {
            Ok(seen) => seen,
            Err(how) => {
                stage.log.push(Event::Gone { connection, request: None, how, at: Instant::now() });
                return;
            }
        };
        let (number, steps) = stage.steps(seen);
        let after = tokio::select! {
            after = play(&mut writer, steps, &stage) => after,
            how = departure(&mut reader, &mut buffer) => {
                stage.log.push(Event::Gone { connection, request: Some(number), how, at: Instant::now() });
                return;
            }
        };
        stage.log.push(Event::Played { request: number });
        match after {
            After::Keep => {}
            After::Close => {
                let _ = writer.shutdown().await;
                return;
            }
            After::Reset => {
                linger.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    }
}

async fn play<S: AsyncWrite>(writer: &mut WriteHalf<S>, steps: Vec<Step>, stage: &Stage) -> After {
    let mut framing = Framing::UntilClose;
    let mut sent = 0;
    stage.log.delivered.send_replace(0);
    for step in steps {
        let (bytes, payload) = match step {
            Step::Head { status, headers, framing: told } => {
                framing = told;
                (head(status, &headers, told), 0)
            }
            Step::Body(bytes) if framing == Framing::Chunked => (chunk(&bytes), bytes.len()),
            Step::Body(bytes) => (bytes.clone(), bytes.len()),
            Step::Raw(bytes, payload) => (bytes, payload),
            Step::End => match framing {
                Framing::Chunked => (Bytes::from_static(b"0\r\n\r\n"), 0),
                Framing::Length(_) => return After::Keep,
                Framing::UntilClose => return After::Close,
            },
            Step::Delivered => {
                if !stage.log.all_delivered(sent).await {
                    return After::Reset;
                }
                continue;
            }
            Step::Moment => {
                tokio::time::sleep(MOMENT).await;
                continue;
            }
            Step::Wait(gate) => {
                gate.passed().await;
                continue;
            }
            Step::Stall => std::future::pending().await,
            Step::Reset | Step::Cancel => return After::Reset,
            Step::Close => return After::Close,
        };
        if write(writer, bytes, payload, stage).await.is_err() {
            // The watcher sees the peer leave and reports how.
            std::future::pending::<()>().await;
        }
        sent += payload as u64;
    }
    After::Keep
}

/// Writes all bytes, counting payload as the kernel takes it.
async fn write<S: AsyncWrite>(
    writer: &mut WriteHalf<S>,
    mut bytes: Bytes,
    payload: usize,
    stage: &Stage,
) -> std::io::Result<()> {
    let mut left = payload;
    while bytes.has_remaining() {
        let taken = writer.write(&bytes).await?;
        bytes.advance(taken);
        let counted = taken.min(left);
        left -= counted;
        stage.log.wrote(counted);
    }
    writer.flush().await
}

fn head(status: u16, headers: &[(String, String)], framing: Framing) -> Bytes {
    let mut text = format!("HTTP/1.1 {status} Said By The Test\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match framing {
        Framing::Chunked => text.push_str("transfer-encoding: chunked\r\n"),
        Framing::Length(length) => text.push_str(&format!("content-length: {length}\r\n")),
        Framing::UntilClose => text.push_str("connection: close\r\n"),
    }
    text.push_str("\r\n");
    text.into()
}

/// One chunk of the chunked coding.
pub fn chunk(bytes: &[u8]) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat().into()
}

/// Waits for the peer to leave. Bytes that it sends meanwhile stay in the buffer for the next request.
async fn departure<S: AsyncRead>(reader: &mut ReadHalf<S>, buffer: &mut BytesMut) -> How {
    loop {
        match reader.read_buf(buffer).await {
            Ok(0) => return How::Closed,
            Ok(_) => {}
            Err(_) => return How::Reset,
        }
    }
}

/// Reads one request. Panics on one that a strict provider would refuse.
async fn request<S: AsyncRead>(
    reader: &mut ReadHalf<S>,
    buffer: &mut BytesMut,
    connection: usize,
) -> Result<Seen, How> {
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        fill(reader, buffer).await?;
    };
    let head = std::str::from_utf8(&buffer[..head_end - 4]).expect("a head in ASCII").to_owned();
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "a bare CR or LF in {head:?}");
    let mut lines = head.split("\r\n");
    let line: Vec<_> = lines.next().unwrap().split(' ').collect();
    let [method, target, "HTTP/1.1"] = line[..] else { panic!("not a request line: {line:?}") };
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("not a header: {line:?}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let values = |name: &str| headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name)).count();
    assert_eq!(values("transfer-encoding"), 0, "requests go upstream with their length: {head}");
    assert_eq!(values("host"), 1, "{head}");
    assert!(values("content-length") <= 1, "{head}");
    let length = headers.iter().find(|header| header.0.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, length)| length.parse().expect("a length"));
    while buffer.len() < head_end + length {
        fill(reader, buffer).await?;
    }
    let raw = buffer.split_to(head_end + length).freeze();
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Seen { connection, method, target, headers, body: raw.slice(head_end..), raw })
}

async fn fill<S: AsyncRead>(reader: &mut ReadHalf<S>, buffer: &mut BytesMut) -> Result<(), How> {
    match reader.read_buf(buffer).await {
        Ok(0) => Err(How::Closed),
        Ok(_) => Ok(()),
        Err(_) => Err(How::Reset),
    }
}
