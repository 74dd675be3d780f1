//! The checked configuration: the settings of every room, complete and consistent. A [`Settings`] needs no
//! further check before the process is built from it.
//!
//! The functions of `load` build it.

use std::{collections::HashMap, num::NonZeroUsize, path::PathBuf, sync::Arc};

use regex::Regex;
use tracing::Level;

use super::otel::OtelSettings;
use crate::{
    auth::{TokenSettings, limit::WhenAlone},
    base::{Deadlines, Endpoint, EndpointSet, Network},
    batch::BatchSettings,
    cache::CacheSettings,
    cluster::RedisSettings,
    database::DatabaseSettings,
    ledger::{LedgerSettings, Prices},
    proxy::CompressionSettings,
    relay::{CommitPoint, StreamSettings},
    routing::{HealthSettings, KnownEndpoints, RoutingSettings},
    server::{Listen, ServerLimits},
    telemetry::{LogFormat, LogSettings, TelemetrySettings},
    upstream::{KeyHeader, PoolSettings, Target},
};

#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file. `None`: there was none.
    pub file: Option<PathBuf>,
    /// A digest of that file's text.
    pub digest: u64,
    /// That file without secrets, for operators. Null: there was none.
    pub shown: Arc<serde_json::Value>,
    /// Remarks for the operator, a line each: values that are not used, and the sources that took precedence.
    /// They hold no secret.
    pub notes: Vec<String>,
    /// Whether the file is loaded again when it changes.
    pub watch: bool,
    pub listen: Listen,
    /// The administration listener. `None`: administration is served on the clients' listener, with an admin
    /// key.
    pub admin_listen: Option<Listen>,
    pub workers: NonZeroUsize,
    pub log: LogSettings,
    /// In order of preference. Empty: the demo provider serves.
    pub providers: Vec<ProviderSettings>,
    /// Empty: one token is generated for this run, and only loopback is listened on.
    pub tokens: Vec<TokenSettings>,
    /// A model is offered if one of these expressions matches its name. Empty: all are.
    pub supported_models: Vec<Regex>,
    /// The name of this replica. `None`: made out of the host's.
    pub instance: Option<String>,
    pub limits: ServerLimits,
    pub pool: PoolSettings,
    pub stream: StreamSettings,
    pub compression: CompressionSettings,
    pub cache: CacheSettings,
    /// Whether the next candidate is tried if one fails before the commit point.
    pub failover: bool,
    pub health: HealthSettings,
    /// The file that keeps the providers' state across a restart. `None`: no state is kept.
    pub state_file: Option<PathBuf>,
    /// The database of keys and ledger. `None`: there is none.
    pub database: Option<DatabaseSettings>,
    /// The Redis that replicas share. `None`: each replica stands for itself.
    pub redis: Option<RedisSettings>,
    /// How the limits of keys hold while Redis is away.
    pub when_alone: WhenAlone,
    pub ledger: LedgerSettings,
    pub batch: BatchSettings,
    pub prices: Prices,
    /// Proxies that are trusted to give the client's address (`X-Forwarded-For`).
    pub trusted_proxies: Vec<Network>,
    pub telemetry: TelemetrySettings,
    /// The trace collector. `None`: there are no traces.
    pub otel: Option<OtelSettings>,
    pub routing: RoutingSettings,
    /// Commit points of single models.
    pub commits: HashMap<Arc<str>, CommitPoint>,
}

impl Default for Settings {
    /// The settings without a file: loopback, port 9000, one worker per core, INFO.
    fn default() -> Self {
        Self {
            file: None,
            digest: 0,
            shown: Arc::default(),
            notes: Vec::new(),
            watch: true,
            listen: Listen { host: "localhost".to_owned(), port: 9000, tls: None },
            admin_listen: None,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            log: LogSettings { level: Level::INFO, format: LogFormat::default(), file: None },
            providers: Vec::new(),
            tokens: Vec::new(),
            supported_models: Vec::new(),
            instance: None,
            limits: ServerLimits::default(),
            pool: PoolSettings::default(),
            stream: StreamSettings::default(),
            compression: CompressionSettings::default(),
            cache: CacheSettings::default(),
            failover: true,
            health: HealthSettings::default(),
            state_file: None,
            database: None,
            redis: None,
            when_alone: WhenAlone::default(),
            ledger: LedgerSettings::default(),
            batch: BatchSettings::default(),
            prices: Prices::default(),
            trusted_proxies: Vec::new(),
            telemetry: TelemetrySettings::default(),
            otel: None,
            routing: RoutingSettings::default(),
            commits: HashMap::new(),
        }
    }
}

