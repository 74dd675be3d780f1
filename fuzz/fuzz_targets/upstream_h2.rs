//! Responses over HTTP/2 from a provider that sends any frames: nothing panics and nothing waits for ever; a
//! body that ends well is all that a stream's frames hold, with its END_STREAM and its announced length, and
//! a broken one is the start of that. Time is the runtime's own and passes as soon as all wait. Input: the
//! requests, the provider's windows and end, then its frames.
#![no_main]

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use thalweg::{
    base::{ByteList, DeadlineKind, HeaderFields},
    telemetry::WorkerGauges,
    upstream::{BaseUrl, Deadline, JSON, PoolSettings, Protocol, Request, SharedPools, Target, Upstream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
    time::{Sleep, sleep, timeout},
};

#[path = "../frames.rs"]
mod frames;

use frames::{Input, Step};

const PREFACE: usize = 24;
/// More reads than this are a loop without an end.
const MAX_READS: usize = 200_000;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);

fuzz_target!(|input: &[u8]| {
    let run = run(input.to_vec());
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build_local(LocalOptions::default());
    // In a task, which takes turns with the connection's as in the gateway.
    runtime.expect("a runtime").block_on(async { spawn_local(run).await.expect("no panic") });
});

/// One request, and how its response is read.
struct Exchange {
    body: usize,
    /// The body is dropped after so many frames.
    frames: usize,
    pause: Duration,
}

impl Exchange {
    fn new(input: &mut Input<'_>) -> Self {
        let body = input.length();
        let kind = input.byte();
        let frames = if kind & 3 == 3 { usize::from(kind >> 4) } else { usize::MAX };
        let pause = if kind & 12 == 12 { Duration::from_millis(1 << (kind >> 4)) } else { Duration::ZERO };
        Self { body, frames, pause }
    }
}

/// A response that was read.
#[derive(Debug)]
struct Read {
    status: StatusCode,
    length: Option<usize>,
    body: Vec<u8>,
    is_whole: bool,
}

async fn run(input: Vec<u8>) {
    let input = &mut Input(&input);
    let kind = input.byte();
    let exchanges: Vec<Exchange> = (0..=kind % 3).map(|_| Exchange::new(input)).collect();
    let writable = if kind & 4 == 0 { usize::MAX } else { PREFACE + input.length() * 16 };
    let wire = Rc::new(RefCell::new(Wire {
        steps: VecDeque::new(),
        is_silent: kind & 8 == 0,
        answers_pings: kind & 16 == 0,
        writable,
        ..Wire::default()
    }));
    wire.borrow_mut().awaited = exchanges.len();
    wire.borrow_mut().steps.extend(frames::steps(input));
    let base = BaseUrl::parse("http://127.0.0.1:1").expect("a base URL");
    // A request that may be repeated finds no other connection.
    let target =
        Target { protocol: Protocol::Http2, connect_timeout: Duration::ZERO, ..Target::plain("fuzz", base) };
    let gauges = WorkerGauges::default();
    let http2_ping = (kind & 32 != 0).then_some(Duration::from_secs(20));
    let settings = PoolSettings { http2_ping, ..PoolSettings::default() };
    let upstream = Upstream::new(SharedPools::default(), settings, gauges.clone());
    if upstream.adopt(&target, Transport(Rc::clone(&wire), None)).await.is_err() {
        return;
    }
    let exchange = async |at: usize| read(&upstream, &target, exchanges.get(at)?).await;
    let (one, two, three) = tokio::join!(exchange(0), exchange(1), exchange(2));
    let sent = frames::payloads(&wire.borrow().delivered);
    for read in [one, two, three].into_iter().flatten() {
        let is_source = |stream: &frames::Sent| {
            if read.is_whole { stream.has_ended && stream.payload == read.body } else { stream.payload.starts_with(&read.body) }
        };
        assert!(sent.values().any(is_source), "{read:?} of {sent:?}");
        let has_body = ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&read.status);
        if let Some(length) = read.length.filter(|_| read.is_whole && has_body) {
            assert_eq!(read.body.len(), length);
        }
    }
    assert_eq!(gauges.upstream_active.read(), 0, "a connection in use without a request");
}

