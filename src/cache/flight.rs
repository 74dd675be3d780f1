//! Equal requests that run at the same time share one answer (B7), called a flight. The first request is the
//! leader: a provider is asked for it, and every frame of the answer is added to the flight. Each request,
//! the leader's own client included, is a follower: it reads the frames from the first one on, at its own
//! pace and on its own worker.
//!
//! The provider's answer is read at the pace of the fastest follower, so a slow one delays no other. A flight
//! keeps at most `max_size` bytes, and beyond that only frames that the fastest follower has not taken. When
//! a flight reaches the bound, no further request joins it, its oldest frames are removed, and a follower
//! that still needs them ends with [`FlightFrame::Behind`]. Reading pauses while more than half of the bound
//! waits for the fastest follower; one frame may be longer than that.
//!
//! Invariant: the registry has a flight only while its answer is under way and all its frames are kept.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};

use super::key::AnswerKey;
use crate::base::{Fault, HeaderFields, Side};

/// Bytes of a block in which frames are kept, so that a small frame takes no allocation of its own.
const BLOCK: usize = 16 * 1024;

/// The flights of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FlightRegistry(Arc<Mutex<HashMap<AnswerKey, Arc<Flight>>>>);

#[derive(Debug, Default)]
struct Flight(Mutex<FlightState>);

#[derive(Debug, Default)]
struct FlightState {
    /// `None`: the head of the answer has not come.
    head: Option<FlightHead>,
    frames: VecDeque<Bytes>,
    /// Frames that were removed: the number of the first frame in `frames`.
    first: usize,
    /// Bytes in `frames`.
    bytes: usize,
    end: Option<FlightEnd>,
    /// The number of frames that hold the whole answer, and how it ended, where the provider has not ended
    /// its body.
    answered: Option<(usize, FlightEnd)>,
    followers: usize,
    /// The fault by which the gateway ended the follower that left last. `None`: its client left.
    left_by: Option<Fault>,
    next_follower: u64,
    /// Followers that wait for the head or the next frame, by their ids.
    waiting: HashMap<u64, Waker>,
    /// Bytes added so far, and bytes that the fastest follower has taken.
    added: usize,
    taken: usize,
    /// The task that reads the answer, and whether it is paused until the fastest follower has read on.
    driver: Option<Waker>,
    is_paused: bool,
}

/// Headers of the answer, and whether it streams.
#[derive(Clone, Debug)]
pub struct FlightHead {
    pub headers: HeaderFields,
    pub is_stream: bool,
}

/// How the answer ended.
#[derive(Clone, Debug)]
pub enum FlightEnd {
    /// It is whole, and has so many tokens.
    Complete(u64),
    /// All of it has come, and it is a failure: an error event, or no content.
    Failed(Fault),
    /// `is_shown`: the last frame is an error event for it.
    Broken { fault: Fault, is_shown: bool },
    /// The leader ended without an answer that can be shared.
    Absent,
}

/// The role of a request in a flight.
#[derive(Debug)]
pub enum FlightRole {
    Leader(FlightLeader),
    Follower(FlightFollower),
}

/// The request for which the provider is asked. Dropping it before the end of the answer ends the flight as
/// [`FlightEnd::Absent`].
#[derive(Debug)]
pub struct FlightLeader {
    registry: FlightRegistry,
    key: AnswerKey,
    flight: Arc<Flight>,
    /// Bytes that the flight keeps at most.
    max_size: usize,
    block: BytesMut,
    /// The registry has the flight.
    is_open: bool,
}

#[derive(Debug)]
pub struct FlightFollower {
    flight: Arc<Flight>,
    id: u64,
    /// The number of the next frame, and the bytes of all frames before it.
    next: usize,
    taken: usize,
    /// The fault by which the gateway ends it.
    ended_by: Option<Fault>,
    /// Of the request for which the provider is asked.
    is_leaders: bool,
}

/// The result of reading one frame.
#[derive(Debug)]
pub enum FlightFrame {
    Frame(Bytes),
    /// The last frame, and how the answer ended.
    Last(Bytes, FlightEnd),
    End(FlightEnd),
    /// The next frame was removed, because the follower is too slow.
    Behind,
}

