//! The requests that a worker has under way, so that they can be looked at. Each has a slot for as long as
//! its completion is owed; the slot is written with facts that the request's path has in any case, and read
//! by the worker itself when a viewer asks. Slots are used again, so that a request allocates nothing.
//!
//! Invariant: nothing here is shared between threads, and nothing is formatted unless a viewer asks.

use std::{
    cell::{Cell, RefCell},
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
/// Places that the table keeps the room for when fewer are taken.
const MIN_ROOM: usize = 1024;
/// The place of a request that has no slot.
const NO_PLACE: u32 = u32::MAX;

/// One request under way.
#[derive(Debug)]
pub struct RunningRequest {
    place: Cell<u32>,
    /// The number of the last reading that saw it.
    seen_by: Cell<u32>,
    /// How far the request has come, reported if the client leaves.
    stage: Cell<Stage>,
    /// Attempts under way, in the order of their beginning. The last one is looked at.
    attempts: RefCell<Vec<Rc<ShownAttempt>>>,
    /// For the next attempt.
    spare_attempt: RefCell<Option<Rc<ShownAttempt>>>,
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
    /// The provider that was asked last, or that gave the answer.
    provider: Option<Arc<str>>,
    pub(super) mode: Option<ResponseMode>,
}

impl RunningRequest {
    const fn new(place: u32) -> Self {
        Self {
            place: Cell::new(place),
            seen_by: Cell::new(0),
            stage: Cell::new(Stage::Intake),
            attempts: RefCell::new(Vec::new()),
            spare_attempt: RefCell::new(None),
            facts: RefCell::new(None),
            progress: Cell::new(None),
            first_token: Cell::new(None),
            added: Cell::new(AddedSoFar { first: None, max: None }),
        }
    }

    fn begin(&self, record: &RequestRecord) {
        self.stage.set(Stage::Intake);
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
        self.attempts.borrow().last().map_or(&self.stage, |attempt| &attempt.stage).get()
    }

    /// The provider of the attempt under way, or the last one.
    pub(super) fn provider(&self, facts: &RunningFacts) -> Option<Arc<str>> {
        match self.attempts.borrow().last() {
            Some(attempt) => attempt.provider.borrow().clone(),
            None => facts.provider.clone(),
        }
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

    /// The provider that gave the answer.
    pub fn show_provider(&self, provider: Option<&Arc<str>>) {
        if let Some(facts) = &mut *self.facts.borrow_mut() {
            facts.provider = provider.map(Arc::clone);
        }
    }

    /// A frame is given to the client.
    #[inline]
    pub fn note(&self, progress: StreamProgress, first_token: Option<Duration>) {
        self.progress.set(Some(progress));
        self.first_token.set(first_token);
    }

    /// The gateway's share is another one.
    pub fn note_added(&self, added: AddedSoFar) {
        self.added.set(added);
    }

    /// A frame of an answer that another request reads is given to the client now, so long after its arrival.
    pub fn note_shared(&self, now: Instant, after: Duration) {
        let mut text = self.progress.get().map(|progress| progress.text).unwrap_or_default();
        text.note_text(0);
        self.progress.set(Some(StreamProgress { text, last: now }));
        self.first_token.set(self.first_token.get().or(Some(after)));
    }
}

/// One attempt as it is looked at.
#[derive(Debug)]
struct ShownAttempt {
    stage: Cell<Stage>,
    /// `None`: it has ended.
    provider: RefCell<Option<Arc<str>>>,
}

/// How far one attempt has come. The attempts of a request may run at once; the one that began last is looked
/// at.
#[derive(Debug)]
pub struct AttemptStage<'a> {
    shown: Rc<ShownAttempt>,
    request: &'a RunningRequest,
}

impl<'a> AttemptStage<'a> {
    /// An attempt at `provider` begins.
    #[must_use]
    pub fn new(request: &'a RunningRequest, provider: &Arc<str>) -> Self {
        let make = || Rc::new(ShownAttempt { stage: Cell::new(Stage::Pool), provider: RefCell::default() });
        let shown = request.spare_attempt.take().unwrap_or_else(make);
        shown.stage.set(Stage::Pool);
        shown.provider.replace(Some(Arc::clone(provider)));
        request.attempts.borrow_mut().push(Rc::clone(&shown));
        Self { shown, request }
    }

    #[must_use]
    pub fn cell(&self) -> &Cell<Stage> {
        &self.shown.stage
    }
}

impl Drop for AttemptStage<'_> {
    fn drop(&mut self) {
        let mut attempts = self.request.attempts.borrow_mut();
        let is_own = |attempt: &Rc<ShownAttempt>| Rc::ptr_eq(attempt, &self.shown);
        let provider = self.shown.provider.take();
        if attempts.last().is_some_and(is_own)
            && let Some(facts) = &mut *self.request.facts.borrow_mut()
        {
            facts.provider = provider;
        }
        attempts.retain(|attempt| !is_own(attempt));
        self.request.spare_attempt.replace(Some(Rc::clone(&self.shown)));
    }
}

/// The requests that a worker has under way.
#[derive(Debug, Default)]
pub struct RunningTable(RefCell<RunningSlots>);

#[derive(Debug, Default)]
struct RunningSlots {
    /// Of the requests under way, by place. The last one takes the place of one that ends.
    taken: Vec<Rc<RunningRequest>>,
    /// For later requests.
    spare: Vec<Rc<RunningRequest>>,
    /// Requests without a place.
    placeless: usize,
    readings: u32,
}

/// One look at all requests, some places at a time: from the last place down, because a request that changes
/// its place goes down. One that was looked at is known by the reading's number.
#[derive(Debug)]
pub(super) struct TableReading {
    number: u32,
    /// Places that are left.
    left: usize,
}

