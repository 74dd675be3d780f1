//! The limits of keys, shared with other replicas through Redis: a background task reports the use
//! of each active key here and gets grants for it. A key that is not used costs nothing. Requests meet
//! this room's [`LimitHub`] only when their key has nothing granted.

use std::{
    collections::HashMap,
    fmt::Write as _,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    MeterClock, generate,
    limit::{
        KeyUse, Lease, LimitMeter, LimitValues, Reservation, ShareAnswer, ShareHandle, ShareReport,
        WhenAlone,
        outage::RECOVERY_MS,
        report::{GRANT_LIFE_MS, LEVEL_LIFE_MS},
        wait::Refused,
    },
};
use crate::{
    base::spawn::Tasks,
    cluster::{RedisClient, RedisFault, RedisScript, RedisValue, numbers},
};

/// Between two looks at the active keys.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Between two signs of life.
const LIFE_INTERVAL: Duration = Duration::from_secs(2);
/// A replica without a sign of life for as long does not count.
const LIFE_MS: u64 = 8000;
/// How long requests wait for the process's first try to connect.
const FIRST_CONNECTION: Duration = Duration::from_secs(1);
/// Keys that wait for the background to look at them.
const MAX_QUEUED: usize = 16_384;
/// After a call without an answer, the key is asked for again.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// The way of requests to shared limits. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LimitHub {
    handle: ShareHandle,
    client: RedisClient,
    clock: MeterClock,
}

/// The background's part, before it runs.
#[derive(Debug)]
pub struct LimitKeeper {
    queue: Receiver<Arc<LimitMeter>>,
    parts: KeeperParts,
}

/// The keys that are in use.
struct ActiveKeys {
    parts: Rc<KeeperParts>,
    meters: HashMap<usize, Arc<LimitMeter>>,
    tasks: Tasks,
}

/// The parts that all calls of the background share.
#[derive(Debug)]
struct KeeperParts {
    client: RedisClient,
    clock: MeterClock,
    prefix: String,
    /// The name of this replica in this run.
    replica: String,
    replicas: Arc<AtomicU32>,
    report: RedisScript,
    life: RedisScript,
    /// Until when others may not have told the server all that they know; in the process's time.
    recovers_until: AtomicU64,
    born: AtomicU64,
    has_loss: AtomicBool,
    /// The connection over which the server has told of its age.
    seen: AtomicU64,
    is_ending: AtomicBool,
}

impl LimitHub {
    /// The hub, and the task that has to run for it. `prefix` begins the names of keys in Redis.
    #[must_use]
    pub fn open(
        client: RedisClient,
        clock: MeterClock,
        prefix: &str,
        (when_alone, wait): (WhenAlone, Duration),
    ) -> (Self, LimitKeeper) {
        let (sender, queue) = mpsc::channel(MAX_QUEUED);
        let replicas = Arc::new(AtomicU32::new(1));
        let handle = ShareHandle { queue: sender, replicas: Arc::clone(&replicas), when_alone, wait };
        let parts = KeeperParts {
            client: client.clone(),
            clock,
            prefix: prefix.to_owned(),
            replica: generate::make_owner(),
            replicas,
            report: RedisScript::new(include_str!("share_limits.lua")),
            life: RedisScript::new(include_str!("share_replicas.lua")),
            recovers_until: AtomicU64::new(0),
            born: AtomicU64::new(0),
            has_loss: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        };
        (Self { handle, client, clock }, LimitKeeper { queue, parts })
    }

    /// As [`LimitMeter::enter`], out of the shared limit.
    ///
    /// # Errors
    /// A limit is exceeded, or Redis is away and keys are closed then.
    pub async fn enter(&self, meter: &Arc<LimitMeter>, limits: &LimitValues) -> Result<Lease, Refused> {
        self.first_try().await;
        self.handle.enter(meter, limits, || self.client.is_up(), || self.clock.now()).await
    }

    /// As [`Lease::extend`], out of the shared limit.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn extend(
        &self,
        lease: Lease,
        limits: &LimitValues,
        reservation: &Reservation,
    ) -> Result<Lease, Refused> {
        self.handle.extend(lease, limits, reservation, || self.client.is_up(), || self.clock.now()).await
    }
}

impl LimitHub {
    /// How far the limits of this key are used by all replicas; of this one alone and its part while Redis is
    /// away. `None`: it is not known yet, or keys are closed.
    #[must_use]
    pub fn usage(&self, meter: &Arc<LimitMeter>, limits: &LimitValues) -> Option<KeyUse> {
        let (is_up, now) = (self.client.is_up(), self.clock.now());
        (is_up || self.client.was_tried()).then(|| self.handle.usage(meter, limits, is_up, now)).flatten()
    }