impl FlightRegistry {
    /// Joins the flight of this key as a follower, or begins it as its leader.
    #[must_use]
    pub fn join(&self, key: AnswerKey, max_size: usize) -> FlightRole {
        match locked(&self.0).entry(key) {
            Entry::Occupied(known) => FlightRole::Follower(FlightFollower::of(known.get())),
            Entry::Vacant(place) => {
                let flight = Arc::<Flight>::default();
                place.insert(Arc::clone(&flight));
                let (registry, block) = (self.clone(), BytesMut::new());
                FlightRole::Leader(FlightLeader { registry, key, flight, max_size, block, is_open: true })
            }
        }
    }

    /// Flights that can be joined.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.0).len()
    }
}

impl FlightState {
    /// Removes the oldest frames until at most `max_size` bytes are kept. Frames that the fastest follower
    /// has not taken stay; reading pauses before they become many.
    fn shed(&mut self, max_size: usize) {
        while self.bytes > max_size
            && let Some(oldest) = self.frames.front()
            && self.added - self.bytes + oldest.len() <= self.taken
        {
            self.bytes -= oldest.len();
            self.first += 1;
            self.frames.pop_front();
        }
    }

    /// Notes that a follower has taken so many bytes in total. Returns the waker of the task that reads the
    /// answer, if it paused for the fastest follower.
    fn note_taken(&mut self, taken: usize) -> Option<Waker> {
        if taken <= self.taken {
            return None;
        }
        self.taken = taken;
        if std::mem::take(&mut self.is_paused) { self.driver.take() } else { None }
    }
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, FlightState> {
        locked(&self.0)
    }
}

/// A poisoned lock is used all the same, because no code panics between two changes that belong together.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FlightLeader {
    /// Notes the head of the answer.
    pub fn begin(&mut self, head: FlightHead) {
        self.change(|state| state.head = Some(head));
    }

    /// A follower of this flight, for the leader's own client.
    #[must_use]
    pub fn follow(&self) -> FlightFollower {
        let mut own = FlightFollower::of(&self.flight);
        own.is_leaders = true;
        own
    }

    /// Adds a frame, and the end with it if it is the last one. The bytes are copied.
    pub fn add(&mut self, frame: &[u8], end: Option<FlightEnd>) {
        if self.block.capacity() < frame.len() {
            self.block = BytesMut::with_capacity(BLOCK.max(frame.len()));
        }
        self.block.extend_from_slice(frame);
        let (frame, max_size) = (self.block.split().freeze(), self.max_size);
        if end.is_some() {
            self.close();
        }
        let is_past = self.change(|state| {
            state.bytes += frame.len();
            state.added += frame.len();
            state.frames.push_back(frame);
            let is_past = state.bytes > max_size;
            state.shed(max_size);
            state.end = end;
            is_past
        });
        if is_past {
            self.close();
        }
    }

    /// Notes that the next frame is the last one of the answer; its end may come later.
    pub fn note_answered(&self, end: FlightEnd) {
        let mut state = self.flight.state();
        let frames = state.first + state.frames.len() + 1;
        state.answered.get_or_insert((frames, end));
    }

    /// Notes the end of the answer.
    pub fn end(&mut self, end: FlightEnd) {
        self.close();
        self.change(|state| {
            if state.end.is_none() {
                state.end = Some(end);
            }
        });
    }

    /// The fault by which the gateway ended the last follower. `None`: its client left.
    #[must_use]
    pub fn left_by(&self) -> Option<Fault> {
        self.flight.state().left_by.clone()
    }

    /// Whether the flight has followers, so that the answer is to be read on. Pending: enough frames wait for
    /// the fastest follower. `cx` is woken when either changes.
    pub fn poll_wanted(&mut self, cx: &Context<'_>) -> Poll<bool> {
        match self.poll_followed(cx) {
            Poll::Ready(false) => {
                // Another request may have joined before the flight was closed.
                self.close();
                self.poll_followed(cx)
            }
            followed @ (Poll::Ready(true) | Poll::Pending) => followed,
        }
    }

    fn poll_followed(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.flight.state();
        if state.followers == 0 {
            return Poll::Ready(false);
        }
        state.driver = Some(cx.waker().clone());
        state.is_paused = state.added - state.taken > self.max_size / 2;
        if state.is_paused { Poll::Pending } else { Poll::Ready(true) }
    }

    /// Takes the flight out of the registry, so that no further request joins it. At its end before its
    /// followers learn of that, because each that got no answer joins the next one.
    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            locked(&self.registry.0).remove(&self.key);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut FlightState) -> T) -> T {
        let (changed, waiting) = {
            let mut state = self.flight.state();
            (change(&mut state), std::mem::take(&mut state.waiting))
        };
        waiting.into_values().for_each(Waker::wake);
        changed
    }
}

