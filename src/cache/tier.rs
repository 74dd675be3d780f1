//! The answers that replicas share in Redis, and that outlive a restart: behind the memory of each. A look-up
//! waits a bounded time, and none is made while Redis is away or was late a moment ago. Answers are written
//! in the background, from a bounded queue; one that has no place there is not written.
//!
//! Invariant: Redis can only add a hit. Its failures are misses.

use std::{
    fmt::Write as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::timeout,
};

use super::{entry::StoredAnswer, key::AnswerKey, stored_form};
use crate::cluster::{RedisFault, ValueShelf};

/// Answers that wait to be written, and their bytes.
const MAX_QUEUED: usize = 256;
const MAX_QUEUED_SIZE: usize = 32 << 20;
/// Bytes of values on their way from Redis, at most; a single one may be longer.
const MAX_READ_SIZE: usize = 64 << 20;
/// After a late answer no request asks Redis for as long.
const LATE_PAUSE: Duration = Duration::from_secs(1);
/// How long a stop waits until queued answers are written.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);

/// The way to shared answers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct AnswerTier {
    queue: Sender<QueuedAnswer>,
    parts: Arc<TierParts>,
}

/// The background's part, before it runs.
#[derive(Debug)]
pub struct TierWriter {
    queue: Receiver<QueuedAnswer>,
    parts: Arc<TierParts>,
}

#[derive(Debug)]
struct TierParts {
    shelf: ValueShelf,
    /// The longest wait of a request.
    wait: Duration,
    began: Instant,
    /// When requests may ask again, in milliseconds since it began.
    resumes: AtomicU64,
    /// Bytes for look-ups under way.
    reading: AtomicUsize,
    queued: AtomicUsize,
    counts: TierCounts,
}

#[derive(Debug, Default)]
struct TierCounts {
    hits: AtomicU64,
    misses: AtomicU64,
    failed: AtomicU64,
    stored: AtomicU64,
    dropped: AtomicU64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierFigures {
    pub hits: u64,
    pub misses: u64,
    /// Look-ups without an answer in time, or with an error.
    pub failed: u64,
    pub stored: u64,
    /// Answers that were not written.
    pub dropped: u64,
}

#[derive(Debug)]
struct QueuedAnswer {
    key: AnswerKey,
    answer: Arc<StoredAnswer>,
    max_age: Duration,
    _size: QueuedSize,
}

/// Bytes that are counted, until it is dropped.
#[derive(Debug)]
struct QueuedSize(Arc<TierParts>, usize);

impl Drop for QueuedSize {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(self.1, Relaxed);
    }
}

/// Bytes for one look-up, until it is dropped; also if its request is given up.
struct ReadSize<'a>(&'a AtomicUsize, usize);

impl<'a> ReadSize<'a> {
    /// `None`: too many are under way.
    fn take(reading: &'a AtomicUsize, size: usize) -> Option<Self> {
        let fits = |held: usize| {
            held.checked_add(size)
                .filter(|held| *held <= MAX_READ_SIZE)
                .or_else(|| (held == 0).then_some(size))
        };
        reading.fetch_update(Relaxed, Relaxed, fits).ok().map(|_| Self(reading, size))
    }
}

impl Drop for ReadSize<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

impl AnswerTier {
    /// The tier, and the task that has to run for it. `wait`: the longest that a request waits.
    #[must_use]
    pub fn open(shelf: ValueShelf, wait: Duration) -> (Self, TierWriter) {
        let (sender, queue) = mpsc::channel(MAX_QUEUED);
        let parts = Arc::new(TierParts {
            shelf,
            wait,
            began: Instant::now(),
            resumes: AtomicU64::new(0),
            reading: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            counts: TierCounts::default(),
        });
        (Self { queue: sender, parts: Arc::clone(&parts) }, TierWriter { queue, parts })
    }

