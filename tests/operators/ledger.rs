//! The ledger: one row for each completion request (S3.6, R12, R14, B2), in a real database file.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use thalweg::{
    database::{Database, DatabaseSettings, DatabaseUrl, ResultRow},
    ledger::{Price, Prices},
};

use crate::{
    client::{Call, Version, call::TOKEN},
    command::{self, Signal},
    gateway::{Gateway, Plan},
    journal,
    operators::reload::{ADMIN, File, reloaded},
    upstream::{
        Speaks, Step, Upstream,
        log::in_time,
        script::{self, DONE, delta, last_delta, usage},
    },
};

/// A database file in a temporary folder.
struct DatabaseFile(PathBuf);

impl DatabaseFile {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("thalweg-database-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn database(&self) -> DatabaseSettings {
        DatabaseSettings::new(DatabaseUrl::Sqlite(self.0.join("t.db")))
    }

    fn plan(&self, upstreams: &[&Upstream]) -> Plan {
        Plan::to(upstreams).with(|settings| {
            settings.database = Some(self.database());
            settings.ledger.batch_delay = Duration::from_millis(1);
            let price = Price { input: 1_000_000, output: 10_000_000, ..Price::default() };
            settings.prices = Prices::new([("m".to_owned(), price)]);
        })
    }