impl RunningTable {
    /// A request begins.
    pub(super) fn enter(&self, record: &RequestRecord) -> Rc<RunningRequest> {
        let request = self.0.borrow_mut().take();
        request.begin(record);
        request
    }

    /// A request has ended.
    pub(super) fn leave(&self, request: &RunningRequest) {
        request.facts.replace(None);
        self.0.borrow_mut().give_back(request.place.get());
    }

    /// How many requests are under way.
    pub(super) fn len(&self) -> usize {
        let slots = self.0.borrow();
        slots.taken.len() + slots.placeless
    }

    /// Begins to look at the requests that are under way now.
    pub(super) fn reading(&self) -> TableReading {
        let mut slots = self.0.borrow_mut();
        slots.readings = slots.readings.wrapping_add(1);
        TableReading { number: slots.readings, left: slots.taken.len() }
    }

    /// Calls `look` with the requests of the next `count` places. False: it was the last time.
    pub(super) fn look(
        &self,
        reading: &mut TableReading,
        count: usize,
        mut look: impl FnMut(&RunningRequest, &RunningFacts),
    ) -> bool {
        let slots = self.0.borrow();
        let end = reading.left.min(slots.taken.len());
        reading.left = end.saturating_sub(count);
        for request in slots.taken.get(reading.left..end).into_iter().flatten() {
            if request.seen_by.replace(reading.number) != reading.number
                && let Some(facts) = &*request.facts.borrow()
            {
                look(request, facts);
            }
        }
        reading.left > 0
    }

    /// Requests that cannot be looked at.
    pub(super) fn placeless(&self) -> usize {
        self.0.borrow().placeless
    }
}

impl RunningSlots {
    fn take(&mut self) -> Rc<RunningRequest> {
        let Some(place) = u32::try_from(self.taken.len()).ok().filter(|_| self.taken.len() < MAX_SLOTS)
        else {
            self.placeless += 1;
            return Rc::new(RunningRequest::new(NO_PLACE));
        };
        let request = self.spare.pop().unwrap_or_else(|| Rc::new(RunningRequest::new(place)));
        request.place.set(place);
        self.taken.push(Rc::clone(&request));
        request
    }

    fn give_back(&mut self, place: u32) {
        if place == NO_PLACE {
            self.placeless = self.placeless.saturating_sub(1);
            return;
        }
        let index = place as usize;
        if index >= self.taken.len() {
            return;
        }
        let request = self.taken.swap_remove(index);
        if let Some(moved) = self.taken.get(index) {
            moved.place.set(place);
        }
        if self.spare.len() < MAX_SPARE {
            self.spare.push(request);
        }
        if self.taken.capacity() > MIN_ROOM && self.taken.len() < self.taken.capacity() / 4 {
            self.taken.shrink_to(MIN_ROOM.max(2 * self.taken.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::IdSource;

    fn enter(table: &RunningTable, count: usize) -> Vec<Rc<RunningRequest>> {
        let mut ids = IdSource::default();
        let mut record = || RequestRecord::new(ids.make(), Instant::now(), RequestRoute::Unknown);
        (0..count).map(|_| table.enter(&record())).collect()
    }

    fn leave(table: &RunningTable, requests: &[Rc<RunningRequest>]) {
        requests.iter().for_each(|request| table.leave(request));
    }

    /// A slot that is dropped may be made again at the same address, so each is held until it is compared.
    #[test]
    fn after_a_burst_requests_allocate_nothing_and_memory_goes_back() {
        let table = RunningTable::default();
        let burst = enter(&table, 40 * MAX_SPARE);
        leave(&table, &burst);
        let room = || {
            let slots = table.0.borrow();
            (slots.taken.capacity(), slots.spare.capacity())
        };
        let rest = room();
        assert!(rest.0 <= MIN_ROOM && rest.1 <= MAX_SPARE, "{rest:?}");
        let kept = |request: &Rc<RunningRequest>| burst.iter().any(|slot| Rc::ptr_eq(slot, request));
        for count in [1, MAX_SPARE, 1] {
            let requests = enter(&table, count);
            assert!(requests.iter().all(kept), "{count}");
            leave(&table, &requests);
            assert_eq!(room(), rest, "{count}");
        }
        let more = enter(&table, MAX_SPARE + 1);
        assert_eq!(more.iter().filter(|request| kept(request)).count(), MAX_SPARE, "no more are kept");
    }

    /// Those that end between two looks leave holes, which others fill.
    #[test]
    fn a_reading_sees_each_request_once_while_others_come_and_go() {
        let table = RunningTable::default();
        let mut requests = enter(&table, 100);
        let (mut reading, mut seen) = (table.reading(), Vec::new());
        let mut gone = Vec::new();
        while table.look(&mut reading, 10, |request, _| seen.push(std::ptr::from_ref(request))) {
            gone.extend([requests.remove(0), requests.swap_remove(requests.len() / 2)]);
            leave(&table, &gone[gone.len() - 2..]);
            gone.extend(enter(&table, 1));
        }
        let times =
            |request: &Rc<RunningRequest>| seen.iter().filter(|seen| Rc::as_ptr(request) == **seen).count();
        assert!(requests.iter().all(|request| times(request) == 1));
        assert_eq!(requests.len(), 100 - 2 * 9);
    }

    #[test]
    fn requests_without_a_place_are_counted() {
        let table = RunningTable::default();
        let requests = enter(&table, MAX_SLOTS + 2);
        assert_eq!(table.placeless(), 2);
        leave(&table, &requests);
        assert_eq!((table.placeless(), table.0.borrow().taken.len()), (0, 0));
    }
}
