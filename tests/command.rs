//! The real binary as a child process with an environment of the test's own.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

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

/// Runs a command to its end with only `variables` in its environment.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(std::env::temp_dir());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A gateway on a port of its own with the demo provider. Killed on drop.
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
    /// Returns when the last line to paste, or the object of a log in JSON, has been printed.
    pub fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_in(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), variables)
    }

    /// The same in another folder.
    pub fn start_in(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command.args(["--port", "0", "--workers", "1"]).current_dir(folder);
        // Port 1 refuses connections, so a machine with an Ollama gets the demo provider, too.
        command.env_clear().env("OLLAMA_HOST", "127.0.0.1:1").envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !banner.contains("export OPENAI_API_KEY=") && !banner.ends_with("}\n") {
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

    /// Sends a signal without a program, because a bare Debian has no `kill` beside the shell's own.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// By address: a bare system has no file of hosts that knows `localhost`.
    pub fn authority(&self) -> String {
        let is_json = self.banner.starts_with('{');
        let url = match self.banner.split_once("\"url\":\"").filter(|_| is_json) {
            Some((_, rest)) => rest.split('"').next().unwrap(),
            None => self.exported("OPENAI_BASE_URL"),
        };
        let authority = url.strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap();
        authority.replace("localhost", "127.0.0.1")
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

    /// The log, read as it is written.
    pub fn log(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.child.stderr.take().unwrap()).lines()
    }

    /// Asks the demo provider for a stream and returns once its head has come.
    pub fn stream(&self, token: &str, model: &str) -> (String, BufReader<TcpStream>) {
        let authority = self.authority();
        let mut connection = TcpStream::connect(&authority).unwrap();
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
