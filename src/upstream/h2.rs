//! HTTP/2 to a provider: one connection of a worker, shared by its streams. Flow control carries
//! back-pressure through: a stream's window is given back as its frames are polled, so a client that does not
//! read holds at most one window. A frame that waits costs far more than a byte, so small frames that their
//! client does not read are joined. Invariants: a connection takes no more streams than its own window has
//! room for, so that no stream starves the others; dropping a body resets its stream at once.
//!
//! A connection may fall silent for ever without an end that could be seen. It is suspected when a request
//! has waited on it for half of its time, or was given up, and nothing came meanwhile. A suspected
//! connection takes no streams and is asked by a PING. Any byte clears it; without one it ends, and its
//! requests go to another connection.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Ping, PingPong, Reason, RecvStream, client::SendRequest};
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    deadline::Deadline,
    head::MAX_HEAD_SIZE,
    places::ClosingConnection,
    pool::{IdlePermit, InUsePermit, Pool},
};
use crate::base::{ByteList, DeadlineKind, Fault, FaultKind, HeaderFields, Sent, Stage, spawn::Tasks};

/// Streams at once on one connection, even if the provider allows more.
const MAX_STREAMS: usize = 100;
/// Bytes of one stream that its client has not read.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// h2 closes a connection when its waiting DATA frames exceed this: a frame below 256 bytes counts for the
/// bytes that it is shorter. The default is for uploads; here small frames are the normal case. Those of a
/// slow client are gathered before they are so many.
const FRAME_BUDGET: usize = 8 * 1024 * 1024;
/// Streams that were reset, whose late frames are ignored for a second (RFC 9113 section 5.1). Each late
/// frame of one that is not remembered costs a RST_STREAM. h2's default is 50, fewer than may be given up at
/// once.
const MAX_RESET_STREAMS: usize = 1024;
/// After this many bytes of a connection, frames that their clients do not read are gathered.
const GATHER_INTERVAL: usize = 32 * 1024;
/// A gathered frame that is shorter is joined with its neighbours.
const SMALL_FRAME: usize = 1024;

/// From a PING to its acknowledgement.
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// The same on a connection from which nothing came while a request waited.
const SUSPICION_TIMEOUT: Duration = Duration::from_secs(5);
/// A request that is given up earlier says nothing about its connection.
const MIN_SILENCE: Duration = Duration::from_secs(1);

/// A connection that streams share. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Connection(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    send: RefCell<SendRequest<OutgoingBody>>,
    state: Rc<H2State>,
    /// The connection takes no more streams: GOAWAY came, or enough connections are idle.
    is_leaving: Cell<bool>,
    /// Held while there are streams.
    permit: RefCell<Option<InUsePermit>>,
    opened: Instant,
    idle_since: Cell<Instant>,
    pool: Weak<Pool>,
}

/// Shared by the connection and its driver.
#[derive(Debug, Default)]
struct H2State {
    /// The driver has ended: nothing more will be sent.
    closed: Cell<bool>,
    /// It ended because the provider was silent.
    was_silent: Cell<bool>,
    streams: Cell<usize>,
    /// Reads that gave bytes.
    reads: Cell<u64>,
    /// Bytes read since frames were gathered.
    ungathered: Cell<usize>,
    /// The bodies that are being read.
    bodies: RefCell<Vec<Weak<StreamBody>>>,
    /// `reads` at the time of the suspicion, which lasts until another read.
    suspected: Cell<Option<u64>>,
    /// `reads` as of a sweep, and the first sweep that found it so.
    swept: Cell<Option<(u64, Instant)>>,
    /// How long the provider has to acknowledge the PING; notified with each suspicion.
    verdict_after: Cell<Duration>,
    suspicion: Notify,
    /// Held while there are no streams.
    idle_permit: RefCell<Option<IdlePermit>>,
    /// Another connection needs its place.
    closing: RefCell<Option<ClosingConnection>>,
    closed_at_once: Notify,
}

impl H2State {
    fn is_suspected(&self) -> bool {
        self.suspected.get() == Some(self.reads.get())
    }

    /// A suspicion has ended since the last look.
    fn is_cleared(&self) -> bool {
        let is_cleared = self.suspected.get().is_some_and(|reads| reads != self.reads.get());
        if is_cleared {
            self.suspected.set(None);
        }
        is_cleared
    }

