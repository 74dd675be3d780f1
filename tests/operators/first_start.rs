//! The first ten minutes: the start-up lines of the real binary, and the mistakes that a newcomer makes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use thalweg::database::{Connection, DatabaseSettings, DatabaseUrl};

use crate::command::{File, Gateway, Signal, run};

/// A folder of a test's own, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-first-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn text(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A provider that refuses connections, found in the environment.
const DEAD: [(&str, &str); 2] = [("OPENAI_API_KEY", "sk-x"), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")];

/// CASES F3: a second start in the shell of the first.
#[test]
fn a_clients_token_in_the_environment_is_not_sent_to_a_provider() {
    let first = Gateway::start(&[]);
    let token = first.exported("OPENAI_API_KEY").to_owned();
    let second = Gateway::start(&[("OPENAI_API_KEY", &token)]);
    assert!(second.banner.contains("the built-in demo provider answers"), "{}", second.banner);
    let note = "note       OPENAI_API_KEY holds a token of thalweg itself: no provider is made of it";
    assert!(second.banner.contains(note), "{}", second.banner);
    assert!(!second.banner.contains("api.openai.com"), "{}", second.banner);
}

/// CASES F4: the banner names the reason, and the log has no request for it.
#[test]
fn a_provider_that_does_not_answer_is_named_with_the_reason() {
    let gateway = Gateway::start(&DEAD);
    let down = gateway.banner.lines().find(|line| line.starts_with("  down ")).unwrap_or_default();
    assert!(down.contains("openai: ") && down.contains("refused"), "{}", gateway.banner);
    assert!(gateway.banner.contains("\"model\":\"MODEL\""), "{}", gateway.banner);
    gateway.signal(Signal::TERM);
    let (code, log) = gateway.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("provider found down"), "{log}");
    assert!(!log.contains("/v1/models") && log.lines().count() < 10, "{log}");
}

/// CASES F5: each process says it, whatever the one before has noted.
#[test]
fn a_provider_that_stays_down_is_named_at_each_start() {
    let folder = Folder::new("dead-twice");
    let state = folder.text("state.json");
    let [one, two] = DEAD;
    for _ in 0..2 {
        let gateway = Gateway::start(&[one, two, ("THALWEG_STATE", &state)]);
        gateway.signal(Signal::TERM);
        let (_, log) = gateway.end();
        assert_eq!(log.matches("provider found down").count(), 1, "{log}");
        assert!(Path::new(&state).is_file());
    }
}

