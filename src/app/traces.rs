//! The exporter of traces: batches to a collector by OTLP over HTTP, in JSON. A thread of its own, which only runs where
//! traces are configured. What a collector does not take is lost and counted; it is told once per outage.

use std::{io, thread::JoinHandle, time::Duration};

use http::{HeaderMap, Method};
use tokio::{
    sync::mpsc::Receiver,
    time::{sleep, timeout, timeout_at},
};

use super::worker;
use crate::{
    base::{ByteList, DeadlineKind},
    config::OtelSettings,
    relay::collect,
    telemetry::{
        WorkerGauges,
        otlp::{self, LostSpans, Span, SpanSender},
    },
    upstream::{Deadline, PoolSettings, Request, SharedPools, Upstream},
};

/// Spans of one request.
const BATCH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take, and how long the last batches may when the process ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a collector's answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// Starts the exporter; it ends when nobody holds the queue any more.
pub(super) fn start(settings: OtelSettings, lost: LostSpans) -> io::Result<(SpanSender, JoinHandle<()>)> {
    let (queue, spans) = SpanSender::open(lost.clone());
    let thread =
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || match worker::runtime() {
            Ok(runtime) => runtime.block_on(export(spans, settings, lost)),
            Err(error) => tracing::error!(%error, "no runtime for traces"),
        })?;
    Ok((queue, thread))
}

async fn export(mut spans: Receiver<Span>, settings: OtelSettings, lost: LostSpans) {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let (mut batch, mut down) = (Vec::new(), false);
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        if !spans.is_closed() && batch.len() < BATCH {
            // What comes within the next moment goes along; an end of the process is not waited out.
            let rest = async { while batch.len() < BATCH && spans.recv_many(&mut batch, BATCH).await > 0 {} };
            let _ = timeout(GATHER, rest).await;
        }
        let outcome = send(&upstream, &settings, &batch).await;
        match &outcome {
            Err(error) if !down => {
                tracing::warn!(%error, lost = batch.len(), "the collector takes no traces")
            }
            Ok(()) if down => tracing::warn!(lost = lost.read(), "the collector takes traces again"),
            Err(_) | Ok(()) => {}
        }
        down = outcome.is_err();
        if down {
            lost.add(batch.len());
            sleep(if spans.is_closed() { Duration::ZERO } else { GATHER }).await;
        }
        batch.clear();
    }
}

async fn send(upstream: &Upstream, settings: &OtelSettings, batch: &[Span]) -> Result<(), String> {
    let headers = HeaderMap::new();
    let request =
        Request { method: Method::POST, path: "/v1/traces", headers: &headers, accept: "application/json" };
    let body = ByteList::from(bytes::Bytes::from(otlp::request(&settings.service, batch)));
    let deadline = Deadline::new(DeadlineKind::Total, PATIENCE);
    let sent = upstream.send(&settings.target, &request, body, deadline).await;
    let response = sent.map_err(|fault| fault.to_string())?;
    let status = response.status;
    // Read to its end, so that the connection can be used again.
    let _ = timeout_at(deadline.at, collect::collect(response.body, ByteList::new(), MAX_ANSWER)).await;
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}
