//! Views of running requests on their way between replicas: the document in which a replica shows its own,
//! and one view of several replicas, in the order of a single one's.

use std::{cmp::Reverse, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::running_view::{MAX_ROWS, RunningScope, RunningView};

/// The form of documents. It changes with every change that an earlier version would misread.
const FORM: &str = "thalweg-running-1";
/// Rows of a view in a document.
const MAX_SHARED_ROWS: usize = 50;
/// The longest document, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// The views of one replica, each of a scope.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ReplicaViews {
    form: String,
    instance: String,
    views: Vec<ScopedView>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct ScopedView {
    /// A key's id. `None`: all keys.
    key: Option<Box<str>>,
    view: PlainView,
}

/// A view, as it is shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct PlainView {
    requests: usize,
    waiting: usize,
    stalled: usize,
    tokens_out: u64,
    left_out: usize,
    workers_missing: usize,
    rows: Vec<Map<String, Value>>,
}

impl ReplicaViews {
    /// The document of this replica, whose views are in the order of the scopes.
    #[must_use]
    pub fn document(instance: &str, scopes: &[RunningScope], views: &mut [RunningView]) -> Vec<u8> {
        let scoped = |(scope, view): (&RunningScope, &mut RunningView)| {
            let mut view = PlainView::of(view);
            view.rows.truncate(MAX_SHARED_ROWS);
            ScopedView { key: scope.as_deref().map(Box::from), view }
        };
        let views = scopes.iter().zip(views).map(scoped).collect();
        let document = Self { form: FORM.to_owned(), instance: instance.to_owned(), views };
        // Numbers and text: this cannot fail.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// `None`: another version's document, or a damaged one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let document: Self = serde_json::from_slice(bytes.get(..MAX_LENGTH.min(bytes.len()))?).ok()?;
        (document.form == FORM).then_some(document)
    }

    fn of(&self, scope: &RunningScope) -> Option<&PlainView> {
        self.views.iter().find(|one| one.key.as_deref() == scope.as_deref()).map(|one| &one.view)
    }
}

/// One view of this replica and others, in one line of JSON. `None`: nothing runs at any of them.
#[derive(Debug)]
pub struct JoinedView {
    view: PlainView,
    replicas: Vec<Value>,
}

impl JoinedView {
    #[must_use]
    pub fn new(
        instance: &str,
        own: &mut RunningView,
        scope: &RunningScope,
        others: &Arc<[ReplicaViews]>,
    ) -> Self {
        let mut joined = Self { view: PlainView::default(), replicas: Vec::new() };
        joined.add(instance, &PlainView::of(own));
        for other in others.iter() {
            if let Some(view) = other.of(scope) {
                joined.add(&other.instance, view);
            }
        }
        let view = &mut joined.view;
        view.rows.sort_by_cached_key(|row| Reverse(rank(row)));
        view.rows.truncate(MAX_ROWS);
        view.left_out = view.requests.saturating_sub(view.rows.len());
        joined
    }

    fn add(&mut self, instance: &str, view: &PlainView) {
        self.replicas.push(json!({
            "instance": instance,
            "requests": view.requests,
            "waiting": view.waiting,
            "stalled": view.stalled,
            "tokens_out": view.tokens_out,
        }));
        let all = &mut self.view;
        all.requests = all.requests.saturating_add(view.requests);
        all.waiting = all.waiting.saturating_add(view.waiting);
        all.stalled = all.stalled.saturating_add(view.stalled);
        all.tokens_out = all.tokens_out.saturating_add(view.tokens_out);
        all.workers_missing = all.workers_missing.saturating_add(view.workers_missing);
        all.rows.extend(view.rows.iter().cloned().map(|mut row| {
            row.insert("instance".to_owned(), instance.into());
            row
        }));
    }

