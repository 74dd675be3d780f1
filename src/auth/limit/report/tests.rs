//! Several replicas and a store in simulated time, by seed: lost answers, late calls, deaths, partitions,
//! bursts, clocks that differ. The store is a model of the script; `tests/cluster` compares both.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc;

use super::*;
use crate::{
    auth::limit::{Lease, Limit, Reservation, Use},
    base::Rng,
};

/// The script, in Rust.
#[derive(Default)]
pub(in crate::auth) struct ModelStore(HashMap<usize, (ShareReport, ShareAnswer)>);

impl ModelStore {
    pub(in crate::auth) fn run(&mut self, me: usize, report: &ShareReport, now: u64) -> Option<ShareAnswer> {
        let last = self.0.get(&me).map(|(stored, _)| stored.seq);
        if last.is_some_and(|last| report.seq <= last) {
            return None;
        }
        let count = |window: &[(u32, u32)]| -> i64 {
            let live = window.iter().filter(|(second, _)| u64::from(*second) * 1000 + 60_000 > now);
            live.map(|(_, amount)| i64::from(*amount)).sum()
        };
        let others: Vec<_> = self.0.iter().filter(|(id, _)| **id != me).map(|(_, record)| record).collect();
        let lapse = now + GRANT_LIFE_MS;
        let mut answer = ShareAnswer {
            seq: report.seq,
            now,
            lapse,
            held: [0; 2],
            free: [0; 2],
            free_at: [now + 1000; 2],
            cap: [0; 2],
            elsewhere: Some(0),
            last,
        };
        for (flow, limit) in [report.limits.requests, report.limits.tokens].into_iter().enumerate() {
            let Some(limit) = limit else { continue };
            let used: i64 = others
                .iter()
                .map(|(stored, granted)| {
                    let doubt =
                        if now < granted.lapse / 1000 * 1000 + 61_000 { granted.held[flow] } else { 0 };
                    count(&stored.windows[flow]) + doubt
                })
                .sum();
            let keep = report.keep[flow];
            let rest = (i64::from(limit) - used - count(&report.windows[flow]) - keep).max(0);
            let give = (report.want[flow] - keep).max(0).min(report.need[flow].min(rest).max(rest / 2));
            (answer.held[flow], answer.free[flow]) = (keep + give, rest - give);
        }
        let spent = self.0.values().map(|(stored, _)| stored.spent).fold(report.spent, i64::max);
        let totals = [report.limits.concurrent.map(i64::from), report.limits.budget.map(|all| all - spent)];
        for (level, total) in totals.into_iter().enumerate() {
            let Some(total) = total else { continue };
            let live = others.iter().filter(|(_, granted)| now < granted.now + LEVEL_LIFE_MS);
            let taken: i64 = live.map(|(_, granted)| granted.cap[level]).sum();
            if level == 0 {
                answer.elsewhere = Some(taken.unsigned_abs());
            }
            answer.cap[level] = report.want_level[level].min(total - taken).max(report.level[level]);
        }
        self.0.insert(me, (ShareReport { spent, ..report.clone() }, answer));
        Some(answer)
    }
}

/// A call on its way.
struct SimCall {
    replica: usize,
    report: ShareReport,
    sent: Duration,
    /// When it is carried out, and when its answer is there. `None`: never.
    runs: u64,
    answers: Option<u64>,
    answer: Option<ShareAnswer>,
}

struct SimReplica {
    meter: Arc<LimitMeter>,
    /// Its clock less the store's.
    skew: i64,
    name: usize,
    is_alive: bool,
    is_cut: bool,
    /// When its connection is there again.
    back_at: u64,
    /// Until then it takes the store for one that does not know all.
    recovers_until: u64,
    /// Requests that wait, since when.
    waiting: Vec<u64>,
    running: Vec<(u64, Lease)>,
}

struct SimWorld {
    rng: Rng,
    now: u64,
    limits: LimitValues,
    store: ModelStore,
    replicas: Vec<SimReplica>,
    calls: Vec<SimCall>,
    names: usize,
    /// When requests were admitted.
    admitted: Vec<u64>,
    most_running: usize,
    spent: i64,
    saved: i64,
    is_lossy: bool,
    /// The longest time of a call on each way.
    delay: usize,
    /// A request's estimate, the least that it costs, and the number of sums that it may cost.
    costs: (i64, i64, usize),
}

