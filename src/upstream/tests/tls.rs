//! TLS: the negotiated protocol, and the error texts about a provider that is not trusted.

use super::*;

#[test]
fn negotiates_http2_over_tls() {
    let certificate = Certificate::new("h2", &["h2", "http/1.1"]);
    run(Provider::default(), Some(certificate), |scene| async move {
        let (first, second) = tokio::join!(scene.send("/echo", &["a"]), scene.send("/echo", &["b"]));
        assert_eq!(all(&mut first.unwrap().body).await, b"a");
        assert_eq!(all(&mut second.unwrap().body).await, b"b");
        assert_eq!(scene.provider.accepted.get(), 1);
    });
}

#[test]
fn uses_http1_over_tls_with_a_provider_without_alpn() {
    let certificate = Certificate::new("h1", &[]);
    run(Provider::default(), Some(certificate), |mut scene| async move {
        assert_eq!(all(&mut scene.send("/echo", &["a"]).await.unwrap().body).await, b"h1!");
        scene.target.protocol = Protocol::Http2;
        let fault = scene.send("/echo", &["a"]).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Tls("HTTP/2 was not agreed on".into()));
    });
}

#[test]
fn names_the_reason_why_a_provider_is_not_trusted() {
    let certificate = Certificate::new("trust", &[]);
    run(Provider::default(), Some(certificate), |mut scene| async move {
        let own_file = scene.target.ca_file.clone().unwrap();
        let fails = |scene: &Scene| {
            let (upstream, target) = (scene.upstream.clone(), scene.target.clone());
            let provider = scene.provider.clone();
            async move { Scene { upstream, target, provider }.send("/echo", &[]).await.unwrap_err() }
        };
        scene.target.base.host = "127.0.0.1".into();
        let fault = fails(&scene).await;
        assert_eq!(fault.kind, FaultKind::Tls("the provider's certificate is for another name".into()));
        assert_eq!((fault.stage, fault.sent), (Stage::Connect, Sent::Nothing));
        scene.target.base.host = "localhost".into();
        let other = Certificate::new("other", &[]);
        scene.target.ca_file = Some(other.file.clone());
        let fault = fails(&scene).await;
        assert_eq!(
            fault.kind,
            FaultKind::Tls("the provider's certificate is not from a trusted authority".into())
        );
        scene.target.ca_file = Some(own_file.with_extension("absent"));
        let fault = fails(&scene).await;
        assert_eq!(fault.kind, FaultKind::Tls("the trusted certificates cannot be read".into()));
    });
}

#[test]
fn names_a_plain_port_as_one_without_tls() {
    let certificate = Certificate::new("plain", &[]);
    run(Provider::default(), Some(certificate), |mut scene| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        scene.target.base.port = listener.local_addr().unwrap().port();
        Tasks::new().spawn(async move {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let fault = scene.send("/echo", &[]).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Tls("the provider does not speak TLS there".into()));
    });
}
