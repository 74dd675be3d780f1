//! TLS to clients, with certificates made for the run.

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

/// A folder with a certificate for `localhost` and its key, deleted on drop.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(super) fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("cert.pem"), key: self.0.join("key.pem") }
    }

    /// Writes a new pair and returns the certificate.
    pub(super) fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(self.files().certificate, made.cert.pem()).unwrap();
        fs::write(self.files().key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn client_config(roots: &[CertificateDer<'static>], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub(super) async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    in_time(TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
}

/// One exchange over TLS; the response up to the end of the connection.
async fn exchange(stream: &mut TlsStream<TcpStream>) -> String {
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .await
        .unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[test]
fn serves_tls_and_resumes_sessions() {
    let folder = Folder::new("tls");
    let root = folder.renew();
    let tls = TlsSource::load(folder.files()).unwrap();
    run_with(ServerLimits::default(), Some(tls), |server| async move {
        let config = client_config(&[root], &["http/1.1"]);
        let mut stream = connect(server.address, &config).await.unwrap();
        let text = exchange(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok"), "{text}");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        let mut again = connect(server.address, &config).await.unwrap();
        assert!(exchange(&mut again).await.ends_with("ok"));
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    });
}

#[test]
fn negotiates_http2_by_alpn() {
    let folder = Folder::new("alpn");
    let root = folder.renew();
    let tls = TlsSource::load(folder.files()).unwrap();
    run_with(ServerLimits::default(), Some(tls), |server| async move {
        let stream = connect(server.address, &client_config(&[root], &["h2", "http/1.1"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut send, connection) = ::h2::client::handshake(stream).await.unwrap();
        Tasks::new().spawn(async { drop(connection.await) });
        let request = Request::get("https://localhost/stream").body(()).unwrap();
        let mut response = in_time(send.send_request(request, true).unwrap().0).await.unwrap();
        assert_eq!(in_time(response.body_mut().data()).await.unwrap().unwrap(), "data: 1\n\n");
    });
}

#[test]
fn survives_a_client_without_tls() {
    let folder = Folder::new("plain");
    let root = folder.renew();
    let tls = TlsSource::load(folder.files()).unwrap();
    run_with(ServerLimits::default(), Some(tls), |server| async move {
        answer(server.address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut stream = connect(server.address, &client_config(&[root], &[])).await.unwrap();
        assert!(exchange(&mut stream).await.ends_with("ok"));
        until(|| server.options.conn_limit.count() == 0).await;
        for first in ["", "\x16", "\x16\x03\x01\x02\0"] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(first.as_bytes()).await.unwrap();
            until(|| server.options.conn_limit.count() == 1).await;
            drop(stream);
            until(|| server.options.conn_limit.count() == 0).await;
        }
    });
}

#[test]
fn takes_over_a_new_certificate_and_keeps_the_old_when_it_is_broken() {
    let folder = Folder::new("renew");
    let old = folder.renew();
    let tls = TlsSource::load_checking(folder.files(), Duration::ZERO).unwrap();
    run_with(ServerLimits::default(), Some(tls.clone()), |server| async move {
        let with = |root: &CertificateDer<'static>| client_config(std::slice::from_ref(root), &[]);
        fs::write(folder.files().certificate, "no longer a certificate").unwrap();
        assert!(connect(server.address, &with(&old)).await.is_ok());
        assert_eq!(tls.reloads(), 0);
        let new = folder.renew();
        assert!(connect(server.address, &with(&old)).await.is_err());
        assert!(connect(server.address, &with(&new)).await.is_ok());
        assert_eq!(tls.reloads(), 1);
    });
}

#[test]
fn refuses_a_key_of_another_certificate() {
    let folder = Folder::new("pair");
    folder.renew();
    let key = fs::read(folder.files().key).unwrap();
    folder.renew();
    fs::write(folder.files().key, key).unwrap();
    let error = TlsSource::load(folder.files()).unwrap_err().to_string();
    assert!(error.contains("cert.pem: "), "{error}");
}
