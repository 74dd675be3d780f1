//! Equal requests under way share one answer (B7): a flight. The first request leads: it asks a provider, and
//! each part that comes is added here; the others follow from the first byte on, each at its own pace, over
//! all workers.
//!
//! A slow follower holds nothing back: the answer is read at the pace of the fastest. The bytes that a flight
//! keeps are bounded: past the bound no request joins any more, the oldest bytes go, and a follower that
//! still needs them is dropped. Bytes that the fastest has not taken stay: up to half of the bound, and one
//! frame of any length.
//!
//! Invariant: a flight is in the registry only while its answer is under way and kept from its first byte on.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

use super::key::AnswerKey;
use crate::base::Fault;

/// Bytes of a block in which frames are kept, so that a small frame takes no allocation of its own.
const BLOCK: usize = 16 * 1024;

/// The flights of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FlightRegistry(Arc<Mutex<HashMap<AnswerKey, Arc<Flight>>>>);

#[derive(Debug, Default)]
struct Flight(Mutex<FlightState>);

#[derive(Debug, Default)]
struct FlightState {
    /// `None`: no answer has come.
    head: Option<FlightHead>,
    frames: VecDeque<Bytes>,
    /// The number of the first frame that is kept.
    first: usize,
    bytes: usize,
    end: Option<FlightEnd>,
    followers: usize,
    next_follower: u64,
    /// Followers that wait.
    waiting: HashMap<u64, Waker>,
    /// Bytes that have come, and those that the fastest follower has taken.
    added: usize,
    taken: usize,
    /// The task that reads the answer, and whether it waits for the fastest follower.
    driver: Option<Waker>,
    is_paused: bool,
}

/// Headers of the answer, and whether it streams.
#[derive(Clone, Debug)]
pub struct FlightHead {
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    pub is_stream: bool,
}

/// How the answer ended.
#[derive(Clone, Debug)]
pub enum FlightEnd {
    /// Whole, after so many tokens.
    Complete(u64),
    Broken(Fault),
    /// There is no answer to share.
    Absent,
}

/// The part of a request in a flight.
#[derive(Debug)]
pub enum FlightRole {
    Leader(FlightLeader),
    Follower(FlightFollower),
}

/// The request that asks a provider. Dropped before its end, it leaves its followers alone.
#[derive(Debug)]
pub struct FlightLeader {
    registry: FlightRegistry,
    key: AnswerKey,
    flight: Arc<Flight>,
    /// Bytes that are kept.
    max_size: usize,
    block: BytesMut,
    is_open: bool,
}

#[derive(Debug)]
pub struct FlightFollower {
    flight: Arc<Flight>,
    id: u64,
    /// The number of the frame that is next, and the bytes before it.
    next: usize,
    taken: usize,
}

/// What a follower finds.
#[derive(Debug)]
pub enum FlightFrame {
    Frame(Bytes),
    /// The last frame.
    Last(Bytes, FlightEnd),
    End(FlightEnd),
    /// The bytes that are next are gone.
    Behind,
}

impl FlightRegistry {
    /// Joins the flight of this key, or begins it.
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

    /// Answers under way that may be joined.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.0).len()
    }
}

impl FlightState {
    /// Lets the oldest frames go, but none that the fastest follower has not taken: it waits for nobody, and
    /// while it has enough to read no frames come.
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

    /// A follower has taken so many bytes: the task that waited for it, to be woken.
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

/// No code panics between two changes that belong together.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FlightLeader {
    /// The answer has begun.
    pub fn begin(&mut self, head: FlightHead) {
        self.change(|state| state.head = Some(head));
    }

    /// One that follows its own flight: the client of the leader.
    #[must_use]
    pub fn follow(&self) -> FlightFollower {
        FlightFollower::of(&self.flight)
    }

    /// Adds a frame, and the end if it is the last. The bytes are copied.
    pub fn add(&mut self, frame: &[u8], end: Option<FlightEnd>) {
        if self.block.capacity() < frame.len() {
            self.block = BytesMut::with_capacity(BLOCK.max(frame.len()));
        }
        self.block.extend_from_slice(frame);
        let (frame, max_size) = (self.block.split().freeze(), self.max_size);
        let has_ended = end.is_some();
        let is_past = self.change(|state| {
            state.bytes += frame.len();
            state.added += frame.len();
            state.frames.push_back(frame);
            let is_past = state.bytes > max_size;
            state.shed(max_size);
            state.end = end;
            is_past
        });
        if has_ended || is_past {
            self.close();
        }
    }

    /// The answer has ended.
    pub fn end(&mut self, end: FlightEnd) {
        self.change(|state| {
            if state.end.is_none() {
                state.end = Some(end);
            }
        });
        self.close();
    }

    /// Whether the answer is still wanted. Pending: the fastest follower has enough to read. `cx` is woken
    /// when that changes.
    pub fn poll_wanted(&mut self, cx: &Context<'_>) -> Poll<bool> {
        match self.poll_followed(cx) {
            Poll::Ready(false) => {
                // One more may have come before none could.
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

    /// No request joins from here on.
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
        Self { flight: Arc::clone(flight), id: state.next_follower, next: 0, taken: 0 }
    }

    /// The head of the answer. `None`: there is no answer to share.
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<Option<FlightHead>> {
        let mut state = self.flight.state();
        match (&state.head, &state.end) {
            // Its bytes may be gone.
            (Some(_), _) if state.first > 0 => Poll::Ready(None),
            (Some(head), _) => Poll::Ready(Some(head.clone())),
            (None, Some(_)) => Poll::Ready(None),
            (None, None) => {
                state.waiting.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
        }
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
                Some(end @ FlightEnd::Complete(_)) => FlightFrame::Last(frame, end),
                Some(FlightEnd::Broken(_) | FlightEnd::Absent) | None => FlightFrame::Frame(frame),
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
        let driver = if state.followers == 0 { state.driver.take() } else { None };
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AnswerKey {
        AnswerKey([7; 32])
    }

    fn begun(registry: &FlightRegistry, max_size: usize) -> FlightLeader {
        let FlightRole::Leader(mut leader) = registry.join(key(), max_size) else { panic!() };
        leader.begin(FlightHead { headers: Box::default(), is_stream: true });
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
}
