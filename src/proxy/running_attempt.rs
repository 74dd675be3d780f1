//! The state of an attempt while it runs, kept apart from the attempt's result because a cancelled attempt
//! has none. An attempt that ends without an answer for the client leaves its usage in `wasted`, however it
//! ends.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::{
    attempt_result::{AttemptError, Success, UsagePlace},
    request_context::RequestContext,
    snapshot::Provider,
    translation::{self, AnswerBody, NoAnswer, Translation},
};
use crate::{
    base::{ByteList, Endpoint, Fault, HeaderFields, Stage},
    exchange::{AttemptStage, WastedAttempt},
    relay::{CommitPoint, Uncommitted, collect::CollectedFrames},
    routing::RefusedOptions,
    wire::{BYTE_ORDER_MARK, Usage, usage},
};

/// An attempt that runs. One that ends without an answer for the client leaves the usage that its provider
/// counts all the same (S3.10, R19); few providers have reported it by then.
pub(super) struct RunningAttempt<'a> {
    provider: &'a Arc<str>,
    pub(super) model: &'a str,
    pub(super) endpoint: Endpoint,
    wasted: &'a RefCell<Vec<WastedAttempt>>,
    request_stage: &'a Cell<Stage>,
    pub(super) stage: AttemptStage<'a>,
    /// Usage is requested on the client's behalf.
    pub(super) requests_usage: bool,
    /// Options that the model refuses, of which a translated request has none.
    pub(super) refused: RefusedOptions,
    /// Members of a native request that its provider did not get.
    pub(super) dropped: Option<&'static str>,
    /// Usage that the provider has reported.
    pub(super) reported: Option<Usage>,
    /// A whole answer, as far as it has come.
    pub(super) body: CollectedFrames,
    /// The stream on its way to its commit point.
    stream: Option<Uncommitted<AnswerBody>>,
    /// It has returned its result.
    has_ended: bool,
}

impl<'a> RunningAttempt<'a> {
    pub(super) fn new(
        context: &RequestContext<'a>,
        provider: &'a Provider,
        (model, endpoint): (&'a str, Endpoint),
    ) -> Self {
        Self {
            provider: &provider.target.name,
            model,
            endpoint,
            wasted: context.wasted,
            request_stage: context.running.stage(),
            stage: AttemptStage::new(context.running, &provider.target.name),
            requests_usage: false,
            refused: provider.standing.refused_options(model),
            dropped: None,
            reported: None,
            body: CollectedFrames::default(),
            stream: None,
            has_ended: false,
        }
    }

    /// A whole answer in the client's dialect, and where its usage stands. Of one that failed the usage is
    /// noted all the same.
    pub(super) fn whole(
        &mut self,
        translation: Option<&Translation>,
        body: ByteList,
    ) -> Result<(ByteList, UsagePlace), NoAnswer> {
        let Some(translation) = translation else { return Ok((body, UsagePlace::Body)) };
        let text = body.join();
        let whole = translation.whole(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text));
        if whole.is_err() {
            self.reported = usage::find(self.endpoint.dialect(), &text);
        }
        whole.map(|(body, reported)| (body, UsagePlace::Translation(reported)))
    }

    /// Says in the answer's headers how the request was changed.
    pub(super) fn sign(&self, headers: &mut HeaderFields, translation: Option<&Translation>) {
        if let Some(dropped) = self.dropped {
            headers.insert(translation::DROPPED, dropped);
        }
        if let Some(translation) = translation {
            translation.sign(headers);
        }
    }

    /// Pulls `stream` to its commit point.
    pub(super) async fn reach_commit(
        &mut self,
        stream: Uncommitted<AnswerBody>,
        point: CommitPoint,
    ) -> Result<(Result<(), Fault>, Uncommitted<AnswerBody>), AttemptError> {
        self.stream = Some(stream);
        let reached = match &mut self.stream {
            Some(stream) => stream.reach(point).await,
            None => Ok(()),
        };
        let mut stream = self.stream.take().ok_or_else(|| AttemptError::garbage("nothing"))?;
        self.reported = stream.usage();
        Ok((reached, stream))
    }

    /// It returns this result.
    pub(super) fn end(&mut self, result: &Result<Box<Success>, AttemptError>) {
        self.has_ended = true;
        if result.is_err() {
            self.note_usage_of_part();
            if self.reported.is_some() {
                self.leave(None);
            }
        }
    }

    /// Notes usage in a whole answer that has come in part.
    fn note_usage_of_part(&mut self) {
        self.reported =
            self.reported.or_else(|| usage::find(self.endpoint.dialect(), &self.body.take().join()));
    }

    fn leave(&self, passed_tokens: Option<u32>) {
        self.wasted.borrow_mut().push(WastedAttempt {
            provider: Arc::clone(self.provider),
            model: self.model.into(),
            reported: self.reported,
            passed_tokens,
        });
    }
}

impl Drop for RunningAttempt<'_> {
    fn drop(&mut self) {
        let stage = self.stage.cell().get();
        self.request_stage.set(stage);
        if self.has_ended || matches!(stage, Stage::Intake | Stage::Pool | Stage::Connect) {
            return;
        }
        // Cancelled, and the provider may have begun to work.
        self.note_usage_of_part();
        let stream = self.stream.as_mut();
        let passed = stream.map_or(0, |stream| {
            self.reported = stream.usage();
            stream.passed_tokens()
        });
        self.leave(Some(passed));
    }
}
