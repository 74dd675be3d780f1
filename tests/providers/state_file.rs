//! Knowledge of providers over a restart (S1.7): read from the state file while it is fresh, asked for again
//! when it is not, and ignored when the file is not the gateway's.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::providers::health_checks::{is_list, list, listing, models, page, requests, watched};
use crate::{
    gateway::{PROVIDER_KEY, Plan},
    journal,
    upstream::{Speaks, Upstream, script},
};

/// A state file in a temporary folder, removed on drop.
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

/// One provider, which is checked only for missing knowledge.
fn keeping(upstream: &Upstream, scratch: &Scratch) -> Plan {
    watched(&[upstream]).with(|settings| {
        settings.health.interval = Duration::from_secs(30);
        settings.state_file = Some(scratch.0.clone());
    })
}

/// Runs a gateway until it knows the list, so that the state file has it.
async fn learn(upstream: &Upstream, scratch: &Scratch) {
    let gateway = keeping(upstream, scratch).start().await;
    page(&gateway, "/v1/models", "the list", |page| models(page) == ["m", "n"]).await;
    gateway.stop().await;
}

fn lists(upstream: &Upstream) -> usize {
    requests(upstream).iter().filter(|seen| is_list(seen)).count()
}

/// Fresh knowledge is used without a check; the file holds no key and only its owner can read it.
#[tokio::test]
async fn fresh_knowledge_is_used_at_once() {
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

/// Knowledge that is too old, of another key, or from the future is asked for again.
#[tokio::test]
async fn stale_knowledge_is_asked_for_again() {
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

/// A broken or foreign file is logged, ignored and replaced.
#[tokio::test]
async fn foreign_files_are_ignored() {
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

/// Where the file cannot be written, that is logged once and nothing else changes.
#[tokio::test]
async fn an_unwritable_file_is_harmless() {
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
