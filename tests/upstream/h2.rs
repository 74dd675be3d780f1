//! HTTP/2 through the `h2` crate, playing the same steps. Each stream is watched for `RST_STREAM`, the
//! connection for its end.

use std::{future::poll_fn, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};

use super::{Event, Framing, How, Seen, Stage, Step, script::MOMENT};

/// Answers streams until a script or the peer ends the connection.
pub async fn serve<S>(stream: S, connection: usize, stage: Stage)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut incoming) = h2::server::handshake(stream).await else { return };
    let over = Arc::new(Notify::new());
    let mut streams = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = incoming.accept() => accepted,
            () = over.notified() => {
                // The connection writes its queued frames only while it is polled.
                let _ = tokio::time::timeout(MOMENT, incoming.accept()).await;
                return;
            }
        };
        match accepted {
            Some(Ok((request, respond))) => {
                streams.spawn(answer(request, respond, connection, stage.clone(), Arc::clone(&over)));
            }
            Some(Err(_)) | None => {
                stage.log.push(Event::Gone {
                    connection,
                    request: None,
                    how: How::Closed,
                    at: Instant::now(),
                });
                // Each stream sees the end of the connection, and reports its request.
                while streams.join_next().await.is_some() {}
                return;
            }
        }
    }
}

async fn answer(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    stage: Stage,
    over: Arc<Notify>,
) {
    let Some(seen) = read(request, connection).await else { return };
    let (number, steps) = stage.steps(seen);
    match play(&mut respond, steps, &stage, &over).await {
        Ok(()) => stage.log.push(Event::Played { request: number }),
        Err(how) => {
            stage.log.push(Event::Gone { connection, request: Some(number), how, at: Instant::now() });
        }
    }
}

async fn read(request: http::Request<RecvStream>, connection: usize) -> Option<Seen> {
    let (head, mut stream) = request.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data.ok()?;
        stream.flow_control().release_capacity(data.len()).ok()?;
        body.extend_from_slice(&data);
    }
    let mut headers: Vec<(String, String)> = vec![(":authority".into(), head.uri.authority()?.to_string())];
    for (name, value) in &head.headers {
        headers.push((name.to_string(), value.to_str().expect("a header in ASCII").to_owned()));
    }
    let (method, target) = (head.method.to_string(), head.uri.path_and_query()?.to_string());
    Some(Seen { connection, method, target, headers, body: body.freeze(), raw: Bytes::new() })
}

async fn play(
    respond: &mut SendResponse<Bytes>,
    steps: Vec<Step>,
    stage: &Stage,
    over: &Notify,
) -> Result<(), How> {
    let mut sender = None;
    let mut sent = 0;
    stage.log.delivered.send_replace(0);
    for step in steps {
        match step {
            Step::Head { status, headers, framing } => {
                let head = respond.send_response(head(status, &headers, framing), false);
                sender = Some(head.map_err(|_| How::Closed)?);
            }
            Step::Body(bytes) => {
                sent += bytes.len() as u64;
                send(sender.as_mut().expect("a head before a body"), bytes, stage).await?;
            }
            Step::End => sender
                .as_mut()
                .expect("a head before an end")
                .send_data(Bytes::new(), true)
                .map_err(|_| How::Closed)?,
            Step::Raw(..) => panic!("raw bytes are for HTTP/1.1"),
            Step::Delivered => {
                if !watched(respond, &mut sender, stage.log.all_delivered(sent)).await? {
                    respond.send_reset(Reason::INTERNAL_ERROR);
                }
            }
            Step::Moment => watched(respond, &mut sender, tokio::time::sleep(MOMENT)).await?,
            Step::Wait(gate) => watched(respond, &mut sender, gate.passed()).await?,
            Step::Stall => watched(respond, &mut sender, std::future::pending()).await?,
            reset @ (Step::Reset | Step::Cancel) => {
                let is_cancel = matches!(reset, Step::Cancel);
                let reason = if is_cancel { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
                match &mut sender {
                    Some(sender) => sender.send_reset(reason),
                    None => respond.send_reset(reason),
                }
            }
            Step::Close => {
                over.notify_one();
                return Ok(());
            }
        }
    }
    Ok(())
}

fn head(status: u16, headers: &[(String, String)], framing: Framing) -> http::Response<()> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    if let Framing::Length(length) = framing {
        response = response.header("content-length", length);
    }
    response.body(()).unwrap()
}

/// Waits for `future`, or for the peer to reset the stream.
async fn watched<T>(
    respond: &mut SendResponse<Bytes>,
    sender: &mut Option<SendStream<Bytes>>,
    future: impl Future<Output = T>,
) -> Result<T, How> {
    let reset = poll_fn(|cx| match sender {
        Some(sender) => sender.poll_reset(cx),
        None => respond.poll_reset(cx),
    });
    tokio::select! {
        done = future => Ok(done),
        reset = reset => Err(reset.map_or(How::Closed, How::Stream)),
    }
}

/// Sends as the peer's windows allow, counting payload as it is accepted.
async fn send(sender: &mut SendStream<Bytes>, mut bytes: Bytes, stage: &Stage) -> Result<(), How> {
    while !bytes.is_empty() {
        sender.reserve_capacity(bytes.len());
        let capacity = poll_fn(|cx| {
            if let std::task::Poll::Ready(reset) = sender.poll_reset(cx) {
                return std::task::Poll::Ready(Err(reset.map_or(How::Closed, How::Stream)));
            }
            sender.poll_capacity(cx).map(|capacity| match capacity {
                Some(Ok(capacity)) => Ok(capacity),
                Some(Err(_)) | None => Err(How::Closed),
            })
        })
        .await?;
        let piece = bytes.split_to(capacity.min(bytes.len()));
        stage.log.wrote(piece.len());
        sender.send_data(piece, false).map_err(|_| How::Closed)?;
    }
    Ok(())
}
