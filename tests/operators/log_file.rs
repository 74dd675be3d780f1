//! The log file of the real binary (S2.11).

use std::fs;

use serde_json::{Value, json};

use crate::command::{File, Gateway, Signal, run};

/// S2.11: the file has each request's elapsed time and size, in its own format, and no prompt or answer.
#[test]
fn the_log_goes_to_a_file_too() {
    let path = std::env::temp_dir().join(format!("thalweg-command-{}.log", std::process::id()));
    let _ = fs::remove_file(&path);
    let text = json!({"tokens": ["one|sk-a"], "log": {"level": "INFO", "file": path, "file_format": "json"}, "state_file": false, "database": false});
    let file = File::new("logged", &text.to_string());
    let gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
    let (status, mut rest) = gateway.stream("sk-a", "demo-text");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    std::io::copy(&mut rest, &mut std::io::sink()).unwrap();
    gateway.signal(Signal::INT);
    let (code, console) = gateway.end();
    assert_eq!(code, Some(0));
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for path in ["/v1/models", "/v1/chat/completions"] {
        let line = lines.iter().find(|line| line["path"] == path && line["message"] == "done").unwrap();
        assert!(line["total_ms"].as_f64().unwrap() > 0.0, "{line}");
        assert!(line["bytes"].as_u64().unwrap() > 100, "{line}");
    }
    assert!(!text.contains("sk-") && !text.contains("Hello"), "{text}");
    assert!(console.contains("INFO done") && console.contains("bytes="), "{console}");
}

/// A full disk costs log lines and nothing else, and is reported once.
#[test]
fn a_full_disk_stops_no_request() {
    let variables = [("THALWEG_LOG_FILE", "/dev/full"), ("API_KEY", "sk-a")];
    let gateway = Gateway::start(&variables);
    for _ in 0..20 {
        assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
    }
    gateway.signal(Signal::INT);
    let (code, console) = gateway.end();
    assert_eq!(code, Some(0), "{console}");
    assert_eq!(console.matches("cannot write the log file").count(), 1, "{console}");
    assert!(console.matches("INFO done").count() >= 20, "{console}");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error() {
    let (code, _, stderr) = run(&["--port", "0"], &[("THALWEG_LOG_FILE", "/no/such/folder/log")]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("error: cannot open the log file /no/such/folder/log\n  because: "),
        "{stderr}"
    );
}