/// CASES F8.
#[test]
fn the_host_is_always_checked() {
    for host in ["http://localhost", "[[::1]]", "localhost:9000", ""] {
        let (code, stdout, stderr) = run(&["--host", host, "--port", "0"], &[]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{host}: {stderr}");
        assert!(stderr.contains("expected a host name or an address"), "{host}: {stderr}");
    }
    // Without a token, when only loopback would be listened on.
    let (code, stdout, stderr) =
        run(&["--host", "nosuchhost.invalid", "--port", "0"], &[("OLLAMA_HOST", "127.0.0.1:1")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("the host \"nosuchhost.invalid\" has no address"), "{stderr}");
    let gateway = Gateway::start(&[("THALWEG_HOST", "0.0.0.0")]);
    assert!(gateway.banner.contains("without a token 0.0.0.0 is not listened on"), "{}", gateway.banner);
    let gateway = Gateway::start(&[("THALWEG_HOST", "0.0.0.0"), ("API_KEY", "sk-a")]);
    assert!(gateway.banner.contains("listens    http://0.0.0.0:"), "{}", gateway.banner);
    assert!(gateway.exported("OPENAI_BASE_URL").starts_with("http://localhost:"), "{}", gateway.banner);
    assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
}

/// CASES F10.
#[test]
fn a_variable_that_replaces_a_key_of_the_file_is_named() {
    let file = File::new("replaced", r#"{"port": 8080, "host": "127.0.0.1", "tokens": ["a|sk-a"]}"#);
    let path = file.0.to_str().unwrap();
    let (code, stdout, _) = run(&["check", path], &[("THALWEG_PORT", "9000"), ("LOG_LEVEL", "INFO")]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("note       port is 9000 by THALWEG_PORT; the file has 8080\n"), "{stdout}");
    assert!(!stdout.contains("log_level is"), "the file has none: {stdout}");
    let (_, stdout, _) = run(&["check", path], &[("THALWEG_PORT", "8080")]);
    assert!(!stdout.contains("note"), "{stdout}");
}

/// CASES F12: whatever a service with a log in JSON writes is JSON, line by line.
#[test]
fn with_a_log_in_json_every_line_is_json() {
    let gateway = Gateway::start(&[("THALWEG_LOG_FORMAT", "json"), ("THALWEG_HOST", "0.0.0.0")]);
    let line: Value = serde_json::from_str(&gateway.banner).unwrap();
    assert_eq!((&line["message"], &line["providers"]), (&json!("listening"), &json!(["demo"])));
    let token = line["made_token"].as_str().unwrap().to_owned();
    assert_eq!(gateway.get("/v1/models", &token), 200);
    gateway.signal(Signal::TERM);
    let (code, log) = gateway.end();
    assert_eq!(code, Some(0));
    let messages: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(messages.iter().any(|line| line["message"].as_str().unwrap().starts_with("Draining")), "{log}");
    // A start that fails.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let variables = [("THALWEG_LOG_FORMAT", "json"), ("API_KEY", "sk-a"), ("OLLAMA_HOST", "127.0.0.1:1")];
    let (code, stdout, stderr) = run(&["--host", "127.0.0.1", "--port", &port], &variables);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let line: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(line["failure"].as_str().unwrap().starts_with("cannot listen on 127.0.0.1:"), "{stderr}");
    // A file that is wrong, as a service finds it.
    let file = File::new("wrong-in-json", r#"{"prot": 1}"#);
    let (code, stdout, stderr) =
        run(&["serve", "--log-format", "json", "--config", file.0.to_str().unwrap()], &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let line: Value = serde_json::from_str(&stderr).unwrap();
    assert!(line["failure"].as_str().unwrap().contains("did you mean \"port\"?"), "{stderr}");
    // The check in front of a service's start.
    let file = File::new("quiet", "{}");
    let (code, stdout, stderr) = run(&["check", "--quiet", file.0.to_str().unwrap()], &[]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
}

/// CASES F14.
#[test]
fn a_folder_in_the_place_of_the_file_is_an_error() {
    let folder = Folder::new("folder");
    fs::create_dir_all(folder.0.join("config.json")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command
        .args(["--port", "0"])
        .current_dir(&folder.0)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(text, "error: cannot read config.json\n  because: it is a folder\n");
    assert_eq!(BufReader::new(child.stdout.take().unwrap()).lines().count(), 0);
}

/// CASES F14: certificates that the start would refuse are refused by the check.
#[test]
fn tls_files_that_do_not_fit_are_mistakes() {
    let folder = Folder::new("tls");
    let [one, other] =
        [0, 1].map(|_| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    fs::write(folder.0.join("cert.pem"), one.cert.pem()).unwrap();
    fs::write(folder.0.join("key.pem"), one.signing_key.serialize_pem()).unwrap();
    fs::write(folder.0.join("other.pem"), other.signing_key.serialize_pem()).unwrap();
    fs::write(folder.0.join("text.pem"), "no PEM").unwrap();
    let check = |certificate: &str, key: &str, ca: &str| {
        let provider = json!({"name": "p", "base_url": "https://p.example", "ca_file": ca});
        let config = json!({"tls": {"certificate": certificate, "key": key}, "providers": [provider], "tokens": ["a|b"]});
        fs::write(folder.0.join("config.json"), config.to_string()).unwrap();
        run(&["check", &folder.text("config.json")], &[]).1
    };
    assert!(check("cert.pem", "key.pem", "cert.pem").contains("The configuration is good."));
    assert!(check("cert.pem", "other.pem", "cert.pem").contains("  tls.certificate: "));
    assert!(check("text.pem", "key.pem", "cert.pem").contains("  tls.certificate: "));
    assert!(check("cert.pem", "text.pem", "cert.pem").contains("  tls.key: "));
    assert!(check("cert.pem", "key.pem", "text.pem").contains("  providers[0].ca_file: "));
}

/// CASES F3's kind, in a file: a gateway that asks itself.
#[test]
fn a_provider_that_is_the_gateway_itself_is_a_mistake() {
    for (host, base, is_own) in [
        ("localhost", "http://127.0.0.1:9000/v1", true),
        ("0.0.0.0", "http://localhost:9000", true),
        ("gw.example", "http://GW.example:9000/v1", true),
        ("localhost", "http://localhost:9001/v1", false),
        ("localhost", "http://gw.example:9000/v1", false),
    ] {
        let text = json!({"host": host, "providers": [format!("self|{base}|k")], "tokens": ["a|b"]});
        let file = File::new("self", &text.to_string());
        let (code, stdout, _) = run(&["check", file.0.to_str().unwrap()], &[]);
        assert_eq!(
            stdout.contains("  providers[0].base_url: is the address of this gateway"),
            is_own,
            "{stdout}"
        );
        assert_eq!(code, Some(i32::from(is_own)), "{stdout}");
    }
}

/// CASES F14, F6: slips of the pen in a file.
#[test]
fn a_shells_variable_and_an_endpoints_url_are_mistakes() {
    let text = r#"{"tokens": ["a|$ALICE"], "providers": [
        "p|https://p.example/v1/chat/completions|k", "q|http://q/v1/models/|k", "r|http://r/v1/messages|k",
        "s|http://s/v1|$KEY", "t|http://t/completions/v1|k"]}"#;
    let file = File::new("slips", text);
    let (code, stdout, _) = run(&["check", file.0.to_str().unwrap()], &[("ALICE", "x"), ("KEY", "y")]);
    let mistakes: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(code, Some(1));
    assert_eq!(
        mistakes,
        [
            "  providers[0].base_url: ends in the endpoint /chat/completions, which thalweg adds by itself; did you mean \
             \"https://p.example/v1\"?",
            "  providers[1].base_url: ends in the endpoint /models, which thalweg adds by itself; did you mean \
             \"http://q/v1\"?",
            "  providers[2].base_url: ends in the endpoint /messages, which thalweg adds by itself; did you mean \
             \"http://r/v1\"?",
            "  providers[3].api_key: $KEY is not replaced here; write ${KEY}",
            "  tokens[0].token: $ALICE is not replaced here; write ${ALICE}",
        ]
    );
}

/// CASES F9: a database that another application has named or filled is left alone.
#[tokio::test]
async fn a_database_of_another_application_is_left_alone() {
    let folder = Folder::new("foreign");
    let place = folder.text("app.db");
    for url in [place.as_str(), "mysql://u:SENTINEL@h/app"] {
        let gateway = Gateway::start(&[("DATABASE_URL", url)]);
        assert!(gateway.banner.contains("note       DATABASE_URL is not used without"), "{}", gateway.banner);
        assert!(!gateway.banner.contains("SENTINEL"), "{}", gateway.banner);
        assert!(!Path::new(&place).exists());
    }
    let settings = DatabaseSettings::new(DatabaseUrl::Sqlite(place.clone().into()));
    let mut other = Connection::open(&settings).await.unwrap();
    other.run("CREATE TABLE customers (name TEXT)", Vec::new()).await.unwrap();
    other.close().await;
    let before = fs::read(&place).unwrap();
    let gateway = Gateway::start(&[("THALWEG_DATABASE_URL", &place)]);
    let remark = "holds tables of another program (customers)";
    let ledger = gateway.banner.lines().find(|line| line.starts_with("  ledger ")).unwrap();
    assert!(ledger.contains("none: SQLite, ") && ledger.contains(remark), "{ledger}");
    let (status, mut rest) = gateway.stream(gateway.exported("OPENAI_API_KEY"), "demo-text");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n", "it serves all the same");
    rest.read_to_string(&mut String::new()).unwrap();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().0, Some(0));
    let (code, _, stderr) = run(&["keys", "create", "--name", "a"], &[("THALWEG_DATABASE_URL", &place)]);
    assert!(code == Some(1) && stderr.contains(remark), "{stderr}");
    assert_eq!(fs::read(&place).unwrap(), before, "not a byte");
}

/// CASES F12: a look at keys makes no database, and needs no provider's variable.
#[test]
fn keys_are_listed_without_a_new_database_and_without_the_rest_of_the_file() {
    let folder = Folder::new("keys");
    fs::write(folder.0.join("gw.json"), r#"{"providers": ["p|http://p|${NOT_SET_HERE}"], "tokens": 7}"#)
        .unwrap();
    let config = folder.text("gw.json");
    for command in [&["list"][..], &["revoke", "a"], &["rotate", "a"], &["set", "a", "--rpm", "5"]] {
        let (code, stdout, stderr) = run(&[&["keys"][..], command, &["--config", &config]].concat(), &[]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{command:?}");
        assert!(stderr.contains("no key was made yet"), "{command:?}: {stderr}");
    }
    assert!(!folder.0.join("thalweg.db").exists());
    let (code, stdout, stderr) = run(&["keys", "create", "--name", "a", "--config", &config], &[]);
    assert!(code == Some(0) && stdout.starts_with("sk-thalweg-"), "{stderr}");
    let (code, stdout, _) = run(&["keys", "list", "--config", &config], &[]);
    assert!(code == Some(0) && stdout.contains("sk-thalweg-"), "{stdout}");
    let (code, _, stderr) = run(&["usage", "--config", &config], &[]);
    assert!(!stderr.contains("NOT_SET_HERE"), "{code:?} {stderr}");
    // Its own keys are checked.
    fs::write(folder.0.join("gw.json"), r#"{"database": "mysql://h/d"}"#).unwrap();
    let (code, _, stderr) = run(&["keys", "list", "--config", &config], &[]);
    assert!(code == Some(1) && stderr.contains("  database: expected a file"), "{stderr}");
    let (code, _, stderr) = run(&["keys", "create", "--name", "b", "--expires", "2020-01-01"], &[]);
    assert!(code == Some(2) && stderr.contains("is in the past"), "{stderr}");
}

/// CASES F13: no load is put on an endpoint that refuses the first request.
#[test]
fn a_bench_that_cannot_work_says_why() {
    let gateway = Gateway::start(&[("API_KEY", "sk-a")]);
    let url = format!("http://{}/v1", gateway.authority());
    let (code, stdout, stderr) = run(&["bench", "--url", &url], &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("error: the first request failed, so there is nothing to measure: "),
        "{stderr}"
    );
    assert!(stderr.contains(" answered 401 Unauthorized: ") && stderr.contains("--api-key"), "{stderr}");
    let (code, _, stderr) = run(&["bench", "--url", "http://127.0.0.1:1"], &[]);
    assert!(code == Some(1) && stderr.contains("refused; is a gateway running there?"), "{stderr}");
    let line =
        ["bench", "--url", &url, "--api-key", "sk-a", "--requests", "2", "--streams", "2", "--no-stream"];
    let (code, stdout, stderr) = run(&line, &[]);
    assert!(code == Some(0) && stdout.contains("2 completed"), "{stdout}{stderr}");
}

/// CASES F15: the files of `examples/` are good as they stand, with their variables set.
#[test]
fn the_examples_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let examples: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in
        examples.into_iter().chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.json")])
    {
        let text = fs::read_to_string(&example).unwrap();
        let names = text.split("${").skip(1).map(|rest| rest.split_once('}').unwrap().0);
        let variables: Vec<(&str, &str)> =
            names.zip(["sk-a", "sk-b", "sk-c", "sk-d", "sk-e", "sk-f", "sk-g", "sk-h"]).collect();
        let (code, stdout, stderr) = run(&["check", example.to_str().unwrap()], &variables);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert!(!stdout.contains("note"), "{stdout}");
    }
}

/// CASES F15: editors check and complete a file by the schema.
#[test]
fn the_schema_is_printed() {
    let (code, stdout, stderr) = run(&["schema"], &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["properties"]["providers"].is_object());
}
