//! TLS on either leg (B14): ALPN selects the protocol, certificates are checked, and read again when they
//! change.

use std::{path::Path, sync::Arc};

use thalweg::{server::TlsFiles, upstream::Protocol};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::{
    client::{Call, Client, Version},
    gateway::{Plan, provider},
    upstream::{Speaks, Upstream, script, tls::Certificates},
};

/// A temporary folder, removed on drop.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thalweg-tests-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plan(upstream: &Upstream, folder: &Path, authority: &str, protocol: Protocol) -> Plan {
    let ca_file = Certificates::file(folder, "ca.pem", authority);
    let base = format!("https://localhost:{}/v1", upstream.address.port());
    Plan::to(&[upstream]).with(|settings| {
        let target = &mut settings.providers[0].target;
        target.base = thalweg::upstream::BaseUrl::parse(&base).unwrap();
        target.protocol = protocol;
        target.ca_file = Some(ca_file);
    })
}

/// A request larger than the socket buffers, to a provider that responds while it reads: rustls keeps the end
/// of the request until the next write. Its place depends on the size.
#[tokio::test]
async fn a_long_request_is_sent_to_its_end() {
    let folder = Folder::new("long");
    let certificates = Certificates::make();
    let acceptor = certificates.acceptor(&["http/1.1"]);
    let listener = super::early_responses::narrow();
    let base = format!("https://localhost:{}/v1", listener.local_addr().unwrap().port());
    let reading = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            super::early_responses::answer_and_read(&mut stream).await;
        }
    });
    let ca_file = Certificates::file(&folder.0, "ca.pem", &certificates.authority);
    let plan = Plan::to(&[]).with(|settings| {
        let mut provider = provider("eager", &base, Protocol::Http1);
        provider.target.ca_file = Some(ca_file);
        settings.providers = vec![provider];
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for size in (100..4400).step_by(40) {
        let body = format!(r#"{{"model":"m","stream":true,"x":"{}"}}"#, "a".repeat(size << 10));
        let received = client.send(Call::post("/v1/chat/completions", body)).await.collect().await;
        assert_eq!(received.bytes(), script::short_stream(), "{size} KiB");
    }
    reading.abort();
    drop(client);
    gateway.stop().await;
}

/// B14: to the provider: HTTP/2 by ALPN where offered, HTTP/1.1 where not offered or where configured.
#[tokio::test]
async fn tls_to_the_provider() {
    let folder = Folder::new("provider");
    let certificates = Certificates::make();
    for (speaks, alpn, protocol) in [
        (Speaks::H2, &["h2", "http/1.1"][..], Protocol::Auto),
        (Speaks::H1, &["http/1.1"], Protocol::Auto),
        (Speaks::H1, &[], Protocol::Auto),
        (Speaks::H1, &["h2", "http/1.1"], Protocol::Http1),
        (Speaks::H2, &["h2"], Protocol::Http2),
    ] {
        let acceptor = certificates.acceptor(alpn);
        let upstream =
            Upstream::start(speaks, Some(acceptor), None, |_, _| script::sse(script::short_stream()));
        let gateway = plan(&upstream, &folder.0, &certificates.authority, protocol).start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..2 {
            let received = client.send(Call::stream()).await.collect().await;
            assert_eq!(received.bytes(), script::short_stream(), "{alpn:?} {protocol:?}");
        }
        assert_eq!(upstream.log.connections(), 1);
        drop(client);
        gateway.stop().await;
    }
}

/// B14: a CA file may hold the provider's own certificate.
#[tokio::test]
async fn a_provider_with_a_self_signed_certificate() {
    let folder = Folder::new("self-signed");
    let own = Certificates::self_signed();
    let acceptor = own.acceptor(&["http/1.1"]);
    let upstream =
        Upstream::start(Speaks::H1, Some(acceptor), None, |_, _| script::sse(script::short_stream()));
    let gateway = plan(&upstream, &folder.0, &own.authority, Protocol::Auto).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::stream()).await.collect().await;
    assert_eq!(received.bytes(), script::short_stream());
    drop(client);
    gateway.stop().await;
}

/// B14: no request is sent to a provider whose certificate no authority has signed.
#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let folder = Folder::new("stranger");
    let (stranger, trusted) = (Certificates::make(), Certificates::make());
    let acceptor = stranger.acceptor(&["http/1.1"]);
    let upstream =
        Upstream::start(Speaks::H1, Some(acceptor), None, |_, _| script::sse(script::short_stream()));
    let gateway = plan(&upstream, &folder.0, &trusted.authority, Protocol::Auto).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.status, 502);
    let error = answer.collect().await.json();
    assert!(error["error"]["message"].as_str().unwrap().contains("TLS"), "{error}");
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

async fn connect(address: std::net::SocketAddr, authority: &str, version: Version) -> Option<Client> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = match version {
        Version::H1 => "http/1.1",
        Version::H2 => "h2",
    };
    config.alpn_protocols = vec![name.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let host = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await.ok()?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(name.as_bytes()));
    Some(Client::over(stream, version, "localhost".into()).await)
}

/// B14: to the client: both protocols, the same bytes, and new certificates soon after the files change.
#[tokio::test]
async fn tls_to_the_client() {
    let folder = Folder::new("client");
    let (first, second) = (Certificates::make(), Certificates::make());
    let files = TlsFiles {
        certificate: Certificates::file(&folder.0, "cert.pem", &first.certificate),
        key: Certificates::file(&folder.0, "key.pem", &first.key),
    };
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.listen.tls = Some(files)).start().await;
    for version in Version::BOTH {
        let mut client =
            connect(gateway.address, &first.authority, version).await.expect("a trusted gateway");
        let received = client.send(Call::stream()).await.collect().await;
        assert_eq!(received.bytes(), script::short_stream());
    }
    Certificates::file(&folder.0, "cert.pem", &second.certificate);
    Certificates::file(&folder.0, "key.pem", &second.key);
    let renewed = async {
        while connect(gateway.address, &second.authority, Version::H1).await.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    // The files are read at intervals.
    tokio::time::timeout(std::time::Duration::from_secs(30), renewed).await.expect("the new certificate");
    gateway.stop().await;
}
