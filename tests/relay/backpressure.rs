//! A client that reads more slowly than its provider sends: a bounded number of bytes is held, then the
//! provider waits; no byte is lost (B9, R26).

use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg::relay::Mode;

use crate::{
    client::{Call, Raw, Version, chunked},
    gateway::Plan,
    journal,
    upstream::{Speaks, Step, Upstream, script::sse_head},
};

/// 32 MiB of events of 1 KiB each.
fn flood() -> Bytes {
    let event = [&b"data: "[..], &[b'x'; 1016], b"\n\n"].concat();
    event.repeat(32 << 10).into()
}

/// B9, R26: the provider can send a bounded number of bytes while the client does not read; later all of them
/// arrive.
#[tokio::test]
async fn the_provider_waits_for_the_client() {
    // This includes the kernel's buffers of the gateway's two sockets; the listener bounds the unsent bytes
    // of the client's.
    const BOUND: u64 = 2 << 20;
    for speaks in [Speaks::H1, Speaks::H2] {
        for mode in [Mode::Asgi, Mode::Buffered] {
            let steps = vec![sse_head(), Step::Body(flood()), Step::End];
            let upstream = Upstream::start(speaks, None, Some(16 << 10), move |_, _| steps.clone());
            let gateway = Plan::to(&[&upstream]).with(|settings| settings.stream.mode = mode).start().await;
            let mut client = Raw::connect_small(gateway.address, 16 << 10).await;
            client.send(Call::stream().wire()).await;
            let head = client.head().await;
            assert_eq!(head.status, 200);
            let taken = upstream.settled().await;
            assert!(
                taken < BOUND,
                "{taken} bytes were taken for a reader that does not read: {speaks:?} {mode:?}"
            );
            while client.unread().len() < 1 << 20 {
                assert!(client.fill().await, "the stream goes on when the reader does");
            }
            let (chunks, _) = chunked::decode(client.unread()).unwrap();
            assert!(flood().starts_with(&chunks.concat()), "nothing was lost in waiting");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// R26: the same on HTTP/2, where the client's flow control windows are the bound.
#[tokio::test]
async fn the_provider_waits_for_the_http2_window() {
    for speaks in [Speaks::H1, Speaks::H2] {
        let steps = vec![sse_head(), Step::Body(flood()), Step::End];
        let upstream = Upstream::start(speaks, None, Some(16 << 10), move |_, _| steps.clone());
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H2).await;
        let answer = client.send(Call::stream()).await;
        let taken = upstream.settled().await;
        // hyper's client opens windows of 2 MiB.
        assert!(taken < 12 << 20, "{taken} bytes were taken: {speaks:?}");
        drop((answer, client));
        gateway.stop().await;
    }
}

/// B9: a client that does not read at all is disconnected after the write timeout, and its provider too.
#[tokio::test]
async fn a_client_that_never_reads_is_disconnected() {
    let short = Duration::from_millis(100);
    let steps = vec![sse_head(), Step::Body(flood()), Step::End];
    let upstream = Upstream::start(Speaks::H1, None, Some(16 << 10), move |_, _| steps.clone());
    let plan = Plan::to(&[&upstream]).with(|settings| settings.limits.write_timeout = short);
    let gateway = plan.start().await;
    let mut client = Raw::connect_small(gateway.address, 16 << 10).await;
    let call = Call::stream();
    client.send(call.wire()).await;
    client.head().await;
    let started = Instant::now();
    upstream.log.gone(0).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let line = journal::closing(&call.id()).await;
    assert_eq!((&line["message"], &line["code"]), (&"cut".into(), &"client_write_timeout".into()), "{line}");
    assert_eq!((&line["phase"], &line["status"]), (&"mid_stream".into(), &200.into()), "{line}");
    drop(client);
    gateway.stop().await;
}

/// B9: the same for one stream of an HTTP/2 connection; the connection goes on.
#[tokio::test]
async fn an_unread_http2_stream_is_reset_alone() {
    let steps = vec![sse_head(), Step::Body(flood()), Step::End];
    let upstream = Upstream::start(Speaks::H1, None, Some(16 << 10), move |_, _| steps.clone());
    let plan = Plan::to(&[&upstream]).with(|s| s.limits.write_timeout = Duration::from_millis(100));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H2).await;
    let call = Call::stream();
    let id = call.id();
    let unread = client.send(call).await;
    let line = journal::closing(&id).await;
    assert_eq!((&line["message"], &line["code"]), (&"cut".into(), &"client_write_timeout".into()), "{line}");
    upstream.log.gone(0).await;
    assert_eq!(client.send(Call::get("/livez")).await.status, 200);
    drop((unread, client));
    gateway.stop().await;
}

/// B9: a client that reads slowly is served: each progress re-arms the write timeout.
#[tokio::test]
async fn a_slow_reader_is_served() {
    let steps = vec![sse_head(), Step::Body(flood().slice(..1 << 20)), Step::End];
    let upstream = Upstream::start(Speaks::H1, None, Some(16 << 10), move |_, _| steps.clone());
    let plan = Plan::to(&[&upstream]).with(|s| s.limits.write_timeout = Duration::from_millis(200));
    let gateway = plan.start().await;
    let mut client = Raw::connect_small(gateway.address, 16 << 10).await;
    client.send(Call::stream().wire()).await;
    let head = client.head().await;
    while client.unread().len() < 800 << 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(client.fill().await, "cut off after {}", client.unread().len());
    }
    let body = client.body(&head).await;
    assert_eq!(body.len(), 1 << 20);
    drop(client);
    gateway.stop().await;
}
