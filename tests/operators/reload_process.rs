//! The real binary reloads its configuration: by a changed file, by SIGHUP, by `thalweg reload` (S2.6, R35).
//! The log and the accepted tokens show the result.

use std::fs;

use serde_json::json;

use super::first_start::Folder;
use crate::command::{File, Gateway, Signal, run};

const ADMIN: &str = "sk-SENTINEL-admin";

/// A configuration with this client token and the demo provider.
fn config(token: &str, level: &str, watch: bool) -> String {
    let admin = json!({"description": "admin", "token": ADMIN, "admin": true});
    json!({"tokens": [format!("one|{token}"), admin], "log_level": level, "watch": watch, "state_file": false, "database": false})
        .to_string()
}

/// Reads lines until one contains this text.
pub fn until(log: &mut impl Iterator<Item = std::io::Result<String>>, said: &str) -> String {
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
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

/// Also where another token of its description stays: no change of the file is without effect.
#[test]
fn a_token_that_the_file_no_longer_has_is_refused() {
    let with = |tokens: &[&str]| {
        json!({"tokens": tokens, "log_level": "INFO", "watch": true, "state_file": false, "database": false})
            .to_string()
    };
    let file = File::new("watched-tokens", &with(&["one|sk-a", "one|sk-b"]));
    let mut gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let mut log = gateway.log();
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [200, 200]);
    fs::write(&file.0, with(&["one|sk-b"])).unwrap();
    let line = until(&mut log, "configuration reloaded");
    assert!(line.contains(r#""removed":["one"]"#), "{line}");
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [401, 200]);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

/// A default file that is away is no wish for a gateway without one, though the environment would do.
#[test]
fn a_default_file_that_is_gone_stays_in_force() {
    let folder = Folder::new("gone");
    fs::write(folder.0.join("config.json"), config("sk-a", "INFO", false)).unwrap();
    let provider = ("GROQ_API_KEY", "sk-x");
    let mut gateway = Gateway::start_in(&folder.0, &[("API_KEY", "sk-own"), provider]);
    let mut log = gateway.log();
    fs::remove_file(folder.0.join("config.json")).unwrap();
    gateway.signal(Signal::HUP);
    let line = until(&mut log, "configuration not reloaded");
    assert!(line.contains("config.json: it is not there"), "{line}");
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-own")], [200, 200]);
    fs::write(folder.0.join("config.json"), config("sk-b", "INFO", false)).unwrap();
    gateway.signal(Signal::HUP);
    until(&mut log, "configuration reloaded");
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [401, 200]);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

/// The token that was made for this run, beside a key that was created meanwhile.
#[test]
fn the_token_of_a_run_survives_a_reload() {
    let folder = Folder::new("made");
    let file = folder.0.join("config.json");
    let with = |level: &str| json!({"log_level": level, "watch": false, "state_file": false}).to_string();
    fs::write(&file, with("INFO")).unwrap();
    let mut gateway = Gateway::start_in(&folder.0, &[]);
    let made = gateway.exported("OPENAI_API_KEY").to_owned();
    let path = file.to_str().unwrap();
    let (code, key, text) = run(&["keys", "--config", path, "create", "--name", "bob"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let bob = key.lines().next().unwrap().trim();
    for _ in 0..200 {
        if gateway.get("/v1/models", bob) == 200 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut log = gateway.log();
    fs::write(&file, with("DEBUG")).unwrap();
    gateway.signal(Signal::HUP);
    until(&mut log, "configuration reloaded");
    assert_eq!([gateway.get("/v1/models", bob), gateway.get("/v1/models", &made)], [200, 200]);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

#[test]
fn sighup_loads_the_file_and_sets_the_level() {
    let file = File::new("hung-up", &config("sk-a", "WARNING", false));
    let mut gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let mut log = gateway.log();
    fs::write(&file.0, config("sk-b", "INFO", false)).unwrap();
    gateway.signal(Signal::HUP);
    let line = until(&mut log, "configuration reloaded");
    assert!(line.contains("by=\"signal\"") && line.contains("WARN to INFO"), "{line}");
    assert_eq!([gateway.get("/v1/models", "sk-a"), gateway.get("/v1/models", "sk-b")], [401, 200]);
    until(&mut log, "done");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_command_reloads_and_prints_the_changes() {
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
