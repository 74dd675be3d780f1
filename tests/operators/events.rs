//! `/events`: rows and sums as they happen, to each key its own (S3.7).

use serde_json::Value;

use crate::operators::statistics::{ADMIN, plan};
use crate::{
    client::{Answer, Call, Version},
    upstream::{Speaks, Upstream, script},
};

/// The data of the next event of this name.
pub async fn next(feed: &mut Answer, rest: &mut String, name: &str) -> Value {
    loop {
        while let Some((event, after)) = rest.split_once("\n\n") {
            let (event, after) = (event.to_owned(), after.to_owned());
            *rest = after;
            if let Some(data) = event.strip_prefix(&format!("event: {name}\ndata: ")) {
                return serde_json::from_str(data).unwrap();
            }
        }
        rest.push_str(std::str::from_utf8(&feed.piece().await).unwrap());
    }
}

#[tokio::test]
async fn rows_and_sums_arrive_as_they_happen() {
    for version in Version::BOTH {
        let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
        let gateway = plan(&[&upstream]).start().await;
        let (mut watching, mut asking) = (gateway.client(version).await, gateway.client(version).await);
        let call = Call::get("/events").header("authorization", &format!("Bearer {ADMIN}"));
        let mut feed = watching.send(call).await;
        assert_eq!((feed.status.as_u16(), feed.header("content-type")), (200, "text/event-stream"));
        let mut rest = String::new();
        let call = Call::whole();
        let id = call.id();
        assert!(asking.send(call).await.collect().await.complete);
        let row = next(&mut feed, &mut rest, "row").await;
        assert_eq!((&row["request_id"], &row["status"]), (&id.as_str().into(), &200.into()), "{row}");
        assert_eq!((&row["principal"], &row["provider"]), (&"tests".into(), &"p0".into()), "{row}");
        assert_eq!(row["id"].as_str().map(str::len), Some(36), "{row}");
        let sums = next(&mut feed, &mut rest, "stats").await;
        assert!(sums["requests"].as_u64() >= Some(1), "{sums}");
        drop(asking);
        // A stop ends the feed, which would outlast the drain otherwise.
        let ended = tokio::spawn(async move { feed.collect().await.complete });
        gateway.stop_now().await;
        assert!(ended.await.unwrap());
        drop(watching);
    }
}

/// A key sees its own rows and no sums; without a key there is no feed.
#[tokio::test]
async fn each_key_sees_its_own_rows() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = plan(&[&upstream]).start().await;
    let (mut watching, mut asking) = (gateway.client(Version::H1).await, gateway.client(Version::H1).await);
    assert_eq!(asking.send(Call::get("/events").without("authorization")).await.status, 401);
    assert_eq!(asking.send(Call::post("/events", "{}")).await.status, 405);
    let mut feed = watching.send(Call::get("/events")).await;
    let mut rest = String::new();
    let others = Call::whole().header("authorization", &format!("Bearer {ADMIN}"));
    assert!(asking.send(others).await.collect().await.complete);
    let own = Call::whole();
    let id = own.id();
    assert!(asking.send(own).await.collect().await.complete);
    let row = next(&mut feed, &mut rest, "row").await;
    assert_eq!(row["request_id"], id.as_str(), "{row}");
    assert!(!rest.contains("event: stats"));
    drop((feed, watching, asking));
    gateway.stop().await;
}
