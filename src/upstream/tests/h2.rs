//! HTTP/2: windows, resets, refusals and connections that come and go.

use std::pin::pin;

use super::*;

#[test]
fn sends_a_body_larger_than_the_window_and_shares_the_connection() {
    run(Provider::default(), None, |scene| async move {
        let long = "x".repeat(5000).leak();
        let parts = ["a", long, "b"];
        let (first, second) = tokio::join!(scene.send("/echo", &parts), scene.send("/echo", &["second"]));
        let (mut first, mut second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.status, StatusCode::OK);
        let seen = first.headers.text("x-seen").unwrap();
        let port = scene.target.base.port;
        assert_eq!(
            seen,
            format!("POST http://localhost:{port}/v1/echo Some(Sensitive)")
                .replace("Sensitive", "\"Bearer sk-up\"")
        );
        assert_eq!(all(&mut first.body).await, format!("a{long}b").as_bytes());
        assert_eq!(all(&mut second.body).await, b"second");
        assert_eq!(all(&mut scene.send("/echo", &["third"]).await.unwrap().body).await, b"third");
        assert_eq!((scene.provider.accepted.get(), scene.provider.requests.get()), (1, 3));
    });
}

#[test]
fn holds_no_more_than_a_window_for_a_client_that_does_not_read() {
    run(Provider::default(), None, |scene| async move {
        let mut stalled = scene.send("/flood", &[]).await.unwrap();
        scene.provider.until(|provider| provider.flooded.get() >= 128 * 1024).await;
        // Whole exchanges beside it give the provider time to send more, if its window allowed it.
        for _ in 0..3 {
            assert_eq!(all(&mut scene.send("/echo", &["beside"]).await.unwrap().body).await, b"beside");
        }
        assert_eq!(scene.provider.flooded.get(), 128 * 1024);
        let mut pulled = 0;
        while pulled < 256 * 1024 {
            pulled += next(&mut stalled.body).await.unwrap().unwrap().len();
        }
    });
}

/// A frame of one byte that waits costs hundreds. Joined, a window of them is a few frames.
#[test]
fn joins_small_frames_for_a_client_that_does_not_read() {
    run(Provider::default(), None, |scene| async move {
        let mut stalled = scene.send("/crumbs", &[]).await.unwrap();
        scene.provider.until(|provider| provider.flooded.get() >= 128 * 1024).await;
        assert_eq!(all(&mut scene.send("/echo", &["beside"]).await.unwrap().body).await, b"beside");
        let (mut frames, mut bytes) = (0, 0);
        while bytes < 120 * 1024 {
            bytes += next(&mut stalled.body).await.unwrap().unwrap().len();
            frames += 1;
        }
        assert!(frames < 8 * 1024, "{frames} frames");
        // The window is given back.
        while bytes < 200 * 1024 {
            bytes += next(&mut stalled.body).await.unwrap().unwrap().len();
        }
    });
}

#[test]
fn resets_the_stream_of_a_dropped_body_at_once() {
    run(Provider::default(), None, |scene| async move {
        let mut response = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(next(&mut response.body).await.unwrap().unwrap(), "data: 1\n\n");
        drop(response);
        let reset = scene.provider.until(|provider| provider.client_reset.get().is_some());
        timeout(Duration::from_millis(50), reset).await.unwrap();
        assert_eq!(scene.provider.client_reset.get(), Some(Reason::CANCEL));
        assert_eq!(all(&mut scene.send("/echo", &["next"]).await.unwrap().body).await, b"next");
        assert_eq!(scene.provider.accepted.get(), 1);
    });
}

#[test]
fn sends_a_refused_stream_once_more() {
    run(Provider::default(), None, |scene| async move {
        scene.provider.refusals.set(1);
        assert_eq!(all(&mut scene.send("/echo", &["again"]).await.unwrap().body).await, b"again");
        assert_eq!(scene.provider.requests.get(), 2);
        scene.provider.refusals.set(2);
        let fault = scene.send("/echo", &[]).await.unwrap_err();
        assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, Sent::Nothing));
    });
}

/// Other streams keep the connection that refuses in use.
#[test]
fn sends_a_refused_stream_once_more_on_another_connection() {
    run(Provider { refusing_connection: Some(1), ..Provider::default() }, None, |scene| async move {
        let mut running = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 2);
        assert_eq!(next(&mut running.body).await.unwrap().unwrap(), "data: 1\n\n");
    });
}

