use std::sync::atomic::AtomicI64;

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(10);

fn may(requests: u32, tokens: u32, concurrent: u32, budget: i64) -> LimitValues {
    LimitValues {
        requests: Some(requests),
        tokens: Some(tokens),
        concurrent: Some(concurrent),
        budget: Some(budget),
    }
}

fn ask(prompt: u32, answer: u32, cost: i64) -> Reservation {
    Reservation { prompt, answer, cost, ..Reservation::default() }
}

const fn used(tokens: u64, cost: i64) -> Use {
    Use { tokens, cost }
}

/// Requests and tokens of the last minute, running requests, the sum set aside and the sum spent.
fn balance(meter: &LimitMeter, now: Duration) -> (u64, u64, u32, i64, i64) {
    (
        meter.requests.used(now),
        meter.tokens.used(now),
        meter.running(),
        meter.spending.aside.load(Relaxed),
        meter.spent(),
    )
}

#[test]
fn what_was_refused_keeps_nothing() {
    let meter = Arc::<LimitMeter>::default();
    for (may, limit) in [
        (may(0, 9, 9, 9), Limit::Requests),
        (may(9, 0, 9, 9), Limit::Tokens),
        (may(9, 9, 0, 9), Limit::Concurrent),
        (may(9, 9, 9, 0), Limit::Budget),
    ] {
        assert_eq!(meter.lease(&may, &ask(2, 3, 4), NOW).unwrap_err().limit, limit);
        assert_eq!(balance(&meter, NOW), (0, 0, 0, 0, 0), "{limit:?}");
    }
}

#[test]
fn a_dropped_lease_gives_all_back_and_a_settled_one_what_was_not_used() {
    let meter = Arc::<LimitMeter>::default();
    let may = may(9, 100, 9, 1000);
    let lease = meter.lease(&may, &ask(10, 20, 40), NOW).unwrap();
    assert_eq!(balance(&meter, NOW), (1, 30, 1, 40, 0));
    drop(lease);
    assert_eq!(balance(&meter, NOW), (0, 0, 0, 0, 0));

    let lease = meter.lease(&may, &ask(10, 20, 40), NOW).unwrap();
    lease.settle(used(12, 33), SHORT);
    assert_eq!(balance(&meter, NOW), (1, 12, 0, 0, 33));

    let beyond = meter.lease(&may, &ask(10, 20, 40), NOW).unwrap();
    beyond.settle(used(500, 0), SHORT);
    assert_eq!(balance(&meter, NOW), (2, 512, 0, 0, 33), "what was used beyond counts, too");
    assert_eq!(meter.lease(&may, &ask(1, 0, 0), NOW).unwrap_err().limit, Limit::Tokens);
}

#[test]
fn a_bill_beyond_all_measure_spends_the_budget_for_good() {
    let meter = Arc::<LimitMeter>::default();
    let may = LimitValues { budget: Some(i64::MAX), ..LimitValues::default() };
    let leases = [(); 2].map(|()| meter.lease(&may, &ask(1, 1, 4), NOW).unwrap());
    for lease in leases {
        lease.settle(used(2, i64::MAX), SHORT);
    }
    assert_eq!(meter.spent(), i64::MAX);
    assert_eq!(meter.lease(&may, &ask(1, 1, 4), NOW).unwrap_err().limit, Limit::Budget);
}

#[test]
fn an_answer_that_could_never_fit_is_cut_to_the_limit_and_a_prompt_is_not() {
    let meter = Arc::<LimitMeter>::default();
    let may = LimitValues { tokens: Some(100), ..LimitValues::default() };
    let lease = meter.lease(&may, &ask(10, 1_000_000, 0), NOW).unwrap();
    assert_eq!(meter.tokens.used(NOW), 100);
    drop(lease);
    let refused = meter.lease(&may, &ask(101, 0, 0), NOW).unwrap_err();
    assert_eq!(refused, Exceeded { limit: Limit::Tokens, after: None, amount: 101 });
}

#[test]
fn a_budget_counts_what_the_store_knows_and_what_it_does_not() {
    let meter = Arc::<LimitMeter>::default();
    let may = LimitValues { budget: Some(100), ..LimitValues::default() };
    meter.note_saved(0, 60);
    meter.lease(&may, &ask(0, 0, 0), NOW).unwrap().settle(used(0, 30), SHORT);
    assert_eq!((meter.spent(), meter.unsaved()), (90, 30));
    meter.note_saved(30, 90);
    assert_eq!((meter.spent(), meter.unsaved()), (90, 0));
    let under_way = meter.lease(&may, &ask(0, 0, 5000), NOW).unwrap();
    assert_eq!(meter.spending.aside.load(Relaxed), 10, "cut to what is left");
    // Time helps as long as the rest of the budget is only set aside.
    let refused = |after| Err(Exceeded { limit: Limit::Budget, after, amount: 1 });
    assert_eq!(meter.lease(&may, &ask(0, 0, 0), NOW).map(drop), refused(Some(Duration::from_secs(1))));
    drop(under_way);
    meter.lease(&may, &ask(0, 0, 0), NOW).unwrap().settle(used(0, 10), SHORT);
    assert_eq!(meter.lease(&may, &ask(0, 0, 0), NOW).map(drop), refused(None));
}