    /// Nothing came for a while, as far as sweeps have seen it.
    fn is_silent(&self) -> bool {
        self.swept
            .get()
            .is_some_and(|(reads, since)| reads == self.reads.get() && since.elapsed() >= MIN_SILENCE)
    }

    /// Takes waiting frames out of h2, once enough bytes have come.
    fn gather(&self) {
        if self.ungathered.get() >= GATHER_INTERVAL {
            self.ungathered.set(0);
            self.bodies.borrow_mut().retain(|body| body.upgrade().inspect(|body| body.gather()).is_some());
        }
    }

    fn suspect(&self, verdict_after: Duration) {
        if !self.is_suspected() {
            self.suspected.set(Some(self.reads.get()));
            self.verdict_after.set(verdict_after);
            self.suspicion.notify_one();
        }
    }
}

/// The socket, whose reads are counted. It gives no more than `GATHER_INTERVAL` bytes at once.
struct CountedIo<T> {
    io: T,
    state: Rc<H2State>,
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.state.ungathered.get() >= GATHER_INTERVAL {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            let state = &self.state;
            state.reads.set(state.reads.get() + 1);
            state.ungathered.set(state.ungathered.get() + buffer.filled().len() - before);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A request that waits for its head. Given up after a silence, it makes its connection suspected.
struct HeadWait<'a> {
    state: &'a H2State,
    since: Instant,
    reads: u64,
    deadline: Deadline,
    is_over: bool,
}

impl<'a> HeadWait<'a> {
    fn new(state: &'a H2State, deadline: Deadline) -> Self {
        Self { state, since: Instant::now(), reads: state.reads.get(), deadline, is_over: false }
    }

    fn is_silent(&self) -> bool {
        self.reads == self.state.reads.get()
    }

    /// Halfway to the deadline.
    fn halfway(&self) -> Instant {
        self.since + self.deadline.at.saturating_duration_since(self.since) / 2
    }

    /// The head, or the error of the stream. The connection is suspected when nothing came in half the time.
    async fn head<F: Future>(&mut self, response: F) -> F::Output {
        let mut response = pin!(response);
        let halfway = self.halfway();
        let head = match timeout_at(halfway, response.as_mut()).await {
            Ok(head) => head,
            Err(_) => {
                if self.is_silent() {
                    self.state.suspect(SUSPICION_TIMEOUT.min((halfway - self.since) / 2));
                }
                response.await
            }
        };
        self.is_over = true;
        head
    }
}

impl Drop for HeadWait<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let has_waited = now >= self.deadline.at || now - self.since >= MIN_SILENCE;
        if !self.is_over && has_waited && self.is_silent() {
            self.state.suspect(SUSPICION_TIMEOUT);
        }
    }
}

/// One stream's place on its connection.
#[derive(Debug)]
struct StreamSlot(Connection);

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let streams = &self.0.0.state.streams;
        streams.set(streams.get() - 1);
        if streams.get() > 0
            && let Some(pool) = self.0.0.pool.upgrade()
        {
            pool.multiplexed.note_room();
        }
        self.0.release();
    }
}

