//! A request's own deadline, which counts from before the pool and the connection.

use super::*;

const SHORT: Duration = Duration::from_millis(100);

fn late() -> FaultKind {
    FaultKind::Timeout(DeadlineKind::Total, SHORT)
}

fn with_one_connection() -> Upstream {
    let settings = PoolSettings { max_connections: 1, ..PoolSettings::default() };
    Upstream::new(SharedPools::default(), settings, WorkerGauges::default())
}

#[test]
fn ends_the_wait_for_the_pool() {
    run(Provider { max_streams: Some(1), ..Provider::default() }, None, |mut scene| async move {
        scene.upstream = with_one_connection();
        scene.target.pool_timeout = TEST_TIMEOUT;
        let _held = scene.send("/stream", &[]).await.unwrap();
        let fault = scene.send_within(SHORT, "/echo", &["x"]).await.unwrap_err();
        assert_eq!((fault.stage, fault.kind, fault.sent), (Stage::Pool, late(), Sent::Nothing));
        assert_eq!(scene.provider.requests.get(), 1);
    });
}

#[test]
fn ends_the_wait_for_the_connection() {
    LocalRuntime::new().unwrap().block_on(async {
        // It accepts, and never answers the TLS handshake.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = BaseUrl::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        let target = Target { connect_timeout: TEST_TIMEOUT, ..Target::plain("p", base) };
        let scene = Scene { upstream: with_one_connection(), target, provider: Provider::default() };
        let fault = scene.send_within(SHORT, "/echo", &["x"]).await.unwrap_err();
        assert_eq!((fault.stage, fault.kind, fault.sent), (Stage::Connect, late(), Sent::Nothing));
    });
}

#[test]
fn a_request_is_not_sent_after_it_and_its_connection_stays() {
    run(Provider::default(), None, |scene| async move {
        assert_eq!(all(&mut scene.send("/echo", &["a"]).await.unwrap().body).await, b"a");
        let fault = scene.send_within(Duration::ZERO, "/echo", &["b"]).await.unwrap_err();
        assert_eq!(fault.sent, Sent::Nothing);
        assert_eq!(all(&mut scene.send("/echo", &["c"]).await.unwrap().body).await, b"c");
        assert_eq!((scene.provider.accepted.get(), scene.provider.requests.get()), (1, 2));
    });
}
