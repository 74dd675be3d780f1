//! The requests that a worker has under way, so that they can be looked at. Each has a slot for as long as
//! its completion is owed; the slot is written with facts that the request's path has in any case, and read
//! by the worker itself when a viewer asks. Slots are used again, so that a request allocates nothing.
//!
//! Invariant: nothing here is shared between threads, and nothing is formatted unless a viewer asks.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
    sync::Arc,
};

use tokio::time::{Duration, Instant};

use super::{
    progress::{AddedSoFar, StreamProgress},
    record::{RequestRecord, ResponseMode},
    route::RequestRoute,
};
use crate::base::{RequestId, Stage};

/// Slots without a request that are kept for later ones.
const MAX_SPARE: usize = 256;
/// Requests of one worker that can be looked at; further ones are only counted.
const MAX_SLOTS: usize = 64 * 1024;
/// The place of a request that has no slot.
const NO_PLACE: u32 = u32::MAX;
/// Events between two looks at the added latency, which is kept elsewhere.
const ADDED_INTERVAL: u32 = 16;

/// One request under way.
#[derive(Debug)]
pub struct RunningRequest {
    place: u32,
    /// How far the request has come, reported if the client leaves.
    stage: Cell<Stage>,
    /// How far the attempt that is looked at has come, while one is.
    attempt: Cell<Stage>,
    is_attempted: Cell<bool>,
    pub(super) facts: RefCell<Option<RunningFacts>>,
    /// `None`: no frame has been given to the client.
    pub(super) progress: Cell<Option<StreamProgress>>,
    pub(super) first_token: Cell<Option<Duration>>,
    pub(super) added: Cell<AddedSoFar>,
}

/// The names of a request under way, shared with its record.
#[derive(Debug)]
pub(super) struct RunningFacts {
    pub(super) id: RequestId,
    pub(super) started: Instant,
    pub(super) route: RequestRoute,
    pub(super) key_name: Option<Arc<str>>,
    pub(super) key_id: Option<Arc<str>>,
    pub(super) model: Option<Arc<str>>,
    pub(super) provider: Option<Arc<str>>,
    pub(super) mode: Option<ResponseMode>,
}

impl RunningRequest {
    const fn new(place: u32) -> Self {
        Self {
            place,
            stage: Cell::new(Stage::Intake),
            attempt: Cell::new(Stage::Pool),
            is_attempted: Cell::new(false),
            facts: RefCell::new(None),
            progress: Cell::new(None),
            first_token: Cell::new(None),
            added: Cell::new(AddedSoFar { first: None, max: None }),
        }
    }

    fn begin(&self, record: &RequestRecord) {
        self.stage.set(Stage::Intake);
        self.is_attempted.set(false);
        self.progress.set(None);
        self.first_token.set(None);
        self.added.set(AddedSoFar::default());
        self.facts.replace(Some(RunningFacts {
            id: record.id.clone(),
            started: record.started,
            route: record.route,
            key_name: None,
            key_id: None,
            model: None,
            provider: None,
            mode: None,
        }));
    }

    /// How far the request has come.
    #[must_use]
    pub const fn stage(&self) -> &Cell<Stage> {
        &self.stage
    }

    /// How far it has come, with the attempt under way.
    pub(super) fn reached(&self) -> Stage {
        if self.first_token.get().is_some() {
            return Stage::Body;
        }
        if self.is_attempted.get() { self.attempt.get() } else { self.stage.get() }
    }

    /// Shows the names of the record's key.
    pub(super) fn show_key(&self, record: &RequestRecord) {
        if let Some(facts) = &mut *self.facts.borrow_mut() {
            facts.key_name.clone_from(&record.key_name);
            facts.key_id.clone_from(&record.key_id);
        }
    }

    /// Shows the model and the mode in the record.
    pub(super) fn show_model(&self, record: &RequestRecord) {
        if let Some(facts) = &mut *self.facts.borrow_mut() {
            facts.model.clone_from(&record.model);
            facts.mode = record.mode;
        }
    }

    /// Shows the names in the record.
    pub(super) fn show(&self, record: &RequestRecord) {
        self.show_key(record);
        self.show_model(record);
        self.show_provider(record.provider.as_ref());
    }

    /// The provider that is asked now, or that gave the answer.
    pub fn show_provider(&self, provider: Option<&Arc<str>>) {
        if let Some(facts) = &mut *self.facts.borrow_mut() {
            facts.provider = provider.map(Arc::clone);
        }
    }

