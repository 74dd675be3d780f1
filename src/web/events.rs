//! The body of `GET /events`: events of requests as server-sent events until the client leaves (S3.7). A
//! comment every [`COMMENT_INTERVAL`] keeps an idle connection open. The stream ends when the process stops
//! or the key loses its access.

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
/// The longest time without a byte.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// Bytes after which a frame takes no further event; the last event may exceed it.
const FRAME_LIMIT: usize = 32 * 1024;

pub struct EventFeed {
    /// `None` after the end.
    next: Option<Pin<Box<dyn Future<Output = FeedStep>>>>,
}

/// The bytes of a frame, and the subscriber for the next one; `None` at the end.
type FeedStep = (Bytes, Option<FeedSubscriber>);

/// A subscriber, and the check of its access.
struct FeedSubscriber {
    subscriber: Subscriber,
    may_watch: Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool>>>>,
}

impl EventFeed {
    /// `may_watch` is called before each frame, because a key may be revoked while its feed is open.
    #[must_use]
    pub fn new<F: Future<Output = bool> + 'static>(
        subscriber: Subscriber,
        may_watch: impl Fn() -> F + 'static,
    ) -> Self {
        let may_watch = Box::new(move || Box::pin(may_watch()) as Pin<Box<dyn Future<Output = bool>>>);
        let subscriber = FeedSubscriber { subscriber, may_watch };
        let greeting = async { (Bytes::from_static(b": thalweg\n\n"), Some(subscriber)) };
        Self { next: Some(Box::pin(greeting)) }
    }
}

/// The next frame: all events that wait, or a comment if none came in time.
async fn next(mut feed: FeedSubscriber) -> FeedStep {
    let first = timeout(COMMENT_INTERVAL, feed.subscriber.next()).await;
    if !(feed.may_watch)().await {
        return (Bytes::new(), None);
    }
    let Ok(first) = first else { return (Bytes::from_static(b": nothing new\n\n"), Some(feed)) };
    let (mut text, mut waiting) = (Vec::new(), Some(first));
    while let Some(delivery) = waiting {
        match delivery {
            Delivery::Event(event) => text.extend_from_slice(&event),
            Delivery::Lost(count) => {
                text.extend_from_slice(format!("event: lost\ndata: {{\"count\":{count}}}\n\n").as_bytes());
            }
            Delivery::End => return (text.into(), None),
        }
        waiting = if text.len() < FRAME_LIMIT { feed.subscriber.try_next() } else { None };
    }
    (text.into(), Some(feed))
}

impl Body for EventFeed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(future) = &mut self.next else { return Poll::Ready(None) };
        let (bytes, subscriber) = ready!(future.as_mut().poll(cx));
        self.next = subscriber.map(|subscriber| Box::pin(next(subscriber)) as _);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }
}

impl fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFeed").field("open", &self.next.is_some()).finish()
    }
}
