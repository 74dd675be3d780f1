//! The real binary on a made-up environment: what it prints, where, and how it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

const KEY: &str = "sk-SENTINEL";

pub struct File(pub PathBuf);

impl File {
    pub fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thalweg-command-{}-{name}.json", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs to its end with nothing in the environment but `variables`.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(std::env::temp_dir());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn check_says_what_would_be_loaded_and_no_key() {
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
fn check_tells_all_mistakes_and_exits_with_1() {
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
fn a_file_that_is_not_there_is_told_with_its_cause() {
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

/// A gateway on a port of its own with the demo provider. Killed when the test ends before it does.
pub struct Gateway {
    pub child: Child,
    pub banner: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    /// Returns when the last line to paste has been printed.
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command
            .args(["--port", "0", "--workers", "1"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        // Nobody listens on port 1: whoever runs an Ollama gets the demo provider all the same.
        command.env_clear().env("OLLAMA_HOST", "127.0.0.1:1").envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !banner.contains("export OPENAI_API_KEY=") {
            assert!(lines.read_line(&mut banner).unwrap() > 0, "{banner}");
        }
        Self { child, banner }
    }

    pub fn exported(&self, name: &str) -> &str {
        self.banner
            .lines()
            .find_map(|line| line.trim().strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='))
            .unwrap()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub fn authority(&self) -> &str {
        self.exported("OPENAI_BASE_URL").strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap()
    }

    /// The status of a GET.
    pub fn get(&self, path: &str, token: &str) -> u16 {
        let mut connection = TcpStream::connect(self.authority()).unwrap();
        let head = format!("GET {path} HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        let mut status = String::new();
        BufReader::new(connection).read_line(&mut status).unwrap();
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The log, to be read as it is written.
    pub fn log(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.child.stderr.take().unwrap()).lines()
    }

    /// Asks the demo provider for a stream and returns once its head has come.
    pub fn stream(&self, token: &str, model: &str) -> (String, BufReader<TcpStream>) {
        let authority = self.authority();
        let mut connection = TcpStream::connect(authority).unwrap();
        let body =
            format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"Hi"}}]}}"#);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut answer = BufReader::new(connection);
        let mut status = String::new();
        answer.read_line(&mut status).unwrap();
        (status, answer)
    }

    pub fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

#[test]
fn serving_begins_with_lines_that_work_and_ends_when_the_streams_have() {
    let gateway = Gateway::start(&[]);
    let token = gateway.exported("OPENAI_API_KEY").to_owned();
    assert!(token.starts_with("sk-thalweg-"), "{}", gateway.banner);
    assert!(gateway.banner.contains("curl --no-buffer") && gateway.banner.contains("\"model\":\"demo-"));
    let (status, mut rest) = gateway.stream(&token, "demo-text");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    gateway.signal("-TERM");
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
    gateway.signal("-TERM");
    while !line.starts_with("Draining") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
        assert!(!line.contains("SENTINEL"), "{line}");
    }
    gateway.signal("-TERM");
    assert_eq!(gateway.child.wait().unwrap().code(), Some(130));
    let mut answer = String::new();
    let _ = rest.read_to_string(&mut answer);
    assert!(!answer.contains("[DONE]"), "{answer}");
}
