//! Measures admission: finding a key among many, leasing from its limits, alone or out of amounts that the
//! store of many replicas has granted (under 1 µs), and settling. `cargo bench --bench admission`;
//! instructions of one case with `valgrind --tool=callgrind target/release/deps/admission-… --count CASE
//! TIMES`, as `benches/instructions.sh` does.

#![expect(clippy::expect_used, reason = "a bench that cannot run should say so")]

use std::{
    hint::black_box,
    iter,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use divan::Bencher;
use thalweg::{
    auth::{
        ConfiguredKeys, KeyLimits, KeyMap, Principal, StoredKeys, TokenSettings, generate,
        limit::{LimitMeter, LimitValues, Reservation, ShareAnswer, Use},
    },
    base::Secret,
};

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--count") {
        let (case, times) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
        let run: Box<dyn FnMut()> = match &*case {
            "free" => admission(1, LimitValues::default(), false),
            "limited" => admission(1, ALL, false),
            "limited-of-many" => admission(10_000, ALL, false),
            "shared" => admission(1, ALL, true),
            "shared-of-many" => admission(10_000, ALL, true),
            _ => return,
        };
        iter::repeat_with(run).take(times.parse().unwrap_or(1)).for_each(drop);
    } else {
        divan::main();
    }
}

const ALL: LimitValues = LimitValues {
    requests: Some(u32::MAX),
    tokens: Some(u32::MAX),
    concurrent: Some(u32::MAX),
    budget: Some(i64::MAX),
};

/// Granted at once, for so many admissions.
const GRANTED: (i64, u32) = (1 << 40, 1 << 16);

/// What the background does: a report to the store, and its answer.
fn be_granted(meter: &LimitMeter, now: Duration) {
    let report = meter.report(now, None).expect("no report under way");
    let millis = u64::try_from(now.as_millis()).expect("a time of now");
    let answer = ShareAnswer {
        seq: report.seq,
        now: millis,
        lapse: millis + 60_000,
        held: report.keep.map(|keep| keep + GRANTED.0),
        free: [GRANTED.0; 2],
        free_at: [millis; 2],
        cap: [u32::MAX.into(), GRANTED.0],
        elsewhere: Some(0),
        last: Some(0),
    };
    meter.accept(&answer, now, 3);
}

/// One request's admission and settlement, with one of `many` stored keys, whose limits are shared with other
/// replicas or not.
fn admission(many: usize, allowance: LimitValues, is_shared: bool) -> Box<dyn FnMut()> {
    let limits = KeyLimits {
        models: vec!["gpt-*".into()],
        strategies: None,
        allowance,
        expires: Some(SystemTime::now() + Duration::from_secs(3600)),
        cache: None,
    };
    let mut ring = KeyMap::default();
    let mut secret = String::new();
    for number in 0..many {
        secret = generate::make("bench").expect("randomness").token.expose().clone();
        let id = format!("key_{number}").into();
        let principal = Principal::new(id, "bench".into(), false, limits.clone(), None);
        ring.insert(thalweg::auth::Digest::of(secret.as_bytes()), Arc::new(principal));
    }
    let keys = StoredKeys::default();
    keys.replace(ring);
    let configured = TokenSettings::plain("one", Secret::new("sk-one".to_owned()));
    let tokens = ConfiguredKeys::new(&[configured]);
    let (queue, mut background) = tokio::sync::mpsc::channel(1);
    let mut admitted = 0;
    Box::new(move || {
        let now = keys.moment(Instant::now());
        let found = keys.find(&tokens, black_box(secret.as_bytes())).expect("a key of ours");
        assert!(!found.has_expired() && found.limits.allow_model("gpt-4o", |_| false));
        let Some(meter) = &found.meter else { return };
        if is_shared && admitted % GRANTED.1 == 0 {
            meter.join(&queue);
            while background.try_recv().is_ok() {}
            be_granted(meter, now);
        }
        admitted += 1;
        let ask = Reservation { prompt: 100, answer: 500, ..Reservation::default() };
        let lease = meter.lease(&found.limits.allowance, &ask, now).expect("room");
        lease.settle(black_box(Use { tokens: 321, cost: 7 }), Duration::from_millis(5));
    })
}

#[divan::bench(args = [1, 10_000])]
fn key_without_limits(bencher: Bencher<'_, '_>, keys: usize) {
    let mut run = admission(keys, LimitValues::default(), false);
    bencher.bench_local(&mut run);
}

#[divan::bench(args = [1, 10_000])]
fn key_limits_lease_and_settlement(bencher: Bencher<'_, '_>, keys: usize) {
    let mut run = admission(keys, ALL, false);
    bencher.bench_local(&mut run);
}

#[divan::bench(args = [1, 10_000])]
fn shared_key_limits_lease_and_settlement(bencher: Bencher<'_, '_>, keys: usize) {
    let mut run = admission(keys, ALL, true);
    bencher.bench_local(&mut run);
}
