//! TLS to providers: trusted roots, offered protocols, the negotiated protocol. The system's roots are read
//! once per process, a CA file again when it changes; all workers share a configuration, so that each resumes
//! the sessions of the others. Error texts are thalweg's own, because clients see them.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, ConfigBuilder, Error, RootCertStore,
    client::WantsClientCert, crypto::ring, pki_types::ServerName,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    pinned::PinnedVerifier,
    target::{ClientCertificate, Protocol, Target},
};
use crate::base::{
    Fault, FaultKind, Sent, Stage,
    pem::{FileStamp, PemError, PemReason, certificates, private_key},
};

/// Between two checks of a CA file for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

static SYSTEM_ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// The protocol that both sides use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NegotiatedProtocol {
    Http1,
    Http2,
}

/// The roots that the targets of one pool trust. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct TrustStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ca_file: Option<PathBuf>,
    client_certificate: Option<ClientCertificate>,
    protocol: Protocol,
    loaded: Mutex<Option<LoadedRoots>>,
}

/// The last attempt to read the roots.
#[derive(Debug)]
struct LoadedRoots {
    at: Instant,
    stamps: Vec<FileStamp>,
    config: Option<Arc<ClientConfig>>,
}

impl TrustStore {
    pub(super) fn of(target: &Target) -> Self {
        let Target { ca_file, client_certificate, protocol, .. } = target.clone();
        Self(Arc::new(Inner { ca_file, client_certificate, protocol, loaded: Mutex::new(None) }))
    }

    /// Performs the handshake with `host`. Its certificate has to be valid for that name.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<(Box<TlsStream<TcpStream>>, NegotiatedProtocol), Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| fault("not a name that TLS can check".into()))?;
        let config = self.config().await?;
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| fault(explain(&error)))?;
        match (stream.get_ref().1.alpn_protocol(), self.0.protocol) {
            (Some(b"h2"), _) => Ok((Box::new(stream), NegotiatedProtocol::Http2)),
            (Some(_) | None, Protocol::Http2) => Err(fault("HTTP/2 was not agreed on".into())),
            (Some(_) | None, Protocol::Auto | Protocol::Http1) => {
                Ok((Box::new(stream), NegotiatedProtocol::Http1))
            }
        }
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, Fault> {
        if let Some(config) = self.0.current() {
            return Ok(config);
        }
        let inner = Arc::clone(&self.0);
        // Not on a worker, because it reads and parses some hundred files.
        tokio::task::spawn_blocking(move || inner.load())
            .await
            .ok()
            .flatten()
            .ok_or_else(|| fault("the trusted certificates cannot be read".into()))
    }
}

impl Inner {
    /// The configuration in force. `None`: it is not built yet, or the file is due for a check.
    fn current(&self) -> Option<Arc<ClientConfig>> {
        // Held while files are read: a worker does not wait for that.
        let loaded = match self.loaded.try_lock() {
            Ok(loaded) => loaded,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let loaded = loaded.as_ref()?;
        let is_due = self.files().next().is_some() && loaded.at.elapsed() >= CHECK_INTERVAL;
        if is_due { None } else { loaded.config.clone() }
    }

    /// Reads the roots if they have changed. Roots that cannot be used leave the previous configuration in
    /// force.
    fn load(&self) -> Option<Arc<ClientConfig>> {
        let stamps: Vec<_> = self.files().map(FileStamp::of).collect();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let before = loaded.take();
        let unchanged = before.as_ref().is_some_and(|before| before.stamps == stamps);
        let old = before.and_then(|before| before.config);
        let config = if unchanged {
            old
        } else {
            self.build()
                .inspect_err(|error| tracing::warn!(%error, "trusted certificates not read"))
                .ok()
                .or(old)
        };
        *loaded = Some(LoadedRoots { at: Instant::now(), stamps, config: config.clone() });
        config
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let client = self.client_certificate.as_ref();
        let client = client.map(|client| [&*client.certificate, &*client.key]);
        self.ca_file.as_deref().into_iter().chain(client.into_iter().flatten())
    }

    fn refused(&self, error: &dyn std::error::Error) -> PemError {
        let file = self.ca_file.as_deref().unwrap_or_else(|| Path::new("the system's roots"));
        PemError::new(file, PemReason::Refused(error.to_string()))
    }

    fn with_client_certificate(
        &self,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<ClientConfig, PemError> {
        let Some(ClientCertificate { certificate, key }) = &self.client_certificate else {
            return Ok(builder.with_no_client_auth());
        };
        builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| PemError::new(certificate, PemReason::Refused(error.to_string())))
    }

    fn build(&self) -> Result<Arc<ClientConfig>, PemError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.refused(&error))?;
        let builder = match &self.ca_file {
            None => builder
                .with_root_certificates(Arc::clone(SYSTEM_ROOTS.get_or_init(|| Arc::new(system_roots())))),
            Some(file) => {
                let (listed, mut roots) = (certificates(file)?, RootCertStore::empty());
                if roots.add_parsable_certificates(listed.iter().cloned()).0 == 0 {
                    return Err(PemError::new(file, PemReason::Missing("usable certificate")));
                }
                let pinned = PinnedVerifier::new(Arc::new(roots), listed, provider)
                    .map_err(|error| self.refused(&error))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
            }
        };
        let mut config = self.with_client_certificate(builder)?;
        config.alpn_protocols = match self.protocol {
            Protocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        Ok(Arc::new(config))
    }
}

/// Whether a client certificate can be used.
///
/// # Errors
/// A file cannot be read or used, or the key is not the certificate's.
pub fn check_client_certificate(files: &ClientCertificate) -> Result<(), PemError> {
    let files = Some(files.clone());
    let inner = Inner {
        ca_file: None,
        client_certificate: files,
        protocol: Protocol::Auto,
        loaded: Mutex::new(None),
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| inner.refused(&error))?;
    inner.with_client_certificate(builder.with_root_certificates(RootCertStore::empty())).map(drop)
}

/// The readable roots of the system. An empty store fails when a provider's certificate is checked.
fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a trusted certificate of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

const fn fault(why: Cow<'static, str>) -> Fault {
    Fault::provider(Stage::Connect, FaultKind::Tls(why), Sent::Nothing)
}

fn explain(error: &io::Error) -> Cow<'static, str> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => explain_certificate(why).into(),
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "HTTP/2 was not agreed on".into()
        }
        Some(Error::AlertReceived(_)) => "the provider refused the handshake".into(),
        Some(Error::InvalidMessage(_)) => "the provider does not speak TLS there".into(),
        Some(_) => "the handshake failed".into(),
        None => "the connection ended during the handshake".into(),
    }
}

fn explain_certificate(error: &CertificateError) -> &'static str {
    if matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature) {
        "the provider's certificate is not from a trusted authority"
    } else if matches!(error, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        "the provider's certificate has expired"
    } else if matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        "the provider's certificate is for another name"
    } else {
        "the provider's certificate is not valid"
    }
}