    /// Nothing is under way at any of them.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.view.requests == 0 && self.view.workers_missing == 0
    }

    /// As JSON, in one line.
    #[must_use]
    pub fn json(self) -> String {
        let mut shown = serde_json::to_value(self.view).unwrap_or_default();
        if let Value::Object(members) = &mut shown {
            members.insert("replicas".to_owned(), self.replicas.into());
        }
        shown.to_string()
    }
}

impl PlainView {
    fn of(view: &mut RunningView) -> Self {
        serde_json::from_value(view.document()).unwrap_or_default()
    }
}

/// State, and the time that counts in it, as in the views of one replica.
fn rank(row: &Map<String, Value>) -> (u8, u64) {
    let time = |name| row.get(name).and_then(Value::as_u64).unwrap_or(0);
    match row.get("state").and_then(Value::as_str) {
        Some("stalled") => (2, time("quiet_us")),
        Some("waiting") => (1, time("age_us")),
        Some(_) | None => (0, time("age_us")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(instance: &str, rows: Vec<Value>) -> ReplicaViews {
        let requests = rows.len();
        let document = json!({"form": FORM, "instance": instance, "views": [
            {"key": "k", "view": {"requests": 1, "rows": [{"state": "running", "age_us": 1}]}},
            {"key": null, "view": {"requests": requests, "stalled": 1, "tokens_out": 7, "rows": rows}},
        ]});
        ReplicaViews::read(&serde_json::to_vec(&document).unwrap()).unwrap()
    }

    fn shown(scope: Option<&str>, others: Vec<ReplicaViews>) -> Value {
        let scope = scope.map(Arc::from);
        let joined = JoinedView::new("one", &mut RunningView::default(), &scope, &others.into());
        serde_json::from_str(&joined.json()).unwrap()
    }

    #[test]
    fn rows_of_all_replicas_are_in_one_order_and_sums_are_added() {
        let row = |state: &str, age: u64| json!({"state": state, "age_us": age, "quiet_us": age});
        let two = replica("two", vec![row("stalled", 5), row("running", 90)]);
        let three = replica("three", vec![row("stalled", 6), row("waiting", 1), row("running", 91)]);
        let view = shown(None, vec![two.clone(), three]);
        let order = view["rows"].as_array().unwrap().iter().map(|row| row["age_us"].as_u64().unwrap());
        assert_eq!(order.collect::<Vec<_>>(), [6, 5, 1, 91, 90]);
        assert_eq!(
            (&view["rows"][0]["instance"], &view["rows"][1]["instance"]),
            (&"three".into(), &"two".into())
        );
        assert_eq!(
            (&view["requests"], &view["stalled"], &view["tokens_out"]),
            (&5.into(), &2.into(), &14.into())
        );
        let names = view["replicas"].as_array().unwrap().iter().map(|one| one["instance"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["one", "two", "three"]);
        assert_eq!(shown(Some("k"), vec![two.clone()])["requests"], 1);
        assert_eq!(shown(Some("other"), vec![two])["replicas"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn rows_are_bounded_and_foreign_documents_are_left_out() {
        let rows = |count: u64| (0..count).map(|age| json!({"state": "running", "age_us": age})).collect();
        let view = shown(None, vec![replica("two", rows(80)), replica("three", rows(80))]);
        assert_eq!((view["rows"].as_array().unwrap().len(), &view["left_out"]), (MAX_ROWS, &60.into()));
        assert!(ReplicaViews::read(b"{}").is_none() && ReplicaViews::read(b"").is_none());
        let newer = br#"{"form":"thalweg-running-2","instance":"x","views":[]}"#;
        assert!(ReplicaViews::read(newer).is_none());
        let own = ReplicaViews::document("a", &[None], &mut [RunningView::default()]);
        assert_eq!(ReplicaViews::read(&own).unwrap().views.len(), 1);
        let joined = JoinedView::new("a", &mut RunningView::default(), &None, &Arc::from([]));
        assert!(joined.is_empty());
    }
}
