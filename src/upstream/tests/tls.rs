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

/// Where HTTP/2 may be negotiated one request dials, and the others wait for it. The pool is not full then.
#[test]
fn an_unanswered_dial_is_that_of_all_who_wait_for_it() {
    LocalRuntime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = BaseUrl::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        let (connect_timeout, pool_timeout) = (Duration::from_secs(1), Duration::from_millis(50));
        let target = Target { connect_timeout, pool_timeout, ..Target::plain("p", base) };
        let upstream =
            Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
        let provider = Provider::default();
        let accepting = provider.clone();
        Tasks::new().spawn(async move {
            let mut silent = Vec::new();
            loop {
                silent.push(listener.accept().await.unwrap());
                accepting.accepted.set(silent.len());
                accepting.changed.notify_one();
            }
        });
        let scene = Scene { upstream, target, provider };
        // The last one comes while the first one dials.
        let (one, two, late) = tokio::join!(scene.send("/echo", &[]), scene.send("/echo", &[]), async {
            scene.provider.until(|provider| provider.accepted.get() > 0).await;
            scene.send("/echo", &[]).await
        });
        for fault in [one, two, late].map(Result::unwrap_err) {
            let kind = FaultKind::Timeout(DeadlineKind::Connect, connect_timeout);
            assert_eq!((fault.stage, fault.kind, fault.sent), (Stage::Connect, kind, Sent::Nothing));
        }
        assert_eq!(scene.provider.accepted.get(), 1);
    });
}

/// Two providers of one address may have timeouts of their own.
#[test]
fn an_unanswered_dial_is_not_that_of_one_who_may_wait_longer() {
    LocalRuntime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = BaseUrl::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        let target = |millis| {
            let connect_timeout = Duration::from_millis(millis);
            Target { connect_timeout, pool_timeout: TEST_TIMEOUT, ..Target::plain("p", base.clone()) }
        };
        let upstream =
            Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
        let scene = |millis| Scene {
            upstream: upstream.clone(),
            target: target(millis),
            provider: Provider::default(),
        };
        let (hasty, patient) = (scene(50), scene(1000));
        let begun = tokio::time::Instant::now();
        let (one, other) = tokio::join!(hasty.send("/echo", &[]), patient.send("/echo", &[]));
        let kinds = [one, other].map(|sent| sent.unwrap_err().kind);
        let late = |millis| FaultKind::Timeout(DeadlineKind::Connect, Duration::from_millis(millis));
        assert_eq!(kinds, [late(50), late(1000)]);
        assert!(begun.elapsed() >= Duration::from_millis(1000));
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
