//! At start the provider that answers its check first is preferred (S1.5), until there are measurements.

use std::{num::NonZeroUsize, path::PathBuf};

use thalweg::{
    config::Settings,
    routing::{HealthSettings, Strategy},
};

use crate::{
    client::{Call, Client, Version, call::TOKEN},
    gateway::Plan,
    journal,
    operators::reload::{ADMIN, File, reloaded},
    providers::health_checks::{is_list, list, requests},
    upstream::{Gate, Speaks, Step, Upstream, script},
};

/// Serves `m`; answers the list request once the gate is open.
fn gated(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::by(Speaks::H1, move |_, seen| match is_list(seen) {
        true => [vec![Step::Wait(gate.clone())], list(&["m"])].concat(),
        false => script::json(200, script::COMPLETION),
    })
}

fn checked(upstreams: &[&Upstream], name: &str) -> Plan {
    Plan::to(upstreams).with(|settings| {
        settings.health = HealthSettings { precheck: 3, ..HealthSettings::off() };
        for (number, provider) in settings.providers.iter_mut().enumerate() {
            provider.target.name = format!("{name}-{number}").into();
        }
    })
}

async fn asked(client: &mut Client) -> String {
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.status, 200);
    let provider = answer.header("x-thalweg-provider").to_owned();
    answer.collect().await;
    provider
}

/// S1.5: three checks at once and no more; the first to answer is preferred. With measurements the configured
/// order holds.
#[tokio::test]
async fn the_first_to_answer_goes_first() {
    let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
    let upstreams: Vec<Upstream> = gates.iter().map(gated).collect();
    let plan = checked(&upstreams.iter().collect::<Vec<_>>(), "race-to-answer");
    let gateway = plan.start().await;
    for upstream in &upstreams[..3] {
        assert!(is_list(&*upstream.log.request(0).await));
    }
    gates[1].open();
    journal::said("race-to-answer-1", "provider is well").await;
    gates[0].open();
    gates[2].open();
    journal::said("race-to-answer-0", "provider is well").await;
    journal::said("race-to-answer-2", "provider is well").await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(asked(&mut client).await, "race-to-answer-1");
    assert_eq!(asked(&mut client).await, "race-to-answer-0", "as configured");
    assert!(requests(&upstreams[3]).is_empty(), "three candidates, not four");
    drop(client);
    gateway.stop().await;
}

/// S1.5, S1.7: after a restart within a minute the preferred provider is known without a check.
#[tokio::test]
async fn the_order_is_known_over_a_restart() {
    let state = std::env::temp_dir().join(format!("thalweg-precheck-{}.state.json", std::process::id()));
    let (open, shut) = (Gate::new(), Gate::new());
    open.open();
    let upstreams = [gated(&shut), gated(&open)];
    let keeping = |state: &PathBuf| {
        checked(&[&upstreams[0], &upstreams[1]], "known-first")
            .with(|settings| settings.state_file = Some(state.clone()))
    };
    let gateway = keeping(&state).start().await;
    journal::said("known-first-1", "provider is well").await;
    gateway.stop().await;
    let before = requests(&upstreams[1]).len();
    let gateway = keeping(&state).start().await;
    journal::said("known-first-1", "was first to answer a moment ago").await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(asked(&mut client).await, "known-first-1");
    assert_eq!(requests(&upstreams[1]).len(), before + 1, "the request alone");
    drop(client);
    gateway.stop().await;
    std::fs::remove_file(&state).unwrap();
}

/// `adaptive` and `weighted` order candidates by measurements or weights, not by this preference.
#[tokio::test]
async fn other_strategies_have_their_own_order() {
    let (open, shut) = (Gate::new(), Gate::new());
    open.open();
    let upstreams = [gated(&shut), gated(&open)];
    let plan = checked(&[&upstreams[0], &upstreams[1]], "no-lead").with(|settings| {
        settings.routing.strategy = Strategy::Weighted;
        settings.providers[0].weight = 1_000_000;
        settings.providers[1].weight = 1;
    });
    let gateway = plan.start().await;
    journal::said("no-lead-1", "provider is well").await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(asked(&mut client).await, "no-lead-0");
    drop(client);
    gateway.stop().await;
}

/// S1.5, S1.9: a reload that adds a provider checks it and opens a connection to it, and to no other.
#[tokio::test]
async fn an_added_provider_is_checked_after_a_reload() {
    let (open, models) = (Gate::new(), Some(serde_json::json!(["m"])));
    open.open();
    let upstreams = [gated(&open), gated(&open)];
    let config = |upstreams: &[Upstream]| {
        let providers = upstreams.iter().enumerate().map(|(number, upstream)| {
            serde_json::json!({"name": format!("again-{number}"), "base_url": upstream.base(), "protocol": "http1", "models": models})
        });
        serde_json::json!({
            "providers": providers.collect::<Vec<_>>(),
            "tokens": [format!("tests|{TOKEN}"), {"description": "admin", "token": ADMIN, "admin": true}],
            "health": {"interval": 0, "precheck": 3, "warmup": 5},
            "log_level": "DEBUG",
            "state_file": false,
            "watch": false,
        })
    };
    let file = File::new(&config(&upstreams[..1]));
    let one_worker = |settings: &mut Settings| settings.workers = NonZeroUsize::MIN;
    let gateway = Plan::file(&file.0).with(one_worker).start().await;
    assert!(is_list(&*upstreams[0].log.request(0).await));
    gateway.until("a warm connection", |now| now.upstream_idle == 1).await;
    file.write(config(&upstreams).to_string());
    assert_eq!(reloaded(&gateway).await.0, 200);
    assert!(is_list(&*upstreams[1].log.request(0).await));
    gateway.until("two warm connections", |now| now.upstream_idle == 2).await;
    journal::said("again-1", "warmed up").await;
    let warmed = journal::lines("again-0").into_iter().filter(|line| line["message"] == "warmed up");
    assert_eq!(warmed.count(), 1, "it was warm");
    gateway.stop().await;
}
