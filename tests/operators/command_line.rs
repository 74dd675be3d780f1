//! The commands of the real binary: output, stream, exit code.

use std::io::{BufRead, BufReader, Read};

use crate::command::{File, Gateway, Signal, run};

const KEY: &str = "sk-SENTINEL";

#[test]
fn check_prints_the_configuration_without_keys() {
    let text = format!(
        r#"{{"providers": ["a|http://a.example/v1|{KEY}", "b|http://b|${{B}}"], "tokens": ["t|{KEY}"]}}"#
    );
    let file = File::new("good", &text);
    let (code, stdout, stderr) = run(&["check", file.0.to_str().unwrap()], &[("B", KEY)]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("http://a.example/v1") && stdout.contains("http://b/v1"), "{stdout}");
    assert!(!stdout.contains("SENTINEL"), "{stdout}");
}

#[test]
fn check_prints_all_mistakes_and_exits_with_1() {
    let text = format!(r#"{{"prot": 1, "providers": ["a|ftp://{KEY}|{KEY}"], "tokens": ["{KEY}"]}}"#);
    let file = File::new("wrong", &text);
    let (code, stdout, stderr) = run(&["check", file.0.to_str().unwrap()], &[]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""), "{stdout}");
    let mistakes: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(
        mistakes,
        [
            "  providers[0].base_url: must start with http:// or https://",
            "  tokens[0]: expected \"description|token\"",
            "  prot: unknown key; did you mean \"port\"?",
        ]
    );
}

#[test]
fn a_missing_file_is_an_error_with_its_cause() {
    let (code, stdout, stderr) = run(&["check", "no-such-file.json"], &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("error: cannot read no-such-file.json\n  because: "), "{stderr}");
}

#[test]
fn help_fits_a_terminal() {
    let (code, stdout, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    assert!(stdout.contains("Examples:") && stdout.contains("CONFIGURATION.md"), "{stdout}");
}

#[test]
fn serve_prints_a_banner_and_ends_after_its_streams() {
    let gateway = Gateway::start(&[]);
    let token = gateway.exported("OPENAI_API_KEY").to_owned();
    assert!(token.starts_with("sk-thalweg-"), "{}", gateway.banner);
    assert!(gateway.banner.contains("curl --no-buffer") && gateway.banner.contains("\"model\":\"demo-"));
    let (status, mut rest) = gateway.stream(&token, "demo-text");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    gateway.signal(Signal::TERM);
    let mut answer = String::new();
    rest.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("data: [DONE]"), "{answer}");
    let (code, log) = gateway.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(&token), "{log}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let gateway = Gateway::start(&[("API_KEY", KEY)]);
    assert!(!gateway.banner.contains("SENTINEL"), "{}", gateway.banner);
    assert_eq!(gateway.exported("OPENAI_API_KEY"), "$YOUR_TOKEN");
    let (status, mut rest) = gateway.stream(KEY, "demo-long");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    let mut gateway = gateway;
    let mut log = BufReader::new(gateway.child.stderr.take().unwrap());
    let mut line = String::new();
    gateway.signal(Signal::TERM);
    while !line.starts_with("Draining") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
        assert!(!line.contains("SENTINEL"), "{line}");
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(130));
    let mut answer = String::new();
    let _ = rest.read_to_string(&mut answer);
    assert!(!answer.contains("[DONE]"), "{answer}");
}

/// With a ledger in SQLite and one provider: background tasks on the main thread, ledger, log, settlement,
/// and the connection of the keys. What starts needs more until it has been idle for some seconds.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_process_has_five_threads_besides_its_workers() {
    let folder = std::env::temp_dir().join(format!("thalweg-idle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = serde_json::json!({
        "providers": ["p|http://127.0.0.1:1/v1|k"], "tokens": [format!("one|{KEY}")], "database": folder.join("d.db"),
    });
    let file = File::new("idle", &config.to_string());
    let gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let tasks = format!("/proc/{}/task", gateway.child.id());
    let names = || -> Vec<String> {
        let tasks = std::fs::read_dir(&tasks).unwrap().flatten();
        // A thread may end between the two.
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while names().iter().filter(|name| !name.starts_with("worker-")).count() > 5 {
        assert!(std::time::Instant::now() < deadline, "{:?}", names());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(gateway);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_container_without_a_shell_checks_its_gateway() {
    let gateway = Gateway::start(&[]);
    let authority = gateway.authority();
    let (_, port) = authority.rsplit_once(':').unwrap();
    // A file that has become wrong since the start says the port all the same.
    let file = File::new("checked", &format!(r#"{{"host": "0.0.0.0", "port": {port}, "prot": 1}}"#));
    let file = file.0.to_str().unwrap();
    let url = format!("http://{authority}");
    let lines: [&[&str]; 3] = [&["--config", file], &["--url", &url], &["--timeout", "5"]];
    let check = |line: &[&str]| run(&[&["healthcheck"], line].concat(), &[("THALWEG_PORT", port)]);
    for line in lines {
        assert_eq!(check(line), (Some(0), String::new(), String::new()), "{line:?}");
    }
    drop(gateway);
    for line in lines {
        let (code, stdout, stderr) = check(line);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{line:?}");
        assert!(stderr.starts_with("error: http://127.0.0.1:") && stderr.contains("refused"), "{stderr}");
    }
    // With TLS the name of the certificate is needed.
    let tls = r#"{"tls": {"certificate": "cert.pem", "key": "key.pem"}}"#;
    let file = File::new("checked-tls", tls);
    let (code, _, stderr) = run(&["healthcheck", "--config", file.0.to_str().unwrap()], &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--url https://NAME:PORT"), "{stderr}");
}
