//! HTTP/2: an event is one DATA frame. Flow control is left to the h2 crate, whose queue a flood would fill;
//! floods are for HTTP/1.1.

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{COMPLETION, Workload, asks_for_stream, pace::Phases};
use crate::net;

pub async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    workload: Workload,
    phases: Phases,
) -> Result<(), h2::Error> {
    let mut connection =
        h2::server::Builder::new().max_concurrent_streams(1024).handshake::<_, Bytes>(stream).await?;
    while let Some(asked) = connection.accept().await {
        let (request, respond) = asked?;
        let phases = phases.clone();
        net::serve(
            async move { answer(request, respond, workload, phases).await.map_err(std::io::Error::other) },
        );
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    workload: Workload,
    phases: Phases,
) -> Result<(), h2::Error> {
    let streams = asks_for_stream(&whole(request.into_body()).await?);
    let media_type = if streams { "text/event-stream" } else { "application/json" };
    let mut head = Response::new(());
    head.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    let mut body = respond.send_response(head, false)?;
    if streams {
        send_events(&mut body, workload, &phases).await
    } else {
        body.send_data(Bytes::from_static(COMPLETION.as_bytes()), true)
    }
}

async fn whole(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn send_events(
    body: &mut SendStream<Bytes>,
    workload: Workload,
    phases: &Phases,
) -> Result<(), h2::Error> {
    let mut event = workload.event();
    body.send_data(Bytes::copy_from_slice(event.data_now()), false)?;
    let mut pace = phases.start(workload);
    for _ in 1..workload.events {
        pace.wait().await;
        body.send_data(Bytes::copy_from_slice(event.data_now()), false)?;
    }
    body.send_data(Bytes::from_static(workload.end()), true)
}
