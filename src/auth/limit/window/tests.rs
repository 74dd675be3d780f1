//! The window against a plain list of amounts and times.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Take(u32),
    Add(u32),
    /// Of the n-th that is held, so much.
    GiveBack(usize, u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40u32).prop_map(Step::Take),
        1 => (0..40u32).prop_map(Step::Add),
        2 => (any::<usize>(), 0..40u32).prop_map(|(which, amount)| Step::GiveBack(which, amount)),
        3 => prop_oneof![0..1_500u64, 0..30_000u64, 0..200_000u64].prop_map(Step::Pass),
    ]
}

/// Everything that was counted: in which whole second, and how much of it is left.
#[derive(Default)]
struct Oracle(Vec<(u64, u32)>);

impl Oracle {
    fn used(&self, now: Duration) -> u64 {
        let counts = |(second, _): &&(u64, u32)| now.as_secs() - second <= 60;
        self.0.iter().filter(counts).map(|(_, amount)| u64::from(*amount)).sum()
    }
}

proptest! {
    /// R32: the balance is exact after any history.
    #[test]
    fn counts_what_a_list_counts(steps in proptest::collection::vec(step(), 1..200), limit in 1..120u32) {
        let (window, mut oracle, mut held) = (RateWindow::default(), Oracle::default(), Vec::new());
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Take(amount) => {
                    let fits = oracle.used(now) + u64::from(amount) <= u64::from(limit);
                    let taken = window.take(limit, amount, now);
                    prop_assert_eq!(taken.is_some(), fits);
                    if let Some(taken) = taken {
                        held.push((taken, oracle.0.len()));
                        oracle.0.push((now.as_secs(), amount));
                    } else if let Some(after) = window.until(limit, amount, now) {
                        // Time alone makes room when it was said to, and not before.
                        prop_assert!(oracle.used(now + after) + u64::from(amount) <= u64::from(limit));
                        let before = (now + after).saturating_sub(Duration::from_millis(1));
                        prop_assert!(oracle.used(before) + u64::from(amount) > u64::from(limit));
                    } else {
                        prop_assert!(amount > limit);
                    }
                }
                Step::Add(amount) => {
                    window.add(amount, now);
                    oracle.0.push((now.as_secs(), amount));
                }
                Step::GiveBack(which, amount) => {
                    if held.is_empty() {
                        continue;
                    }
                    let index = which % held.len();
                    let (taken, at) = held.swap_remove(index);
                    let amount = amount.min(taken.amount);
                    window.give_back(taken, amount);
                    oracle.0[at].1 -= amount;
                }
                Step::Pass(millis) => now += Duration::from_millis(millis),
            }
            prop_assert_eq!(window.used(now), oracle.used(now));
        }
        prop_assert_eq!(window.used(now + SECOND * 62), 0);
    }
}

#[test]
fn nothing_counts_for_less_than_a_minute_nor_for_more_than_a_second_longer() {
    let window = RateWindow::default();
    let at = Duration::from_millis(10_999);
    assert!(window.take(1, 1, at).is_some());
    assert_eq!(window.reset(at), Duration::from_millis(60_001));
    assert_eq!(window.until(1, 1, at), Some(Duration::from_millis(60_001)));
    assert!(window.take(1, 1, at + Duration::from_secs(60)).is_none());
    assert!(window.take(1, 1, at + Duration::from_millis(60_001)).is_some());
    assert_eq!(window.until(1, 2, at), None);
}

/// R32, by many threads: never above the limit, and nothing left when all was given back.
#[test]
fn threads_never_take_more_than_there_is() {
    assert!(most_out(0) <= 50, "within one second");
    // With time, an amount that is held too long ceases to count; the model asserts that none is left.
    most_out(2);
}

/// The most that was out at once under a limit of 50, each call `step` milliseconds after the last.
fn most_out(step: u64) -> u32 {
    let (window, most, out) = (RateWindow::default(), AtomicU32::new(0), AtomicU32::new(0));
    let clock = AtomicU64::new(1000);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (window, most, out, clock) = (&window, &most, &out, &clock);
            scope.spawn(move || {
                let mut seed = thread + 1;
                for turn in 0..20_000u64 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let amount = (seed >> 33) as u32 % 20;
                    let now = Duration::from_millis(clock.fetch_add(step, AcqRel));
                    let Some(taken) = window.take(50, amount, now) else { continue };
                    most.fetch_max(out.fetch_add(amount, AcqRel) + amount, AcqRel);
                    if turn % 16 == 0 {
                        std::thread::yield_now();
                    }
                    out.fetch_sub(amount, AcqRel);
                    window.give_back(taken, amount);
                }
            });
        }
    });
    let over = Duration::from_millis(clock.load(Acquire)) + SECOND * 62;
    assert_eq!(window.used(over), 0);
    assert!(window.slots.iter().all(|slot| unpack(slot.load(Relaxed)).1 == 0));
    most.load(Relaxed)
}
