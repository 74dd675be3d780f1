//! The body of the answer to a batch in one request: each item's line, in order within one document, or as
//! each comes. The client's connection pulls it: items begin while it is polled, so a client that does not
//! read begins no further ones, and dropping the body ends those under way.
//!
//! Invariant: of the answers that wait for an earlier item, no more than `max_response_bytes` are held.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};

use super::line::AnswerLine;
use crate::{
    base::{Fault, RequestId, Stage, spawn::TaskSet},
    exchange::{Completion, Outcome},
    proxy::{ReadBody, SingleAnswer},
    telemetry::GaugeGuard,
    wire::batch_item::BatchItem,
};

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchForm {
    /// One JSON document, in the order of the items.
    Document,
    /// A line of JSON per item, as each comes.
    Lines,
    /// A server-sent event per item, as each comes.
    Events,
}

/// An item that runs.
pub type ItemFuture = Pin<Box<dyn Future<Output = SingleAnswer>>>;

/// What a batch runs, and within which bounds.
pub struct BatchRun {
    pub id: RequestId,
    pub form: BatchForm,
    pub items: Vec<BatchItem>,
    /// Holds the memory of the items' bodies.
    pub body: ReadBody,
    /// Items at once.
    pub width: usize,
    pub max_held: usize,
    /// Runs an item of this id and body.
    pub run: Box<dyn Fn(RequestId, Bytes) -> ItemFuture>,
}

/// The body of the answer.
pub struct BatchAnswer {
    batch: BatchRun,
    running: TaskSet<usize, SingleAnswer>,
    /// The number of the next item to begin.
    next: usize,
    /// Lines of a document that are not sent yet, and their bytes.
    held: BTreeMap<usize, AnswerLine>,
    held_bytes: usize,
    /// Lines that were sent, and the good ones among them.
    sent: usize,
    good: usize,
    step: BodyStep,
    /// `None`: it has been reported.
    completion: Option<Completion>,
    _in_flight: GaugeGuard,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum BodyStep {
    Begin,
    Items,
    /// It breaks off.
    Broken(Fault),
    End,
}

impl fmt::Debug for BatchAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchAnswer")
            .field("step", &self.step)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BatchRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchRun")
            .field("form", &self.form)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl BatchForm {
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Document => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }
}

impl BatchAnswer {
    #[must_use]
    pub fn new(batch: BatchRun, completion: Completion, in_flight: GaugeGuard) -> Self {
        Self {
            batch,
            running: TaskSet::default(),
            next: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            sent: 0,
            good: 0,
            step: BodyStep::Begin,
            completion: Some(completion),
            _in_flight: in_flight,
        }
    }

    /// The items under way end, and the body breaks off with this fault.
    pub fn end(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        if self.step != BodyStep::End {
            self.running.clear();
            self.step = BodyStep::Broken(fault(Stage::Body));
        }
    }