#[test]
fn leaves_a_connection_after_goaway() {
    run(Provider { leave_after_one: true, ..Provider::default() }, None, |scene| async move {
        for turn in 1..=3 {
            assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
            assert_eq!(scene.provider.requests.get(), turn);
        }
        assert_eq!(scene.provider.accepted.get(), 3);
    });
}

#[test]
fn leaves_it_even_while_a_stream_still_runs() {
    run(Provider { leave_after_one: true, ..Provider::default() }, None, |scene| async move {
        let mut running = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(next(&mut running.body).await.unwrap().unwrap(), "data: 1\n\n");
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 2);
        drop(running);
        scene.provider.until(|provider| provider.client_reset.get() == Some(Reason::CANCEL)).await;
    });
}

#[test]
fn opens_another_connection_when_the_first_is_full() {
    run(Provider { max_streams: Some(1), ..Provider::default() }, None, |scene| async move {
        let first = scene.send("/stream", &[]).await.unwrap();
        let second = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(scene.provider.accepted.get(), 2);
        drop((first, second));
        scene.provider.until(|provider| provider.client_reset.get().is_some()).await;
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

#[test]
fn distinguishes_a_broken_stream_from_an_ended_one() {
    run(Provider::default(), None, |scene| async move {
        let mut response = scene.send("/break", &[]).await.unwrap();
        assert_eq!(next(&mut response.body).await.unwrap().unwrap(), "half");
        scene.provider.go_on.notify_one();
        let fault = next(&mut response.body).await.unwrap().unwrap_err();
        assert_eq!((fault.stage, fault.kind, fault.sent), (Stage::Body, FaultKind::Reset, Sent::Some));
        assert!(next(&mut response.body).await.is_none());
        let fault = scene.send("/abort", &[]).await.unwrap_err();
        assert_eq!((fault.stage, fault.kind), (Stage::Head, FaultKind::Reset));
    });
}

#[test]
fn closes_connections_that_were_idle_for_too_long() {
    run(Provider::default(), None, |mut scene| async move {
        let settings = PoolSettings { keepalive_expiry: Duration::ZERO, ..PoolSettings::default() };
        scene.upstream = Upstream::new(SharedPools::default(), settings, WorkerGauges::default());
        all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await;
        scene.upstream.sweep();
        all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await;
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

/// R24: a connection that died silently is detected while a request waits on it; one that acknowledges stays.
#[test]
fn closes_a_connection_that_does_not_answer_a_ping() {
    run(Provider::default(), None, |mut scene| async move {
        let settings =
            PoolSettings { http2_ping: Some(Duration::from_millis(150)), ..PoolSettings::default() };
        scene.upstream = Upstream::new(SharedPools::default(), settings, WorkerGauges::default());
        let mut stream = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(next(&mut stream.body).await.unwrap().unwrap(), "data: 1\n\n");
        sleep(Duration::from_millis(400)).await;
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 1);
        let fault = scene.send("/freeze", &[]).await.unwrap_err();
        assert_eq!((fault.stage, fault.kind), (Stage::Head, FaultKind::Reset));
        assert_eq!(next(&mut stream.body).await.unwrap().unwrap_err().kind, FaultKind::Reset);
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
    });
}

/// The requests on a connection that fell silent, and those after them, are served by another one.
#[test]
fn a_silent_connection_loses_no_request() {
    run(Provider::default(), None, |scene| async move {
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        scene.provider.freezes.set(1);
        let late = |number: u64| {
            let scene = &scene;
            async move {
                sleep(Duration::from_millis(20 * number)).await;
                let sent = scene.send_within(Duration::from_secs(4), "/echo", &["x"]).await;
                assert_eq!(all(&mut sent.unwrap().body).await, b"x", "{number}");
            }
        };
        tokio::join!(late(0), late(1), late(2), late(3), late(4), late(5), late(6), late(7));
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

/// A connection is trusted again when it answers, and replaced when it does not.
#[test]
fn a_request_given_up_in_silence_makes_its_connection_suspected() {
    run(Provider::default(), None, |scene| async move {
        let given_up = async |freezes| {
            scene.provider.freezes.set(freezes);
            let sent = scene.send("/slow", &[]);
            assert!(timeout(Duration::from_millis(1100), sent).await.is_err());
            sleep(Duration::from_millis(50)).await;
            assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        };
        given_up(0).await;
        assert_eq!(scene.provider.accepted.get(), 1);
        given_up(1).await;
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

#[test]
fn a_stream_given_up_in_silence_makes_its_connection_suspected() {
    run(Provider::default(), None, |scene| async move {
        let mut stream = scene.send("/stream", &[]).await.unwrap();
        assert_eq!(next(&mut stream.body).await.unwrap().unwrap(), "data: 1\n\n");
        assert!(timeout(Duration::from_millis(50), scene.send("/freeze", &[])).await.is_err());
        scene.upstream.sweep();
        sleep(Duration::from_millis(1100)).await;
        scene.upstream.sweep();
        drop(stream);
        assert_eq!(all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await, b"x");
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}

/// G3: a provider that gives no window for a body is given up; a body that fits waits for the answer.
#[test]
fn a_body_that_is_not_read_has_a_deadline() {
    run(Provider::default(), None, |mut scene| async move {
        scene.target.write_timeout = Duration::from_millis(200);
        let fits = scene.send_within(Duration::from_millis(500), "/deaf", &["x"]).await.unwrap_err();
        assert!(matches!(fits.kind, FaultKind::Timeout(DeadlineKind::Total, _)), "{fits:?}");
        let fault = scene.send("/deaf", &["x".repeat(200_000).leak()]).await.unwrap_err();
        let kind = FaultKind::Timeout(DeadlineKind::Send, Duration::from_millis(200));
        assert_eq!((fault.stage, fault.kind, fault.sent), (Stage::Send, kind, Sent::Unknown));
    });
}

/// One connection at most, whose permit stays with it until its last stream ends.
fn with_one_connection(scene: &mut Scene) {
    let settings = PoolSettings { max_connections: 1, ..PoolSettings::default() };
    scene.upstream = Upstream::new(SharedPools::default(), settings, WorkerGauges::default());
    scene.target.pool_timeout = TEST_TIMEOUT / 2;
}

#[test]
fn requests_that_wait_for_a_permit_share_the_connection_once_it_is_open() {
    run(Provider::default(), None, |mut scene| async move {
        with_one_connection(&mut scene);
        let echo = async || all(&mut scene.send("/echo", &["x"]).await.unwrap().body).await;
        let (stream, one, two, three) = tokio::join!(scene.send("/stream", &[]), echo(), echo(), echo());
        assert_eq!([one, two, three], [b"x", b"x", b"x"]);
        assert_eq!(next(&mut stream.unwrap().body).await.unwrap().unwrap(), "data: 1\n\n");
        assert_eq!(scene.provider.accepted.get(), 1);
    });
}

#[test]
fn a_request_that_waits_for_a_permit_takes_the_place_of_a_stream_that_ended() {
    run(Provider { max_streams: Some(2), ..Provider::default() }, None, |mut scene| async move {
        with_one_connection(&mut scene);
        let first = scene.send("/stream", &[]).await.unwrap();
        let _second = scene.send("/stream", &[]).await.unwrap();
        let mut waiting = pin!(scene.send("/echo", &["x"]));
        let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(first);
        assert_eq!(all(&mut waiting.await.unwrap().body).await, b"x");
    });
}

/// The connection that takes it is not this request's own.
#[test]
fn a_refused_request_takes_room_on_a_connection_that_opens_meanwhile() {
    run(Provider { refusing_connection: Some(1), ..Provider::default() }, None, |mut scene| async move {
        let settings = PoolSettings { max_connections: 2, ..PoolSettings::default() };
        scene.upstream = Upstream::new(SharedPools::default(), settings, WorkerGauges::default());
        scene.target.pool_timeout = TEST_TIMEOUT / 2;
        let _running = scene.send("/stream", &[]).await.unwrap();
        let (slow, echo) = tokio::join!(scene.send("/slow", &["x"]), async {
            let answer = scene.send("/echo", &["x"]).await;
            scene.provider.go_on.notify_one();
            answer
        });
        assert_eq!(all(&mut echo.unwrap().body).await, b"x");
        slow.unwrap();
        assert_eq!(scene.provider.accepted.get(), 2);
    });
}