    /// Whether it is worth a request's while to ask.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.parts.shelf.is_up() && self.parts.now() >= self.parts.resumes.load(Relaxed)
    }

    /// The answer under `key`, if it is no older than `max_age`, its body no longer than `max_size`, and it
    /// `fits`.
    pub async fn find(
        &self,
        key: &AnswerKey,
        (max_age, max_size): (Duration, usize),
        fits: impl FnOnce(&StoredAnswer) -> bool,
    ) -> Option<StoredAnswer> {
        let parts = &*self.parts;
        let length = stored_form::max_length(max_size);
        let _held = ReadSize::take(&parts.reading, length)?;
        let value = match timeout(parts.wait, parts.shelf.get(&name(key), length)).await {
            Ok(Ok(value)) => value,
            Ok(Err(RedisFault::Late)) | Err(_) => {
                parts.pause();
                return parts.note_failure();
            }
            // Nothing was asked.
            Ok(Err(RedisFault::Away | RedisFault::Crowded)) => return None,
            Ok(Err(_)) => return parts.note_failure(),
        };
        let now = SystemTime::now();
        let answer = stored_form::read(key, value, max_size, now);
        let found = answer.filter(|answer| answer.age(now) <= max_age && fits(answer));
        let count = if found.is_some() { &parts.counts.hits } else { &parts.counts.misses };
        count.fetch_add(1, Relaxed);
        found
    }

    /// Has an answer written, unless too many wait. It lives until it is `max_age` old.
    pub(super) fn put(&self, key: AnswerKey, answer: Arc<StoredAnswer>, max_age: Duration) {
        let parts = &self.parts;
        let size = answer.size();
        let more = |queued: usize| queued.checked_add(size).filter(|queued| *queued <= MAX_QUEUED_SIZE);
        let queued = parts.shelf.is_up() && parts.queued.fetch_update(Relaxed, Relaxed, more).is_ok() && {
            let size = QueuedSize(Arc::clone(parts), size);
            self.queue.try_send(QueuedAnswer { key, answer, max_age, _size: size }).is_ok()
        };
        if !queued {
            parts.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    #[must_use]
    pub fn figures(&self) -> TierFigures {
        let TierCounts { hits, misses, failed, stored, dropped } = &self.parts.counts;
        let [hits, misses, failed, stored, dropped] =
            [hits, misses, failed, stored, dropped].map(|count| count.load(Relaxed));
        TierFigures { hits, misses, failed, stored, dropped }
    }
}

impl TierParts {
    /// Milliseconds since it began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn pause(&self) {
        let pause = u64::try_from(LATE_PAUSE.as_millis()).unwrap_or(u64::MAX);
        self.resumes.store(self.now().saturating_add(pause), Relaxed);
    }

    fn note_failure(&self) -> Option<StoredAnswer> {
        self.counts.failed.fetch_add(1, Relaxed);
        None
    }

    async fn write_and_count(&self, queued: &QueuedAnswer) {
        let TierCounts { stored, dropped, .. } = &self.counts;
        let count = if self.write(queued).await { stored } else { dropped };
        count.fetch_add(1, Relaxed);
    }

    /// Whether the answer is written.
    async fn write(&self, queued: &QueuedAnswer) -> bool {
        let QueuedAnswer { key, answer, max_age, .. } = queued;
        let life = max_age.saturating_sub(answer.age(SystemTime::now()));
        if life.is_zero() || !self.shelf.is_up() {
            return false;
        }
        let Some(value) = stored_form::write(key, answer) else { return false };
        value.len() <= stored_form::max_length(answer.body.len())
            && self.shelf.put(&name(key), &value, life).await.is_ok()
    }
}

impl TierWriter {
    /// Writes answers until `stopped` returns, and then those that wait, but not long.
    pub async fn run(mut self, stopped: impl Future<Output = ()>) {
        let mut stopped = pin!(stopped);
        loop {
            let queued = tokio::select! {
                queued = self.queue.recv() => queued,
                () = &mut stopped => break,
            };
            let Some(queued) = queued else { return };
            self.parts.write_and_count(&queued).await;
        }
        self.queue.close();
        let rest = async {
            while let Some(queued) = self.queue.recv().await {
                self.parts.write_and_count(&queued).await;
            }
        };
        let _ = timeout(STOP_TIMEOUT, rest).await;
    }
}

/// The name of an answer.
fn name(AnswerKey(digest): &AnswerKey) -> String {
    let mut name = String::with_capacity(2 * digest.len());
    for byte in digest {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::HeaderFields,
        cache::{AnswerMaker, MakerPlace},
        cluster::RedisClient,
        telemetry::RedisGauges,
    };

    #[test]
    fn look_ups_are_bounded_in_bytes_and_one_is_always_possible() {
        let reading = AtomicUsize::new(0);
        let large = ReadSize::take(&reading, MAX_READ_SIZE * 2).unwrap();
        assert!(ReadSize::take(&reading, 1).is_none());
        drop(large);
        let held: Vec<_> = (0..64).map(|_| ReadSize::take(&reading, 1 << 20).unwrap()).collect();
        assert!(ReadSize::take(&reading, 1).is_none());
        drop(held);
        assert_eq!(reading.load(Relaxed), 0);
    }

    /// Without a connection nothing is asked, and nothing waits to be written.
    #[tokio::test]
    async fn without_redis_nothing_is_found_and_nothing_kept() {
        let client = RedisClient::new(RedisGauges::default(), Duration::from_secs(1));
        let (tier, _writer) =
            AnswerTier::open(ValueShelf::new(client, "t:", "cache"), Duration::from_secs(1));
        assert!(!tier.is_open());
        let key = AnswerKey([1; 32]);
        assert!(tier.find(&key, (Duration::from_secs(1), 100), |_| true).await.is_none());
        let answer = StoredAnswer {
            headers: HeaderFields::new(),
            body: bytes::Bytes::new(),
            marks: Box::default(),
            at: SystemTime::now(),
            tokens: 0,
            maker: AnswerMaker { provider: "p".into(), place: MakerPlace::default(), model: "m".into() },
        };
        tier.put(key, Arc::new(answer), Duration::from_secs(1));
        assert_eq!(tier.figures(), TierFigures { dropped: 1, ..TierFigures::default() });
        assert_eq!(tier.parts.queued.load(Relaxed), 0);
        assert_eq!(name(&key), "01".repeat(32));
    }
}
