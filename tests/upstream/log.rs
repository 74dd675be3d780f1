//! The events that an upstream saw, in order, and waiting for them. A test never guesses a duration: it names
//! the event and fails, with every event so far, when it has not come within half a minute.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::error::Elapsed,
};

/// Long, because many tests at once on a busy machine are late.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The output of `future` within [`EVENT_TIMEOUT`], which passes in steps: on a machine that stood still for
/// a while all timers fire at once, and a single timer would look like a missing event.
pub async fn in_time<F: Future>(future: F) -> Result<F::Output, Elapsed> {
    const STEP: Duration = Duration::from_millis(500);
    let mut future = pin!(future);
    let mut left = EVENT_TIMEOUT;
    loop {
        match tokio::time::timeout(STEP, future.as_mut()).await {
            Err(_) if left > STEP => left -= STEP,
            outcome => return outcome,
        }
    }
}

/// A request as it came.
#[derive(Debug)]
pub struct Seen {
    pub connection: usize,
    pub method: String,
    pub target: String,
    /// In order, with their original case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Head and body, byte for byte (empty on HTTP/2).
    pub raw: Bytes,
}

impl Seen {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.as_str()))
            .collect()
    }

    /// The model that was asked for, if any.
    pub fn model(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body["model"].as_str().map(str::to_owned)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// How a peer went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Closed,
    Reset,
    /// `RST_STREAM` with this reason.
    Stream(h2::Reason),
}

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
pub enum Event {
    Opened {
        connection: usize,
    },
    Request(Arc<Seen>),
    /// All steps of the n-th request were played.
    Played {
        request: usize,
    },
    /// The peer went away: in the middle of answering a request, or from an idle connection.
    Gone {
        connection: usize,
        request: Option<usize>,
        how: How,
        at: Instant,
    },
    /// A [`super::Step::Delivered`] timed out.
    Undelivered {
        sent: u64,
        delivered: u64,
    },
}

/// Events in order, and the payload bytes sent and received.
#[derive(Debug, Default)]
pub struct Log {
    events: Mutex<Vec<Event>>,
    changed: Notify,
    /// Payload bytes that the kernel took from us.
    pub written: AtomicU64,
    /// Payload bytes that the client of the current answer has received, reported by the client.
    pub delivered: watch::Sender<u64>,
}

impl Log {
    pub fn push(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.changed.notify_waiters();
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The first result of `find` over the events, now or within [`EVENT_TIMEOUT`].
    pub async fn wait_for<T>(&self, what: &str, find: impl Fn(&[Event]) -> Option<T>) -> T {
        let search = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = find(&self.events.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        match in_time(search).await {
            Ok(found) => found,
            Err(_) => panic!("the upstream never saw {what}; it saw {:#?}", self.events()),
        }
    }

    /// The n-th request, counted from 0.
    pub async fn request(&self, number: usize) -> Arc<Seen> {
        self.wait_for(&format!("request {number}"), |events| {
            events
                .iter()
                .filter_map(
                    |event| if let Event::Request(seen) = event { Some(Arc::clone(seen)) } else { None },
                )
                .nth(number)
        })
        .await
    }

    /// How and when the peer left during the n-th request.
    pub async fn gone(&self, number: usize) -> (How, Instant) {
        self.wait_for(&format!("the peer leaving request {number}"), |events| {
            events.iter().find_map(|event| match event {
                Event::Gone { request: Some(request), how, at, .. } if *request == number => {
                    Some((*how, *at))
                }
                _ => None,
            })
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.count(|event| matches!(event, Event::Opened { .. }))
    }

    pub fn requests(&self) -> usize {
        self.count(|event| matches!(event, Event::Request(_)))
    }

    fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.lock().unwrap().iter().filter(|event| is(event)).count()
    }

    pub fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until the client has `sent` bytes of the current answer; `false` if it does not get them.
    pub async fn all_delivered(&self, sent: u64) -> bool {
        let mut delivered = self.delivered.subscribe();
        let arrived = delivered.wait_for(|delivered| *delivered >= sent);
        let arrived = in_time(arrived).await.is_ok();
        if !arrived {
            self.push(Event::Undelivered { sent, delivered: *self.delivered.borrow() });
        }
        arrived
    }
}