    /// A frame is given to the client. `added` is called now and then.
    #[inline]
    pub fn note(
        &self,
        progress: StreamProgress,
        first_token: Option<Duration>,
        added: impl FnOnce() -> AddedSoFar,
    ) {
        self.progress.set(Some(progress));
        self.first_token.set(first_token);
        if progress.text.events() % ADDED_INTERVAL <= 1 {
            self.added.set(added());
        }
    }

    /// A frame of an answer that another request reads is given to the client, so long after its arrival.
    pub fn note_shared(&self, after: Duration) {
        let mut text = self.progress.get().map(|progress| progress.text).unwrap_or_default();
        text.note(0);
        self.progress.set(Some(StreamProgress { text, last: Instant::now() }));
        self.first_token.set(self.first_token.get().or(Some(after)));
    }
}

/// How far one attempt has come. The attempts of a request may run at once, and one of them is looked at.
#[derive(Debug)]
pub struct AttemptStage<'a> {
    own: Cell<Stage>,
    /// `None`: another attempt of the request is looked at.
    shown: Option<&'a RunningRequest>,
}

impl<'a> AttemptStage<'a> {
    #[must_use]
    pub fn new(request: &'a RunningRequest) -> Self {
        let shown = (!request.is_attempted.replace(true)).then_some(request);
        let stage = Self { own: Cell::new(Stage::Pool), shown };
        stage.cell().set(Stage::Pool);
        stage
    }

    #[must_use]
    pub fn cell(&self) -> &Cell<Stage> {
        self.shown.map_or(&self.own, |request| &request.attempt)
    }
}

impl Drop for AttemptStage<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.shown {
            request.is_attempted.set(false);
        }
    }
}

/// The requests that a worker has under way.
#[derive(Debug, Default)]
pub struct RunningTable(RefCell<RunningSlots>);

#[derive(Debug, Default)]
struct RunningSlots {
    /// By place. `None`: the place is free, and its slot was not kept.
    all: Vec<Option<Rc<RunningRequest>>>,
    free: Vec<u32>,
    /// Free places with a slot.
    spare: usize,
    /// Requests without a place.
    placeless: usize,
}

impl RunningTable {
    /// A request begins.
    pub(super) fn enter(&self, record: &RequestRecord) -> Rc<RunningRequest> {
        let request = self.0.borrow_mut().take();
        request.begin(record);
        request
    }

    /// A request has ended.
    pub(super) fn leave(&self, request: &Rc<RunningRequest>) {
        request.facts.replace(None);
        self.0.borrow_mut().give_back(request.place);
    }

    /// Places that a reader looks at, one after the other.
    pub(super) fn places(&self) -> usize {
        self.0.borrow().all.len()
    }

    /// Calls `look` with the requests of these places that are under way.
    pub(super) fn look(&self, places: Range<usize>, mut look: impl FnMut(&RunningRequest, &RunningFacts)) {
        let slots = self.0.borrow();
        let end = places.end.min(slots.all.len());
        for request in slots.all.get(places.start..end).into_iter().flatten().flatten() {
            if let Some(facts) = &*request.facts.borrow() {
                look(request, facts);
            }
        }
    }

    /// Requests that cannot be looked at.
    pub(super) fn placeless(&self) -> usize {
        self.0.borrow().placeless
    }
}

impl RunningSlots {
    fn take(&mut self) -> Rc<RunningRequest> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.all.len() < MAX_SLOTS => {
                self.all.push(None);
                u32::try_from(self.all.len() - 1).unwrap_or(NO_PLACE)
            }
            None => NO_PLACE,
        };
        let Some(slot) = self.all.get_mut(place as usize) else {
            self.placeless += 1;
            return Rc::new(RunningRequest::new(NO_PLACE));
        };
        if let Some(kept) = slot {
            self.spare -= 1;
            return Rc::clone(kept);
        }
        Rc::clone(slot.insert(Rc::new(RunningRequest::new(place))))
    }

    fn give_back(&mut self, place: u32) {
        let Some(slot) = self.all.get_mut(place as usize) else {
            self.placeless = self.placeless.saturating_sub(1);
            return;
        };
        if self.spare < MAX_SPARE {
            self.spare += 1;
        } else {
            *slot = None;
        }
        self.free.push(place);
    }
}