    /// Right after the start a connection is under way, and other replicas are not known.
    async fn first_try(&self) {
        if !self.client.was_tried() {
            let _ = timeout(FIRST_CONNECTION, self.client.tried()).await;
        }
    }
}

impl LimitKeeper {
    /// Runs until `stopped` is over; then all grants are given back.
    pub async fn run(self, stopped: impl Future<Output = ()>) {
        let Self { mut queue, parts } = self;
        let mut active = ActiveKeys { parts: Rc::new(parts), meters: HashMap::new(), tasks: Tasks::new() };
        let mut stopped = std::pin::pin!(stopped);
        let (mut look, mut life) = (interval(LOOK_INTERVAL), interval(LIFE_INTERVAL));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        life.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(meter) = queue.recv() => {
                    if let Some(share) = meter.share() {
                        share.note_dequeued();
                    }
                    // While the connection is away nothing is sent; `opened` reports all keys then.
                    if active.parts.client.is_up() {
                        active.exchange(&meter);
                    } else {
                        meter.rouse();
                    }
                    active.meters.insert(Arc::as_ptr(&meter).addr(), meter);
                }
                () = active.parts.client.opened() => {
                    active.sign_of_life();
                    active.tell_again();
                    active.look();
                }
                _ = look.tick(), if !active.meters.is_empty() => {
                    if active.parts.client.is_up() {
                        active.look();
                    }
                }
                _ = life.tick() => {
                    if active.parts.client.is_up() {
                        active.sign_of_life();
                    }
                }
            }
        }
        active.end().await;
    }
}

impl ActiveKeys {
    /// A call for each key that is due; keys without anything to tell are forgotten.
    fn look(&mut self) {
        if self.parts.has_loss.swap(false, Relaxed) {
            self.tell_again();
        }
        for meter in self.meters.values() {
            self.exchange(meter);
        }
        let now = self.parts.clock.now();
        self.meters.retain(|_, meter| !meter.is_quiet(now));
    }

    fn tell_again(&self) {
        self.meters.values().for_each(|meter| meter.tell_again());
    }

    fn sign_of_life(&self) {
        let parts = Rc::clone(&self.parts);
        self.tasks.spawn_watched("limits", async move {
            parts.sign_of_life(LIFE_MS, false).await;
        });
    }

    fn exchange(&self, meter: &Arc<LimitMeter>) {
        let now = self.parts.clock.now();
        if meter.is_due(now) {
            let (parts, meter) = (Rc::clone(&self.parts), Arc::clone(meter));
            self.tasks.spawn_watched("limits", async move { parts.exchange(&meter).await });
        } else {
            meter.rouse_if_met(now);
        }
    }

