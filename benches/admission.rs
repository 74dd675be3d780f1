//! Measures admission: finding a key among many, leasing from its limits, and settling. `cargo bench --bench
//! admission`; instructions of one case with `valgrind --tool=callgrind target/release/deps/admission-…
//! --count CASE TIMES`, as `benches/instructions.sh` does.

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
        limit::{LimitValues, Reservation, Use},
    },
    base::Secret,
};

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--count") {
        let (case, times) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
        let run: Box<dyn FnMut()> = match &*case {
            "free" => admission(1, LimitValues::default()),
            "limited" => admission(1, ALL),
            "limited-of-many" => admission(10_000, ALL),
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

/// One request's admission and settlement, with one of `many` stored keys.
fn admission(many: usize, allowance: LimitValues) -> Box<dyn FnMut()> {
    let limits = KeyLimits {
        models: vec!["gpt-*".into()],
        strategies: None,
        allowance,
        expires: Some(SystemTime::now() + Duration::from_secs(3600)),
        cache: None,
    };
    let mut ring = KeyMap::new();
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
    Box::new(move || {
        let now = keys.moment(Instant::now());
        let found = keys.find(&tokens, black_box(secret.as_bytes())).expect("a key of ours");
        assert!(!found.has_expired() && found.limits.allow_model("gpt-4o", |_| false));
        let Some(meter) = &found.meter else { return };
        let ask = Reservation { prompt: 100, answer: 500, ..Reservation::default() };
        let lease = meter.lease(&found.limits.allowance, &ask, now).expect("room");
        lease.settle(black_box(Use { tokens: 321, cost: 7 }), Duration::from_millis(5));
    })
}

#[divan::bench(args = [1, 10_000])]
fn key_without_limits(bencher: Bencher<'_, '_>, keys: usize) {
    let mut run = admission(keys, LimitValues::default());
    bencher.bench_local(&mut run);
}

#[divan::bench(args = [1, 10_000])]
fn key_limits_lease_and_settlement(bencher: Bencher<'_, '_>, keys: usize) {
    let mut run = admission(keys, ALL);
    bencher.bench_local(&mut run);
}