impl Connection {
    /// Begins HTTP/2 on a fresh socket.
    pub(super) async fn open<T: AsyncRead + AsyncWrite + Unpin + 'static>(
        io: T,
        permit: InUsePermit,
        pool: &Rc<Pool>,
        tasks: &Tasks,
    ) -> Result<Self, Fault> {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(FRAME_BUDGET)
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            // By default 1024 over the connection's life, and then all its streams fail. Late frames of
            // streams that are no longer remembered count, though the provider has done nothing wrong.
            .max_local_error_reset_streams(None)
            .max_header_list_size(u32::try_from(MAX_HEAD_SIZE).unwrap_or(u32::MAX));
        let state = Rc::<H2State>::default();
        let (send, mut driver) = builder
            .handshake(CountedIo { io, state: Rc::clone(&state) })
            .await
            .map_err(|_| Fault::provider(Stage::Connect, FaultKind::Reset, Sent::Nothing))?;
        let (driven, own_pool) = (Rc::clone(&state), Rc::downgrade(pool));
        let (pings, interval) = (driver.ping_pong(), pool.ping());
        tasks.spawn(async move {
            tokio::select! {
                outcome = poll_fn(|cx| {
                    let polled = Pin::new(&mut driver).poll(cx);
                    driven.gather();
                    if driven.is_cleared() && let Some(pool) = own_pool.upgrade() {
                        pool.multiplexed.note_room();
                    }
                    polled
                }) => if let Err(error) = outcome {
                    tracing::debug!(%error, "HTTP/2 connection to a provider ended");
                },
                // The driver is dropped, and with it the socket.
                () = driven.closed_at_once.notified() => {}
                () = unacknowledged(pings, interval, &driven) => {
                    driven.was_silent.set(true);
                    tracing::debug!("HTTP/2 connection to a provider closed: a PING was not answered");
                }
            }
            driven.closed.set(true);
            // Before the driver, which gives its place to another connection.
            driven.idle_permit.take();
            drop(driver);
            driven.closing.take();
        });
        let now = Instant::now();
        Ok(Self(Rc::new(Inner {
            send: RefCell::new(send),
            state,
            is_leaving: Cell::new(false),
            permit: RefCell::new(Some(permit)),
            opened: now,
            idle_since: Cell::new(now),
            pool: Rc::downgrade(pool),
        })))
    }

    /// Streams run on it and there is room for one more, which needs no permit.
    pub(super) fn can_take(&self) -> bool {
        let allowed = self.0.send.borrow().current_max_send_streams().min(MAX_STREAMS);
        self.is_trusted() && (1..allowed).contains(&self.0.state.streams.get())
    }

    pub(super) fn opened(&self) -> Instant {
        self.0.opened
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.state.closed.get() && !self.0.is_leaving.get()
    }

    /// It may take streams.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_open() && !self.0.state.is_suspected()
    }

    /// It ended because the provider was silent: a request that waited on it may go to another connection.
    pub(super) fn was_silent(&self) -> bool {
        self.0.state.was_silent.get()
    }

    /// The time since its last stream. `None`: streams run on it.
    pub(super) fn idle(&self) -> Option<Duration> {
        (self.0.state.streams.get() == 0).then(|| self.0.idle_since.get().elapsed())
    }

    /// Called in each sweep.
    pub(super) fn note_reads(&self) {
        let (state, reads) = (&self.0.state, self.0.state.reads.get());
        if state.swept.get().is_none_or(|(before, _)| before != reads) {
            state.swept.set(Some((reads, Instant::now())));
        }
    }

    /// Takes a connection without streams into use.
    pub(super) fn occupy(&self, permit: InUsePermit) {
        self.0.state.idle_permit.take();
        self.0.permit.replace(Some(permit));
    }

    /// No stream runs on it, and one may.
    pub(super) fn is_idle(&self) -> bool {
        self.is_open() && self.0.state.streams.get() == 0 && self.0.permit.borrow().is_none()
    }

    /// Closes a connection without streams.
    pub(super) fn close(&self, closing: ClosingConnection) {
        self.0.is_leaving.set(true);
        self.0.state.closing.replace(Some(closing));
        self.0.state.closed_at_once.notify_one();
    }

    /// Keeps a connection without streams idle, or closes it when enough are idle. No effect while streams
    /// run on it.
    pub(super) fn release(&self) {
        if self.0.state.streams.get() > 0 {
            return;
        }
        self.0.idle_since.set(Instant::now());
        let pool = self.0.pool.upgrade().filter(|_| self.is_open());
        if let Some(closing) = pool.as_ref().and_then(|pool| pool.claim()) {
            self.close(closing);
        } else if let Some(pool) = &pool {
            let permit = pool.idle_permit();
            self.0.is_leaving.set(permit.is_none());
            self.0.state.idle_permit.replace(permit);
            pool.multiplexed.forget_closed();
        }
        // Last, so that the request that waits for this permit finds the connection.
        self.0.permit.take();
    }

    /// Sends one request and waits for the head of its response. The body is sent as the provider's windows
    /// allow. Dropping the future resets the stream.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep its arguments twice in its future, and copy them"
    )]
    pub(super) fn exchange(
        &self,
        request: http::Request<()>,
        body: ByteList,
        deadline: Deadline,
        write_timeout: Duration,
    ) -> impl Future<Output = Result<(StatusCode, HeaderFields, Body), Fault>> {
        async move {
            let streams = &self.0.state.streams;
            streams.set(streams.get() + 1);
            let slot = StreamSlot(self.clone());
            let mut send = self.0.send.borrow().clone();
            let (response, mut stream) = send
                .send_request(request, body.is_empty())
                .map_err(|error| self.fault(&error, Stage::Send, Sent::Nothing))?;
            let left = Rc::new(Cell::new(body.len()));
            if !body.is_empty() {
                let body = OutgoingBody { bytes: body, left: Rc::clone(&left) };
                stream
                    .send_data(body, true)
                    .map_err(|error| self.fault(&error, Stage::Send, Sent::Unknown))?;
            }
            let mut wait = HeadWait::new(&self.0.state, deadline);
            let head = tokio::select! {
                biased;
                head = wait.head(response) => head,
                () = unread(&left, write_timeout) => {
                    let kind = FaultKind::Timeout(DeadlineKind::Send, write_timeout);
                    return Err(Fault::provider(Stage::Send, kind, Sent::Unknown));
                }
            };
            let (parts, recv) =
                head.map_err(|error| self.fault(&error, Stage::Head, Sent::Unknown))?.into_parts();
            Ok((parts.status, HeaderFields::from(&parts.headers), Body::new(recv, slot)))
        }
    }

    /// The fault, and whether the provider may have seen the request: a refused stream, and one above the
    /// last that a GOAWAY names, were not processed (RFC 9113 sections 6.8 and 8.7).
    fn fault(&self, error: &h2::Error, stage: Stage, sent: Sent) -> Fault {
        let is_goaway = error.is_go_away() && error.is_remote();
        if is_goaway {
            self.0.is_leaving.set(true);
        }
        if is_goaway || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM) {
            return Fault::provider(stage, FaultKind::Reset, Sent::Nothing);
        }
        if error.is_library() {
            return Fault::provider(stage, FaultKind::Garbage("broken HTTP/2".into()), Sent::Some);
        }
        // The provider gave up this one request, which it may have processed: its connection lives. One that
        // closes the connection cancels its streams before that.
        let is_alone = error.is_reset() && error.is_remote() && error.reason() != Some(Reason::CANCEL);
        let gave_up = sent == Sent::Unknown && is_alone;
        let kind = if gave_up { FaultKind::Gone } else { FaultKind::Reset };
        Fault::provider(stage, kind, sent)
    }
}

