//! Other forms of Redis: three masters as a cluster, and a server that speaks TLS.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use thalweg::{
    auth::{TokenSettings, limit::LimitValues},
    base::Secret,
    cluster::{RedisAuthority, RedisSettings, RedisUrl},
};

use super::{
    limits::{flood_with, until_known},
    server::RedisServer,
};
use crate::{
    client::call::TOKEN,
    gateway::{Gateway, Plan},
    upstream::{Speaks, Upstream, log::in_time, script, tls::Certificates},
};

pub const LIMIT: usize = 60;

/// A server's certificate and key, and its authority. They are removed with it.
pub struct TlsFiles {
    pub authority: PathBuf,
    folder: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl TlsFiles {
    pub fn make(name: &str) -> Self {
        let own = Certificates::make();
        let folder = std::env::temp_dir().join(format!("thalweg-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, pem: &str| Certificates::file(&folder, name, pem);
        let authority = file("ca.pem", &own.authority);
        let (certificate, key) = (file("cert.pem", &own.certificate), file("key.pem", &own.key));
        Self { authority, certificate, key, folder }
    }

    /// Redis's names of options, and their values.
    pub fn options(&self) -> [(&'static str, String); 4] {
        let shown = |file: &Path| file.display().to_string();
        [
            ("tls-cert-file", shown(&self.certificate)),
            ("tls-key-file", shown(&self.key)),
            ("tls-ca-cert-file", shown(&self.authority)),
            ("tls-auth-clients", "no".to_owned()),
        ]
    }
}

impl Drop for TlsFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A gateway whose keys have the limit each.
pub async fn gateway(upstream: &Upstream, redis: RedisSettings, keys: &[String]) -> Gateway {
    // Names are logged, keys are not.
    let tokens = keys.iter().enumerate().map(|(number, key)| {
        let mut token = TokenSettings::plain(&format!("key-{number}"), Secret::new(key.clone()));
        token.limits.allowance = LimitValues { requests: Some(60), ..LimitValues::default() };
        token
    });
    Plan::to(&[upstream])
        .with(|settings| {
            settings.tokens = tokens.collect();
            settings.redis = Some(redis);
        })
        .start()
        .await
}

/// Three masters that share the slots.
pub async fn masters() -> Option<Vec<RedisServer>> {
    let mut servers = Vec::new();
    for (first, last) in [("0", "5461"), ("5462", "10922"), ("10923", "16383")] {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let server = RedisServer::start(&options).await?;
        server.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
        servers.push(server);
    }
    for other in &servers[1..] {
        servers[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]).await;
    }
    until_agreed(&servers, 3).await;
    Some(servers)
}

/// Waits until each of these knows so many nodes and a master for each slot.
pub async fn until_agreed(servers: &[RedisServer], count: usize) {
    let known = format!("cluster_known_nodes:{count}\r");
    for server in servers {
        let agrees = async {
            loop {
                let state = server.ask(&["CLUSTER", "INFO"]).await;
                if state.contains("cluster_state:ok") && state.contains(&known) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        in_time(agrees).await.expect("a cluster");
    }
}

/// The limits of several keys, on different masters, hold over two gateways; a master that dies fails no
/// request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_on_a_cluster() {
    let Some(mut servers) = masters().await else { return };
    let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let url = RedisUrl::parse(&format!("redis://{}", nodes.join(","))).unwrap();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let keys: Vec<String> = (0..6).map(|number| format!("{TOKEN}-{number}")).collect();
    let wait = Duration::from_millis(500);
    let redis = RedisSettings { cache: None, wait, ..RedisSettings::plain(url) };
    let gateways = [gateway(&upstream, redis.clone(), &keys).await, gateway(&upstream, redis, &keys).await];
    let mut known = false;
    for server in &servers {
        known |= server.ask(&["HLEN", "thalweg:1:{replicas}"]).await.starts_with(':');
    }
    assert!(known);
    let all: Vec<&Gateway> = gateways.iter().collect();
    for key in &keys[..5] {
        let [good, _, failed] = flood_with(&all, key, 4, Duration::from_millis(1500)).await;
        assert!((LIMIT / 2..=LIMIT).contains(&good) && failed == 0, "{key}: {good}, {failed} failed");
    }
    servers[1].kill();
    for key in &keys {
        let [.., failed] = flood_with(&all, key, 2, Duration::from_millis(300)).await;
        assert_eq!(failed, 0, "{key}");
    }
    for gateway in gateways {
        gateway.stop().await;
    }
}

/// A server's certificate by an authority that the settings name is taken, and no other. The authority's file
/// is not read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_speak_tls() {
    let files = TlsFiles::make("redis");
    let other = Certificates::file(&files.folder, "other.pem", &Certificates::make().authority);
    let options: Vec<String> =
        files.options().into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Some(server) = RedisServer::start(&options).await else { return };
    // On a port of its own, beside the plain one, so that the test can ask.
    let port = crate::free_port::free_port();
    let answer = server.ask(&["CONFIG", "SET", "tls-port", &port.to_string()]).await;
    assert!(answer.starts_with("+OK"), "{answer}");
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let settings = |authority: &Path| RedisSettings {
        cache: None,
        authority: Some(RedisAuthority::read(authority).unwrap()),
        ..RedisSettings::plain(RedisUrl::parse(&format!("rediss://127.0.0.1:{port}")).unwrap())
    };
    let keys = [TOKEN.to_owned()];
    let distrusting = gateway(&upstream, settings(&other), &keys).await;
    let trusted = settings(&files.authority);
    std::fs::remove_file(&files.authority).unwrap();
    let trusting = gateway(&upstream, trusted, &keys).await;
    until_known(&server, 1).await;
    let [good, _, failed] = flood_with(&[&trusting], TOKEN, 4, Duration::from_millis(500)).await;
    assert!(good > 0 && good <= LIMIT && failed == 0, "{good}");
    for gateway in [distrusting, trusting] {
        gateway.stop().await;
    }
}