const START: u64 = 1_800_000_000_000;
const STEP: u64 = 5;

impl SimWorld {
    fn new(seed: u64, limits: LimitValues, replicas: usize, is_lossy: bool) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            now: START,
            limits,
            store: ModelStore::default(),
            replicas: Vec::new(),
            calls: Vec::new(),
            names: 0,
            admitted: Vec::new(),
            most_running: 0,
            spent: 0,
            saved: 0,
            is_lossy,
            delay: 15,
            costs: (5, 1, 5),
        };
        for _ in 0..replicas {
            let replica = world.replica();
            world.replicas.push(replica);
        }
        world
    }

    fn replica(&mut self) -> SimReplica {
        let meter = shared_meter(self.limits);
        meter.note_saved(0, self.saved);
        self.names += 1;
        let skew = self.rng.below(20_000) as i64 - 10_000;
        let (waiting, running) = (Vec::new(), Vec::new());
        SimReplica {
            meter,
            skew,
            name: self.names,
            is_alive: true,
            is_cut: false,
            back_at: 0,
            recovers_until: 0,
            waiting,
            running,
        }
    }

    fn moment(&self, index: usize) -> Duration {
        Duration::from_millis(self.now.saturating_add_signed(self.replicas[index].skew))
    }

    /// A request at a replica that came at `since`; false: it waits on.
    fn admit(&mut self, index: usize, since: u64) -> bool {
        let now = self.moment(index);
        let replica = &mut self.replicas[index];
        let share = replica.meter.share().unwrap();
        let ask = Reservation { prompt: 3, answer: 4, cost: self.costs.0, ..Reservation::default() };
        match replica.meter.lease(&self.limits, &ask, now) {
            Ok(lease) => {
                let ends = self.now + 20 + self.rng.below(3000) as u64;
                replica.running.push((ends, lease));
                self.admitted.push(self.now);
                true
            }
            Err(exceeded) => {
                let (meter, at) = (&replica.meter, share.clock(now));
                let is_empty = share.is_empty(exceeded.limit as usize, exceeded.amount, millis(at))
                    && meter.place_retry(share, exceeded.limit, at).is_none();
                let is_over = self.now > since + 50 || is_empty;
                // As if it began to wait: its need is noted until the next look.
                if !is_over {
                    std::mem::forget(share.need(exceeded.limit, exceeded.amount));
                }
                is_over || exceeded.after.is_none()
            }
        }
    }

    fn step(&mut self, arrivals: &[usize]) {
        self.now += STEP;
        for (index, arrivals) in arrivals.iter().copied().enumerate() {
            if !self.replicas[index].is_alive {
                continue;
            }
            let share = self.replicas[index].meter.share().unwrap();
            share.needs.iter().for_each(|need| need.store(0, Relaxed));
            let ended = self.replicas[index].running.extract_if(.., |(ends, _)| *ends <= self.now);
            for (_, lease) in ended.collect::<Vec<_>>() {
                let (_, least, span) = self.costs;
                let cost = least + self.rng.below(span) as i64;
                self.spent += cost;
                lease.settle(Use { tokens: 1 + self.rng.below(7) as u64, cost }, Duration::from_millis(100));
            }
            let meter = Arc::clone(&self.replicas[index].meter);
            if self.now % 600 < STEP && (meter.unsaved() > 0 || meter.take_doubt()) {
                self.saved += meter.unsaved();
                meter.note_saved(meter.unsaved(), self.saved);
            }
            let mut waiting = std::mem::take(&mut self.replicas[index].waiting);
            waiting.extend(std::iter::repeat_n(self.now, arrivals));
            waiting.retain(|since| !self.admit(index, *since));
            self.replicas[index].waiting = waiting;
            self.exchange(index);
        }
        self.deliver();
        let running = self.replicas.iter().filter(|replica| replica.is_alive);
        self.most_running = self.most_running.max(running.map(|replica| replica.running.len()).sum());
    }

    fn exchange(&mut self, index: usize) {
        let sent = self.moment(index);
        let replica = &mut self.replicas[index];
        if self.now < replica.back_at {
            return;
        }
        if std::mem::take(&mut replica.back_at) > 0 {
            replica.meter.tell_again();
        }
        if !replica.meter.is_due(sent) {
            return;
        }
        let recovery = (self.now < replica.recovers_until).then_some(3);
        let Some(report) = replica.meter.report(sent, recovery) else { return };
        let (name, is_cut) = (replica.name, replica.is_cut);
        let runs = self.now + self.rng.below(self.delay) as u64;
        let (is_lost, is_late) =
            (self.is_lossy && self.rng.happens(0.05), self.is_lossy && self.rng.happens(0.02));
        let runs = match (is_cut, is_late) {
            (true, _) => u64::MAX,
            (false, true) => runs + 2000,
            (false, false) => runs,
        };
        let answers = (!is_lost && !is_late && !is_cut).then(|| runs + self.rng.below(self.delay) as u64);
        self.calls.push(SimCall { replica: name, report, sent, runs, answers, answer: None });
    }

    /// Requests for so many milliseconds; a weight is a replica's chance of one in a step.
    fn flood(&mut self, weights: [f64; 3], time: u64) {
        for _ in 0..time / STEP {
            let arrivals = weights.map(|weight| usize::from(self.rng.happens(weight)));
            self.step(&arrivals);
        }
    }

    /// The store starts again with nothing; connections come back one after the other.
    fn lose_store(&mut self) {
        self.store = ModelStore::default();
        self.calls.clear();
        for replica in &mut self.replicas {
            replica.meter.give_up();
            replica.recovers_until = self.now + 5000;
            replica.back_at = self.now + 1 + self.rng.below(2000) as u64;
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        for call in &mut self.calls {
            if call.runs <= now && call.answer.is_none() {
                call.answer = self.store.run(call.replica, &call.report, call.runs);
                call.runs = u64::MAX;
            }
        }
        for call in &mut self.calls {
            let Some(replica) = self.replicas.iter_mut().find(|one| one.name == call.replica && one.is_alive)
            else {
                continue;
            };
            let local = Duration::from_millis(now.saturating_add_signed(replica.skew));
            if call.answers.is_some_and(|at| at <= now) {
                if let Some(answer) = &call.answer
                    && replica.meter.accept(answer, call.sent, 3)
                {
                    replica.recovers_until = now + 5000;
                    replica.meter.tell_again();
                }
                call.answers = None;
            } else if local >= call.sent + Duration::from_millis(100)
                && call.report.seq == replica.meter.seq()
            {
                replica.meter.give_up();
            }
        }
        self.calls.retain(|call| call.answers.is_some() || call.runs != u64::MAX);
    }

    /// The fewest in any 60 seconds of the time from there on.
    fn fewest_in_a_minute(&self, from: u64) -> usize {
        let until = |at: u64| self.admitted.partition_point(|other| *other < at);
        let starts = (from..=self.now - 60_000).step_by(100);
        starts.map(|at| until(at + 60_000) - until(at)).min().unwrap_or(0)
    }

    /// The most requests in any 60 seconds.
    fn most_in_a_minute(&self) -> usize {
        let starts = self.admitted.iter().enumerate();
        let until = |at: u64| self.admitted.partition_point(|other| *other < at + 60_000);
        starts.map(|(index, at)| until(*at) - index).max().unwrap_or(0)
    }
}

