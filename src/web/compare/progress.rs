//! A run as a body of server-sent events: `progress` before each request, with `picture` where pictures are
//! wanted, and `report` at the end. The body drives the run, so a client that leaves ends it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{leg::Leg, report::CompareReport, run::RunProgress};

/// The data of a `progress` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressEvent {
    pub leg: Leg,
    pub done: usize,
    pub of: usize,
}

/// Events that wait to be sent: at most two per request of the run. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct ProgressQueue(Rc<RefCell<VecDeque<Bytes>>>);

impl ProgressQueue {
    pub fn put(&self, step: RunProgress) {
        let RunProgress { leg, done, of } = step;
        self.push("progress", &ProgressEvent { leg, done, of });
    }

    /// The picture so far.
    pub fn put_picture(&self, svg: &str) {
        self.push("picture", &json!({ "svg": svg }));
    }

    fn push(&self, name: &str, data: &impl Serialize) {
        // Numbers and strings: this serialisation cannot fail.
        let data = serde_json::to_string(data).unwrap_or_default();
        self.0.borrow_mut().push_back(format!("event: {name}\ndata: {data}\n\n").into());
    }
}

pub struct CompareStream {
    /// `None` after the report.
    run: Option<Pin<Box<dyn Future<Output = CompareReport>>>>,
    queue: ProgressQueue,
}

impl CompareStream {
    /// `queue` is the queue that the run puts its steps into.
    pub fn new(run: impl Future<Output = CompareReport> + 'static, queue: ProgressQueue) -> Self {
        Self { run: Some(Box::pin(run)), queue }
    }
}

impl Body for CompareStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Some(run) = &mut this.run
            && let Poll::Ready(report) = run.as_mut().poll(cx)
        {
            this.queue.push("report", &report);
            this.run = None;
        }
        let next = this.queue.0.borrow_mut().pop_front();
        match next {
            Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
            None if this.run.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for CompareStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompareStream").field("running", &self.run.is_some()).finish_non_exhaustive()
    }
}
