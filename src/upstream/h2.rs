//! HTTP/2 to a provider: one connection of a worker, shared by its streams. Flow control carries
//! back-pressure through: a stream's window is given back as its frames are polled, so a client that does not
//! read holds at most one window. Invariants: a connection takes no more streams than its own window has room
//! for, so that no stream starves the others; dropping a body resets its stream at once.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, RecvStream, client::SendRequest};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::{
    head::MAX_HEAD_SIZE,
    io::Io,
    pool::{IdlePermit, InUsePermit, Pool},
};
use crate::base::{ByteList, Fault, FaultKind, Sent, Stage, spawn::Tasks};

/// Streams at once on one connection, even if the provider allows more.
const MAX_STREAMS: usize = 100;
/// Bytes of one stream that its client has not read.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// h2 closes a connection when its waiting DATA frames exceed this: a frame below 256 bytes counts for the
/// bytes that it is shorter. The default is for uploads; here small frames are the normal case, and half the
/// streams may wait for slow clients.
const FRAME_BUDGET: usize = 64 * 1024 * 1024;

/// From a PING to its acknowledgement.
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that streams share. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Connection(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    send: RefCell<SendRequest<ByteList>>,
    state: Rc<H2State>,
    /// The connection takes no more streams: GOAWAY came, or enough connections are idle.
    is_leaving: Cell<bool>,
    /// Held while there are streams.
    permit: RefCell<Option<InUsePermit>>,
    idle_since: Cell<Instant>,
    pool: Weak<Pool>,
}

/// Shared by the connection and its driver.
#[derive(Debug, Default)]
struct H2State {
    /// The driver has ended: nothing more will be sent.
    closed: Cell<bool>,
    streams: Cell<usize>,
    /// Held while there are no streams.
    idle_permit: RefCell<Option<IdlePermit>>,
}

/// One stream's place on its connection.
#[derive(Debug)]
struct StreamSlot(Connection);

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let streams = &self.0.0.state.streams;
        streams.set(streams.get() - 1);
        self.0.release();
    }
}

impl Connection {
    /// Begins HTTP/2 on a fresh socket.
    pub(super) async fn open(
        io: Io,
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
            .max_header_list_size(u32::try_from(MAX_HEAD_SIZE).unwrap_or(u32::MAX));
        let (send, mut driver) = builder
            .handshake(io)
            .await
            .map_err(|_| Fault::provider(Stage::Connect, FaultKind::Reset, Sent::Nothing))?;
        let state = Rc::<H2State>::default();
        let driven = Rc::clone(&state);
        let pings = driver.ping_pong().zip(pool.ping());
        tasks.spawn(async move {
            tokio::select! {
                outcome = driver => if let Err(error) = outcome {
                    tracing::debug!(%error, "HTTP/2 connection to a provider ended");
                },
                // The driver is dropped, and with it the socket.
                () = unacknowledged(pings, &driven) => {
                    tracing::debug!("HTTP/2 connection to a provider closed: a PING was not answered");
                }
            }
            driven.closed.set(true);
            driven.idle_permit.take();
        });
        Ok(Self(Rc::new(Inner {
            send: RefCell::new(send),
            state,
            is_leaving: Cell::new(false),
            permit: RefCell::new(Some(permit)),
            idle_since: Cell::new(Instant::now()),
            pool: Rc::downgrade(pool),
        })))
    }

    /// Streams run on it and there is room for one more, which needs no permit.
    pub(super) fn can_take(&self) -> bool {
        let allowed = self.0.send.borrow().current_max_send_streams().min(MAX_STREAMS);
        self.is_open() && (1..allowed).contains(&self.0.state.streams.get())
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.state.closed.get() && !self.0.is_leaving.get()
    }

    /// The time since its last stream. `None`: streams run on it.
    pub(super) fn idle(&self) -> Option<Duration> {
        (self.0.state.streams.get() == 0).then(|| self.0.idle_since.get().elapsed())
    }

    /// Takes a connection without streams into use.
    pub(super) fn occupy(&self, permit: InUsePermit) {
        self.0.state.idle_permit.take();
        self.0.permit.replace(Some(permit));
    }

    /// Keeps a connection without streams idle, or closes it when enough are idle. No effect while streams
    /// run on it.
    pub(super) fn release(&self) {
        if self.0.state.streams.get() > 0 {
            return;
        }
        self.0.idle_since.set(Instant::now());
        if let Some(pool) = self.0.pool.upgrade().filter(|_| self.is_open()) {
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
    pub(super) async fn exchange(
        &self,
        request: http::Request<()>,
        body: ByteList,
    ) -> Result<(StatusCode, HeaderMap, Body), Fault> {
        let streams = &self.0.state.streams;
        streams.set(streams.get() + 1);
        let slot = StreamSlot(self.clone());
        let mut send = self.0.send.borrow().clone();
        let (response, mut stream) = send
            .send_request(request, body.is_empty())
            .map_err(|error| self.fault(&error, Stage::Send, Sent::Nothing))?;
        if !body.is_empty() {
            stream.send_data(body, true).map_err(|error| self.fault(&error, Stage::Send, Sent::Unknown))?;
        }
        let (parts, recv) =
            response.await.map_err(|error| self.fault(&error, Stage::Head, Sent::Unknown))?.into_parts();
        Ok((parts.status, parts.headers, Body { recv, slot: Some(slot) }))
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
        Fault::provider(stage, FaultKind::Reset, sent)
    }
}

/// Sends PINGs while streams run (RFC 9113 section 6.7); ends when one is not acknowledged in time (R24).
async fn unacknowledged(pings: Option<(PingPong, Duration)>, state: &H2State) {
    let Some((mut pings, interval)) = pings else { return pending().await };
    loop {
        sleep(interval).await;
        let acknowledged = state.streams.get() == 0
            || timeout(PING_TIMEOUT.min(interval), pings.ping(Ping::opaque()))
                .await
                .is_ok_and(|ack| ack.is_ok());
        if !acknowledged {
            return;
        }
    }
}

/// A response body, pulled frame by frame. Dropping it before its end resets the stream.
#[derive(Debug)]
pub struct Body {
    recv: RecvStream,
    /// `None` once the stream has ended.
    slot: Option<StreamSlot>,
}

impl Body {
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.slot.is_none() || self.recv.is_end_stream()
    }

    /// The payload of the next DATA frame. `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let Some(slot) = &self.slot else { return Poll::Ready(None) };
        loop {
            let frame = match ready!(self.recv.poll_data(cx)) {
                None => {
                    self.slot = None;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    let mut fault = slot.0.fault(&error, Stage::Body, Sent::Some);
                    fault.sent = Sent::Some;
                    self.slot = None;
                    return Poll::Ready(Some(Err(fault)));
                }
                Some(Ok(frame)) => frame,
            };
            // Fails only for more than was received.
            let _ = self.recv.flow_control().release_capacity(frame.len());
            if !frame.is_empty() {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }
}