    /// Reports all that is held a last time, so that other replicas have it at once.
    async fn end(self) {
        self.parts.is_ending.store(true, Relaxed);
        let calls = self.meters.values().map(|meter| {
            let (parts, meter) = (Rc::clone(&self.parts), Arc::clone(meter));
            self.tasks.spawn_watched("limits", async move {
                meter.give_up();
                meter.tell_again();
                parts.call(&meter).await;
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let _ = call.await;
        }
        self.parts.sign_of_life(0, false).await;
    }
}

impl KeeperParts {
    /// Reports one key, and again for as long as that is due at once.
    async fn exchange(&self, meter: &Arc<LimitMeter>) {
        while self.call(meter).await && meter.is_due(self.clock.now()) {}
    }

    /// One report. False: it has no answer.
    async fn call(&self, meter: &Arc<LimitMeter>) -> bool {
        if self.seen.load(Relaxed) != self.client.generation() && !self.sign_of_life(LIFE_MS, false).await {
            if !self.client.is_up() {
                meter.rouse();
            }
            return false;
        }
        let sent = self.clock.now();
        let recovers = millis(sent) < self.recovers_until.load(Relaxed) || meter.recovers(sent);
        let recovery = recovers.then(|| self.replicas.load(Relaxed));
        let Some(report) = meter.report(sent, recovery) else { return false };
        let Some(name) = meter.facts().name.clone() else {
            meter.give_up();
            return false;
        };
        let key = format!("{}1:{{{name}}}", self.prefix);
        let args = arguments(&self.replica, &report, self.is_ending.load(Relaxed));
        let value = self.client.run(&self.report, &key, &args).await;
        if value.as_ref().is_ok_and(|value| numbers(value) == Some([0])) {
            meter.retire();
            return false;
        }
        match value.and_then(|value| answer(&value)) {
            Ok(answer) => {
                if meter.accept(&answer, sent, self.replicas.load(Relaxed)) {
                    self.sign_of_life(LIFE_MS, true).await;
                }
                true
            }
            // The client logs outages and counts errors.
            Err(_) => {
                // From here on: the time that the call itself waited is no outage.
                meter.note_failure(self.clock.now());
                if !self.client.is_up() {
                    meter.rouse();
                }
                tokio::time::sleep_until(Instant::now() + FAILURE_PAUSE).await;
                meter.give_up();
                false
            }
        }
    }

    /// Counts the replicas, and notices whether the server has lost its records, or was away.
    /// False: no answer.
    async fn sign_of_life(&self, life: u64, has_loss: bool) -> bool {
        let link = self.client.generation();
        let key = format!("{}1:{{replicas}}", self.prefix);
        let loss = if has_loss { "1" } else { "0" };
        let master = self.client.master_mark().to_string();
        let args = [self.replica.as_bytes().to_vec(), life.to_string().into(), loss.into(), master.into()];
        let Ok(value) = self.client.run(&self.life, &key, &args).await else { return false };
        let Some([now, count, born]) = numbers(&value) else { return false };
        let replicas = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let is_young = self.born.swap(born, Relaxed) != born;
        // The others may have lost it as well, and not have told of their use meanwhile.
        let is_back = ![0, link].contains(&self.seen.load(Relaxed));
        if is_young {
            self.has_loss.store(true, Relaxed);
        }
        if is_young || is_back {
            let begins = if is_back { now } else { born };
            let rest = begins.saturating_add(RECOVERY_MS).saturating_sub(now);
            self.recovers_until.fetch_max(millis(self.clock.now()) + rest, Relaxed);
        }
        // A server that has lost everything, or was away, does not know all replicas yet.
        let recovers = millis(self.clock.now()) < self.recovers_until.load(Relaxed);
        let known = if recovers { self.replicas.load(Relaxed) } else { 0 };
        self.replicas.store(replicas.max(known), Relaxed);
        self.seen.store(link, Relaxed);
        true
    }
}

fn millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

/// The arguments of the report's script. A replica that ends wants nothing any more.
fn arguments(replica: &str, report: &ShareReport, is_ending: bool) -> Vec<Vec<u8>> {
    let LimitValues { requests, tokens, concurrent, budget } = report.limits;
    let limit = |value: Option<u32>| value.map_or(-1, i64::from);
    let want = |value: i64| if is_ending { 0 } else { value };
    let mut numbers: Vec<i64> = vec![
        report.seq.cast_signed(),
        limit(requests),
        limit(tokens),
        limit(concurrent),
        budget.unwrap_or(-1),
        report.spent,
    ];
    for flow in 0..2 {
        let keep = if is_ending { 0 } else { report.keep[flow] };
        numbers.extend([keep, want(report.want[flow]), want(report.need[flow])]);
    }
    for level in 0..2 {
        let held = if is_ending { 0 } else { report.level[level] };
        numbers.extend([held, want(report.want_level[level])]);
    }
    numbers.extend([GRANT_LIFE_MS.cast_signed(), LEVEL_LIFE_MS.cast_signed()]);
    let mut args = vec![replica.as_bytes().to_vec()];
    args.extend(numbers.iter().map(|number| number.to_string().into_bytes()));
    args.extend(report.windows.iter().map(|window| seconds(window)));
    args
}

fn seconds(window: &[(u32, u32)]) -> Vec<u8> {
    let mut text = String::from("-");
    for (second, amount) in window {
        // Writing to a string cannot fail.
        let _ = write!(text, "{second}:{amount},");
    }
    text.into_bytes()
}

/// The answer of the report's script.
fn answer(value: &RedisValue) -> Result<ShareAnswer, RedisFault> {
    let words = numbers::<13>(value).ok_or(RedisFault::Form)?;
    let [seq, now, lapse, held_0, held_1, free_0, free_1, at_0, at_1, cap_0, cap_1, last, elsewhere] = words;
    let signed = |pair: [u64; 2]| pair.map(u64::cast_signed);
    Ok(ShareAnswer {
        seq,
        now,
        lapse,
        held: signed([held_0, held_1]),
        free: signed([free_0, free_1]),
        free_at: [at_0, at_1],
        cap: signed([cap_0, cap_1]),
        elsewhere: Some(elsewhere).filter(|count| count.cast_signed() >= 0),
        last: Some(last).filter(|last| last.cast_signed() >= 0),
    })
}

#[cfg(test)]
mod tests;
