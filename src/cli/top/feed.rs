//! The subscription to a gateway's events. After a break it begins again, later each time up to
//! [`MAX_WAIT`], and says why it broke.

use std::future::poll_fn;

use http::Method;
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc::Sender,
    time::{Duration, sleep, timeout},
};

use super::view::{EndedRequest, LostEvents, TopSums, TopView};
use crate::{
    base::{ByteList, DeadlineKind, HeaderFields},
    cli::destination::error_message,
    telemetry::WorkerGauges,
    upstream::{Deadline, PoolSettings, Request, SharedPools, Target, Upstream},
    wire::{Event, Scanner},
};

/// The requests of the asked gateway, which come at once.
pub(super) const OF_ONE: &str = "/events?running=true";
/// Also those of the other replicas, which come within three seconds.
pub(super) const OF_ALL: &str = "/events?running=true&scope=cluster";
/// For the head of the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A gateway sends a comment every fifteen seconds.
const MAX_SILENCE: Duration = Duration::from_secs(40);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(15);
/// Bytes of an event.
const MAX_EVENT: usize = 1 << 20;

#[derive(Debug)]
pub(super) enum FeedNews {
    /// The gateway answers.
    Live,
    View(TopView),
    Sums(TopSums),
    Ended(EndedRequest),
    /// So many events were lost.
    Lost(u64),
    /// The gateway does not answer; it is asked again after this time.
    Away {
        reason: String,
        again: Duration,
    },
    /// The gateway does not want to: asking again would not help.
    Refused(String),
}

/// How a subscription ended.
enum FeedEnd {
    /// The receiver of news has gone.
    Unwanted,
    Broken {
        reason: String,
        was_live: bool,
    },
    Refused(String),
}

/// Follows the events until the receiver has gone or the gateway refuses.
pub(super) async fn follow(target: Target, path: &'static str, news: Sender<FeedNews>) {
    let mut wait = FIRST_WAIT;
    loop {
        let (reason, was_live) = match subscribe(&target, path, &news).await {
            FeedEnd::Unwanted => return,
            FeedEnd::Broken { reason, was_live } => (reason, was_live),
            FeedEnd::Refused(reason) => {
                // An error means that the receiver has gone.
                let _ = news.send(FeedNews::Refused(reason)).await;
                return;
            }
        };
        wait = if was_live { FIRST_WAIT } else { wait };
        if news.send(FeedNews::Away { reason, again: wait }).await.is_err() {
            return;
        }
        sleep(wait).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}

async fn subscribe(target: &Target, path: &str, news: &Sender<FeedNews>) -> FeedEnd {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let headers = HeaderFields::new();
    let accept = "text/event-stream";
    let request = Request { method: Method::GET, path, headers: &headers, accept, content_type: &[] };
    let deadline = Deadline::new(DeadlineKind::FirstToken, CONNECT_TIMEOUT);
    let mut response = match upstream.send(target, &request, ByteList::new(), deadline).await {
        Ok(response) => response,
        Err(fault) => return broken(format!("{}: {fault}", target.base), false),
    };
    match response.status.as_u16() {
        200 => {}
        // A gateway that starts, stops, or has too many watchers.
        429 | 500.. => return broken(error_message(response).await, false),
        _ => return FeedEnd::Refused(error_message(response).await),
    }
    if news.send(FeedNews::Live).await.is_err() {
        return FeedEnd::Unwanted;
    }
    let mut scanner = Scanner::of_whole_events(MAX_EVENT);
    loop {
        let frame = match timeout(MAX_SILENCE, poll_fn(|cx| response.body.poll_frame(cx))).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(fault))) => return broken(fault.to_string(), true),
            Ok(None) => return broken("the gateway has ended the events".to_owned(), true),
            Err(_) => return broken("the gateway is silent".to_owned(), true),
        };
        let mut found = Vec::new();
        if let Err(error) = scanner.scan(&frame, |event| found.extend(read(&event))) {
            return broken(error.to_string(), true);
        }
        for one in found {
            if news.send(one).await.is_err() {
                return FeedEnd::Unwanted;
            }
        }
    }
}

const fn broken(reason: String, was_live: bool) -> FeedEnd {
    FeedEnd::Broken { reason, was_live }
}

/// `None`: an event of another kind, or of another version of the gateway.
fn read(event: &Event<'_>) -> Option<FeedNews> {
    fn of<T: DeserializeOwned>(data: &[u8]) -> Option<T> {
        serde_json::from_slice(data).ok()
    }
    let data = event.data?;
    match event.name? {
        b"running" => of(data).map(FeedNews::View),
        b"stats" => of(data).map(FeedNews::Sums),
        b"row" => of(data).map(FeedNews::Ended),
        b"lost" => of(data).map(|LostEvents { count }| FeedNews::Lost(count)),
        _ => None,
    }
}
