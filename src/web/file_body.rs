//! The content of a stored file, read from the database page by page, as the client takes it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    base::{Fault, FaultKind, Sent, Side, Stage},
    batch::{BatchDesk, DeskError, StoredFile},
    exchange::{Completion, Outcome},
    telemetry::GaugeGuard,
};

type PageRead = Pin<Box<dyn Future<Output = Result<Option<(i64, Bytes)>, DeskError>>>>;

pub struct FileBody {
    desk: BatchDesk,
    file: Arc<StoredFile>,
    /// The last line that was read.
    after: i64,
    /// Bytes that are still to come.
    rest: u64,
    reading: Option<PageRead>,
    /// `None`: it has been reported.
    completion: Option<Completion>,
    _in_flight: GaugeGuard,
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody").field("file", &self.file).field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl FileBody {
    pub(super) fn new(
        desk: BatchDesk,
        file: StoredFile,
        completion: Completion,
        in_flight: GaugeGuard,
    ) -> Self {
        let rest = u64::try_from(file.bytes).unwrap_or_default();
        let file = Arc::new(file);
        Self {
            desk,
            file,
            after: 0,
            rest,
            reading: None,
            completion: Some(completion),
            _in_flight: in_flight,
        }
    }

    /// The client is not given the rest, although it has not left.
    pub(super) fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        self.complete(Outcome::Fault(fault(Stage::Body)));
    }

    fn complete(&mut self, outcome: Outcome) {
        if let Some(completion) = self.completion.take() {
            completion.complete(outcome);
        }
    }

    fn read(&self) -> PageRead {
        let (desk, file, after) = (self.desk.clone(), Arc::clone(&self.file), self.after);
        Box::pin(async move { desk.ask(move |store| async move { store.page(&file, after).await }).await })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        if this.rest == 0 {
            this.complete(Outcome::Complete);
            return Poll::Ready(None);
        }
        if this.reading.is_none() {
            this.reading = Some(this.read());
        }
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        let page = ready!(reading.as_mut().poll(cx));
        this.reading = None;
        match page {
            Ok(Some((last, text))) => {
                this.after = last;
                this.rest = this.rest.saturating_sub(text.len() as u64);
                if this.rest == 0 {
                    this.complete(Outcome::Complete);
                }
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            // The file was removed meanwhile, or the database is away.
            Ok(None) | Err(_) => {
                let kind = FaultKind::Refused("batch_storage_unavailable");
                let fault = Fault { side: Side::Gateway, stage: Stage::Body, kind, sent: Sent::Some };
                this.rest = 0;
                this.complete(Outcome::Fault(fault.clone()));
                Poll::Ready(Some(Err(fault)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0 && self.completion.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}