/// A request's body, and the number of its bytes that wait for the provider's windows or its socket.
struct OutgoingBody {
    bytes: ByteList,
    left: Rc<Cell<usize>>,
}

impl Buf for OutgoingBody {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [io::IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.left.set(self.bytes.remaining());
    }
}

/// Ends when the provider has taken nothing for `write_timeout` of a body of which a part is left.
async fn unread(left: &Cell<usize>, write_timeout: Duration) {
    /// Looks at the number in each `write_timeout`.
    const LOOKS: u32 = 8;
    let (mut before, mut unchanged) = (left.get(), 0);
    while left.get() > 0 && unchanged < LOOKS {
        sleep(write_timeout / LOOKS).await;
        unchanged = if left.get() == before { unchanged + 1 } else { 0 };
        before = left.get();
    }
    if before == 0 {
        pending::<()>().await;
    }
}

/// Sends a PING at each interval while streams run (RFC 9113 section 6.7), and when the connection is
/// suspected; ends when nothing came back in time (R24).
async fn unacknowledged(pings: Option<PingPong>, interval: Option<Duration>, state: &H2State) {
    let Some(mut pings) = pings else { return pending().await };
    let mut is_outstanding = false;
    loop {
        let allowed = tokio::select! {
            () = state.suspicion.notified() => {
                if !state.is_suspected() { continue }
                state.verdict_after.get()
            }
            allowed = pause(interval) => {
                if state.streams.get() == 0 { continue }
                allowed
            }
        };
        let reads = state.reads.get();
        // A late answer to the one before would stand for an answer to this one.
        is_outstanding = is_outstanding && poll_fn(|cx| Poll::Ready(pings.poll_pong(cx).is_pending())).await;
        is_outstanding = is_outstanding || pings.send_ping(Ping::opaque()).is_ok();
        let pong = poll_fn(|cx| pings.poll_pong(cx));
        match timeout(allowed, pong).await {
            Ok(Ok(_)) => is_outstanding = false,
            Ok(Err(_)) => return,
            Err(_) if state.reads.get() == reads => return,
            Err(_) => {}
        }
    }
}

