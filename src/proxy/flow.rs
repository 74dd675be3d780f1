//! Where the relay's streams come from: the provider's body, which counts as under way at its candidate until its last
//! byte. The one place where relay and upstream are joined.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::verdict;
use crate::{
    base::{Dice, Fault, Moment},
    relay::{Acknowledge, Source},
    routing::{Record, record::Failure, settings::BreakerSettings},
    telemetry::Held,
    upstream,
};

#[derive(Debug)]
pub struct Flow {
    body: upstream::Body,
    watched: Option<Watch>,
}

/// What a stream that has been committed means for its candidate.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) record: Arc<Record>,
    pub(super) asked: Moment,
    pub(super) breaker: BreakerSettings,
    pub(super) under_way: Held,
}

impl Flow {
    pub(super) const fn new(body: upstream::Body) -> Self {
        Self { body, watched: None }
    }

    /// From here on the candidate is answerable for how the stream ends.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watched = Some(watch);
    }
}

impl Source for upstream::Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        Self::poll_frame(self, cx)
    }

    fn acknowledge(&mut self, when: Acknowledge) {
        match when {
            Acknowledge::Late => self.acknowledge_late(),
            Acknowledge::AtOnce => self.acknowledge_at_once(),
        }
    }

    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}

impl Source for Flow {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.body.poll_frame(cx)
    }

    fn acknowledge(&mut self, when: Acknowledge) {
        Source::acknowledge(&mut self.body, when);
    }

    fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// A stream that was cut, or told of an error, speaks against its candidate, though nobody else can be asked any more.
    fn failed(&mut self, fault: &Fault) {
        if let Some(Watch { record, asked, breaker, under_way }) = self.watched.take() {
            let failure = Failure { class: verdict::of_fault(fault), hint: None, asked };
            record.failed(&failure, Moment::now(), &breaker, &mut Dice::random());
            drop(under_way);
        }
    }
}