impl Drop for FlightLeader {
    fn drop(&mut self) {
        self.end(FlightEnd::Absent);
    }
}

impl FlightFollower {
    fn of(flight: &Arc<Flight>) -> Self {
        let mut state = flight.state();
        state.followers += 1;
        state.next_follower += 1;
        Self {
            flight: Arc::clone(flight),
            id: state.next_follower,
            next: 0,
            taken: 0,
            ended_by: None,
            is_leaders: false,
        }
    }

    /// The head of the answer. `None`: there is no answer to share, or its first frames were removed.
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<Option<FlightHead>> {
        let mut state = self.flight.state();
        match (&state.head, &state.end) {
            (Some(_), _) if state.first > 0 => Poll::Ready(None),
            (Some(head), _) => Poll::Ready(Some(head.clone())),
            (None, Some(_)) => Poll::Ready(None),
            (None, None) => {
                state.waiting.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Notes that the gateway ends this follower.
    pub fn note_end(&mut self, fault: Fault) {
        self.ended_by = Some(fault);
    }

    /// How the answer ended, if this follower has read all of it.
    #[must_use]
    pub fn answered(&self) -> Option<FlightEnd> {
        let state = self.flight.state();
        state.answered.as_ref().filter(|(frames, _)| self.next >= *frames).map(|(_, end)| end.clone())
    }

    /// The next frame.
    pub fn poll_frame(&mut self, cx: &Context<'_>) -> Poll<FlightFrame> {
        let mut state = self.flight.state();
        let Some(place) = self.next.checked_sub(state.first) else { return Poll::Ready(FlightFrame::Behind) };
        if let Some(frame) = state.frames.get(place).cloned() {
            self.next += 1;
            self.taken += frame.len();
            let driver = state.note_taken(self.taken);
            driver.into_iter().for_each(Waker::wake);
            let end = state.end.clone().filter(|_| place + 1 == state.frames.len());
            return Poll::Ready(match end {
                Some(end @ (FlightEnd::Complete(_) | FlightEnd::Failed(_))) => FlightFrame::Last(frame, end),
                Some(FlightEnd::Broken { .. } | FlightEnd::Absent) | None => FlightFrame::Frame(frame),
            });
        }
        if let Some(end) = &state.end {
            return Poll::Ready(FlightFrame::End(end.clone()));
        }
        state.waiting.insert(self.id, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for FlightFollower {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.waiting.remove(&self.id);
        state.followers -= 1;
        // A client's fault is that of its own request alone.
        state.left_by = self.ended_by.take().filter(|fault| self.is_leaders || fault.side != Side::Client);
        let driver = if state.followers == 0 { state.driver.take() } else { None };
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::base::{FaultKind, Sent, Stage};

    fn key() -> AnswerKey {
        AnswerKey([7; 32])
    }

    fn begun(registry: &FlightRegistry, max_size: usize) -> FlightLeader {
        let FlightRole::Leader(mut leader) = registry.join(key(), max_size) else { panic!() };
        leader.begin(FlightHead { headers: HeaderFields::new(), is_stream: true });
        leader
    }

    fn follower(registry: &FlightRegistry) -> FlightFollower {
        let FlightRole::Follower(follower) = registry.join(key(), 100) else { panic!() };
        follower
    }

    fn next(follower: &mut FlightFollower) -> String {
        match follower.poll_frame(&Context::from_waker(Waker::noop())) {
            Poll::Ready(FlightFrame::Frame(frame)) => format!("{frame:?}"),
            Poll::Ready(FlightFrame::Last(frame, _)) => format!("last {frame:?}"),
            Poll::Ready(FlightFrame::End(end)) => format!("{end:?}"),
            Poll::Ready(FlightFrame::Behind) => "behind".into(),
            Poll::Pending => "pending".into(),
        }
    }

    #[test]
    fn a_late_follower_gets_all_from_the_first_byte_on() {
        let registry = FlightRegistry::default();
        let mut leader = begun(&registry, 100);
        let mut early = follower(&registry);
        assert_eq!(next(&mut early), "pending");
        leader.add(b"a", None);
        leader.add(b"b", None);
        let mut late = follower(&registry);
        assert_eq!([next(&mut early), next(&mut late)], ["b\"a\"", "b\"a\""]);
        leader.add(b"c", Some(FlightEnd::Complete(3)));
        assert_eq!(registry.count(), 0, "it has ended");
        assert_eq!(
            [next(&mut late), next(&mut late), next(&mut late)],
            ["b\"b\"", "last b\"c\"", "Complete(3)"]
        );
    }

    #[test]
    fn past_the_bound_none_joins_and_a_slow_follower_is_behind() {
        let registry = FlightRegistry::default();
        let mut leader = begun(&registry, 100);
        let (mut fast, mut slow) = (follower(&registry), follower(&registry));
        leader.add(&[b'x'; 60], None);
        next(&mut fast);
        leader.add(&[b'y'; 60], None);
        assert_eq!(registry.count(), 0);
        assert_eq!((next(&mut slow), next(&mut fast).len()), ("behind".into(), 63));
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(leader.poll_wanted(&cx), Poll::Ready(true));
        leader.add(&[b'z'; 60], None);
        assert_eq!(leader.poll_wanted(&cx), Poll::Pending, "the fastest has enough");
        next(&mut fast);
        assert_eq!(leader.poll_wanted(&cx), Poll::Ready(true));
        drop((slow, fast));
        assert_eq!(leader.poll_wanted(&cx), Poll::Ready(false));
    }

    #[test]
    fn the_fastest_follower_gets_frames_of_any_length() {
        let registry = FlightRegistry::default();
        let mut leader = begun(&registry, 100);
        let (mut only, cx) = (leader.follow(), Context::from_waker(Waker::noop()));
        for length in [500, 40, 300, 20] {
            assert_eq!(leader.poll_wanted(&cx), Poll::Ready(true));
            leader.add(&vec![b'x'; length], None);
            assert_eq!(registry.count(), 0, "nobody joins past the bound");
            assert_eq!(next(&mut only).len(), length + 3);
        }
        leader.add(&[b'x'; 200], Some(FlightEnd::Complete(1)));
        assert_eq!(
            (next(&mut only).len(), next(&mut only)),
            ("last b\"\"".len() + 200, "Complete(1)".into())
        );
        assert!(leader.flight.state().bytes <= 200, "what was taken is gone");
    }

    struct JoinWhenWoken(FlightRegistry, Mutex<Option<FlightRole>>);

    impl Wake for JoinWhenWoken {
        fn wake(self: Arc<Self>) {
            *locked(&self.1) = Some(self.0.join(key(), 100));
        }
    }

    /// Another worker's follower runs as soon as it is woken.
    #[test]
    fn a_follower_that_is_left_alone_leads_the_next_flight_at_once() {
        let registry = FlightRegistry::default();
        let FlightRole::Leader(leader) = registry.join(key(), 100) else { panic!() };
        let follower = follower(&registry);
        let joining = Arc::new(JoinWhenWoken(registry, Mutex::default()));
        let waker = Arc::clone(&joining).into();
        assert!(follower.poll_head(&Context::from_waker(&waker)).is_pending());
        drop(leader);
        assert!(matches!(*locked(&joining.1), Some(FlightRole::Leader(_))));
    }

    #[test]
    fn a_leader_that_is_dropped_leaves_its_followers_alone() {
        let registry = FlightRegistry::default();
        let FlightRole::Leader(leader) = registry.join(key(), 100) else { panic!() };
        let follower = follower(&registry);
        let cx = Context::from_waker(Waker::noop());
        assert!(follower.poll_head(&cx).is_pending());
        drop(leader);
        assert!(matches!(follower.poll_head(&cx), Poll::Ready(None)));
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn the_last_follower_leaves_its_fault_unless_that_is_another_clients() {
        let fault = |side| Fault { side, stage: Stage::Body, kind: FaultKind::Gone, sent: Sent::Some };
        for (side, is_leaders, is_left) in
            [(Side::Client, true, true), (Side::Client, false, false), (Side::Gateway, false, true)]
        {
            let registry = FlightRegistry::default();
            let leader = begun(&registry, 100);
            let (own, other) = (leader.follow(), follower(&registry));
            let (first, mut last) = if is_leaders { (other, own) } else { (own, other) };
            drop(first);
            last.note_end(fault(side));
            drop(last);
            assert_eq!(leader.left_by().is_some(), is_left, "{side:?} {is_leaders}");
        }
    }
}