    /// These columns of all rows, in the order in which the requests came.
    async fn rows(&self, columns: &str) -> Vec<ResultRow> {
        let database = Database::open(&self.database(), &[]).await.unwrap();
        let sql = format!("SELECT {columns} FROM requests ORDER BY at");
        let rows = database.fetch(sql, Vec::new()).await.unwrap();
        database.close().await;
        rows
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until the ledger's thread has written `count` rows; it sends no event.
async fn written(gateway: &Gateway, count: u64) {
    let reached = async {
        while gateway.ledger().written < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let outcome = in_time(reached).await;
    assert!(outcome.is_ok(), "{:?}", gateway.ledger());
}

fn texts(row: &ResultRow, count: usize) -> Vec<Option<&str>> {
    (0..count).map(|column| row.text(column).unwrap()).collect()
}

fn steps() -> Vec<Step> {
    script::sse([delta("one"), last_delta("two"), usage(), DONE.into()].concat())
}

#[tokio::test]
async fn the_row_of_a_stream_is_complete() {
    let (database, upstream) = (DatabaseFile::new(), Upstream::always(Speaks::H1, steps()));
    let gateway = database
        .plan(&[&upstream])
        .with(|settings| settings.trusted_proxies.push("127.0.0.1".parse().unwrap()))
        .start()
        .await;
    let mut client = gateway.client(Version::H1).await;
    let long = "x".repeat(900);
    let call = Call::stream().header("x-forwarded-for", "203.0.113.9").header("user-agent", &long);
    let id = call.id();
    let received = client.send(call).await.collect().await;
    assert!(received.complete);
    written(&gateway, 1).await;
    let columns = "request_id, principal, model_asked, model, path, dialect, provider, provider_kind, mode, outcome, \
                   usage_source, client, fault, phase, user_agent";
    let rows = database.rows(columns).await;
    let path = "/v1/chat/completions";
    let wanted =
        [&*id, "tests", "m", "m", path, "chat", "p0", "openai", "asgi", "ok", "reported", "203.0.113.9"];
    assert_eq!(texts(&rows[0], 12), wanted.map(Some));
    assert_eq!(texts(&rows[0], 14)[12..], [None, None]);
    assert_eq!(rows[0].text(14).unwrap().map(str::len), Some(500));
    let numbers = "status, attempts, tokens_in, tokens_out, cost, frames, events, first_byte_us, ttft_us, total_us, \
                   queue_us, upstream_us, added_p50_ns, added_max_ns, request_bytes, bytes";
    let rows = database.rows(numbers).await;
    let number = |column| rows[0].int(column).unwrap().unwrap_or_else(|| panic!("column {column}"));
    // 9 input and 3 output tokens, at 1 and 10 per million.
    assert_eq!([number(0), number(1), number(2), number(3), number(4)], [200, 1, 9, 3, 39]);
    assert!(number(5) > 0 && number(6) >= 3);
    assert!(number(7) <= number(8) && number(8) <= number(9));
    assert!(number(10) + number(11) <= number(9));
    assert!(number(12) > 0 && number(12) <= number(13));
    assert_eq!(number(14), crate::client::call::STREAM.len() as i64);
    assert!(number(15) >= received.bytes().len() as i64);
    drop(client);
    gateway.stop().await;
}

/// Of a list of models the row has the first one as asked, and the provider and the model of the answer, also
/// where another attempt of a race began after that.
#[tokio::test]
async fn the_row_of_a_list_names_the_model_that_answered() {
    let context = r#"{"error":{"message":"long","code":"context_length_exceeded"}}"#;
    let mistake = r#"{"error":{"message":"no such parameter","code":"unknown_parameter","type":"invalid_request_error"}}"#;
    let both = |began: script::Gate| {
        let slow = Upstream::by(Speaks::H1, move |_, seen| match seen.json()["user"].as_str() {
            Some("race") => [vec![Step::Wait(began.clone())], script::json(400, mistake)].concat(),
            _ => script::json(400, context),
        });
        let other = Upstream::by(Speaks::H1, |_, seen| match seen.json()["user"].as_str() {
            Some("race") => vec![Step::Stall],
            _ => script::json(200, script::COMPLETION),
        });
        (slow, other)
    };
    let began = script::Gate::new();
    let (database, (first, second)) = (DatabaseFile::new(), both(began.clone()));
    let plan = database.plan(&[&first, &second]).with(|settings| {
        settings.providers[0].models = Some(vec!["small".into()]);
        settings.providers[1].models = Some(vec!["large".into()]);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = |user: &str| {
        let body = json!({"models": ["small", "large"], "user": user, "messages": []});
        Call::post("/v1/chat/completions", body.to_string())
    };
    let answer = client.send(call("list")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
    answer.collect().await;
    let racing = tokio::spawn(async move {
        let answer = client.send(call("race").header("x-thalweg-strategy", "race:2")).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (400, "p0"));
        answer.collect().await;
        client
    });
    second.log.request(1).await;
    began.open();
    let client = racing.await.unwrap();
    written(&gateway, 2).await;
    let rows = database.rows("model_asked, model, provider").await;
    assert_eq!(texts(&rows[0], 3), ["small", "large", "p1"].map(Some));
    assert_eq!(texts(&rows[1], 3), ["small", "small", "p0"].map(Some));
    drop(client);
    gateway.stop().await;
}

/// A row, the log, `/stats` and `thalweg usage` say which dialects a request used.
#[tokio::test]
async fn a_translated_request_names_both_dialects() {
    let database = DatabaseFile::new();
    let upstream = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/chat/completions") {
        true => script::json(200, script::COMPLETION),
        false => script::json(404, r#"{"error":{"message":"Invalid URL (POST /v1/messages)"}}"#),
    });
    let plan = database.plan(&[&upstream]).with(|settings| {
        let token = thalweg::base::Secret::new(ADMIN.to_owned());
        let admin = thalweg::auth::TokenSettings::plain("admin", token);
        settings.tokens.push(thalweg::auth::TokenSettings { admin: true, ..admin });
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let message = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    for (call, dialects) in [
        (Call::post("/v1/messages", message), Some("messages>chat")),
        (Call::post("/v1/messages", message), Some("messages>chat")),
        (Call::whole(), None),
    ] {
        let id = call.id();
        assert!(client.send(call).await.collect().await.complete);
        assert_eq!(journal::closing(&id).await["dialect"].as_str(), dialects);
    }
    written(&gateway, 3).await;
    let call = Call::get("/stats?since=1h&by=dialect").header("authorization", &format!("Bearer {ADMIN}"));
    let told = client.send(call).await.collect().await.json();
    let lines = told["ledger"]["usage"].as_array().unwrap();
    let shown = lines.iter().map(|line| (&line["dialect"], &line["requests"], &line["translated"]));
    let expected = [(json!("messages>chat"), json!(2), json!(2)), (json!("chat"), json!(1), json!(0))];
    let expected = expected.iter().map(|(dialect, requests, translated)| (dialect, requests, translated));
    assert!(shown.eq(expected), "{told:#}");
    drop(client);
    gateway.stop().await;
    let rows = database.rows("dialect, dialects").await;
    assert_eq!(texts(&rows[0], 2), [Some("messages"), Some("messages>chat")]);
    assert_eq!(texts(&rows[2], 2), [Some("chat"), None]);
    let place = database.0.join("t.db");
    let variables = [("THALWEG_DATABASE_URL", place.to_str().unwrap())];
    let (code, shown, _) = command::run(&["usage", "--by", "dialect"], &variables);
    assert!(code == Some(0) && shown.contains("messages>chat") && shown.contains("translated"), "{shown}");
}

/// However a completion request ends, it has one row; other requests have none.
#[tokio::test]
async fn each_request_has_one_row() {
    let database = DatabaseFile::new();
    let upstream = Upstream::by(Speaks::H1, |number, _| match number {
        0 => script::json(200, r#"{"usage":{"prompt_tokens":5,"completion_tokens":2}}"#),
        1 => vec![script::sse_head(), Step::Body(delta("one")), Step::Stall],
        _ => vec![Step::Reset],
    });
    let gateway = database.plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::whole().header("x-request-id", "the-same")).await.collect().await;
    for call in [
        Call::whole().without("authorization"),
        Call::post("/v1/chat/completions", r#"{"model":"nobody's"}"#),
        Call::post("/v1/chat/completions", "{"),
        Call::get("/v1/models"),
        Call::get("/livez"),
        Call::get("/nowhere"),
    ] {
        client.send(call).await.collect().await;
    }
    let mut leaving = gateway.client(Version::H1).await;
    let mut answer = leaving.send(Call::stream()).await;
    answer.piece().await;
    drop((answer, leaving));
    written(&gateway, 5).await;
    client.send(Call::whole().header("x-request-id", "the-same")).await.collect().await;
    drop(client);
    gateway.stop().await;
    let rows = database.rows("outcome, fault, fault_side, phase, principal, request_id, status").await;
    let told: Vec<_> = rows.iter().map(|row| texts(row, 5)).collect();
    let tests = Some("tests");
    let wanted = [
        [Some("ok"), None, None, None, tests],
        [Some("refused"), Some("missing_api_key"), Some("client"), Some("request"), None],
        [Some("refused"), Some("model_not_found"), Some("client"), Some("request"), tests],
        [Some("refused"), Some("invalid_request"), Some("client"), Some("request"), tests],
        [Some("gone"), None, None, Some("mid_stream"), tests],
        [Some("failed"), Some("upstream_reset"), Some("provider"), Some("before_head"), tests],
    ];
    assert_eq!(told, wanted);
    assert_eq!((rows[0].text(5).unwrap(), rows[5].text(5).unwrap()), (Some("the-same"), Some("the-same")));
    let statuses: Vec<_> = rows.iter().map(|row| row.int(6).unwrap().unwrap()).collect();
    assert_eq!(statuses, [200, 401, 404, 400, 499, 502]);
}

/// Requests without a valid key cannot fill the ledger: ten per second have rows, the others are counted.
#[tokio::test]
async fn requests_without_a_key_have_few_rows() {
    let (database, upstream) = (DatabaseFile::new(), Upstream::always(Speaks::H1, steps()));
    let gateway = database.plan(&[&upstream]).start().await;
    let (mut client, begun) = (gateway.client(Version::H1).await, Instant::now());
    for _ in 0..40 {
        let call = Call::whole().header("authorization", "Bearer sk-stranger");
        let answer = client.send(call).await;
        assert_eq!(answer.status, 401);
        answer.collect().await;
    }
    assert!(client.send(Call::stream()).await.collect().await.complete);
    let seconds = begun.elapsed().as_secs() + 2;
    let all = async {
        while gateway.ledger().written + gateway.ledger().left_out < 41 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(in_time(all).await.is_ok(), "{:?}", gateway.ledger());
    let state = gateway.ledger();
    assert!(state.written > 10 && state.written <= 10 * seconds + 1, "{state:?}");
    drop(client);
    gateway.stop().await;
    assert!(database.rows("outcome").await.iter().any(|row| row.text(0).unwrap() == Some("ok")));
}

/// Reloaded prices and proxies apply from the next row on.
#[tokio::test]
async fn a_reload_changes_price_and_client_of_the_next_row() {
    let (database, upstream) = (DatabaseFile::new(), Upstream::always(Speaks::H1, steps()));
    let mut config = json!({
        "providers": [{"name": "p0", "base_url": upstream.base(), "protocol": "http1", "models": ["m"]}],
        "tokens": [format!("tests|{TOKEN}"), {"description": "admin", "token": ADMIN, "admin": true}],
        "database": database.0.join("t.db"),
        "state_file": false,
        "health": {"interval": 0, "precheck": 0, "warmup": 0},
        "watch": false,
        "prices": {"m": {"input": 1, "output": 10}},
    });
    let file = File::new(&config);
    let gateway = Plan::file(&file.0).start().await;
    for rows in 1..=2 {
        let call = Call::stream().header("x-forwarded-for", "203.0.113.9");
        assert!(gateway.client(Version::H1).await.send(call).await.collect().await.complete);
        written(&gateway, rows).await;
        config["prices"]["m"] = json!({"input": 2, "output": 20});
        config["trusted_proxies"] = json!(["127.0.0.1"]);
        config["otel"] = json!({"endpoint": "http://127.0.0.1:9"});
        file.write(config.to_string());
        let (status, told) = reloaded(&gateway).await;
        // Each reload names it again, because the running exporter stays as it began.
        assert_eq!((status, &told["changes"]["restart_needed"]), (200, &json!(["otel"])), "{told}");
    }
    gateway.stop().await;
    let rows = database.rows("client, cost").await;
    let told: Vec<_> = rows.iter().map(|row| (row.text(0).unwrap(), row.int(1).unwrap())).collect();
    // 9 input and 3 output tokens.
    assert_eq!(told, [(Some("127.0.0.1"), Some(39)), (Some("203.0.113.9"), Some(78))]);
}

/// A database that cannot be written does not stop the gateway from serving.
#[tokio::test]
async fn serves_without_the_ledger() {
    let (database, upstream) = (DatabaseFile::new(), Upstream::always(Speaks::H1, steps()));
    let missing = database.0.join("missing/t.db");
    let gateway = database
        .plan(&[&upstream])
        .with(|settings| settings.database = Some(DatabaseSettings::new(DatabaseUrl::Sqlite(missing))))
        .start()
        .await;
    let mut client = gateway.client(Version::H1).await;
    assert!(client.send(Call::stream()).await.collect().await.complete);
    drop(client);
    let reached = async {
        while gateway.ledger().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(in_time(reached).await.is_ok(), "{:?}", gateway.ledger());
    assert!(!gateway.ledger().up);
    gateway.stop().await;
}

/// Measures how late this machine is: sleeps 5 ms and writes to the disk, repeatedly, as the ledger does.
/// Returns the worst lateness when `over` is set.
fn lateness(place: PathBuf, over: std::sync::Arc<std::sync::atomic::AtomicBool>) -> Duration {
    use std::io::Write;
    const MOMENT: Duration = Duration::from_millis(5);
    let (mut file, mut worst) = (std::fs::File::create(place).unwrap(), Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        std::thread::sleep(MOMENT);
        file.write_all(b"row").unwrap();
        file.sync_data().unwrap();
        worst = worst.max(begun.elapsed() - MOMENT);
    }
    worst
}

/// Threads and disk writes between an answer and its row: the worker, the settling thread, the ledger's
/// thread, its transaction, which may checkpoint the WAL and so waits for the disk three times.
const HOPS: u32 = 6;

/// kill -9 loses at most the rows of the last 200 ms (plus this machine's measured lateness), corrupts
/// nothing, and the next start continues.
#[tokio::test]
async fn kill_loses_only_the_last_rows() {
    use std::io::{Read, Write};
    let database = DatabaseFile::new();
    let place = database.0.join("t.db");
    let variables = [("THALWEG_DATABASE_URL", place.to_str().unwrap()), ("API_KEY", "sk-database")];
    let mut done = Vec::new();
    for round in 0..3 {
        let gateway = command::Gateway::start(&variables);
        let authority = gateway.authority();
        let mut connection = std::net::TcpStream::connect(&authority).unwrap();
        let (witness, over) =
            (database.0.join("witness"), std::sync::Arc::<std::sync::atomic::AtomicBool>::default());
        let late = std::thread::spawn({
            let over = std::sync::Arc::clone(&over);
            move || lateness(witness, over)
        });
        let (begun, mut here) = (Instant::now(), Vec::new());
        while begun.elapsed() < Duration::from_millis(1200) {
            let id = format!("killed-{round}-{}", here.len());
            let body = r#"{"model":"nobody-has-this"}"#;
            let head = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-database\r\nx-request-id: {id}\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 4096];
            let count = connection.read(&mut answer).unwrap();
            assert!(answer[..count].starts_with(b"HTTP/1.1 404"));
            here.push((id, Instant::now()));
            // As many as a busy machine settles and writes, too: a row of more may wait anywhere on its way.
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway.signal(Signal::KILL);
        let killed = Instant::now();
        gateway.end();
        over.store(true, Ordering::Relaxed);
        let bound = Duration::from_millis(200) + late.join().unwrap() * HOPS;
        let early = here.into_iter().filter(|(_, at)| killed - *at > bound);
        done.extend(early.map(|(id, _)| id));
    }
    // One more run, which ends regularly.
    let gateway = command::Gateway::start(&variables);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().0, Some(0));
    let rows = database.rows("request_id").await;
    let known: std::collections::HashSet<&str> =
        rows.iter().map(|row| row.text(0).unwrap().unwrap()).collect();
    let missing: Vec<_> = done.iter().filter(|id| !known.contains(id.as_str())).collect();
    assert!(
        done.len() > 30 && missing.is_empty(),
        "{} of {} are missing: {missing:?}",
        missing.len(),
        done.len()
    );
    let database = Database::open(&database.database(), &[]).await.unwrap();
    for span in [3600, 86_400] {
        let sql = format!("SELECT CAST(SUM(requests) AS BIGINT) FROM rollups WHERE span = {span}");
        let found = database.fetch(sql, Vec::new()).await.unwrap();
        assert_eq!(found[0].int(0).unwrap(), Some(rows.len() as i64));
    }
    let checked = database.fetch("PRAGMA integrity_check", Vec::new()).await.unwrap();
    assert_eq!(checked[0].text(0).unwrap(), Some("ok"));
    database.close().await;
    // The operator's view of it.
    let variables = [("THALWEG_DATABASE_URL", place.to_str().unwrap())];
    let (code, shown, stderr) = command::run(&["usage", "--by", "key,model", "--since", "1h"], &variables);
    assert_eq!((code, stderr), (Some(0), format!("in SQLite, {}\n", place.display())));
    let (_, _, stderr) = command::run(&["keys", "list"], &variables);
    assert_eq!(stderr, format!("in SQLite, {}\n", place.display()));
    assert!(shown.contains("requests") && shown.contains("API_KEY") && shown.contains("(none)"), "{shown}");
    let (_, shown, _) = command::run(&["usage", "--by", "key", "--json"], &variables);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["usage"][0]["requests"].as_u64(), Some(rows.len() as u64), "{shown}");
    let (code, _, stderr) = command::run(&["usage"], &[("THALWEG_DATABASE_URL", "/no/such/place/t.db")]);
    assert!(code == Some(1) && stderr.contains("no ledger yet"), "{stderr}");
}

/// `/stats?since=…` reads the ledger, whose sums outlive the process; a query that it cannot answer is an
/// error.
#[tokio::test]
async fn statistics_of_the_past() {
    let (database, upstream) = (DatabaseFile::new(), Upstream::always(Speaks::H1, steps()));
    let admin = |settings: &mut thalweg::config::Settings| {
        settings.tokens.push(thalweg::auth::TokenSettings {
            admin: true,
            ..thalweg::auth::TokenSettings::plain("admin", thalweg::base::Secret::new("sk-past".to_owned()))
        });
    };
    let stats = |query: &str| Call::get(&format!("/stats{query}")).header("authorization", "Bearer sk-past");
    for round in 1..=2_u64 {
        let gateway = database.plan(&[&upstream]).with(admin).start().await;
        let mut client = gateway.client(Version::H1).await;
        assert!(client.send(Call::stream()).await.collect().await.complete);
        written(&gateway, 1).await;
        let told = client.send(stats("?since=24h&by=key,model")).await.collect().await.json();
        let line = &told["ledger"]["usage"][0];
        assert_eq!((&line["requests"], &line["model"]), (&round.into(), &"m".into()), "{told:#}");
        assert_eq!(told["ledger"]["by"], serde_json::json!(["key", "model"]));
        let now = client.send(stats("")).await.collect().await.json();
        assert!(now["ledger"].is_null());
        // S4.5.
        let kept = &now["database"];
        assert_eq!(
            (&kept["up"], &kept["rows_written"], &kept["rows_waiting"]),
            (&true.into(), &1.into(), &0.into())
        );
        assert!(
            kept["queries"].as_u64().unwrap() > 0 && kept["average_query_ms"].as_f64().unwrap() > 0.0,
            "{kept}"
        );
        for wrong in ["?since=soon", "?since=9999d", "?by=mood"] {
            assert_eq!(client.send(stats(wrong)).await.status, 400, "{wrong}");
        }
        drop(client);
        gateway.stop().await;
    }
    let gateway = Plan::to(&[&upstream]).with(admin).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(stats("?since=1h")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.collect().await.json()["error"]["code"].clone()),
        (404, "no_ledger".into())
    );
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_from_the_cache_costs_nothing_and_says_what_it_saved() {
    let (database, upstream) = (DatabaseFile::new(), Upstream::always(Speaks::H1, steps()));
    let gateway = database.plan(&[&upstream]).with(|settings| settings.cache.enabled = true).start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..2 {
        assert!(client.send(Call::stream()).await.collect().await.complete);
    }
    written(&gateway, 2).await;
    drop(client);
    gateway.stop().await;
    let rows = database.rows("reuse, provider, outcome").await;
    assert_eq!(texts(&rows[0], 3), [None, Some("p0"), Some("ok")]);
    assert_eq!(texts(&rows[1], 3), [Some("cached"), None, Some("ok")]);
    let rows = database.rows("tokens_saved, tokens_in, tokens_out, attempts, cost").await;
    let numbers = |row: &ResultRow| [0, 1, 2, 3, 4].map(|column| row.int(column).unwrap());
    assert_eq!(numbers(&rows[0])[..4], [None, Some(9), Some(3), Some(1)]);
    assert_eq!(numbers(&rows[1]), [Some(12), None, None, Some(0), Some(0)]);
    let found = Database::open(&database.database(), &[]).await.unwrap();
    let sql = "SELECT CAST(SUM(reused) AS BIGINT), CAST(SUM(tokens_saved) AS BIGINT) FROM rollups WHERE span = 3600";
    let sums = found.fetch(sql, Vec::new()).await.unwrap();
    assert_eq!([0, 1].map(|column| sums[0].int(column).unwrap()), [Some(1), Some(12)]);
    found.close().await;
}

/// The ledger's queries go to the copy for reading; while it does not answer they go to the database itself,
/// which is logged once, and the answer says so.
#[tokio::test]
async fn queries_go_to_the_copy_and_come_back_without_it() {
    let upstream = Upstream::always(Speaks::H1, steps());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut cases = vec![(None, format!("postgres://thalweg:s3cret-of-copy@{closed}/copy"))];
    match std::env::var("THALWEG_TEST_POSTGRES") {
        Ok(url) => cases.push((Some(url.clone()), url)),
        Err(_) => eprintln!("THALWEG_TEST_POSTGRES is not set: a copy that answers is left out"),
    }
    let url = |text: &str| DatabaseUrl::parse(text, std::path::Path::new("")).unwrap();
    for (main, copy) in cases {
        let database = DatabaseFile::new();
        let plan = database.plan(&[&upstream]).with(|settings| {
            if let Some(main) = &main {
                settings.database = Some(DatabaseSettings::new(url(main)));
            }
            settings.database.as_mut().unwrap().read_url = Some(url(&copy));
            let admin =
                thalweg::auth::TokenSettings::plain("admin", thalweg::base::Secret::new(ADMIN.to_owned()));
            settings.tokens.push(thalweg::auth::TokenSettings { admin: true, ..admin });
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        assert!(client.send(Call::stream()).await.collect().await.complete);
        written(&gateway, 1).await;
        for _ in 0..2 {
            let call = Call::get("/stats?since=1h").header("authorization", &format!("Bearer {ADMIN}"));
            let told = client.send(call).await.collect().await.json();
            assert!(told["ledger"]["usage"][0]["requests"].as_u64() >= Some(1), "{told:#}");
            let state = &told["ledger"]["read_replica"];
            match main {
                // No standby, so there is no lag to know.
                Some(_) => assert_eq!(state, &json!({"used": true, "lag_seconds": null})),
                None => {
                    assert_eq!(state["used"], false);
                    assert!(state["reason"].is_string() && !state.to_string().contains("s3cret-of-copy"));
                }
            }
        }
        drop(client);
        gateway.stop().await;
    }
    let line = ["the copy of the database for reading does not answer", &closed.to_string()];
    assert_eq!(journal::count(line), 1);
    assert!(!journal::mentions("s3cret-of-copy"));
}

/// The lag of a real standby: none while it is in step, also when it has received nothing since its start;
/// the age of its data while its replay stands still.
#[tokio::test]
async fn the_lag_of_a_standby_is_known() {
    let urls = ["THALWEG_TEST_POSTGRES", "THALWEG_TEST_STANDBY"].map(std::env::var);
    let [Ok(primary), Ok(standby)] = urls else {
        eprintln!("THALWEG_TEST_STANDBY is not set: the lag of a standby is left out");
        return;
    };
    let open = async |url: &str| {
        let url = DatabaseUrl::parse(url, std::path::Path::new("")).unwrap();
        Database::open(&DatabaseSettings::new(url), &[]).await.unwrap()
    };
    let (primary, standby) = (open(&primary).await, open(&standby).await);
    assert_eq!(primary.lag().await, None);
    let until = async |wanted: fn(Option<Duration>) -> bool| {
        let reached = async {
            while !wanted(standby.lag().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        in_time(reached).await.expect("the lag in time");
    };
    until(|lag| lag == Some(Duration::ZERO)).await;
    standby.fetch("SELECT 1 FROM (SELECT pg_wal_replay_pause()) AS paused", Vec::new()).await.unwrap();
    primary.run("CREATE TABLE of_the_lag (n BIGINT)", Vec::new()).await.unwrap();
    primary.run("DROP TABLE of_the_lag", Vec::new()).await.unwrap();
    until(|lag| lag > Some(Duration::from_millis(300))).await;
    standby.fetch("SELECT 1 FROM (SELECT pg_wal_replay_resume()) AS resumed", Vec::new()).await.unwrap();
    until(|lag| lag == Some(Duration::ZERO)).await;
    primary.close().await;
    standby.close().await;
}