impl LimitMeter {
    fn seq(&self) -> u64 {
        self.share().unwrap().book.lock().unwrap().seq
    }
}

/// A meter of its own, that shares these limits.
fn shared_meter(limits: LimitValues) -> Arc<LimitMeter> {
    let meter = Arc::<LimitMeter>::default();
    meter.facts().limits = limits;
    let (queue, _) = mpsc::channel(1);
    meter.join(&queue);
    meter
}

/// The report after one without an answer is made before an outage is assumed.
#[test]
fn one_lost_answer_is_no_outage() {
    let meter = shared_meter(requests(10));
    let mut now = Duration::from_millis(START);
    meter.report(now, None).unwrap();
    meter.note_failure(now);
    meter.give_up();
    for _ in 0..10 {
        now += Duration::from_millis(250);
        if meter.is_due(now) {
            break;
        }
    }
    assert!(!meter.recovers(now), "after {now:?}");
}

/// Places beyond a limit that was lowered stay until their requests end. A request that waits for one has the
/// key reported in its turn, and not again at once.
#[test]
fn a_lowered_limit_of_places_makes_no_flood() {
    let places = |most| LimitValues { concurrent: Some(most), ..LimitValues::default() };
    let (meter, mut store, mut now) = (shared_meter(places(20)), ModelStore::default(), START);
    let mut exchange = |now: u64| {
        let report = meter.report(Duration::from_millis(now), None).unwrap();
        meter.accept(&store.run(0, &report, now).unwrap(), Duration::from_millis(now), 1);
    };
    let need = meter.share().unwrap().need(Limit::Concurrent, 12);
    exchange(now);
    drop(need);
    let entered = (0..12).map(|_| meter.enter(&places(20), Duration::from_millis(now)));
    let running: Vec<Lease> = entered.collect::<Result<_, _>>().unwrap();
    meter.facts().limits = places(10);
    let _need = meter.share().unwrap().need(Limit::Concurrent, 1);
    now += 1;
    assert!(meter.is_due(Duration::from_millis(now)));
    exchange(now);
    assert!(!meter.is_due(Duration::from_millis(now + 1)));
    drop(running);
}

