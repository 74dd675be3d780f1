//! Providers behind an HTTP proxy, and providers that ask for a certificate.

use rustls::{RootCertStore, server::WebPkiClientVerifier};
use tokio::io::copy_bidirectional;

use super::*;

/// A proxy that answers the first line of `answer` and, if it is a success, connects. Its requests.
async fn proxy(answer: &'static str) -> (ProxyServer, Rc<std::cell::RefCell<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Rc::<std::cell::RefCell<Vec<String>>>::default();
    let requests = Rc::clone(&seen);
    Tasks::new().spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            requests.borrow_mut().push(head);
            client.write_all(format!("{answer}\r\nx: y\r\n\r\n").as_bytes()).await.unwrap();
            if answer.contains("200") {
                Tasks::new().spawn(async move {
                    let mut provider =
                        TcpStream::connect(target.replace("localhost", "127.0.0.1")).await.unwrap();
                    drop(copy_bidirectional(&mut client, &mut provider).await);
                });
            }
        }
    });
    (ProxyServer::parse(&format!("http://user:pw@{address}")).unwrap(), seen)
}

/// E10: over TLS and without, the proxy sees the provider's address and no more.
#[test]
fn a_provider_is_reached_through_a_proxy() {
    for tls in [None, Some(Certificate::new("tunnel", &["h2"]))] {
        run(Provider::default(), tls, |mut scene| async move {
            let (server, requests) = proxy("HTTP/1.1 200 Connection established").await;
            scene.target.proxy = Some(server);
            for _ in 0..2 {
                assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
            }
            let authority = format!("localhost:{}", scene.target.base.port);
            let head = format!(
                "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: Basic dXNlcjpwdw==\r\n\r\n"
            );
            assert_eq!(*requests.borrow(), [head]);
        });
    }
}

#[test]
fn a_proxy_that_refuses_is_named() {
    for (answer, reason) in [
        ("HTTP/1.1 407 Proxy Authentication Required", "the proxy wants other credentials (407)"),
        ("HTTP/1.0 503 x", "the proxy answered 503"),
        ("SSH-2.0-x", "the proxy does not speak HTTP"),
    ] {
        run(Provider::default(), None, |mut scene| async move {
            scene.target.proxy = Some(proxy(answer).await.0);
            let fault = scene.send("/echo", &[]).await.unwrap_err();
            assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::Nothing));
            assert_eq!(fault.kind, FaultKind::Unreachable(reason.into()));
            assert_eq!(scene.provider.accepted.get(), 0);
        });
    }
}

/// E10: a provider that asks for a certificate gets the configured one, and refuses a request without it.
#[test]
fn a_client_certificate_is_shown() {
    let mut certificate = Certificate::new("mutual", &["h2"]);
    let own = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let file = std::env::temp_dir().join(format!("thalweg-up-client-{}.pem", std::process::id()));
    fs::write(&file, own.cert.pem() + &own.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&certificate.file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    certificate.config = Arc::new(config);
    let files = ClientCertificate { certificate: file.clone(), key: file.clone() };
    check_client_certificate(&files).unwrap();
    run(Provider::default(), Some(certificate), |mut scene| async move {
        assert!(scene.send("/echo", &["x"]).await.is_err());
        scene.target.client_certificate = Some(files);
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
    });
    fs::remove_file(file).unwrap();
}
