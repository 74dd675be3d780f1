//! OpenAI's Batch API, run by the gateway itself: files, batches, their states, and what a restart, a limit
//! or another key does to them.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use thalweg::{
    auth::{TokenSettings, limit::LimitValues},
    base::Secret,
    batch::BatchSettings,
    database::{Connection, Database, DatabaseSettings, DatabaseUrl},
};

use super::keys::{allow, refusal};
use crate::{
    client::{Call, Client, Version, call::TOKEN},
    command,
    gateway::{Gateway, Plan},
    journal,
    upstream::{
        Seen, Speaks, Step, Upstream,
        log::in_time,
        script::{self, Gate},
    },
};

pub const CHAT: &str = "/v1/chat/completions";
/// Logged when a batch has a reason to end.
const ENDS: &str = "batch begins no further item";
const OTHER: &str = "sk-another-key-of-the-tests";

/// A database of one test.
pub struct Folder {
    folder: PathBuf,
    url: String,
}

impl Folder {
    /// A file.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("thalweg-batches-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let url = folder.join("t.db").to_str().unwrap().to_owned();
        Self { folder, url }
    }

    /// A new database in the PostgreSQL of the tests. `None`: there is none.
    async fn postgres() -> Option<Self> {
        let url = std::env::var("THALWEG_TEST_POSTGRES").ok()?;
        let files = Self::new();
        let name = files.folder.file_name().unwrap().to_str().unwrap().replace('-', "_");
        let server = DatabaseUrl::Postgres(Secret::new(url.clone()));
        let mut server = Connection::open(&DatabaseSettings::new(server)).await.unwrap();
        server.run(format!("CREATE DATABASE {name}"), Vec::new()).await.unwrap();
        server.close().await;
        Some(Self {
            url: format!("{}/{name}", url.rsplit_once('/').unwrap().0),
            folder: files.folder.clone(),
        })
    }

    fn database(&self) -> DatabaseSettings {
        DatabaseSettings::new(DatabaseUrl::parse(&self.url, &self.folder).unwrap())
    }

    /// Two keys, batches on, a lease of a second.
    pub fn plan(&self, upstreams: &[&Upstream]) -> Plan {
        Plan::to(upstreams).with(|settings| {
            settings.database = Some(self.database());
            let lease = Duration::from_secs(1);
            settings.batch = BatchSettings { enabled: true, lease, ..BatchSettings::default() };
            settings.tokens.push(TokenSettings::plain("other", Secret::new(OTHER.to_owned())));
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A line of an input file.
fn item(name: &str, url: &str, body: &Value) -> String {
    format!("{}\n", json!({"custom_id": name, "method": "POST", "url": url, "body": body}))
}

pub fn chat(name: &str) -> String {
    item(name, CHAT, &json!({"model": "m", "messages": [{"role": "user", "content": name}]}))
}

fn prompt(seen: &Seen) -> String {
    seen.json()["messages"][0]["content"].as_str().unwrap().to_owned()
}

fn form(purpose: &str, text: &str) -> Call {
    form_with(&[("purpose", purpose)], "in.jsonl", text)
}

/// A form with these fields, and a file of this name.
fn form_with(fields: &[(&str, &str)], name: &str, text: &str) -> Call {
    let field = |(name, value): &(&str, &str)| {
        format!("--B0und\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    let body = format!(
        "{fields}--B0und\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n{text}\r\n--B0und--\r\n"
    );
    Call::post("/v1/files", body).header("content-type", "multipart/form-data; boundary=B0und")
}

pub async fn json_of(client: &mut Client, call: Call) -> Value {
    let answer = client.send(call).await;
    let status = answer.status;
    let body = answer.collect().await.json();
    assert_eq!(status, 200, "{body}");
    body
}

/// Uploads the items and makes a batch of them.
pub async fn begin(client: &mut Client, endpoint: &str, text: &str) -> Value {
    let file = json_of(client, form("batch", text)).await;
    let asked = json!({"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h",
                       "metadata": {"for": "tests"}});
    json_of(client, Call::post("/v1/batches", asked.to_string())).await
}

/// Waits until a batch is as wanted: its end is an event of the gateway's, which sends none.
pub async fn until(client: &mut Client, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/batches/{id}");
    let reached = async {
        loop {
            let batch = json_of(client, Call::get(&path)).await;
            if wanted(&batch) {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("a batch in time")
}

pub fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |batch| {
        let ends = ["completed", "failed", "expired", "cancelled"];
        assert!(batch["status"] == status || !ends.contains(&batch["status"].as_str().unwrap()), "{batch}");
        batch["status"] == status
    }
}

/// The lines of a file of answers.
async fn lines(client: &mut Client, id: &Value) -> Vec<Value> {
    let path = format!("/v1/files/{}/content", id.as_str().unwrap());
    let answer = client.send(Call::get(&path)).await;
    assert_eq!(answer.status, 200);
    let length: usize = answer.header("content-length").parse().unwrap();
    let body = answer.collect().await;
    assert_eq!((body.complete, body.bytes().len()), (true, length));
    body.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["custom_id"].as_str().unwrap()).collect()
}

/// A batch from its file to its answers: good ones in one file, errors in another, each item a request of the
/// key's, with a row and a line.
#[tokio::test]
async fn a_batch_runs_from_its_file_to_its_answers() {
    let folder = Folder::new();
    let upstream = Upstream::by(Speaks::H1, |_, seen| match &*prompt(seen) {
        "bad" => script::json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#),
        _ => script::json(200, script::COMPLETION),
    });
    let plan = folder.plan(&[&upstream]).with(|settings| settings.telemetry.public_metrics = true);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let text = format!("{}\n{}{}", chat("a"), chat("bad"), chat("c").trim_end());
    let batch = begin(&mut client, CHAT, &text).await;
    assert_eq!((&batch["object"], &batch["status"]), (&json!("batch"), &json!("validating")));
    assert_eq!((&batch["completion_window"], &batch["metadata"]), (&json!("24h"), &json!({"for": "tests"})));
    let id = batch["id"].as_str().unwrap().to_owned();
    let done = until(&mut client, &id, is("completed")).await;
    assert_eq!(done["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));
    for time in ["created_at", "in_progress_at", "finalizing_at", "completed_at", "expires_at"] {
        assert!(done[time].is_i64(), "{time}: {done}");
    }
    let metrics = client.send(Call::get("/metrics")).await.collect().await.text();
    for line in [
        r#"thalweg_batches_ended_total{status="completed"} 1"#,
        r#"thalweg_batches_ended_total{status="failed"} 0"#,
        r#"thalweg_batch_items_total{result="done"} 2"#,
        r#"thalweg_batch_items_total{result="failed"} 1"#,
        r#"thalweg_batch_items{state="running"} 0"#,
        r#"thalweg_batch_items{state="waiting"} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let good = lines(&mut client, &done["output_file_id"]).await;
    assert_eq!(names(&good), ["a", "c"]);
    assert_eq!(good[0]["response"]["body"]["object"], "chat.completion");
    let errors = lines(&mut client, &done["error_file_id"]).await;
    assert_eq!((names(&errors), &errors[0]["response"]["status_code"]), (vec!["bad"], &json!(400)));
    // The second line is empty: items are numbered by their lines.
    for (number, status) in [(1, 200), (3, 400), (4, 200)] {
        let line = journal::closing(&format!("{id}.{number}")).await;
        assert_eq!((&line["status"], &line["key"]), (&json!(status), &json!("tests")), "{line}");
    }
    let written = async {
        while gateway.ledger().written < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    in_time(written).await.unwrap();
    let database = Database::open(&folder.database(), &[]).await.unwrap();
    let sql = "SELECT request_id, status FROM requests WHERE principal = 'tests' ORDER BY request_id";
    let rows = database.fetch(sql, Vec::new()).await.unwrap();
    let found: Vec<_> =
        rows.iter().map(|row| (row.text(0).unwrap().unwrap().to_owned(), row.int(1).unwrap())).collect();
    let expected =
        [(1, 200), (3, 400), (4, 200)].map(|(number, status)| (format!("{id}.{number}"), Some(status)));
    assert_eq!(found, expected);
    database.close().await;
    let input = done["input_file_id"].as_str().unwrap();
    let content = client.send(Call::get(&format!("/v1/files/{input}/content"))).await.collect().await;
    assert_eq!(content.text(), text);
    let files = json_of(&mut client, Call::get("/v1/files")).await;
    assert_eq!((files["data"].as_array().unwrap().len(), &files["has_more"]), (3, &json!(false)));
    let outputs = json_of(&mut client, Call::get("/v1/files?purpose=batch_output&limit=1")).await;
    assert_eq!((outputs["data"].as_array().unwrap().len(), &outputs["has_more"]), (1, &json!(true)));
    let removed = json_of(&mut client, Call::new(Method::DELETE, &format!("/v1/files/{input}"))).await;
    assert_eq!((&removed["id"], &removed["deleted"]), (&json!(input), &json!(true)));
    drop(client);
    gateway.stop().await;
}

/// Each endpoint of OpenAI's batches, at its own path.
#[tokio::test]
async fn items_go_to_their_endpoint() {
    for (endpoint, body) in [
        ("/v1/embeddings", json!({"model": "m", "input": "x"})),
        ("/v1/responses", json!({"model": "m", "input": "x"})),
        ("/v1/completions", json!({"model": "m", "prompt": "x"})),
    ] {
        let folder = Folder::new();
        let upstream = Upstream::always(Speaks::H1, script::json(200, r#"{"id":"x"}"#));
        let gateway = folder.plan(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let batch = begin(&mut client, endpoint, &item("a", endpoint, &body)).await;
        until(&mut client, batch["id"].as_str().unwrap(), is("completed")).await;
        let seen = upstream.log.request(0).await;
        assert_eq!((&*seen.target, &*seen.body), (endpoint, body.to_string().as_bytes()));
        drop(client);
        gateway.stop().await;
    }
}

/// A file whose lines are wrong fails before its first item, and says which.
#[tokio::test]
async fn an_input_with_mistakes_fails() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = folder.plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let text = format!("{}{}{{\n", chat("a"), chat("a"));
    let batch = begin(&mut client, CHAT, &text).await;
    let failed = until(&mut client, batch["id"].as_str().unwrap(), is("failed")).await;
    let mistakes = failed["errors"]["data"].as_array().unwrap();
    assert_eq!(mistakes.len(), 2, "{failed}");
    assert_eq!((&mistakes[0]["line"], &mistakes[0]["code"]), (&json!(2), &json!("duplicate_custom_id")));
    assert_eq!((&mistakes[1]["line"], &mistakes[1]["code"]), (&json!(3), &json!("invalid_json")));
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// Files and batches of another key are not found, in any way.
#[tokio::test]
async fn a_key_sees_its_own_alone() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = folder.plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &chat("a")).await;
    let id = batch["id"].as_str().unwrap();
    let done = until(&mut client, id, is("completed")).await;
    let (input, output) = (done["input_file_id"].as_str().unwrap(), done["output_file_id"].as_str().unwrap());
    let bearer = format!("Bearer {OTHER}");
    for file in [input, output] {
        for (method, path) in [
            (Method::GET, format!("/v1/files/{file}")),
            (Method::GET, format!("/v1/files/{file}/content")),
            (Method::DELETE, format!("/v1/files/{file}")),
        ] {
            let answer = client.send(Call::new(method, &path).header("authorization", &bearer)).await;
            assert_eq!(refusal(answer).await.0, 404, "{path}");
        }
    }
    for call in [Call::get(&format!("/v1/batches/{id}")), Call::post(&format!("/v1/batches/{id}/cancel"), "")]
    {
        assert_eq!(refusal(client.send(call.header("authorization", &bearer)).await).await.0, 404);
    }
    for path in ["/v1/files", "/v1/batches"] {
        let list = json_of(&mut client, Call::get(path).header("authorization", &bearer)).await;
        assert_eq!(list["data"], json!([]));
    }
    let asked = json!({"input_file_id": input, "endpoint": CHAT, "completion_window": "24h"}).to_string();
    let answer = client.send(Call::post("/v1/batches", asked).header("authorization", &bearer)).await;
    assert_eq!(refusal(answer).await.1, "invalid_file_id");
    assert_eq!(client.send(Call::get("/v1/files").without("authorization")).await.status, 401);
    drop(client);
    gateway.stop().await;
}

/// Requests that are no good name their mistake; a list of batches goes on behind an id.
#[tokio::test]
async fn mistakes_are_named_and_lists_have_pages() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let bounds = |batch: BatchSettings| BatchSettings { files_per_key: 5, max_requests: 3, ..batch };
    let gateway = folder.plan(&[&upstream]).with(|it| it.batch = bounds(it.batch)).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (call, code) in [
        (form("fine-tune", "{}"), "invalid_purpose"),
        (form("batch", ""), "empty_file"),
        (form("batch", "1\n2\n3\n4"), "too_many_requests"),
        (Call::post("/v1/files", "{}"), "invalid_request"),
        (Call::post("/v1/batches", "[]"), "invalid_request"),
        (Call::post("/v1/batches", "{}"), "missing_required_parameter"),
        (Call::get("/v1/batches?limit=0"), "invalid_request"),
        (Call::get("/v1/files?order=up"), "invalid_request"),
    ] {
        let target = call.target.clone();
        assert_eq!(refusal(client.send(call).await).await.1, code, "{target}");
    }
    let file = json_of(&mut client, form("batch", &chat("a"))).await;
    let asked = |change: (&str, Value)| {
        let mut asked = json!({"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"});
        asked[change.0] = change.1;
        Call::post("/v1/batches", asked.to_string())
    };
    for change in [
        ("endpoint", json!("/v1/messages")),
        ("completion_window", json!("1h")),
        ("metadata", json!({"a": 1})),
        ("input_file_id", json!("file-0")),
    ] {
        let param = change.0;
        let (status, _, named) = refusal(client.send(asked(change)).await).await;
        assert_eq!((status, named.as_deref()), (400, Some(param)));
    }
    let mut made = Vec::new();
    for _ in 0..3 {
        let batch = json_of(&mut client, asked(("metadata", Value::Null))).await;
        made.push(batch["id"].as_str().unwrap().to_owned());
    }
    let first = json_of(&mut client, Call::get("/v1/batches?limit=2")).await;
    assert_eq!(first["has_more"], true);
    let after = first["last_id"].as_str().unwrap();
    let second = json_of(&mut client, Call::get(&format!("/v1/batches?limit=2&after={after}"))).await;
    assert_eq!(second["has_more"], false);
    let mut seen: Vec<String> = [&first, &second]
        .iter()
        .flat_map(|page| page["data"].as_array().unwrap())
        .map(|batch| batch["id"].as_str().unwrap().to_owned())
        .collect();
    seen.sort_unstable();
    made.sort_unstable();
    assert_eq!(seen, made);
    for id in &made {
        until(&mut client, id, is("completed")).await;
    }
    // The input and three files of answers are four.
    json_of(&mut client, form("batch", &chat("b"))).await;
    let full = client.send(form("batch", &chat("b"))).await;
    assert_eq!(refusal(full).await, (400, "file_quota_exceeded".to_owned(), Some("file".to_owned())));
    let full = client.send(asked(("metadata", Value::Null))).await;
    assert_eq!(refusal(full).await.1, "file_quota_exceeded");
    drop(client);
    gateway.stop().await;
}

/// Files are kept for as long as their key asks, and no longer than the configuration says.
#[tokio::test]
async fn files_expire_when_their_key_says() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let keep = Duration::from_secs(7 * 24 * 3600);
    let plan = folder.plan(&[&upstream]).with(|it| it.batch = BatchSettings { keep, ..it.batch });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let lifetime = |file: &Value| file["expires_at"].as_i64().unwrap() - file["created_at"].as_i64().unwrap();
    let expiring = |anchor, seconds| {
        let after = [("expires_after[anchor]", anchor), ("expires_after[seconds]", seconds)];
        form_with(&[&[("purpose", "batch")], &after[..]].concat(), r"C:\dir\in.jsonl", &chat("a"))
    };
    for (seconds, kept) in [("3600", 3600), ("2592000", 7 * 24 * 3600)] {
        let file = json_of(&mut client, expiring("created_at", seconds)).await;
        assert_eq!((lifetime(&file), &file["filename"]), (kept, &json!(r"C:\dir\in.jsonl")));
    }
    let nameless = form_with(&[("purpose", "batch"), ("expires_after", "3600")], "f", &chat("a"));
    for call in [
        expiring("created_at", "3599"),
        expiring("created_at", "x"),
        expiring("last_active_at", "3600"),
        nameless,
    ] {
        let (status, _, param) = refusal(client.send(call).await).await;
        assert_eq!((status, param.as_deref()), (400, Some("expires_after")));
    }
    let file = json_of(&mut client, form("batch", &chat("a"))).await;
    assert_eq!(lifetime(&file), 7 * 24 * 3600);
    let asked = |seconds: i64| {
        let after = json!({"anchor": "created_at", "seconds": seconds});
        let asked = json!({"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h",
                           "output_expires_after": after});
        Call::post("/v1/batches", asked.to_string())
    };
    let (status, _, param) = refusal(client.send(asked(1)).await).await;
    assert_eq!((status, param.as_deref()), (400, Some("output_expires_after")));
    let batch = json_of(&mut client, asked(3600)).await;
    let batch = until(&mut client, batch["id"].as_str().unwrap(), is("completed")).await;
    let path = format!("/v1/files/{}", batch["output_file_id"].as_str().unwrap());
    assert_eq!(lifetime(&json_of(&mut client, Call::get(&path)).await), 3600);
    drop(client);
    gateway.stop().await;
}

/// Without `batch.enabled` there are neither files nor batches.
#[tokio::test]
async fn batches_are_off_unless_asked_for() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for call in [Call::get("/v1/files"), Call::post("/v1/batches", "{}"), form("batch", "{}")] {
        assert_eq!(refusal(client.send(call).await).await.0, 404);
    }
    assert_eq!(client.send(Call::new(Method::DELETE, "/v1/batches")).await.status, 405);
    drop(client);
    gateway.stop().await;
}

/// Cancelled: no further item begins, those under way end, and their answers are kept.
#[tokio::test]
async fn a_cancelled_batch_keeps_what_it_has() {
    let folder = Folder::new();
    let gate = Gate::new();
    let opens = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |_, _| {
        [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
    });
    let gateway = folder.plan(&[&upstream]).with(|it| it.batch.max_concurrency = 2).start().await;
    let mut client = gateway.client(Version::H1).await;
    let text: String = ["a", "b", "c", "d"].map(chat).concat();
    let batch = begin(&mut client, CHAT, &text).await;
    let id = batch["id"].as_str().unwrap();
    upstream.log.request(1).await;
    let in_use =
        Call::new(Method::DELETE, &format!("/v1/files/{}", batch["input_file_id"].as_str().unwrap()));
    assert_eq!(refusal(client.send(in_use).await).await.1, "file_in_use");
    let cancel = || Call::post(&format!("/v1/batches/{id}/cancel"), "");
    let cancelling = json_of(&mut client, cancel()).await;
    assert_eq!(cancelling["status"], "cancelling");
    journal::said(id, ENDS).await;
    gate.open();
    let ended = until(&mut client, id, is("cancelled")).await;
    assert_eq!(ended["request_counts"], json!({"total": 4, "completed": 2, "failed": 0}));
    assert_eq!(names(&lines(&mut client, &ended["output_file_id"]).await), ["a", "b"]);
    assert!(ended["cancelling_at"].is_i64() && ended["cancelled_at"].is_i64());
    assert_eq!(upstream.log.requests(), 2);
    assert_eq!(json_of(&mut client, cancel()).await["status"], "cancelled");
    drop(client);
    gateway.stop().await;
}

/// When its window is over, the items without an answer have the error that OpenAI's have.
#[tokio::test]
async fn a_batch_expires() {
    let folder = Folder::new();
    let gate = Gate::new();
    let opens = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |_, _| {
        [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
    });
    let gateway = folder.plan(&[&upstream]).with(|it| it.batch.max_concurrency = 1).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &["a", "b", "c"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    upstream.log.request(0).await;
    let database = Database::open(&folder.database(), &[]).await.unwrap();
    database.run("UPDATE batch_jobs SET expires = 1", Vec::new()).await.unwrap();
    database.close().await;
    // It learns of it when it renews its lease.
    journal::said(id, ENDS).await;
    gate.open();
    let ended = until(&mut client, id, is("expired")).await;
    assert_eq!(names(&lines(&mut client, &ended["output_file_id"]).await), ["a"]);
    let errors = lines(&mut client, &ended["error_file_id"]).await;
    assert_eq!((names(&errors), &errors[0]["error"]["code"]), (vec!["b", "c"], &json!("batch_expired")));
    assert_eq!(errors[0]["response"], Value::Null);
    drop(client);
    gateway.stop().await;
}

/// An item that meets a limit, or a provider that is ill, is asked again after the time that the answer
/// names.
#[tokio::test]
async fn an_item_waits_for_limits() {
    let folder = Folder::new();
    let upstream = Upstream::by(Speaks::H1, |number, _| match number {
        0 => {
            let mut steps =
                script::json(429, r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#);
            if let Some(Step::Head { headers, .. }) = steps.first_mut() {
                headers.push(("retry-after-ms".into(), "50".into()));
            }
            steps
        }
        _ => script::json(200, script::COMPLETION),
    });
    let gateway = folder.plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &chat("a")).await;
    let done = until(&mut client, batch["id"].as_str().unwrap(), is("completed")).await;
    assert_eq!(done["request_counts"], json!({"total": 1, "completed": 1, "failed": 0}));
    assert!(upstream.log.requests() >= 2);
    drop(client);
    gateway.stop().await;
}

/// A batch takes half of its key's limits at most, so that the key's other requests find room.
#[tokio::test]
async fn a_batch_leaves_half_of_its_keys_limits() {
    let folder = Folder::new();
    let gate = Gate::new();
    let (opens, now, most) = (gate.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, highest) = (Arc::clone(&now), Arc::clone(&most));
    let upstream = Upstream::by(Speaks::H1, move |_, seen| {
        if prompt(seen) == "hi" {
            return script::json(200, script::COMPLETION);
        }
        highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
    });
    let limits = LimitValues { concurrent: Some(4), ..LimitValues::default() };
    let plan = folder.plan(&[&upstream]).with(|it| it.tokens[0].limits = allow(limits));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let text: String = ["a", "b", "c", "d", "e", "f"].map(chat).concat();
    let batch = begin(&mut client, CHAT, &text).await;
    upstream.log.request(1).await;
    for _ in 0..60 {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.collect().await.json()["object"], "chat.completion");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    gate.open();
    until(&mut client, batch["id"].as_str().unwrap(), is("completed")).await;
    drop(client);
    gateway.stop().await;
}

/// The same of requests per minute: with a limit of four a batch makes two, and leaves two.
#[tokio::test]
async fn a_batch_leaves_half_of_the_requests_per_minute() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let limits = LimitValues { requests: Some(4), ..LimitValues::default() };
    let plan = folder.plan(&[&upstream]).with(|it| it.tokens[0].limits = allow(limits));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &["a", "b", "c", "d"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    until(&mut client, id, |batch| batch["request_counts"]["completed"] == 2).await;
    for status in [200, 200, 429] {
        assert_eq!(client.send(Call::whole()).await.status, status);
    }
    json_of(&mut client, Call::post(&format!("/v1/batches/{id}/cancel"), "")).await;
    let ended = until(&mut client, id, is("cancelled")).await;
    assert_eq!(ended["request_counts"], json!({"total": 4, "completed": 2, "failed": 0}));
    drop(client);
    gateway.stop().await;
}

/// A gateway that stops ends its items in order and gives its batches back; another goes on with the rest.
#[tokio::test]
async fn a_stop_loses_no_item_and_repeats_none() {
    let folder = Folder::new();
    let gate = Gate::new();
    let (opens, asked) = (gate.clone(), Arc::new(Mutex::new(Vec::new())));
    let prompts = Arc::clone(&asked);
    let upstream = Upstream::by(Speaks::H1, move |_, seen| {
        prompts.lock().unwrap().push(prompt(seen));
        [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
    });
    let gateway = folder.plan(&[&upstream]).with(|it| it.batch.max_concurrency = 2).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &["a", "b", "c", "d"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    upstream.log.request(1).await;
    drop(client);
    let stopping = tokio::spawn(gateway.stop_now());
    journal::said(id, ENDS).await;
    gate.open();
    in_time(stopping).await.unwrap().unwrap();
    assert_eq!(upstream.log.requests(), 2, "none begins while it stops");
    let gateway = folder.plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let done = until(&mut client, id, is("completed")).await;
    assert_eq!(names(&lines(&mut client, &done["output_file_id"]).await), ["a", "b", "c", "d"]);
    asked.lock().unwrap().sort_unstable();
    assert_eq!(*asked.lock().unwrap(), ["a", "b", "c", "d"]);
    drop(client);
    gateway.stop().await;
}

/// An item that outlasts the drain is not booked as one whose client left, and is asked again by another
/// gateway.
#[tokio::test]
async fn an_item_that_outlasts_the_drain_is_asked_again() {
    let folder = Folder::new();
    let upstream = Upstream::by(Speaks::H1, |number, _| match number {
        0 => vec![Step::Stall],
        _ => script::json(200, script::COMPLETION),
    });
    let plan = folder.plan(&[&upstream]);
    let gateway = plan.with(|settings| settings.limits.drain = Duration::from_millis(50)).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &chat("a")).await;
    let id = batch["id"].as_str().unwrap();
    let item = upstream.log.request(0).await.all("x-request-id")[0].to_owned();
    drop(client);
    in_time(gateway.stop_now()).await.unwrap();
    let line = journal::closing(&item).await;
    assert_eq!((&line["code"], &line["message"]), (&json!("shutting_down"), &json!("failed")), "{line}");
    let gateway = folder.plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let done = until(&mut client, id, is("completed")).await;
    assert_eq!(names(&lines(&mut client, &done["output_file_id"]).await), ["a"]);
    drop(client);
    gateway.stop().await;
}

/// Two replicas on one database. The one that runs a batch is killed; the other goes on when the lease is
/// over, repeats the items without an answer, and no others: each has one line.
#[tokio::test]
async fn another_replica_goes_on_when_one_is_killed() {
    for folder in [Some(Folder::new()), Folder::postgres().await].into_iter().flatten() {
        one_is_killed(&folder).await;
    }
}

async fn one_is_killed(folder: &Folder) {
    let gate = Gate::new();
    let (opens, asked) = (gate.clone(), Arc::new(Mutex::new(Vec::new())));
    let prompts = Arc::clone(&asked);
    let upstream = Upstream::by(Speaks::H1, move |_, seen| {
        let prompt = prompt(seen);
        prompts.lock().unwrap().push(prompt.clone());
        match &*prompt {
            "slow" => [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat(),
            _ => script::json(200, script::COMPLETION),
        }
    });
    let config = json!({
        "host": "127.0.0.1", "port": 0, "log": {"format": "json"}, "tokens": [format!("tests|{TOKEN}")],
        "providers": [{"name": "p0", "base_url": upstream.base(), "api_key": "k", "models": ["m"]}],
        "database": folder.url, "health": {"interval": 0},
        "batch": {"enabled": true, "lease": "1s", "max_concurrency": 2},
    });
    let file = command::File::new("batch-replica", &config.to_string());
    let path = file.0.to_str().unwrap().to_owned();
    let mut first =
        tokio::task::spawn_blocking(move || command::Gateway::start(&[("THALWEG_CONFIG", &path)]))
            .await
            .unwrap();
    let address = first.authority().parse().unwrap();
    let mut client = Client::connect(Version::H1, address).await;
    let batch = begin(&mut client, CHAT, &["a", "slow", "b", "c"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    until(&mut client, id, |batch| batch["request_counts"]["completed"] == 3).await;
    let second = folder.plan(&[&upstream]).start().await;
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    drop(client);
    gate.open();
    let mut client = second.client(Version::H1).await;
    let done = until(&mut client, id, is("completed")).await;
    assert_eq!(names(&lines(&mut client, &done["output_file_id"]).await), ["a", "slow", "b", "c"]);
    asked.lock().unwrap().sort_unstable();
    assert_eq!(*asked.lock().unwrap(), ["a", "b", "c", "slow", "slow"]);
    drop(client);
    second.stop().await;
}

/// The database takes no answers for a while: the one that has come waits, and is not asked for again.
#[tokio::test]
async fn an_answer_waits_for_the_database() {
    let folder = Folder::new();
    let gate = Gate::new();
    let opens = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |_, _| {
        [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
    });
    let gateway = folder.plan(&[&upstream]).with(|it| it.batch.max_concurrency = 1).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &["a", "b"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    upstream.log.request(0).await;
    let database = Database::open(&folder.database(), &[]).await.unwrap();
    database.run("ALTER TABLE batch_answers RENAME TO elsewhere", Vec::new()).await.unwrap();
    gate.open();
    journal::said(id, "batch: an answer cannot be stored, and waits").await;
    let away = client.send(Call::get(&format!("/v1/batches/{id}"))).await;
    assert_eq!(refusal(away).await.1, "batch_storage_unavailable");
    assert_eq!(upstream.log.requests(), 1, "no further item begins");
    // For longer than the lease.
    journal::said(id, "batch: its lease cannot be renewed, and no further item begins").await;
    database.run("ALTER TABLE elsewhere RENAME TO batch_answers", Vec::new()).await.unwrap();
    database.close().await;
    let done = until(&mut client, id, is("completed")).await;
    assert_eq!(names(&lines(&mut client, &done["output_file_id"]).await), ["a", "b"]);
    assert_eq!(upstream.log.requests(), 2);
    drop(client);
    gateway.stop().await;
}

/// The key of a batch is taken away: its items end with the error that a request would have.
#[tokio::test]
async fn a_batch_of_a_key_that_is_gone_ends() {
    let folder = Folder::new();
    let gate = Gate::new();
    let opens = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |_, _| {
        [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
    });
    let plan = folder.plan(&[&upstream]);
    let gateway = plan.with(|it| it.batch.max_concurrency = 1).start().await;
    let mut client = gateway.client(Version::H1).await;
    let batch = begin(&mut client, CHAT, &["a", "b"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    upstream.log.request(0).await;
    drop(client);
    let stopping = tokio::spawn(gateway.stop_now());
    journal::said(id, ENDS).await;
    gate.open();
    in_time(stopping).await.unwrap().unwrap();
    let others = |plan: Plan| plan.with(|it| drop(it.tokens.remove(0)));
    let gateway: Gateway = others(folder.plan(&[&upstream])).start().await;
    let database = Database::open(&folder.database(), &[]).await.unwrap();
    let ended = in_time(async {
        loop {
            let sql = "SELECT j.status, a.text FROM batch_jobs j JOIN batch_answers a ON a.batch = j.id \
                       WHERE a.kind = 1";
            let rows = database.fetch(sql, Vec::new()).await.unwrap();
            if let Some(row) = rows.first()
                && row.text(0).unwrap() == Some("completed")
            {
                return serde_json::from_slice::<Value>(row.blob(1).unwrap().unwrap()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    database.close().await;
    assert_eq!(
        (&ended["custom_id"], &ended["error"]["code"]),
        (&json!("b"), &json!("invalid_api_key")),
        "{id}"
    );
    assert_eq!(upstream.log.requests(), 1);
    gateway.stop().await;
}

/// A large file comes back in pages, byte for byte.
#[tokio::test]
async fn a_large_file_comes_back_whole() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = folder.plan(&[&upstream]).start().await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let text: String = (0..600).map(|number| chat(&format!("{number}{}", "x".repeat(6000)))).collect();
        let file = json_of(&mut client, form("batch", &text)).await;
        assert_eq!((file["bytes"].as_u64(), &file["purpose"]), (Some(text.len() as u64), &json!("batch")));
        let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
        let body = client.send(Call::get(&path)).await.collect().await;
        assert!(body.complete && body.bytes() == text.as_bytes());
    }
    gateway.stop().await;
}

/// An item has its key's answers in the answer cache, and not another key's; its key is known by its id.
#[tokio::test]
async fn an_item_is_not_given_another_keys_stored_answer() {
    let folder = Folder::new();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = folder.plan(&[&upstream]).with(|settings| settings.cache.enabled = true).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (key, requests) in [(TOKEN, 1), (TOKEN, 1), (OTHER, 2), (OTHER, 2)] {
        let own = |call: Call| call.header("authorization", &format!("Bearer {key}"));
        let file = json_of(&mut client, own(form("batch", &chat("same")))).await;
        let asked = json!({"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"});
        let batch = json_of(&mut client, own(Call::post("/v1/batches", asked.to_string()))).await;
        let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
        let ended = async {
            while json_of(&mut client, own(Call::get(&path))).await["status"] != "completed" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time(ended).await.expect("a batch in time");
        assert_eq!(upstream.log.requests(), requests);
    }
    drop(client);
    gateway.stop().await;
}
