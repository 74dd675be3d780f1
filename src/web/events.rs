//! `/events`: news as server-sent events, for as long as the client listens (S3.7). A comment every so often keeps
//! connections open that carry nothing; the stream ends when the process does.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::timeout;

use crate::telemetry::events::{Delivery, Subscriber};

pub(super) const CONTENT_TYPE: &str = "text/event-stream";
/// The longest silence.
const SILENCE: Duration = Duration::from_secs(15);
/// Bytes of one frame, about.
const GATHERED: usize = 32 * 1024;

pub struct EventFeed {
    /// `None` once it has ended.
    next: Option<Pin<Box<dyn Future<Output = FeedStep>>>>,
}

/// Bytes to be sent, and who waits for the next; nobody at the end.
type FeedStep = (Bytes, Option<FeedSubscriber>);

/// A watcher, and whether it may still be told.
struct FeedSubscriber {
    watcher: Subscriber,
    may: Box<dyn Fn() -> bool>,
}

impl EventFeed {
    /// `may`: asked before anything is told; a key may be revoked while its owner watches.
    #[must_use]
    pub fn new(watcher: Subscriber, may: impl Fn() -> bool + 'static) -> Self {
        let listener = FeedSubscriber { watcher, may: Box::new(may) };
        let greeting = async { (Bytes::from_static(b": thalweg\n\n"), Some(listener)) };
        Self { next: Some(Box::pin(greeting)) }
    }
}

/// All that waits, or that nothing came.
async fn next(mut listener: FeedSubscriber) -> FeedStep {
    let first = timeout(SILENCE, listener.watcher.next()).await;
    if !(listener.may)() {
        return (Bytes::new(), None);
    }
    let Ok(first) = first else { return (Bytes::from_static(b": nothing new\n\n"), Some(listener)) };
    let (mut text, mut told) = (Vec::new(), Some(first));
    while let Some(news) = told {
        match news {
            Delivery::Event(event) => text.extend_from_slice(&event),
            Delivery::Lost(count) => {
                text.extend_from_slice(format!("event: lost\ndata: {{\"count\":{count}}}\n\n").as_bytes());
            }
            Delivery::End => return (text.into(), None),
        }
        told = if text.len() < GATHERED { listener.watcher.try_next() } else { None };
    }
    (text.into(), Some(listener))
}

impl Body for EventFeed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(future) = &mut self.next else { return Poll::Ready(None) };
        let (bytes, listener) = ready!(future.as_mut().poll(cx));
        self.next = listener.map(|listener| Box::pin(next(listener)) as _);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }
}

impl fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("open", &self.next.is_some()).finish()
    }
}
