//! TLS to clients: one configuration for all workers, so that each worker resumes the sessions of the others.
//! The files are checked for changes when a client connects, at most every few seconds. Files that cannot be
//! used are logged once per change, and the certificate in force stays.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring::{self, Ticketer},
    server::ProducesTickets,
};

use crate::{
    base::pem::{FileStamp, PemError, PemReason, certificates, private_key},
    server::settings::TlsFiles,
};

const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Cloning shares the configuration.
#[derive(Clone, Debug)]
pub struct TlsSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
    checked: Mutex<TlsFileStamps>,
    check_interval: Duration,
    reloads: AtomicUsize,
}

/// The files as of the last check.
#[derive(Debug)]
struct TlsFileStamps {
    at: Instant,
    stamps: [FileStamp; 2],
}

impl TlsSource {
    /// # Errors
    /// A file cannot be read or used, or the key is not the certificate's.
    pub fn load(files: TlsFiles) -> Result<Self, PemError> {
        Self::load_checking(files, CHECK_INTERVAL)
    }

    pub(in crate::server) fn load_checking(
        files: TlsFiles,
        check_interval: Duration,
    ) -> Result<Self, PemError> {
        let refused =
            |error: rustls::Error| PemError::new(&files.certificate, PemReason::Refused(error.to_string()));
        let tickets = Ticketer::new().map_err(refused)?;
        let checked = Mutex::new(TlsFileStamps::now(&files));
        let config = ArcSwap::new(build(&files, &tickets)?);
        Ok(Self(Arc::new(Inner {
            files,
            config,
            tickets,
            checked,
            check_interval,
            reloads: AtomicUsize::new(0),
        })))
    }

    /// How often changed files were taken over.
    #[must_use]
    pub fn reloads(&self) -> usize {
        self.0.reloads.load(Ordering::Relaxed)
    }

    /// The configuration for one more connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        if self.0.have_changed() {
            match build(&self.0.files, &self.0.tickets) {
                Ok(config) => {
                    self.0.config.store(config);
                    self.0.reloads.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(file = %self.0.files.certificate.display(), "certificate reloaded");
                }
                Err(error) => tracing::warn!(%error, "certificate not reloaded, the old one stays"),
            }
        }
        self.0.config.load_full()
    }
}

impl Inner {
    /// `true` once per change. A worker that finds another one checking does not wait for it.
    fn have_changed(&self) -> bool {
        let Ok(mut checked) = self.checked.try_lock() else { return false };
        if checked.at.elapsed() < self.check_interval {
            return false;
        }
        let now = TlsFileStamps::now(&self.files);
        let changed = now.stamps != checked.stamps;
        *checked = now;
        changed
    }
}

impl TlsFileStamps {
    fn now(files: &TlsFiles) -> Self {
        Self { at: Instant::now(), stamps: [FileStamp::of(&files.certificate), FileStamp::of(&files.key)] }
    }
}

fn build(files: &TlsFiles, tickets: &Arc<dyn ProducesTickets>) -> Result<Arc<ServerConfig>, PemError> {
    let (chain, key) = (certificates(&files.certificate)?, private_key(&files.key)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| PemError::new(&files.certificate, PemReason::Refused(error.to_string())))?;
    config.ticketer = Arc::clone(tickets);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