/// A key whose limits are taken away and set again has another meter, which reports under the same name.
#[test]
fn a_new_meter_of_the_same_name_is_answered() {
    let mut store = ModelStore::default();
    for (meter, born) in [(shared_meter(requests(10)), 0), (shared_meter(requests(20)), 2000)] {
        for number in 0..5 {
            let now = START + born + 100 * number;
            let report = meter.report(Duration::from_millis(now), None).unwrap();
            let answer = store.run(0, &report, now).expect("an answer");
            meter.accept(&answer, Duration::from_millis(now), 1);
        }
    }
}

fn requests(limit: u32) -> LimitValues {
    LimitValues { requests: Some(limit), ..LimitValues::default() }
}

/// In no minute are more requests admitted than the limit, over all replicas, whatever happens to them and to
/// their calls; at once no more than may run, and no more is spent than the budget.
#[test]
fn limits_hold_over_all_replicas() {
    for seed in 0..16 {
        let all = LimitValues {
            requests: Some(60 + (seed as u32 * 37) % 500),
            tokens: (seed % 3 == 0).then_some(2000),
            concurrent: (seed % 2 == 0).then_some(20),
            budget: (seed % 4 == 1).then_some(3000),
        };
        let mut world = SimWorld::new(seed, all, 3, true);
        let mut weights = [1.0, 1.0, 1.0];
        let mut load = 0.1;
        for step in 0..(150_000 / STEP) {
            if step % 400 == 0 {
                // Bursts, pauses, another balance; one is cut off, one dies and another comes.
                load = [0.0, 0.02, 0.3, 3.0][world.rng.below(4)];
                weights = std::array::from_fn(|_| world.rng.unit());
                for index in 0..3 {
                    world.replicas[index].is_cut = world.rng.happens(0.15);
                }
                if world.rng.happens(0.15) {
                    let index = world.rng.below(3);
                    let next = world.replica();
                    // Its streams end with it.
                    let mut dead = std::mem::replace(&mut world.replicas[index], next);
                    dead.running.drain(..).for_each(|(_, lease)| std::mem::forget(lease));
                }
            }
            let arrivals = weights.map(|weight| usize::from(world.rng.happens(weight * load)));
            world.step(&arrivals);
        }
        let most = world.most_in_a_minute();
        assert!(most <= all.requests.unwrap() as usize, "seed {seed}: {most} of {:?}", all.requests);
        assert!(world.admitted.len() > 50, "seed {seed}: {}", world.admitted.len());
        if let Some(limit) = all.concurrent {
            assert!(world.most_running <= limit as usize, "seed {seed}: {} at once", world.most_running);
        }
        if let Some(budget) = all.budget {
            assert!(world.spent <= budget, "seed {seed}: {} spent", world.spent);
        }
    }
}

