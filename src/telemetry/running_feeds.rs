//! The view of running requests on its way to subscribers: the last one of each scope, for all of its
//! subscribers together. A subscriber that does not keep up is given the newest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

/// The requests that a view is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeedScope {
    /// Of this key's id. `None`: of all keys, for the operator.
    pub key: Option<Arc<str>>,
    /// Also those of the other replicas.
    pub of_all: bool,
}

/// Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RunningFeeds(Arc<FeedTable>);

/// One scope's.
#[derive(Debug, Default)]
struct RunningFeed {
    events: watch::Sender<Bytes>,
    /// Nothing runs in the last one.
    is_empty: bool,
}

#[derive(Debug, Default)]
struct FeedTable {
    feeds: Mutex<HashMap<FeedScope, RunningFeed>>,
    subscribed: Notify,
}

impl RunningFeeds {
    pub(super) fn subscribe(&self, scope: FeedScope) -> watch::Receiver<Bytes> {
        let mut feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = feeds.entry(scope).or_default();
        if feed.events.receiver_count() == 0 {
            // A view that earlier subscribers were shown is old.
            *feed = RunningFeed::default();
        }
        let mut feed = feed.events.subscribe();
        drop(feeds);
        if !feed.borrow().is_empty() {
            feed.mark_changed();
        }
        self.0.subscribed.notify_one();
        feed
    }

    /// The scopes that have subscribers. The others are forgotten.
    #[must_use]
    pub fn scopes(&self) -> Arc<[FeedScope]> {
        let mut feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|_, feed| feed.events.receiver_count() > 0);
        feeds.keys().cloned().collect()
    }

    /// The keys of views that are wanted of the other replicas, too.
    #[must_use]
    pub fn keys_of_all(&self) -> Vec<Option<Arc<str>>> {
        let feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = feeds.iter().filter(|(scope, feed)| scope.of_all && feed.events.receiver_count() > 0);
        wanted.map(|(scope, _)| scope.key.clone()).collect()
    }

    #[must_use]
    pub fn has_readers_of_all(&self) -> bool {
        !self.keys_of_all().is_empty()
    }

    /// Returns when a subscriber has come. For one waiter.
    pub async fn subscribed(&self) {
        self.0.subscribed.notified().await;
    }

    /// Shows `event`. One in which nothing runs (`is_empty`) is not shown twice.
    pub(super) fn put(&self, scope: &FeedScope, is_empty: bool, event: impl FnOnce() -> Bytes) {
        let mut feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(feed) = feeds.get_mut(scope) else { return };
        if !is_empty || !std::mem::replace(&mut feed.is_empty, true) {
            feed.is_empty = is_empty;
            feed.events.send_replace(event());
        }
    }
}