/// The response, as far as it came. `None`: there was no head.
async fn read(upstream: &Upstream, target: &Target, exchange: &Exchange) -> Option<Read> {
    let mut body = ByteList::new();
    if exchange.body > 0 {
        body.push(Bytes::from(vec![b'x'; exchange.body]));
    }
    let headers = HeaderFields::new();
    let request =
        Request { method: Method::POST, path: "/chat", headers: &headers, accept: "*/*", content_type: JSON };
    let deadline = Deadline::new(DeadlineKind::Total, HEAD_TIMEOUT);
    let mut response = timeout(2 * HEAD_TIMEOUT, upstream.send(target, &request, body, deadline))
        .await
        .expect("a head or a fault in time")
        .ok()?;
    let length = response.headers.text("content-length").and_then(|length| length.parse().ok());
    let mut read = Read { status: response.status, length, body: Vec::new(), is_whole: false };
    for _ in 0..exchange.frames {
        match timeout(FRAME_TIMEOUT, poll_fn(|cx| response.body.poll_frame(cx))).await {
            Ok(Some(Ok(frame))) => {
                assert!(!frame.is_empty());
                read.body.extend_from_slice(&frame);
            }
            Ok(end) => {
                read.is_whole = end.is_none();
                assert!(response.body.is_done());
                assert!(poll_fn(|cx| response.body.poll_frame(cx)).await.is_none(), "nothing after the end");
                break;
            }
            // The provider is silent.
            Err(_) => break,
        }
        if !exchange.pause.is_zero() {
            sleep(exchange.pause).await;
        }
    }
    Some(read)
}

#[derive(Default)]
struct Wire {
    steps: VecDeque<Step>,
    /// After its steps the provider sends nothing; otherwise it closes.
    is_silent: bool,
    answers_pings: bool,
    /// Bytes that the provider reads.
    writable: usize,
    /// Heads of requests to come before the first step.
    awaited: usize,
    reader: Option<Waker>,
    delivered: Vec<u8>,
    unparsed: Vec<u8>,
    written: usize,
    reads: usize,
}

impl Wire {
    /// Reads the client's frames.
    fn parse(&mut self) {
        let (frames, length) = frames::parse(&self.unparsed);
        for (kind, flags, _, payload) in frames {
            if kind == frames::HEADERS {
                self.awaited = self.awaited.saturating_sub(1);
            }
            if kind == frames::PING && flags & frames::ACK == 0 && self.answers_pings {
                self.steps.push_front(Step::Bytes(frames::acknowledgement(payload)));
            }
        }
        self.unparsed.drain(..length);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

struct Transport(Rc<RefCell<Wire>>, Option<Pin<Box<Sleep>>>);

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self(wire, pause) = &mut *self;
        let mut wire = wire.borrow_mut();
        wire.reads += 1;
        assert!(wire.reads < MAX_READS, "it reads without an end");
        loop {
            if let Some(sleep) = pause {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *pause = None;
            }
            let step = if wire.awaited > 0 { None } else { wire.steps.pop_front() };
            match step {
                Some(Step::Wait(time)) => *pause = Some(Box::pin(sleep(time))),
                Some(Step::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Step::Bytes(mut bytes)) => {
                    let rest = bytes.split_off(bytes.len().min(into.remaining()));
                    if !rest.is_empty() {
                        wire.steps.push_front(Step::Bytes(rest));
                    }
                    wire.delivered.extend_from_slice(&bytes);
                    into.put_slice(&bytes);
                    return Poll::Ready(Ok(()));
                }
                None if wire.awaited > 0 || wire.is_silent => {
                    wire.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        let length = bytes.len().min(wire.writable.saturating_sub(wire.written));
        if length == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        let preface = PREFACE.saturating_sub(wire.written).min(length);
        wire.written += length;
        wire.unparsed.extend_from_slice(&bytes[preface..length]);
        wire.parse();
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
