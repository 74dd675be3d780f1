//! The real binary has its configuration changed under it: by the file, by SIGHUP, by `thalweg reload` (S2.6, R35). What
//! happened is told by its log and by which tokens are still good.

use std::fs;

use serde_json::{Value, json};

use crate::command::{File, Gateway, run};

const ADMIN: &str = "sk-SENTINEL-admin";

/// Text of a configuration with this one client token and the demo provider.
fn config(token: &str, level: &str, watch: bool) -> String {
    let admin = json!({"description": "admin", "token": ADMIN, "admin": true});
    json!({"tokens": [format!("one|{token}"), admin], "log_level": level, "watch": watch, "state_file": false, "database": false})
        .to_string()
}

/// Reads lines until one says this.
fn until(log: &mut impl Iterator<Item = std::io::Result<String>>, said: &str) -> String {
    let mut all = String::new();
    for line in log {
        let line = line.unwrap();
        assert!(!line.contains("SENTINEL"), "{line}");
        if line.contains(said) {
            return line;
        }
        all.push_str(&line);
        all.push('\n');
    }
    panic!("never said {said:?}: {all}");
}

#[test]
fn a_changed_file_is_loaded_and_a_broken_one_is_not() {
    let file = File::new("watched", &config("sk-a", "INFO", true));
    let mut gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let mut log = gateway.log();
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [200, 401]);
    fs::write(&file.0, "{\"tokens\": [").unwrap();
    let line = until(&mut log, "configuration not reloaded");
    assert!(line.contains("by=\"file\"") && line.contains("line 1, column 12"), "{line}");
    assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
    fs::remove_file(&file.0).unwrap();
    until(&mut log, "the configuration file is gone");
    assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
    let aside = file.0.with_extension("new");
    fs::write(&aside, config("sk-b", "INFO", true)).unwrap();
    fs::rename(&aside, &file.0).unwrap();
    until(&mut log, "configuration reloaded");
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [401, 200]);
    gateway.signal("-TERM");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

#[test]
fn sighup_loads_the_file_and_sets_the_level() {
    let file = File::new("hung-up", &config("sk-a", "WARNING", false));
    let mut gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let mut log = gateway.log();
    fs::write(&file.0, config("sk-b", "INFO", false)).unwrap();
    gateway.signal("-HUP");
    let line = until(&mut log, "configuration reloaded");
    assert!(line.contains("by=\"signal\"") && line.contains("WARN to INFO"), "{line}");
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [401, 200]);
    until(&mut log, "done");
    gateway.signal("-TERM");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_command_reloads_and_tells_what_changed() {
    let file = File::new("commanded", &config("sk-a", "INFO", false));
    let gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let url = format!("http://{}", gateway.authority());
    let reload = |more: &[&str], key: &str| {
        run(&[&["reload", "--url", &url], more].concat(), &[("THALWEG_ADMIN_KEY", key)])
    };
    let (code, stdout, stderr) = reload(&[], "sk-a");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "error: this API key may not administrate (403)\n");
    fs::write(&file.0, "{\"prot\": 1}").unwrap();
    for more in [&[][..], &["--check"]] {
        let (code, stdout, stderr) = reload(more, ADMIN);
        assert_eq!((code, stderr.as_str()), (Some(1), ""));
        assert!(stdout.ends_with("\n  prot: unknown key; did you mean \"port\"?\n"), "{stdout}");
    }
    fs::write(&file.0, config("sk-b", "WARNING", true)).unwrap();
    let changes = "  tokens changed: one\n  log level: INFO to WARN\n  only a restart applies: watch\n";
    let (code, stdout, _) = reload(&["--check"], ADMIN);
    assert_eq!((code, stdout), (Some(0), format!("The configuration is good.\n{changes}")));
    assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
    let (code, stdout, _) = reload(&[], ADMIN);
    assert_eq!((code, stdout), (Some(0), format!("Reloaded.\n{changes}")));
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [401, 200]);
}

/// R35: readiness is denied first, while everything is still served, on connections made after the signal, too.
#[test]
fn a_stop_denies_readiness_before_it_stops_accepting() {
    let text = json!({"tokens": ["one|sk-a"], "limits": {"shutdown_delay": "30s"}, "state_file": false, "database": false});
    let file = File::new("unready", &text.to_string());
    let mut gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let mut log = gateway.log();
    assert_eq!(gateway.get("/readyz", ""), 200);
    gateway.signal("-TERM");
    until(&mut log, "Not ready any more: draining begins in 30s.");
    assert_eq!([gateway.get("/readyz", ""), gateway.get("/v1/models", "sk-a")], [503, 200]);
    // A second signal does not wait for it.
    gateway.signal("-TERM");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(130));
}

/// S2.11: the file has each request's elapsed time and size, in its own form, and nothing that was said.
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
    gateway.signal("-INT");
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

/// A full disk costs lines and nothing else, and is said once.
#[test]
fn a_full_disk_stops_nobody() {
    let variables = [("THALWEG_LOG_FILE", "/dev/full"), ("API_KEY", "sk-a")];
    let gateway = Gateway::start(&variables);
    for _ in 0..20 {
        assert_eq!(gateway.get("/v1/models", "sk-a"), 200);
    }
    gateway.signal("-INT");
    let (code, console) = gateway.end();
    assert_eq!(code, Some(0), "{console}");
    assert_eq!(console.matches("cannot write the log file").count(), 1, "{console}");
    assert!(console.matches("INFO done").count() >= 20, "{console}");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_told() {
    let (code, _, stderr) = run(&["--port", "0"], &[("THALWEG_LOG_FILE", "/no/such/folder/log")]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("error: cannot open the log file /no/such/folder/log\n  because: "),
        "{stderr}"
    );
}
