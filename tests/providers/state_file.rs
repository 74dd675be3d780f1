//! What is known of providers over a restart (S1.7): taken from the state file as long as it holds good, asked for anew
//! where it does not, and never believed when it is not ours.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::providers::health_checks::{is_list, list, listing, models, page, requests, watched};
use crate::{
    gateway::{PROVIDER_KEY, Plan},
    journal,
    upstream::{Speaks, Upstream, script},
};

/// A state file of the test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-state-tests-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder.join(format!("{name}.state.json")))
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.0).unwrap()).unwrap()
    }

    fn name(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// Nobody is looked at but for what is not known.
fn keeping(upstream: &Upstream, scratch: &Scratch) -> Plan {
    watched(&[upstream]).with(|settings| {
        settings.health.interval = Duration::from_secs(30);
        settings.state_file = Some(scratch.0.clone());
    })
}

/// Learns the list, and leaves it behind.
async fn learn(upstream: &Upstream, scratch: &Scratch) {
    let gateway = keeping(upstream, scratch).start().await;
    page(&gateway, "/v1/models", "the list", |page| models(page) == ["m", "n"]).await;
    gateway.stop().await;
}

fn lists(upstream: &Upstream) -> usize {
    requests(upstream).iter().filter(|seen| is_list(seen)).count()
}

/// What is fresh is not asked for; the file holds no key and is its owner's alone.
#[tokio::test]
async fn what_is_fresh_is_known_at_once() {
    let scratch = Scratch::new("fresh");
    let upstream = listing(&["m", "n"], script::json(200, script::COMPLETION));
    learn(&upstream, &scratch).await;
    assert_eq!(fs::metadata(&scratch.0).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&scratch.0).unwrap();
    assert!(!text.contains(PROVIDER_KEY) && text.contains("\"m\",\"n\""), "{text}");
    assert_eq!(lists(&upstream), 1);
    let gateway = keeping(&upstream, &scratch).start().await;
    page(&gateway, "/v1/models", "the list", |page| models(page) == ["m", "n"]).await;
    assert_eq!(lists(&upstream), 1, "it was known");
    gateway.stop().await;
    assert_eq!(fs::read_dir(scratch.0.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

/// What is older than its time, is of another key, or comes from the future, is asked for.
#[tokio::test]
async fn what_does_not_hold_is_asked_for() {
    for age in [-3601_i64, 100_000] {
        let scratch = Scratch::new(&format!("stale{age}"));
        let upstream = listing(&["m", "n"], script::json(200, script::COMPLETION));
        learn(&upstream, &scratch).await;
        let mut state = scratch.read();
        for learnt in state["models"].as_object_mut().unwrap().values_mut() {
            let at = learnt["at"].as_i64().unwrap();
            *learnt = json!({"at": at + age, "value": ["stale"]});
        }
        fs::write(&scratch.0, state.to_string()).unwrap();
        learn(&upstream, &scratch).await;
        assert_eq!(lists(&upstream), 2, "{age}");
        let other = keeping(&upstream, &scratch)
            .with(|settings| settings.providers[0].target.key = None)
            .start()
            .await;
        page(&other, "/v1/models", "the list", |page| models(page) == ["m", "n"]).await;
        other.stop().await;
        assert_eq!(lists(&upstream), 3, "what was found of another key says nothing");
    }
}

/// A file that is broken or somebody else's is said, ignored, and written anew.
#[tokio::test]
async fn what_is_not_ours_is_not_believed() {
    for (name, text) in [
        ("corrupt", r#"{"thalweg_state":1,"models":{"p0"#),
        ("empty", ""),
        ("foreign", r#"{"providers":["a|http://b/v1|c"]}"#),
        ("later", r#"{"thalweg_state":2,"models":{},"health":{},"keys":{},"first":{}}"#),
    ] {
        let scratch = Scratch::new(name);
        fs::write(&scratch.0, text).unwrap();
        let upstream = listing(&["m", "n"], script::json(200, script::COMPLETION));
        learn(&upstream, &scratch).await;
        assert_eq!(lists(&upstream), 1, "{name}");
        let said = journal::lines(scratch.name());
        let warnings: Vec<_> = said.iter().filter(|line| line["level"] == "WARN").collect();
        assert_eq!(warnings.len(), 1, "{name}: {said:#?}");
        assert_eq!(scratch.read()["thalweg_state"], 1, "{name}");
        learn(&upstream, &scratch).await;
        assert_eq!(lists(&upstream), 1, "{name}: known now");
    }
}

/// Where nothing can be written, that is said once and nothing else is different.
#[tokio::test]
async fn a_place_that_takes_nothing_is_no_harm() {
    let scratch = Scratch::new("blocked");
    fs::write(&scratch.0, "").unwrap();
    let below = scratch.0.join("below.json");
    let upstream = Upstream::by(Speaks::H1, |_, _| list(&["m", "n"]));
    for _ in 0..2 {
        let plan = keeping(&upstream, &scratch).with(|settings| settings.state_file = Some(below.clone()));
        let gateway = plan.start().await;
        page(&gateway, "/v1/models", "the list", |page| models(page) == ["m", "n"]).await;
        gateway.stop().await;
    }
    let said = journal::lines("below.json");
    let about_writing = said.iter().filter(|line| line["message"] == "the state file cannot be written");
    assert_eq!(about_writing.count(), 2, "once for each run: {said:#?}");
}
