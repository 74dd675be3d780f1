//! The checked configuration: every room's own settings, complete and consistent. Whoever holds one may build from it.

use std::{collections::HashMap, num::NonZeroUsize, path::PathBuf, sync::Arc};

use regex::Regex;
use tracing::Level;

use super::otel::OtelSettings;
use crate::{
    auth::TokenSettings,
    base::{Deadlines, Network},
    database::DatabaseSettings,
    ledger::{LedgerSettings, Prices},
    relay::{CommitPoint, StreamSettings},
    routing::{HealthSettings, RoutingSettings},
    server::{Listen, ServerLimits},
    telemetry::{LogFormat, LogSettings, TelemetrySettings},
    upstream::{PoolSettings, Target},
};

#[derive(Clone, Debug)]
pub struct Settings {
    /// The file it came from; `None` when there was none.
    pub file: Option<PathBuf>,
    /// A digest of that file's text.
    pub digest: u64,
    /// Load it again when it changes.
    pub watch: bool,
    pub listen: Listen,
    /// Where administration is served. `None`: beside the clients, for an administrator's key.
    pub admin_listen: Option<Listen>,
    pub workers: NonZeroUsize,
    pub log: LogSettings,
    /// In order of preference. Empty: the demo provider serves.
    pub providers: Vec<ProviderSettings>,
    /// Empty: one token is made for this run and only loopback is listened on.
    pub tokens: Vec<TokenSettings>,
    /// Which models are offered; empty: all. A name is offered if any expression matches it.
    pub supported_models: Vec<Regex>,
    pub limits: ServerLimits,
    pub pool: PoolSettings,
    pub stream: StreamSettings,
    /// Try the next candidate before the commit point when one fails.
    pub failover: bool,
    pub health: HealthSettings,
    /// What is known of providers over a restart. `None`: nothing is kept.
    pub state_file: Option<PathBuf>,
    /// Where keys and the ledger are. `None`: nowhere.
    pub database: Option<DatabaseSettings>,
    pub ledger: LedgerSettings,
    pub prices: Prices,
    /// Whose word about the client's address (`X-Forwarded-For`) is believed.
    pub trusted_proxies: Vec<Network>,
    pub telemetry: TelemetrySettings,
    /// Where traces go. `None`: there are none.
    pub otel: Option<OtelSettings>,
    pub routing: RoutingSettings,
    /// Commit points of single models.
    pub commits: HashMap<Arc<str>, CommitPoint>,
}

impl Default for Settings {
    /// As without a file: loopback, port 9000, a worker per core, INFO.
    fn default() -> Self {
        Self {
            file: None,
            digest: 0,
            watch: true,
            listen: Listen { host: "localhost".to_owned(), port: 9000, tls: None },
            admin_listen: None,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            log: LogSettings { level: Level::INFO, format: LogFormat::default(), file: None },
            providers: Vec::new(),
            tokens: Vec::new(),
            supported_models: Vec::new(),
            limits: ServerLimits::default(),
            pool: PoolSettings::default(),
            stream: StreamSettings::default(),
            failover: true,
            health: HealthSettings::default(),
            state_file: None,
            database: None,
            ledger: LedgerSettings::default(),
            prices: Prices::default(),
            trusted_proxies: Vec::new(),
            telemetry: TelemetrySettings::default(),
            otel: None,
            routing: RoutingSettings::default(),
            commits: HashMap::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Its two timeouts are those of `deadlines`.
    pub target: Target,
    /// Set by [`Self::with_deadlines`].
    pub deadlines: Deadlines,
    /// The models it serves; `None`: ask it (`GET {base}/models`).
    pub models: Option<Vec<String>>,
    /// Its share of the requests under the strategy `weighted`; at least 1.
    pub weight: u32,
    pub region: Option<Arc<str>>,
}

impl ProviderSettings {
    /// Nothing but where it is.
    #[must_use]
    pub fn plain(target: Target) -> Self {
        let deadlines = Deadlines::default();
        Self { target, deadlines, models: None, weight: 1, region: None }.with_deadlines(deadlines)
    }

    /// Gives the target the two deadlines that concern it.
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        (self.target.connect_timeout, self.target.pool_timeout) = (deadlines.connect, deadlines.pool);
        Self { deadlines, ..self }
    }
}

pub const COMMIT_POINTS: [(&str, Option<CommitPoint>); 3] = [
    ("headers", Some(CommitPoint::Headers)),
    ("first_frame", Some(CommitPoint::FirstFrame)),
    ("first_content", Some(CommitPoint::FirstContent)),
];

/// Python's names of levels, which the file was first written with, and ours.
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
