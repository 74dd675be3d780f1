//! Measures the choice of a candidate: the plan, the attempt plan and the update of the statistics, for a
//! model that one provider serves and for one that three serve. `cargo bench --bench plan`; instructions with
//! `benches/instructions.sh`.

#![expect(clippy::expect_used, reason = "a bench that cannot run should say so")]

use std::{hint::black_box, sync::Arc, time::Duration};

use divan::Bencher;
use thalweg::{
    base::{Moment, Rng},
    routing::{
        Action, AttemptPlan, Catalog, Listing, PlanRequest, Policy, RoutedProvider, RoutingSettings,
        StatsRegistry, Strategy,
    },
};

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--count") {
        let (case, times) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
        let (candidates, strategy) = match case.as_str() {
            "plan/1" => (1, Strategy::Priority),
            "plan/3" => (3, Strategy::Priority),
            "plan-adaptive/3" => (3, Strategy::Adaptive),
            _ => return,
        };
        let (catalog, mut rng) = (catalog(candidates, strategy), Rng::new(1));
        for number in 0..times.parse().unwrap_or(1) {
            request(&catalog, number, &mut rng);
        }
    } else {
        divan::main();
    }
}

fn catalog(candidates: usize, strategy: Strategy) -> Catalog {
    let served = |index: usize| RoutedProvider {
        name: format!("provider-{index}").into(),
        base: "https://api.example/v1".into(),
        listing: Listing::Configured(vec!["river-large-2".into()]),
        weight: 1,
        region: None,
        dialects: None,
        known: None,
        translate: None,
        details: Arc::default(),
    };
    let settings = Arc::new(RoutingSettings { strategy, ..RoutingSettings::default() });
    Catalog::new((0..candidates).map(served).collect(), Vec::new(), settings, &StatsRegistry::default())
}

/// One request that succeeds.
fn request(catalog: &Catalog, number: u64, rng: &mut Rng) {
    let now = Moment(1_000_000) + Duration::from_millis(number * 10);
    let plan = catalog
        .plan(&PlanRequest::stream(black_box("river-large-2")), now, rng)
        .expect("a provider serves it");
    let (settings, budgets) = (catalog.settings(), catalog.registry().budgets());
    let policy = Policy { settings, budgets, failover: true, deadline: None };
    let mut attempt_plan = AttemptPlan::new(plan, policy, rng.fork(), now);
    if let Action::Start(attempt) = attempt_plan.next(now) {
        black_box(attempt_plan.next(now));
        let after = Duration::from_millis(300);
        drop(black_box(attempt_plan.won(attempt, after, now + after)));
    }
}

#[divan::bench(args = [(1, "priority"), (3, "priority"), (3, "adaptive")])]
fn one_request(bencher: Bencher<'_, '_>, (candidates, name): (usize, &str)) {
    let strategy = if name == "adaptive" { Strategy::Adaptive } else { Strategy::Priority };
    let (catalog, mut rng, mut number) = (catalog(candidates, strategy), Rng::new(1), 0);
    bencher.bench_local(move || {
        number += 1;
        request(&catalog, number, &mut rng);
    });
}
