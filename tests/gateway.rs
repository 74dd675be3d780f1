//! The gateway under test: the real one, in this process, on a port that the kernel picked. [`Gateway::stop`]
//! ends every test and checks that nothing leaked.

use std::{collections::HashMap, net::SocketAddr, num::NonZeroUsize, path::Path, time::Duration};

use thalweg::{
    app,
    auth::{TokenSettings, limit::WhenAlone},
    base::{Deadlines, Secret},
    batch::BatchSettings,
    cache::CacheSettings,
    config::{ConfigSource, Env, Overrides, ProviderSettings, Settings},
    ledger::{LedgerSettings, LedgerState, Prices},
    proxy::CompressionSettings,
    relay::StreamSettings,
    routing::{HealthSettings, RoutingSettings},
    server::{Listen, ServerLimits},
    telemetry::{Gauges, LogFormat, LogSettings, TelemetrySettings},
    upstream::{BaseUrl, PoolSettings, Protocol, Target},
};

use crate::{
    client::{Client, Raw, Version, call::TOKEN},
    journal,
    upstream::{Speaks, Upstream, log::in_time},
};

/// The key of every test provider.
pub const PROVIDER_KEY: &str = "sk-provider-key-of-the-tests";

/// Settings, to change before the start.
pub struct Plan {
    pub settings: Settings,
    /// The source for reloads; `None`: no reloads.
    pub source: Option<ConfigSource>,
}

/// A running gateway.
pub struct Gateway {
    app: app::Process,
    pub address: SocketAddr,
}

impl Plan {
    /// One worker, the model `m` at each of these upstreams in this order, no TLS.
    pub fn to(upstreams: &[&Upstream]) -> Self {
        let providers = upstreams.iter().enumerate().map(|(number, upstream)| {
            let protocol = match upstream.speaks {
                Speaks::H1 => Protocol::Http1,
                Speaks::H2 => Protocol::Http2,
            };
            provider(&format!("p{number}"), &upstream.base(), protocol)
        });
        Self {
            source: None,
            settings: Settings {
                file: None,
                digest: 0,
                shown: std::sync::Arc::default(),
                notes: Vec::new(),
                watch: false,
                listen: Listen { host: "127.0.0.1".into(), port: 0, tls: None },
                admin_listen: None,
                workers: NonZeroUsize::MIN,
                log: LogSettings { level: tracing::Level::TRACE, format: LogFormat::Json, file: None },
                providers: providers.collect(),
                tokens: vec![TokenSettings::plain("tests", Secret::new(TOKEN.to_owned()))],
                supported_models: Vec::new(),
                instance: None,
                limits: ServerLimits::default(),
                pool: PoolSettings::default(),
                stream: StreamSettings::default(),
                compression: CompressionSettings::default(),
                cache: CacheSettings::default(),
                failover: true,
                health: HealthSettings::off(),
                state_file: None,
                database: None,
                redis: None,
                when_alone: WhenAlone::default(),
                ledger: LedgerSettings::default(),
                batch: BatchSettings::default(),
                prices: Prices::default(),
                trusted_proxies: Vec::new(),
                // A test machine is slow at times, and measured latency must not change a test.
                telemetry: TelemetrySettings { guard: None, ..TelemetrySettings::default() },
                otel: None,
                routing: RoutingSettings::default(),
                commits: HashMap::new(),
            },
        }
    }

    /// The settings of this file, on a port that the kernel picks.
    pub fn file(file: &Path) -> Self {
        let flags = Overrides {
            host: Some("127.0.0.1".into()),
            port: Some(0),
            workers: NonZeroUsize::new(2),
            ..Overrides::default()
        };
        let source = ConfigSource::new(Some(file), flags, Env::empty());
        let settings = source.load().unwrap_or_else(|error| panic!("{error}"));
        Self { settings, source: Some(source) }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// The same deadlines for every provider.
    pub fn deadlines(self, change: impl Fn(&mut Deadlines)) -> Self {
        self.with(|settings| {
            for provider in &mut settings.providers {
                let mut deadlines = provider.deadlines;
                change(&mut deadlines);
                *provider = provider.clone().with_deadlines(deadlines);
            }
        })
    }

    pub async fn start(self) -> Gateway {
        journal::start();
        let surroundings = app::ProcessContext { source: self.source, ..app::ProcessContext::default() };
        let start = || app::start_in(self.settings, surroundings);
        let started = tokio::task::spawn_blocking(start).await.unwrap();
        let app = started.unwrap_or_else(|error| panic!("the gateway did not start: {error:?}"));
        let address = *app.addresses().first().expect("an address");
        Gateway { app, address }
    }
}

/// A provider of the model `m`.
pub fn provider(name: &str, base: &str, protocol: Protocol) -> ProviderSettings {
    let target = Target {
        protocol,
        key: Some(Secret::new(PROVIDER_KEY.to_owned())),
        ..Target::plain(name, BaseUrl::parse(base).unwrap())
    };
    ProviderSettings { models: Some(vec!["m".into()]), ..ProviderSettings::plain(target) }
}

impl Gateway {
    pub async fn client(&self, version: Version) -> Client {
        Client::connect(version, self.address).await
    }

    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// The address of the listener for administration.
    pub fn admin_address(&self) -> SocketAddr {
        *self.app.admin_addresses().first().expect("admin_listen")
    }

    /// The code of a link that signs in once.
    pub fn sign_in_code(&self) -> Option<String> {
        self.app.sign_in_code().map(|code| code.expose().clone())
    }

    pub fn ledger(&self) -> LedgerState {
        self.app.ledger()
    }

    pub fn gauges(&self) -> Gauges {
        self.app.gauges()
    }

    /// Waits until the gauges fulfil `wanted`.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Gauges) -> bool) -> Gauges {
        let reached = async {
            loop {
                let gauges = self.gauges();
                if wanted(&gauges) {
                    return gauges;
                }
                // Gauges belong to the workers' threads, which send no event.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        match in_time(reached).await {
            Ok(gauges) => gauges,
            Err(_) => panic!("{what} never came: {:?}", self.gauges()),
        }
    }

    /// Waits until no request and no stream is left and no provider connection is in use.
    pub async fn calm(&self) -> Gauges {
        self.until("calm", |now| now.requests == 0 && now.streams == 0 && now.upstream_active == 0).await
    }

    /// Checks that everything was released, then stops. Every client must have been dropped before.
    pub async fn stop(self) {
        self.until("the end of all", |now| Gauges { upstream_idle: 0, ..*now } == Gauges::default()).await;
        in_time(self.stop_now()).await.expect("a stop in time");
    }

    /// Stops with a drain, whatever still runs.
    pub async fn stop_now(self) {
        tokio::task::spawn_blocking(|| self.app.stop()).await.unwrap();
    }
}

/// The protocols of the provider and of the client.
pub const PAIRS: [(Speaks, Version); 4] = [
    (Speaks::H1, Version::H1),
    (Speaks::H1, Version::H2),
    (Speaks::H2, Version::H1),
    (Speaks::H2, Version::H2),
];