/// A limit that is used up stays so when the store loses everything, whenever each replica reports again, and
/// also if no connection shows the loss.
#[test]
fn a_store_that_lost_everything_grants_nothing_twice() {
    for seed in 0..32 {
        let limit = 60 + (seed as u32 * 37) % 500;
        let mut world = SimWorld::new(seed, requests(limit), 3, false);
        let weights: [f64; 3] = std::array::from_fn(|_| 0.05 + world.rng.unit());
        world.flood(weights, 10_000);
        let before = world.admitted.len();
        assert!(before >= limit as usize * 95 / 100, "seed {seed}: {before} of {limit}");
        if seed % 2 == 0 {
            world.lose_store();
        } else {
            world.store = ModelStore::default();
        }
        world.flood(weights, 20_000);
        let most = world.admitted.len();
        assert!(most <= limit as usize, "seed {seed}: {most} of {limit}, {before} before");
    }
}

/// While a store that lost everything is told again, no replica gets more places than its part, or than it
/// holds.
#[test]
fn a_store_that_lost_everything_gives_each_its_part_of_the_places() {
    for seed in 0..16 {
        let limits = LimitValues { concurrent: Some(30), ..LimitValues::default() };
        let mut world = SimWorld::new(seed, limits, 3, false);
        world.flood([0.1; 3], 10_000);
        assert!(world.most_running >= 28, "seed {seed}: {}", world.most_running);
        world.lose_store();
        world.most_running = 0;
        // One is asked for much more than the others.
        world.flood([0.5, 0.02, 0.02], 5000);
        assert!(world.most_running <= 40, "seed {seed}: {} at once of 30", world.most_running);
    }
}

/// A replica that gets all requests admits nearly as many as the limit allows, in a flood and in a steady
/// flow; and few reports are needed for that.
#[test]
fn one_replica_with_all_requests_uses_the_limit() {
    for (limit, load) in [(600, 1.0), (600, 0.06), (60, 0.5), (6000, 1.0), (6000, 0.55)] {
        let mut world = SimWorld::new(7, requests(limit), 3, false);
        for _ in 0..(300_000 / STEP) {
            let arrival = usize::from(world.rng.happens(load));
            world.step(&[arrival, 0, 0]);
        }
        let most = world.most_in_a_minute();
        assert!(most <= limit as usize, "{most} of {limit}");
        let share = world.admitted.len() as f64 / (5 * limit) as f64;
        assert!(share >= 0.95, "{limit} {load}: {share}");
    }
}

/// Ten minutes of 64 clients over three replicas, evenly and otherwise: in no minute more than the limit, in
/// none less than 95 % of it. In the first minute they come at a pace: uses return as they came, and all at
/// once would leave a minute without any.
#[test]
fn sixty_four_clients_over_three_replicas_use_the_limit_and_no_more() {
    const LIMIT: u32 = 600;
    // A tenth above the limit; later a refused client asks again after a quarter of a second.
    let [pace, rush] = [f64::from(LIMIT) * 1.1 / 60_000.0, 64.0 / 250.0].map(|rate| rate * STEP as f64);
    for (seed, parts) in [[1.0 / 3.0; 3], [0.6, 0.3, 0.1], [1.0, 0.0, 0.0]].into_iter().enumerate() {
        let mut world = SimWorld::new(seed as u64, requests(LIMIT), 3, false);
        let mut due = [0.3, 0.6, 0.9];
        while world.now < START + 600_000 {
            let load = if world.now < START + 60_000 { pace } else { rush };
            let arrivals: [usize; 3] = std::array::from_fn(|index| {
                due[index] += parts[index] * load;
                let arrived = due[index].floor();
                due[index] -= arrived;
                arrived as usize
            });
            world.step(&arrivals);
        }
        let (most, fewest) = (world.most_in_a_minute(), world.fewest_in_a_minute(START + 60_000));
        assert!(most <= LIMIT as usize, "{parts:?}: {most} in a minute");
        assert!(fewest * 100 >= LIMIT as usize * 95, "{parts:?}: {fewest} in a minute");
    }
}

