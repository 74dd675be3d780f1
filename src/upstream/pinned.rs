//! Certificates that a CA file lists themselves. Such a file may hold, instead of an authority, the very
//! certificate that the provider shows: a self-signed one, which `openssl req -x509` marks as an authority,
//! or one without its authority. Chains allow neither; here a listed certificate is as good as its authority.
//! Name and validity are checked all the same.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Checks the chain first, then whether the CA file lists the certificate.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    chains: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl PinnedVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        listed: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let chains = WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
        Ok(Self { chains, listed })
    }
}

/// Whether the error concerns the chain alone. webpki reports it after the certificate's validity has been
/// checked.
fn is_chain_error(error: &CertificateError) -> bool {
    if let CertificateError::Other(OtherError(other)) = error {
        // rustls has no variant of its own for this error of webpki's.
        return matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity));
    }
    matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature)
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked =
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            Err(Error::InvalidCertificate(error))
                if is_chain_error(&error) && self.listed.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::crypto::ring;

    use super::*;

    /// Whether `shown` is accepted for `name` when the file holds `listed`.
    fn verify(listed: &CertificateDer<'static>, shown: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(listed.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let pinned = PinnedVerifier::new(Arc::new(roots), vec![listed.clone()], provider).unwrap();
        // In 2026, so that the test does not depend on the day.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_780_000_000));
        pinned.verify_server_cert(shown, &[], &ServerName::try_from(name).unwrap(), &[], now).map(drop)
    }

    fn params(until: i32) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params
    }

    /// As `openssl req -x509` makes one.
    fn self_signed(until: i32) -> CertificateDer<'static> {
        let mut params = params(until);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_listed_certificate_is_accepted_for_its_name_and_its_validity() {
        let own = self_signed(2100);
        assert_eq!(verify(&own, &own, "localhost"), Ok(()));
        assert!(verify(&own, &own, "elsewhere").is_err());
        let expired = self_signed(2021);
        assert!(verify(&expired, &expired, "localhost").is_err());
        assert!(verify(&own, &self_signed(2100), "localhost").is_err(), "another of the same form");
    }

    #[test]
    fn a_leaf_alone_is_accepted_and_so_is_its_authority() {
        let mut authority = params(2100);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let leaf = params(2100).signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        assert_eq!(verify(&leaf, &leaf, "localhost"), Ok(()));
        assert_eq!(verify(&issuer.der().clone(), &leaf, "localhost"), Ok(()));
        assert!(verify(&self_signed(2100), &leaf, "localhost").is_err());
    }
}
