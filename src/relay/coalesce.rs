//! Coalesces complete events to a size or a delay (buffered mode). Bytes are copied here, in this mode alone.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::base::ByteList;

#[derive(Debug)]
pub(super) struct Coalesce {
    bytes: BytesMut,
    /// Time at which the coalesced bytes must leave. `None`: there are none.
    due: Option<Instant>,
    size: usize,
    delay: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Coalesce {
    pub(super) fn new(size: usize, delay: Duration) -> Self {
        Self { bytes: BytesMut::new(), due: None, size, delay, timer: None }
    }

    /// Adds complete events that came at `now`; gives all bytes once they have reached the size. A CR at the
    /// end of CRLF lines waits for its LF, which would come at the start of the next bytes.
    pub(super) fn push(&mut self, events: &ByteList, now: Instant) -> Option<Bytes> {
        if events.is_empty() {
            return None;
        }
        self.due.get_or_insert(now + self.delay);
        for bytes in events.iter() {
            self.bytes.extend_from_slice(bytes);
        }
        (self.bytes.len() >= self.size && !self.bytes.ends_with(b"\n\r")).then(|| self.rest())
    }

    /// Ready with all bytes when the delay is over.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Some(due) = self.due else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx).map(|()| self.rest())
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All bytes; empty if there are none.
    pub(super) fn rest(&mut self) -> Bytes {
        self.due = None;
        self.bytes.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn events(text: &'static str) -> ByteList {
        Bytes::from_static(text.as_bytes()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_by_size_or_by_delay() {
        let start = Instant::now();
        let mut coalesce = Coalesce::new(8, Duration::from_millis(50));
        assert_eq!(coalesce.push(&events("abc\n\n"), start), None);
        assert_eq!(coalesce.push(&events("def\n\n"), start).unwrap(), "abc\n\ndef\n\n");
        assert_eq!(coalesce.push(&events("g\n\n"), Instant::now()), None);
        assert_eq!(poll_fn(|cx| coalesce.poll_due(cx)).await, "g\n\n");
        assert_eq!(start.elapsed(), Duration::from_millis(50));
        coalesce.push(&events("h\n\n"), Instant::now());
        assert_eq!(poll_fn(|cx| coalesce.poll_due(cx)).await, "h\n\n");
        assert_eq!((start.elapsed(), coalesce.rest().len()), (Duration::from_millis(100), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn line_ends_stay_whole() {
        let now = Instant::now();
        let mut coalesce = Coalesce::new(3, Duration::from_millis(50));
        assert_eq!(coalesce.push(&events("a\r\n\r"), now), None);
        assert_eq!(coalesce.push(&events("\nb\r\n\r\n"), now).unwrap(), "a\r\n\r\nb\r\n\r\n");
        assert_eq!(coalesce.push(&events("c\r\r"), now).unwrap(), "c\r\r");
        coalesce.push(&events("d\r\n\r"), now);
        assert_eq!(poll_fn(|cx| coalesce.poll_due(cx)).await, "d\r\n\r");
        assert_eq!(now.elapsed(), Duration::from_millis(50));
    }
}