    /// The client is not given the rest, although it has not left.
    pub fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        self.running.clear();
        self.step = BodyStep::End;
        if let Some(completion) = self.completion.take() {
            completion.complete(Outcome::Fault(fault(Stage::Body)));
        }
    }

    /// Begins items while there is room. None begins while answers that wait fill their memory.
    fn begin_items(&mut self) {
        while self.running.len() < self.batch.width && self.held_bytes < self.batch.max_held {
            let Some(item) = self.batch.items.get(self.next) else { return };
            let body = match item.body.is_empty() {
                true => Bytes::new(),
                false => self.batch.body.bytes.slice(item.body.clone()),
            };
            let future = (self.batch.run)(self.batch.id.part(self.next), body);
            self.running.spawn(self.next, future);
            self.next += 1;
        }
    }

    /// The next line to send, with its bytes; `None` when all have been sent.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<AnswerLine>> {
        loop {
            if let Some(line) = self.held.remove(&self.sent) {
                self.held_bytes -= line.text.len();
                return Poll::Ready(Some(line));
            }
            self.begin_items();
            let (number, answer) = match ready!(self.running.poll_next(cx)) {
                Some(ended) => ended,
                None => return Poll::Ready(None),
            };
            let line = self.line(number, answer.as_ref());
            if self.batch.form != BatchForm::Document || number == self.sent {
                return Poll::Ready(Some(line));
            }
            let line = match self.held_bytes.saturating_add(line.text.len()) > self.batch.max_held {
                true => self.too_large(number),
                false => line,
            };
            self.held_bytes = self.held_bytes.saturating_add(line.text.len());
            self.held.insert(number, line);
        }
    }

    /// `None`: the item's task panicked.
    fn line(&self, number: usize, answer: Option<&SingleAnswer>) -> AnswerLine {
        match answer {
            Some(answer) => AnswerLine::of(self.name(number), answer),
            None => self.failed(number, "internal_error", "the gateway failed at this item"),
        }
    }

    fn too_large(&self, number: usize) -> AnswerLine {
        let message = "the answer has come, but the answers that wait for an earlier item fill their memory \
                       (`batch.max_response_bytes`); a batch as application/x-ndjson holds none back";
        self.failed(number, "response_too_large", message)
    }

    fn failed(&self, number: usize, code: &str, message: &str) -> AnswerLine {
        AnswerLine::failed(self.batch.id.part(number).as_str(), self.name(number), code, message)
    }

    fn name(&self, number: usize) -> &str {
        self.batch.items.get(number).map_or("", |item| &item.custom_id)
    }

    /// A line as the form has it.
    fn framed(&mut self, line: &AnswerLine) -> Bytes {
        let is_first = self.sent == 0;
        self.sent += 1;
        self.good += usize::from(line.is_good);
        let mut text = BytesMut::with_capacity(line.text.len() + 8);
        let (before, after): (&[u8], &[u8]) = match self.batch.form {
            BatchForm::Document => (if is_first { b"" } else { b"," }, b""),
            BatchForm::Lines => (b"", b"\n"),
            BatchForm::Events => (b"data: ", b"\n\n"),
        };
        text.put_slice(before);
        text.put_slice(&line.text);
        text.put_slice(after);
        text.freeze()
    }

    /// The bytes before the first line.
    fn opening(&self) -> Bytes {
        match self.batch.form {
            BatchForm::Document => format!(r#"{{"id":"{}","object":"list","data":["#, self.batch.id).into(),
            BatchForm::Lines | BatchForm::Events => Bytes::new(),
        }
    }

    /// The bytes after the last line.
    fn closing(&self) -> Bytes {
        let (sent, good) = (self.sent, self.good);
        match self.batch.form {
            BatchForm::Document => format!(
                r#"],"request_counts":{{"total":{sent},"completed":{good},"failed":{}}}}}"#,
                sent - good
            )
            .into(),
            BatchForm::Lines => Bytes::new(),
            BatchForm::Events => Bytes::from_static(b"data: [DONE]\n\n"),
        }
    }
}

impl Body for BatchAnswer {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        loop {
            match &this.step {
                BodyStep::End => return Poll::Ready(None),
                BodyStep::Broken(fault) => {
                    let fault = fault.clone();
                    this.step = BodyStep::End;
                    if let Some(completion) = this.completion.take() {
                        completion.complete(Outcome::Fault(fault.clone()));
                    }
                    return Poll::Ready(Some(Err(fault)));
                }
                BodyStep::Begin => {
                    this.step = BodyStep::Items;
                    this.begin_items();
                    let opening = this.opening();
                    if !opening.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(opening))));
                    }
                }
                BodyStep::Items => {
                    if let Some(line) = ready!(this.poll_line(cx)) {
                        let text = this.framed(&line);
                        return Poll::Ready(Some(Ok(Frame::data(text))));
                    }
                    this.step = BodyStep::End;
                    if let Some(completion) = this.completion.take() {
                        completion.complete(Outcome::Complete);
                    }
                    let closing = this.closing();
                    if !closing.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(closing))));
                    }
                }
            }
        }
    }
}