/// The host of Google's API, and the path of its compatible endpoints below that of its own.
const GOOGLE: &str = "generativelanguage.googleapis.com";
const COMPATIBLE: &str = "/openai";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Its timeouts are those of `deadlines`.
    pub target: Target,
    /// The place of its Gemini API. `None`: it has none, or `target` is it.
    pub gemini: Option<Target>,
    /// Set by [`Self::with_deadlines`].
    pub deadlines: Deadlines,
    /// The models it serves. `None`: its list is fetched (`GET {base}/models`).
    pub models: Option<Vec<String>>,
    /// Its share of the requests under the strategy `weighted`; at least 1.
    pub weight: u32,
    pub region: Option<Arc<str>>,
    /// Whether usage is requested of it for clients that did not. `None`: as `streaming.include_usage` says.
    pub include_usage: Option<bool>,
    /// The endpoints it has. `None`: its address and its answers show it.
    pub dialects: Option<EndpointSet>,
    /// The same by its address.
    pub known: Option<KnownEndpoints>,
    /// Whether it may be asked in another dialect than the client's. `None`: as `routing.translate` says.
    pub translate: Option<bool>,
}

impl ProviderSettings {
    /// A provider with this target and defaults for all else.
    #[must_use]
    pub fn plain(target: Target) -> Self {
        let deadlines = Deadlines::default();
        let known = KnownEndpoints::of_address(&target.base.host, &target.base.path);
        let plain = Self {
            target,
            gemini: None,
            deadlines,
            models: None,
            weight: 1,
            region: None,
            include_usage: None,
            dialects: None,
            known,
            translate: None,
        };
        plain.with_deadlines(deadlines)
    }

    /// Finds the place of its Gemini API, if it has one by `dialects` or by its address, and that of all
    /// other endpoints: they are below `/openai` there. Either may be the base URL.
    #[must_use]
    pub fn with_gemini(mut self) -> Self {
        let is_google = self.target.base.host.eq_ignore_ascii_case(GOOGLE);
        let said =
            |endpoint: Endpoint| self.dialects.map_or(is_google, |dialects| dialects.contains(endpoint));
        let has_gemini = said(Endpoint::Gemini);
        let is_alone = has_gemini && Endpoint::MAIN.into_iter().all(|main| main.is_gemini() || !said(main));
        let path = &*self.target.base.path;
        let (native, compatible): (Box<str>, Box<str>) = match path.strip_suffix(COMPATIBLE) {
            Some(native) => (native.into(), path.into()),
            None if is_google => (path.into(), format!("{path}{COMPATIBLE}").into()),
            None => (path.into(), path.into()),
        };
        let mut gemini = self.target.clone();
        gemini.base.path = native;
        if gemini.key_header == KeyHeader::Bearer {
            gemini.key_header = KeyHeader::XGoogApiKey;
        }
        if is_alone {
            self.target = gemini;
        } else {
            self.target.base.path = if is_google { compatible } else { path.into() };
            self.gemini = has_gemini.then_some(gemini);
        }
        self.known = KnownEndpoints::of_address(&self.target.base.host, &self.target.base.path);
        self
    }

    /// Gives the target the three deadlines that concern it.
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        (self.target.connect_timeout, self.target.pool_timeout) = (deadlines.connect, deadlines.pool);
        self.target.write_timeout = deadlines.write;
        if let Some(gemini) = &mut self.gemini {
            (gemini.connect_timeout, gemini.pool_timeout) = (deadlines.connect, deadlines.pool);
            gemini.write_timeout = deadlines.write;
        }
        Self { deadlines, ..self }
    }
}

pub const ALONE: [(&str, WhenAlone); 3] =
    [("share", WhenAlone::Share), ("open", WhenAlone::Open), ("closed", WhenAlone::Closed)];

pub const COMMIT_POINTS: [(&str, Option<CommitPoint>); 3] = [
    ("headers", Some(CommitPoint::Headers)),
    ("first_frame", Some(CommitPoint::FirstFrame)),
    ("first_content", Some(CommitPoint::FirstContent)),
];

/// Rust's names of levels, and Python's, which older files use.
pub const LOG_LEVELS: [(&str, Level); 8] = [
    ("TRACE", Level::TRACE),
    ("DEBUG", Level::DEBUG),
    ("INFO", Level::INFO),
    ("WARNING", Level::WARN),
    ("WARN", Level::WARN),
    ("ERROR", Level::ERROR),
    ("CRITICAL", Level::ERROR),
    ("FATAL", Level::ERROR),
];

pub const LOG_FORMATS: [(&str, LogFormat); 2] = [("human", LogFormat::Human), ("json", LogFormat::Json)];