/// A race counts as often as it asks, up to all that the limit can ever grant.
#[test]
fn several_requests_at_once_count_as_such() {
    let meter = Arc::<LimitMeter>::default();
    let may = LimitValues { requests: Some(5), ..LimitValues::default() };
    let race = |requests| Reservation { requests, ..Reservation::default() };
    let lease = meter.lease(&may, &race(3), NOW).unwrap();
    assert_eq!(meter.requests.used(NOW), 3);
    assert_eq!(meter.lease(&may, &race(3), NOW).unwrap_err().limit, Limit::Requests);
    drop(lease);
    meter.lease(&may, &race(16), NOW).unwrap().settle(Use::default(), SHORT);
    assert_eq!(meter.requests.used(NOW), 5);
}

#[derive(Clone, Debug)]
enum Step {
    Lease(u32, u32, i64),
    /// The n-th that is held: with so many tokens, so long after, and so much to pay.
    Settle(usize, u64, u64, i64),
    Drop(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30u32, 0..30u32, 0..50i64).prop_map(|(prompt, answer, cost)| Step::Lease(prompt, answer, cost)),
        2 => (any::<usize>(), 0..90u64, 0..90_000u64, 0..60i64)
            .prop_map(|(which, tokens, after, cost)| Step::Settle(which, tokens, after, cost)),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (0..70_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// R13, R32: whatever the ends, nothing leaks and nothing is settled twice.
    #[test]
    fn the_balance_is_exact_after_any_mix_of_ends(steps in proptest::collection::vec(step(), 1..120)) {
        let may = may(20, 200, 5, 400);
        let meter = Arc::<LimitMeter>::default();
        let (mut held, mut now, mut paid, mut last) = (Vec::new(), NOW, 0, NOW);
        for step in steps {
            match step {
                Step::Lease(prompt, answer, cost) => match meter.lease(&may, &ask(prompt, answer, cost), now) {
                    Ok(lease) => held.push(lease),
                    Err(Exceeded { limit: Limit::Concurrent, .. }) => prop_assert_eq!(held.len(), 5),
                    Err(_) => {}
                },
                Step::Settle(which, tokens, after, cost) if !held.is_empty() => {
                    let lease = held.swap_remove(which % held.len());
                    let elapsed = Duration::from_millis(after);
                    last = last.max(lease.at + elapsed);
                    lease.settle(used(tokens, cost), elapsed);
                    paid += cost;
                }
                Step::Drop(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Step::Settle(..) | Step::Drop(_) => {}
                Step::Pass(millis) => now += Duration::from_millis(millis),
            }
            let aside: i64 = held.iter().filter_map(|lease| lease.granted.cost).sum();
            // Reservations never exceed the budget; actual costs may.
            prop_assert!(aside <= 400);
            let (requests, _, running, set_aside, spent) = balance(&meter, now);
            prop_assert_eq!((running as usize, set_aside, spent), (held.len(), aside, paid));
            prop_assert!(requests <= 20);
        }
        drop(held);
        let (_, _, running, aside, spent) = balance(&meter, now);
        prop_assert_eq!((running, aside, spent), (0, 0, paid));
        let over = now.max(last) + Duration::from_secs(62);
        prop_assert_eq!((meter.requests.used(over), meter.tokens.used(over)), (0, 0));
    }
}

/// R32, by many threads that end in every way.
#[test]
fn threads_leave_nothing_behind() {
    let meter = Arc::<LimitMeter>::default();
    let may = may(1_000_000, 100, 3, i64::MAX);
    let paid = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (meter, may, paid) = (&meter, &may, &paid);
            scope.spawn(move || {
                for turn in 0..20_000u32 {
                    let now = Duration::from_millis(u64::from(turn) * 10);
                    let Ok(lease) = meter.lease(may, &ask(turn % 7, thread, 3), now) else { continue };
                    assert!(meter.running() <= 3);
                    match turn % 3 {
                        0 => drop(lease),
                        1 => lease.settle(used(0, 0), SHORT),
                        _ => {
                            lease.settle(used(u64::from(turn % 11), 5), SHORT);
                            paid.fetch_add(5, AcqRel);
                        }
                    }
                }
            });
        }
    });
    let over = Duration::from_secs(1000);
    assert_eq!(balance(&meter, over), (0, 0, 0, 0, paid.load(Relaxed)));
}
