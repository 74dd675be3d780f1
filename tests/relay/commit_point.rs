//! The commit point: at which frame a stream is committed, and an error event just before and after it (B5).

use std::{future::Future, time::Duration};

use thalweg::relay::CommitPoint;

use crate::{
    client::{Answer, Call, Version},
    gateway::Plan,
    journal,
    upstream::{
        Gate, Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

const ERROR_EVENT: &str =
    "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";

/// Waits for the head of the answer, which must not come before these gates are open, opened one after
/// another.
async fn behind(gates: &[Gate], answer: impl Future<Output = Answer>) -> Answer {
    let mut answer = std::pin::pin!(answer);
    for (open, gate) in gates.iter().enumerate() {
        let early = tokio::time::timeout(Duration::from_millis(50), &mut answer).await;
        assert!(early.is_err(), "it came with {open} gates open: {early:?}");
        gate.open();
    }
    answer.await
}

/// B5, S0.14: a stream is committed where the configuration says, and no byte held until then is lost.
#[tokio::test]
async fn commit_points() {
    let comment = ": wait\n\n";
    for (point, expected) in
        [(CommitPoint::Headers, 0), (CommitPoint::FirstFrame, 1), (CommitPoint::FirstContent, 2)]
    {
        for version in Version::BOTH {
            let gates = [Gate::new(), Gate::new(), Gate::new()];
            let [first, second, third] = gates.clone().map(Step::Wait);
            let (content, done) = (Step::Body(delta("one")), script::body(script::DONE));
            let steps =
                vec![sse_head(), first, script::body(comment), second, content, third, done, Step::End];
            let upstream = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&upstream]).with(|s| s.stream.commit = Some(point)).start().await;
            let mut client = gateway.client(version).await;
            let answer = behind(&gates[..expected], client.send(Call::stream())).await;
            assert_eq!(answer.status, 200, "{point:?} {version:?}");
            gates.iter().for_each(Gate::open);
            let received = answer.collect().await;
            assert!(received.complete);
            assert_eq!(received.bytes(), [comment.as_bytes(), &delta("one"), script::DONE].concat());
            drop(client);
            gateway.stop().await;
        }
    }
}

/// B5, S2.12: an error event before the first content becomes a status if the client has seen nothing, else
/// it passes.
#[tokio::test]
async fn an_error_event_around_the_commit_point() {
    for (point, status) in
        [(CommitPoint::Headers, 200), (CommitPoint::FirstFrame, 200), (CommitPoint::FirstContent, 502)]
    {
        let upstream = Upstream::always(Speaks::H1, vec![sse_head(), script::body(ERROR_EVENT), Step::End]);
        let gateway = Plan::to(&[&upstream]).with(|s| s.stream.commit = Some(point)).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::stream();
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!(answer.status, status, "{point:?}");
        let received = answer.collect().await;
        assert!(received.complete);
        assert_eq!(received.bytes() == ERROR_EVENT, status == 200, "{}", received.text());
        let line = journal::closing(&id).await;
        assert_eq!((&line["level"], &line["status"]), (&"WARN".into(), &status.into()), "{line}");
        drop(client);
        gateway.stop().await;
    }
}
