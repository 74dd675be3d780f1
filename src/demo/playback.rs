//! The body that replays a recording: it waits, then returns one read. Each wait counts from the time at
//! which the former step was due and not from when it was polled, so timer rounding does not add up. There is
//! no task: the body is dropped with the connection.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::recording::RecordedStep;

#[derive(Debug)]
pub(super) struct Playback {
    steps: Arc<[RecordedStep]>,
    next: usize,
    /// Fires when the next step is due.
    due: Pin<Box<Sleep>>,
}

impl Playback {
    pub(super) fn new(steps: Arc<[RecordedStep]>) -> Self {
        let after = steps.first().map(|step| step.after).unwrap_or_default();
        Self { steps, next: 0, due: Box::pin(sleep(after)) }
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let Some(step) = this.steps.get(this.next) else { return Poll::Ready(None) };
        ready!(this.due.as_mut().poll(cx));
        this.next += 1;
        if let Some(following) = this.steps.get(this.next) {
            let due = this.due.deadline() + following.after;
            this.due.as_mut().reset(due);
        }
        Poll::Ready(Some(Ok(Frame::data(step.bytes.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.steps.len()
    }

    /// Exact for an answer of one piece, so that it is sent with its length.
    fn size_hint(&self) -> SizeHint {
        match &*self.steps {
            [whole] if self.next == 0 => SizeHint::with_exact(whole.bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_the_recorded_pauses() {
        let step =
            |ms, text: &'static str| RecordedStep { after: Duration::from_millis(ms), bytes: text.into() };
        let mut body = Playback::new([step(5, "a"), step(0, "b"), step(40, "c")].into());
        let start = Instant::now();
        let mut seen = Vec::new();
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            seen.push((start.elapsed().as_millis(), frame.into_data().unwrap()));
        }
        assert_eq!(seen, [(5, "a".into()), (5, "b".into()), (45, "c".into())]);
        assert!(body.is_end_stream());
    }
}
