//! The providers' model lists follow the providers (B3, G5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::health_checks::{is_list, list, models, page, requests, watched};
use crate::{
    client::{Call, Version},
    upstream::{Speaks, Upstream, script},
};

/// Lists `old`, and `new` from the moment that the switch is set.
fn growing() -> (Upstream, Arc<AtomicBool>) {
    let has_new = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&has_new);
    let upstream = Upstream::by(Speaks::H1, move |_, seen| match (is_list(seen), has_new.load(Relaxed)) {
        (true, true) => list(&["old", "new"]),
        (true, false) => list(&["old"]),
        (false, _) => script::json(200, script::COMPLETION),
    });
    (upstream, switch)
}

/// G5: a check's list is the provider's list, long before `refresh`.
#[tokio::test]
async fn a_check_refreshes_the_list() {
    let (upstream, switch) = growing();
    let plan = watched(&[&upstream]).with(|settings| settings.health.refresh = Duration::from_secs(3600));
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "the first list", |page| models(page) == ["old"]).await;
    switch.store(true, Relaxed);
    page(&gateway, "/v1/models", "the new model", |page| models(page) == ["old", "new"]).await;
    gateway.stop().await;
}

/// B3: a request for a model that no list has is served at once, and the list is read again, but not for each
/// such request.
#[tokio::test]
async fn a_request_for_a_new_model_refreshes_the_list_once() {
    let (upstream, switch) = growing();
    let plan = watched(&[&upstream]).with(|settings| settings.health.interval = Duration::ZERO);
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "the first list", |page| models(page) == ["old"]).await;
    switch.store(true, Relaxed);
    let mut client = gateway.client(Version::H1).await;
    let call = |model: &str| Call::post("/v1/chat/completions", format!(r#"{{"model":"{model}"}}"#));
    assert_eq!(client.send(call("new")).await.status, 200);
    page(&gateway, "/v1/models", "the new model", |page| models(page) == ["old", "new"]).await;
    for number in 0..20 {
        let answer = client.send(call(&format!("other-{number}"))).await;
        assert_eq!(answer.status, 200);
        answer.collect().await;
    }
    let lists = requests(&upstream).iter().filter(|seen| is_list(seen)).count();
    assert_eq!(lists, 2, "at start and once more");
    drop(client);
    gateway.stop().await;
}
