//! The test rig tested without a gateway: a client reads exactly the bytes that the upstream writes, and the
//! upstream reports exactly how the client left.

use std::time::Duration;

use super::{Gate, How, Speaks, Step, Upstream, script};
use crate::client::{Call, Client, Raw, Version};

const PAIRS: [(Speaks, Version); 2] = [(Speaks::H1, Version::H1), (Speaks::H2, Version::H2)];

#[tokio::test]
async fn plays_a_stream_piece_by_piece() {
    for (speaks, version) in PAIRS {
        let pieces = [script::delta("a"), script::delta("b"), script::DONE.into()];
        let upstream = Upstream::always(speaks, script::sse_pieces(pieces.clone()));
        let mut client = Client::connect(version, upstream.address).await.telling(&upstream.log);
        for _ in 0..2 {
            let answer = client.send(Call::stream()).await;
            assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
            let received = answer.collect().await;
            assert!(received.complete);
            assert_eq!(received.frames, pieces, "each write is a read");
        }
        assert_eq!((upstream.log.connections(), upstream.log.requests()), (1, 2));
        assert_eq!(upstream.log.request(0).await.json()["stream"], true);
    }
}

#[tokio::test]
async fn sees_the_client_disconnect() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, vec![script::sse_head(), script::body("x"), Step::Stall]);
        let mut client = Client::connect(version, upstream.address).await;
        let mut answer = client.send(Call::stream()).await;
        answer.piece().await;
        drop((answer, client));
        let (how, _) = upstream.log.gone(0).await;
        assert!(matches!(how, How::Closed | How::Reset | How::Stream(_)), "{how:?}");
    }
}

#[tokio::test]
async fn breaks_in_every_way() {
    for (speaks, version) in PAIRS {
        for last in [Step::Reset, Step::Close] {
            let gate = Gate::new();
            let steps = vec![script::sse_head(), script::body("x"), Step::Wait(gate.clone()), last];
            let upstream = Upstream::always(speaks, steps);
            let mut client = Client::connect(version, upstream.address).await;
            let mut answer = client.send(Call::stream()).await;
            assert_eq!(answer.piece().await, "x");
            assert!(answer.silent(Duration::from_millis(1)).await);
            gate.open();
            assert!(!answer.collect().await.complete);
        }
    }
}

#[tokio::test]
async fn counts_what_a_full_socket_takes() {
    let flood = vec![script::sse_head(), script::body(vec![b'x'; 8 << 20]), Step::End];
    let upstream = Upstream::start(Speaks::H1, None, Some(16 << 10), move |_, _| flood.clone());
    let mut client = Raw::connect_small(upstream.address, 16 << 10).await;
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    client.head().await;
    let written = upstream.settled().await;
    assert!(written > 0 && written < 1 << 20, "{written}");
}
