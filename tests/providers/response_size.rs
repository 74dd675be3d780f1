//! Responses beyond their limits: a document in total, a stream by its line (S2.9, R9).

use bytes::Bytes;

use crate::{
    client::{Call, Version},
    gateway::Plan,
    providers::broken_responses::{ClientOutcome, read_outcome},
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

/// S2.9: a document that is too large is stopped: a 502 by its declared length, cut short by its bytes.
#[tokio::test]
async fn a_document_too_large() {
    let large = Bytes::from(vec![b' '; 100 << 10]);
    let head = |framing| script::head(200, "application/json", framing);
    for (framing, expected) in [
        (Framing::Length(large.len() as u64), &[ClientOutcome::Status(502)][..]),
        (Framing::Chunked, &[ClientOutcome::Status(502), ClientOutcome::Truncated]),
        (Framing::UntilClose, &[ClientOutcome::Status(502), ClientOutcome::Truncated]),
    ] {
        for version in Version::BOTH {
            let steps = vec![head(framing), Step::Body(large.clone()), Step::End];
            let upstream = Upstream::always(Speaks::H1, steps);
            let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.max_response_size = 64 << 10);
            let gateway = plan.start().await;
            let mut client = gateway.client(version).await;
            let (told, bytes) = read_outcome("too large", client.send(Call::whole()).await).await;
            assert!(expected.contains(&told), "{framing:?}: {told:?}");
            assert!(bytes.len() <= 64 << 10, "{}", bytes.len());
            drop(client);
            gateway.stop().await;
        }
    }
}

/// S2.9: a declared length beyond the limit is refused without waiting for the body.
#[tokio::test]
async fn a_declared_length_is_enough() {
    let steps = vec![script::head(200, "application/json", Framing::Length(100 << 10)), Step::Stall];
    let upstream = Upstream::always(Speaks::H1, steps);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.max_response_size = 64 << 10);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::BOTH[0]).await;
    let (told, _) = read_outcome("declared too large", client.send(Call::whole()).await).await;
    assert_eq!(told, ClientOutcome::Status(502));
    drop(client);
    gateway.stop().await;
}

/// Streams are bounded by line, not in total (S2.9, R9).
#[tokio::test]
async fn a_long_stream_is_not_too_large() {
    let events: Vec<_> = (0..2000).map(|number| delta(&number.to_string())).collect();
    let upstream = Upstream::always(Speaks::H1, script::sse(events.concat()));
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.stream.max_response_size = 64 << 10;
        settings.stream.max_line = 64 << 10;
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::stream()).await.collect().await.bytes(), events.concat());
    drop(client);
    gateway.stop().await;
}
