//! A Redis server of one test, on a port that the kernel picked and without a file. It ends with the test.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use thalweg::cluster::RedisUrl;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{free_port::free_port, upstream::log::in_time};

pub struct RedisServer {
    child: Child,
    folder: PathBuf,
    options: Vec<String>,
    pub port: u16,
    password: String,
}

/// Whether the program is installed; says what is left out otherwise.
pub fn is_installed() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        let mut out = std::io::stderr();
        let _ = writeln!(out, "redis-server is not installed: tests of what replicas share are left out");
    }
    found
}

impl RedisServer {
    /// With these options of its command line. `None`: it is not installed.
    pub async fn start(options: &[&str]) -> Option<Self> {
        Self::start_with("", options).await
    }

    /// A sentinel with these lines of configuration, which the program also writes to.
    pub async fn start_sentinel(lines: &str) -> Option<Self> {
        Self::start_with(lines, &["--sentinel"]).await
    }

    async fn start_with(lines: &str, options: &[&str]) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let name = format!("thalweg-redis-{}-{}", std::process::id(), crate::client::call::next_id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("redis.conf"), lines).unwrap();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let password = options.iter().skip_while(|option| *option != "--requirepass").nth(1).cloned();
        let port = free_port();
        let child = spawn(&folder, port, &options);
        let server = Self { child, folder, options, port, password: password.unwrap_or_default() };
        server.answers().await;
        Some(server)
    }

    pub fn url(&self) -> RedisUrl {
        RedisUrl::parse(&self.address()).unwrap()
    }

    pub fn address(&self) -> String {
        let user = if self.password.is_empty() { String::new() } else { format!(":{}@", self.password) };
        format!("redis://{user}127.0.0.1:{}", self.port)
    }

    /// The answer to one command, as text; errors begin with `-`.
    pub async fn ask(&self, words: &[&str]) -> String {
        self.ask_as(&self.password, words).await
    }

    /// The same with this password.
    pub async fn ask_as(&self, password: &str, words: &[&str]) -> String {
        let mut text = String::new();
        if !password.is_empty() {
            text.push_str(&format!("AUTH {password}\r\n"));
        }
        text.push_str(&format!("*{}\r\n", words.len()));
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let mut socket =
            TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        // It answers all that it has read before it sees the end.
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, empty.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.options);
        self.answers().await;
    }

    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn answers(&self) {
        let answers = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
                // A process that starts sends no event.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time(answers).await.expect("redis-server listens");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, port: u16, options: &[String]) -> Child {
    let port = port.to_string();
    let dir = folder.display().to_string();
    Command::new("redis-server")
        .arg(folder.join("redis.conf"))
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &dir])
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