/// A key that is not used is forgotten, and one in steady use is reported about every two seconds.
#[test]
fn a_key_costs_few_reports() {
    let mut world = SimWorld::new(3, requests(60_000), 1, false);
    let mut first = 0;
    for _ in 0..(60_000 / STEP) {
        let arrival = usize::from(world.rng.happens(0.25));
        world.step(&[arrival]);
        if first == 0 {
            first = world.replicas[0].meter.seq();
        }
    }
    let (last, used) = (world.replicas[0].meter.seq(), world.admitted.len() as u64);
    let reports = last - first + 1;
    assert!(used > 2800 && reports < used / 50, "{reports} reports for {used} requests");
    for _ in 0..(12_000 / STEP) {
        world.step(&[0]);
    }
    let is_quiet = |world: &SimWorld| world.replicas[0].meter.is_quiet(world.moment(0));
    assert!(!is_quiet(&world), "its use counts");
    assert!(world.replicas[0].meter.seq() < last + 10, "{}", world.replicas[0].meter.seq() - last);
    for _ in 0..(50_000 / STEP) {
        world.step(&[0]);
    }
    assert!(is_quiet(&world));
    assert!(world.replicas[0].meter.seq() < last + 10, "{}", world.replicas[0].meter.seq() - last);
}

/// An amount held in advance grows while requests wait for a report, because reports are so frequent then
/// that little is used between two of them; and falls to the use when none waits.
#[test]
fn the_amount_held_in_advance_doubles_while_requests_wait() {
    let mut spare = 0;
    let mut next = |used, need| {
        spare = next_spare(spare, used, need);
        spare
    };
    assert_eq!([next(1, 1), next(1, 1), next(1, 1), next(1, 3)], [1, 2, 4, 8]);
    assert_eq!([next(2, 0), next(2, 0), next(2, 0)], [4, 2, 2]);
    assert_eq!(next(9, 0), 9);
}

/// All places of a small limit are free for each replica in turn as soon as the requests of the one before
/// have ended.
#[test]
fn places_that_were_left_are_free_for_others_at_once() {
    for (limit, replicas) in [(1, 2), (1, 3), (2, 3), (4, 3), (12, 3)] {
        let limits = LimitValues { concurrent: Some(limit), ..LimitValues::default() };
        let mut world = SimWorld::new(limit.into(), limits, replicas, false);
        world.delay = 5;
        for turn in 0..30 {
            let mut arrivals = vec![0; replicas];
            arrivals[turn % replicas] = limit as usize;
            world.step(&arrivals);
            while world.replicas.iter().any(|replica| !replica.waiting.is_empty()) {
                world.step(&vec![0; replicas]);
            }
            let admitted = world.admitted.len();
            assert_eq!(admitted, (turn + 1) * limit as usize, "turn {turn} of {replicas} with {limit}");
            while world.replicas.iter().any(|replica| !replica.running.is_empty()) {
                world.step(&vec![0; replicas]);
            }
        }
        assert_eq!(world.most_running, limit as usize);
    }
}

/// Three replicas spend the whole budget and no more, where each estimate is above the cost and the last
/// request finds less than its estimate.
#[test]
fn the_last_sum_of_a_budget_is_spent_once() {
    for seed in 0..16 {
        let limits = LimitValues { budget: Some(50), ..LimitValues::default() };
        let mut world = SimWorld::new(seed, limits, 3, false);
        world.costs = (24, 10, 1);
        world.flood([0.05; 3], 60_000);
        assert_eq!(world.spent, 50, "seed {seed}");
    }
}

/// The places and sums of a replica that died are free again within ten seconds.
#[test]
fn a_dead_replica_gives_its_places_back() {
    let limits = LimitValues { concurrent: Some(10), budget: Some(100_000), ..LimitValues::default() };
    let mut world = SimWorld::new(5, limits, 2, false);
    for _ in 0..400 {
        world.step(&[1, 0]);
    }
    assert!(world.replicas[0].running.len() > 8);
    world.replicas[0].is_alive = false;
    let mut left = 10_000 / STEP;
    while left > 0 && world.replicas[1].running.len() < 8 {
        world.step(&[0, 1]);
        left -= 1;
    }
    assert!(world.replicas[1].running.len() >= 8);
}

#[test]
fn the_limit_is_a_part_of_what_waits() {
    // The names of limits are places in lists.
    assert_eq!(
        [Limit::Requests, Limit::Tokens, Limit::Concurrent, Limit::Budget].map(|one| one as usize),
        [0, 1, 2, 3]
    );
}
