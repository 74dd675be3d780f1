//! The exporter of traces: a background task that posts batches of spans to a collector, by OTLP over HTTP.
//! It runs only if traces are configured. A batch that the collector refuses for the moment is repeated a
//! few times, as OTLP says; spans that it does not accept are lost and counted; an outage is logged when it
//! begins and when it ends. Invariant: it waits for the collector only, never the other way round.
//!
//! opentelemetry-otlp 0.33.1 does not replace this. With opentelemetry_sdk's batch processor it starts a
//! thread of its own, panics if there is none, and keeps the count of dropped spans to itself
//! (`span_processor.rs`); spans of a failed export are not counted at all, while `thalweg_spans_lost_total`
//! counts both. It sends through an HTTP client that must be `Send` and `Sync`, which the pools of `upstream`
//! are not, so it would bring a second one (reqwest), with a second set of TLS settings. In all it adds some
//! forty packages to the lock file.

use std::{
    io,
    time::{Duration, SystemTime},
};

use http::Method;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::background::{Background, BackgroundTask};
use crate::{
    base::{ByteList, DeadlineKind, Episode, HeaderFields},
    config::OtelSettings,
    relay::collect,
    routing::retry_after,
    telemetry::{
        WorkerGauges,
        otlp::{self, LostSpans, OtlpEncoding, Span, SpanSender},
    },
    upstream::{Deadline, JSON, PoolSettings, Request, SharedPools, Upstream},
};

/// Spans of one request to the collector.
const MAX_BATCH: usize = 512;
/// How long more spans are waited for before a batch is sent, and the pause after a failed one.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Repetitions of a batch that the collector refuses for the moment.
const MAX_REPEATS: u32 = 3;
/// The longest pause before one, whatever the collector asks for: spans wait in bounded memory meanwhile.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How soon a pause notices that the process ends.
const END_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// For the collector's whole response.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// For all that waits when the process ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of the collector's response.
const MAX_RESPONSE: u64 = 64 * 1024;

/// Starts the exporter; it ends when all senders are dropped and the last batch was sent. `None`: no traces.
pub(super) fn start(
    settings: Option<&OtelSettings>,
    lost: &LostSpans,
    background: &Background,
) -> io::Result<Option<(SpanSender, BackgroundTask)>> {
    let Some(settings) = settings.cloned() else { return Ok(None) };
    let (sender, spans) = SpanSender::open(lost.clone());
    let lost = lost.clone();
    let task = background.spawn("traces", move || export(spans, settings, lost))?;
    Ok(Some((sender, task)))
}

async fn export(mut spans: Receiver<Span>, settings: OtelSettings, lost: LostSpans) {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let (mut batch, mut outage, mut end) = (Vec::new(), Episode::new(), None);
    while spans.recv_many(&mut batch, MAX_BATCH).await > 0 {
        if !spans.is_closed() && batch.len() < MAX_BATCH {
            // Ends early when the senders are gone, so that the end of the process does not wait for it.
            let rest = async {
                while batch.len() < MAX_BATCH && spans.recv_many(&mut batch, MAX_BATCH).await > 0 {}
            };
            let _ = timeout(BATCH_INTERVAL, rest).await;
        }
        let delivery = deliver(&upstream, &settings, &batch, &spans);
        let outcome = if spans.is_closed() {
            let end = *end.get_or_insert_with(|| Instant::now() + STOP_TIMEOUT);
            timeout_at(end, delivery).await.unwrap_or_else(|_| Err(ExportError::too_late()))
        } else {
            delivery.await
        };
        match &outcome {
            Err(ExportError { reason: error, .. }) if outage.begin() => {
                tracing::warn!(%error, lost = batch.len(), "the collector takes no traces")
            }
            Ok(()) if outage.end() => tracing::warn!(lost = lost.read(), "the collector takes traces again"),
            Err(_) | Ok(()) => {}
        }
        if outage.holds() {
            lost.add(batch.len());
            sleep(if spans.is_closed() { Duration::ZERO } else { BATCH_INTERVAL }).await;
        }
        batch.clear();
    }
}

/// Why a batch was not accepted.
struct ExportError {
    reason: String,
    /// The same batch may be accepted later, after this pause if the collector names one.
    repeats_after: Option<Option<Duration>>,
}

impl ExportError {
    fn too_late() -> Self {
        Self { reason: "it was too slow for the end of the process".to_owned(), repeats_after: None }
    }
}

/// Sends a batch, and repeats it while the collector asks for that. A pause ends with the process.
async fn deliver(
    upstream: &Upstream,
    settings: &OtelSettings,
    batch: &[Span],
    spans: &Receiver<Span>,
) -> Result<(), ExportError> {
    let mut pause = BATCH_INTERVAL;
    for _ in 0..MAX_REPEATS {
        match send(upstream, settings, batch).await {
            Err(ExportError { repeats_after: Some(requested), .. }) if !spans.is_closed() => {
                let end = async {
                    while !spans.is_closed() {
                        sleep(END_CHECK_INTERVAL).await;
                    }
                };
                let _ = timeout(requested.unwrap_or(pause).min(MAX_PAUSE), end).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    send(upstream, settings, batch).await
}

async fn send(upstream: &Upstream, settings: &OtelSettings, batch: &[Span]) -> Result<(), ExportError> {
    let (accept, content_type) = match settings.encoding {
        OtlpEncoding::Protobuf => ("application/x-protobuf", &b"application/x-protobuf"[..]),
        OtlpEncoding::Json => ("application/json", JSON),
    };
    let headers = HeaderFields::new();
    let request =
        Request { method: Method::POST, path: "/v1/traces", headers: &headers, accept, content_type };
    let body = ByteList::from(bytes::Bytes::from(otlp::request(settings.encoding, &settings.service, batch)));
    let deadline = Deadline::new(DeadlineKind::Total, EXPORT_TIMEOUT);
    let sent = upstream.send(&settings.target, &request, body, deadline).await;
    let response =
        sent.map_err(|fault| ExportError { reason: fault.to_string(), repeats_after: Some(None) })?;
    let status = response.status;
    // Those that OTLP says to repeat.
    let repeats_after = matches!(status.as_u16(), 429 | 502 | 503 | 504)
        .then(|| retry_after::from_response(&response.headers, b"", false, SystemTime::now()));
    // Read to its end, because only then the connection is reused.
    let _ = timeout_at(deadline.at, collect::collect(response.body, ByteList::new(), MAX_RESPONSE)).await;
    if status.is_success() {
        Ok(())
    } else {
        Err(ExportError { reason: format!("it answered {status}"), repeats_after })
    }
}
