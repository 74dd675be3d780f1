//! The gateway as a process sees it: started in order, stopped in order.

use std::{error::Error, fmt, io, net::SocketAddr, sync::Arc, thread::JoinHandle};

use arc_swap::ArcSwap;

use super::{build, listing, worker};
use crate::{
    auth::{self, TokenSettings, maker::NoRandomness},
    base::{pem::PemError, spawn::Tasks},
    config::{ProviderSettings, Settings},
    demo::{self, Demo},
    proxy::settle,
    server::{self, BindError, Census, Drain, Listen, Phase, Terms, tls::TlsSource},
    telemetry::{Gauges, WorkerGauges},
    upstream::{BaseUrl, SharedPools, Target, Upstream},
    web::compare::Gate,
};

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    Bind(BindError),
    Tls(PemError),
    /// The demo provider could not listen on loopback.
    Demo(io::Error),
    Token(NoRandomness),
    Thread(io::Error),
}

/// A running gateway. Dropping it lets it run on; [`Gateway::stop`] ends it.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    providers: Vec<Arc<str>>,
    made_token: Option<TokenSettings>,
    demo: Option<Demo>,
    drain: Drain,
    census: Census,
    gauges: Vec<WorkerGauges>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a gateway; it listens when this returns. With no provider configured the demo provider serves; with no token
/// configured one is made for this run and only loopback is listened on.
///
/// # Errors
/// Says what could not be had. What had been started ends.
pub fn start(mut settings: Settings) -> Result<Gateway, StartError> {
    let made_token = make_token(&mut settings)?;
    let demo = start_demo(&mut settings)?;
    let tls = settings.listen.tls.clone().map(TlsSource::load).transpose().map_err(StartError::Tls)?;
    let bound = server::bind(&settings.listen, settings.workers.get()).map_err(StartError::Bind)?;
    let snapshot = Arc::new(ArcSwap::from_pointee(build::snapshot(&settings)));
    let (drain, census) = (Drain::default(), Census::default());
    let (settler, settling) = settle::start().map_err(StartError::Thread)?;
    let terms = Terms { limits: settings.limits, drain: drain.clone(), census: census.clone(), tls };
    let pools = SharedPools::default();
    let outfit = worker::Outfit {
        snapshot: Arc::clone(&snapshot),
        pools,
        pool_settings: settings.pool,
        terms,
        settler,
        own: build::own(&settings.listen, &bound.addresses),
        gate: Gate::default(),
        warmup: settings.health.warmup,
    };
    let mut gauges = Vec::new();
    let mut threads = Vec::new();
    for (index, listeners) in bound.per_worker.into_iter().enumerate() {
        let own = WorkerGauges::default();
        gauges.push(own.clone());
        threads.push(worker::start(index, listeners, outfit.clone(), own).map_err(StartError::Thread)?);
    }
    threads.push(start_background(snapshot, &outfit, drain.clone()).map_err(StartError::Thread)?);
    threads.push(settling);
    let providers = settings.providers.iter().map(|provider| provider.target.name.clone()).collect();
    Ok(Gateway { addresses: bound.addresses, providers, made_token, demo, drain, census, gauges, threads })
}

fn make_token(settings: &mut Settings) -> Result<Option<TokenSettings>, StartError> {
    if !settings.tokens.is_empty() {
        return Ok(None);
    }
    if !is_loopback(&settings.listen) {
        tracing::warn!("no token is configured: listening on loopback only");
        settings.listen.host = "localhost".to_owned();
    }
    // It was shown to whoever started this process, and only loopback is listened on.
    let made = TokenSettings { admin: true, ..auth::maker::make("this run").map_err(StartError::Token)? };
    settings.tokens.push(made.clone());
    Ok(Some(made))
}

fn is_loopback(listen: &Listen) -> bool {
    listen.host == "localhost"
        || listen.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn start_demo(settings: &mut Settings) -> Result<Option<Demo>, StartError> {
    if !settings.providers.is_empty() {
        return Ok(None);
    }
    let demo = demo::start().map_err(StartError::Demo)?;
    let base = BaseUrl::parse(&demo.base_url())
        .map_err(|_| StartError::Demo(io::Error::other("the demo provider has no address")))?;
    let target = Target::plain("demo", base);
    settings.providers.push(ProviderSettings { target, models: Some(demo::models()) });
    Ok(Some(demo))
}

/// The thread for what is not on the line: it has connections of its own.
fn start_background(
    snapshot: Arc<ArcSwap<crate::proxy::Snapshot>>,
    outfit: &worker::Outfit,
    drain: Drain,
) -> io::Result<JoinHandle<()>> {
    let settings = outfit.pool_settings;
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        let run = async {
            let upstream = Upstream::new(SharedPools::default(), settings, WorkerGauges::default());
            let tasks = Tasks::new();
            listing::watch(&snapshot, &upstream, &tasks);
            drain.reached(Phase::Draining).await;
        };
        match worker::runtime() {
            Ok(runtime) => runtime.block_on(run),
            Err(error) => tracing::error!(%error, "no background runtime"),
        }
    })
}

impl Gateway {
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The providers' names, in order.
    #[must_use]
    pub fn providers(&self) -> &[Arc<str>] {
        &self.providers
    }

    /// The token made for this run, if none was configured.
    #[must_use]
    pub const fn made_token(&self) -> Option<&TokenSettings> {
        self.made_token.as_ref()
    }

    /// The demo provider serves.
    #[must_use]
    pub const fn is_demo(&self) -> bool {
        self.demo.is_some()
    }

    /// What lives right now, over all workers.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges { connections: self.census.count(), ..Gauges::sum(&self.gauges) }
    }

    /// Stops accepting, lets what runs finish within the drain's time, and returns when all of it has ended.
    pub fn stop(self) {
        self.drain.advance(Phase::Draining);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread had panicked");
            }
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Tls(_) => f.write_str("cannot use the TLS files"),
            Self::Demo(_) => f.write_str("cannot start the demo provider"),
            Self::Token(_) => f.write_str("cannot make a token"),
            Self::Thread(_) => f.write_str("cannot start a thread"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind(error) => error.source(),
            Self::Tls(error) => Some(error),
            Self::Token(error) => Some(error),
            Self::Demo(error) | Self::Thread(error) => Some(error),
        }
    }
}