/// Waits for `interval`; the time that a PING's acknowledgement may take then.
async fn pause(interval: Option<Duration>) -> Duration {
    let Some(interval) = interval else { return pending().await };
    sleep(interval).await;
    PING_TIMEOUT.min(interval)
}

/// A response body, pulled frame by frame. Dropping it before its end resets the stream.
#[derive(Debug)]
pub struct Body {
    /// `None` once the stream has ended.
    stream: Option<Rc<StreamBody>>,
}

/// A body that is being read. The driver of its connection gathers its waiting frames.
#[derive(Debug)]
struct StreamBody {
    recv: RefCell<RecvStream>,
    gathered: RefCell<GatheredFrames>,
    /// The last poll found nothing, so that the next frame is polled as it comes.
    is_awaited: Cell<bool>,
    slot: StreamSlot,
}

/// Frames that waited for their client, and the end behind them.
#[derive(Debug, Default)]
struct GatheredFrames {
    frames: VecDeque<Bytes>,
    /// Small frames, joined; behind `frames`.
    small: BytesMut,
    end: Option<Option<h2::Error>>,
}

impl GatheredFrames {
    fn push(&mut self, frame: Bytes) {
        if frame.len() < SMALL_FRAME {
            self.small.extend_from_slice(&frame);
            return;
        }
        if !self.small.is_empty() {
            self.frames.push_back(self.small.split().freeze());
        }
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Bytes> {
        self.frames
            .pop_front()
            .or_else(|| (!self.small.is_empty()).then(|| std::mem::take(&mut self.small).freeze()))
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.small.is_empty() && self.end.is_none()
    }
}

impl StreamBody {
    /// Takes the frames out of h2. Their window is not given back before the client has them.
    fn gather(&self) {
        let mut gathered = self.gathered.borrow_mut();
        if self.is_awaited.get() || gathered.end.is_some() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(frame) = self.recv.borrow_mut().poll_data(&mut cx) {
            match frame {
                Some(Ok(frame)) => gathered.push(frame),
                Some(Err(error)) => return gathered.end = Some(Some(error)),
                None => return gathered.end = Some(None),
            }
        }
    }

    /// The next frame, those that were gathered first.
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.is_awaited.set(false);
        let mut gathered = self.gathered.borrow_mut();
        if let Some(frame) = gathered.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(end) = gathered.end.take() {
            return Poll::Ready(end.map(Err));
        }
        let polled = self.recv.borrow_mut().poll_data(cx);
        self.is_awaited.set(polled.is_pending());
        polled
    }

    fn is_done(&self) -> bool {
        self.gathered.borrow().is_empty() && self.recv.borrow().is_end_stream()
    }
}

impl Drop for Body {
    /// A stream that is given up in a silence makes its connection suspected.
    fn drop(&mut self) {
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_done()) {
            let state = &stream.slot.0.0.state;
            if state.is_silent() {
                state.suspect(SUSPICION_TIMEOUT);
            }
        }
    }
}

impl Body {
    fn new(recv: RecvStream, slot: StreamSlot) -> Self {
        let stream = Rc::new(StreamBody {
            recv: RefCell::new(recv),
            gathered: RefCell::default(),
            is_awaited: Cell::new(false),
            slot,
        });
        let mut bodies = stream.slot.0.0.state.bodies.borrow_mut();
        bodies.retain(|body| body.strong_count() > 0);
        bodies.push(Rc::downgrade(&stream));
        drop(bodies);
        Self { stream: Some(stream) }
    }

    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.is_done())
    }

    /// The payload of the next DATA frame, or of several small ones. `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let Some(stream) = &self.stream else { return Poll::Ready(None) };
        loop {
            let frame = match ready!(stream.poll_data(cx)) {
                None => {
                    self.stream = None;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    let mut fault = stream.slot.0.fault(&error, Stage::Body, Sent::Some);
                    fault.sent = Sent::Some;
                    self.stream = None;
                    return Poll::Ready(Some(Err(fault)));
                }
                Some(Ok(frame)) => frame,
            };
            // Fails only for more than was received.
            let _ = stream.recv.borrow_mut().flow_control().release_capacity(frame.len());
            if !frame.is_empty() {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }
}
