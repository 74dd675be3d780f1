//! Events for subscribers as they happen (S3.7): rows of the ledger, changed statistics, and views of running
//! requests. A bounded bus: a
//! subscriber that does not keep up loses the oldest events and receives their number. Without subscribers
//! nothing is formatted and nothing is stored.
//!
//! Invariant: a subscriber with a key receives only that key's events; the operator receives all.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering, fence},
    },
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{
    Notify,
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    watch,
};

use super::running_feeds::{FeedScope, RunningFeeds};
use crate::base::gauge::{Gauge, GaugeGuard};

/// Events that wait for a subscriber; beyond it the oldest are dropped.
const MAX_WAITING: usize = 512;
/// Subscribers at once.
const MAX_SUBSCRIBERS: usize = 100;
/// Subscribers with the same key.
const MAX_PER_KEY: usize = 4;
/// Slots that are never given to a client's key, so that operators can always subscribe.
const OPERATOR_SLOTS: usize = 20;

/// The audience of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator alone.
    Operator,
    /// The key with this id, and the operator.
    Key(Arc<str>),
}

#[derive(Clone, Debug)]
enum BusMessage {
    /// An event in the format of SSE.
    Event(Owner, Bytes),
    /// An event of another replica, for subscribers to those of all. `None`: for each of them.
    Elsewhere(Option<Owner>, Bytes),
    /// No more events follow.
    End,
}

/// Clones share the bus.
#[derive(Clone, Debug)]
pub struct EventBus {
    /// Created for the first subscriber, because its buffer is a tenth of an idle gateway's heap.
    news: Arc<OnceLock<broadcast::Sender<BusMessage>>>,
    ended: Arc<AtomicBool>,
    slots: Arc<Mutex<SubscriberSlots>>,
    /// The name of this replica, in every event.
    instance: Arc<OnceLock<Box<str>>>,
    /// Subscribers to the events of all replicas, and the news of a further one.
    cluster: Gauge,
    subscribed: Arc<Notify>,
    /// Why events of other replicas are missing. `None`: they are not.
    missing: watch::Sender<Option<Arc<str>>>,
    /// The views of running requests.
    pub running: RunningFeeds,
}

/// Why other replicas' events are missing where nothing else is said.
const NO_REDIS: &str = "no Redis is configured";

impl Default for EventBus {
    fn default() -> Self {
        Self {
            news: Arc::default(),
            ended: Arc::default(),
            slots: Arc::default(),
            instance: Arc::default(),
            cluster: Gauge::default(),
            subscribed: Arc::default(),
            missing: watch::Sender::new(Some(NO_REDIS.into())),
            running: RunningFeeds::default(),
        }
    }
}

/// The slots in use.
#[derive(Debug, Default)]
struct SubscriberSlots {
    taken: usize,
    /// The slots of client keys; operators' are not among them.
    by_key: HashMap<Arc<str>, usize>,
}

/// One slot in use; free again when dropped.
#[derive(Debug)]
struct SubscriberSlot {
    slots: Arc<Mutex<SubscriberSlots>>,
    key: Option<Arc<str>>,
}

/// One subscription.
#[derive(Debug)]
pub struct Subscriber {
    news: broadcast::Receiver<BusMessage>,
    /// Its key limits which events the subscriber receives; no key: all.
    slot: SubscriberSlot,
    /// The bus had ended before the subscription.
    over: bool,
    /// `None`: to the events of this replica alone.
    cluster: Option<ClusterView>,
    /// The view of running requests. `None`: it is not asked for.
    running: Option<watch::Receiver<Bytes>>,
}

/// The part of a subscription to the events of all replicas.
#[derive(Debug)]
struct ClusterView {
    missing: watch::Receiver<Option<Arc<str>>>,
    instance: Box<str>,
    _counted: GaugeGuard,
}

/// The events of this replica, for other replicas. It takes no slot.
#[derive(Debug)]
pub struct EventTap(broadcast::Receiver<BusMessage>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TappedEvent {
    Event(Owner, Bytes),
    /// About this many events were dropped.
    Lost(u64),
}

/// One item that a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Event(Bytes),
    /// This many events were dropped.
    Lost(u64),
    End,
}

impl EventBus {
    #[must_use]
    pub fn has_subscribers(&self) -> bool {
        self.news.get().is_some_and(|news| news.receiver_count() > 0)
    }

    /// Names this replica, once.
    pub fn set_instance(&self, name: &str) {
        let _ = self.instance.set(name.into());
    }

    fn instance(&self) -> &str {
        self.instance.get().map_or("", |name| &**name)
    }

    /// Sends an event of this name; `data` is an object in one line, which gets the name of the replica.
    pub fn publish(&self, owner: Owner, name: &str, data: &str) {
        self.send(BusMessage::Event(owner, self.text(name, data)));
    }

    fn text(&self, name: &str, data: &str) -> Bytes {
        let instance = Value::from(self.instance());
        let rest = data.strip_prefix('{').unwrap_or(data);
        let comma = if rest == "}" { "" } else { "," };
        format!("event: {name}\ndata: {{\"instance\":{instance}{comma}{rest}\n\n").into()
    }

    /// Shows the running requests of a scope. A view in which nothing runs is shown once.
    pub fn publish_running(&self, scope: &FeedScope, is_empty: bool, data: impl FnOnce() -> String) {
        self.running.put(scope, is_empty, || self.text("running", &data()));
    }

    /// Sends an event of another replica, in the format of SSE.
    pub fn pass_on(&self, owner: Owner, event: Bytes) {
        self.send(BusMessage::Elsewhere(Some(owner), event));
    }

    /// So many events of another replica were lost.
    pub fn lose_elsewhere(&self, instance: &str, count: u64) {
        let data = json!({"instance": instance, "count": count});
        self.send(BusMessage::Elsewhere(None, format!("event: lost\ndata: {data}\n\n").into()));
    }

    /// Says why events of other replicas are missing. `None`: they are not.
    pub fn set_missing(&self, reason: Option<Arc<str>>) {
        self.missing.send_if_modified(|known| {
            let is_news = known.is_some() != reason.is_some();
            *known = reason;
            is_news
        });
    }

    #[must_use]
    pub fn has_cluster_subscribers(&self) -> bool {
        self.cluster.read() > 0
    }

    /// Returns when a subscriber to the events of all replicas has come. For one waiter.
    pub async fn cluster_subscribed(&self) {
        self.subscribed.notified().await;
    }

    /// The events of this replica from now on.
    #[must_use]
    pub fn tap(&self) -> EventTap {
        EventTap(self.news.get_or_init(|| broadcast::Sender::new(MAX_WAITING)).subscribe())
    }

    /// Ends all subscriptions, now and from now on.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        // Both sides write, then read: either the first subscriber sees `ended`, or `send` sees the
        // subscriber.
        fence(Ordering::SeqCst);
        self.send(BusMessage::End);
    }

    fn send(&self, news: BusMessage) {
        if let Some(bus) = self.news.get() {
            // An error means that there are no subscribers.
            let _ = bus.send(news);
        }
    }

    /// Subscribes; `key`: to the events of this key alone. `None`: too many subscribers.
    #[must_use]
    pub fn subscribe(&self, key: Option<Arc<str>>) -> Option<Subscriber> {
        let slot = SubscriberSlot::take(&self.slots, key)?;
        let news = self.news.get_or_init(|| broadcast::Sender::new(MAX_WAITING)).subscribe();
        // A subscriber that came after the end would wait for it for ever.
        fence(Ordering::SeqCst);
        let over = self.ended.load(Ordering::Relaxed);
        Some(Subscriber { news, slot, over, cluster: None, running: None })
    }

    /// The same, to the events of all replicas.
    #[must_use]
    pub fn subscribe_to_all(&self, key: Option<Arc<str>>) -> Option<Subscriber> {
        let subscriber = self.subscribe(key)?;
        let mut missing = self.missing.subscribe();
        // A subscriber begins with the present state.
        if missing.borrow().is_some() {
            missing.mark_changed();
        }
        let instance = self.instance().into();
        let view = ClusterView { missing, instance, _counted: self.cluster.hold() };
        self.subscribed.notify_one();
        Some(Subscriber { cluster: Some(view), ..subscriber })
    }

    /// The same subscriber, which also receives the views of running requests.
    #[must_use]
    pub fn with_running(&self, subscriber: Subscriber) -> Subscriber {
        let scope = FeedScope { key: subscriber.slot.key.clone(), of_all: subscriber.cluster.is_some() };
        let feed = self.running.subscribe(scope);
        Subscriber { running: Some(feed), ..subscriber }
    }
}

impl SubscriberSlot {
    /// `None`: too many with this key, or too many in total.
    fn take(slots: &Arc<Mutex<SubscriberSlots>>, key: Option<Arc<str>>) -> Option<Self> {
        let mut now = slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &key {
            let own = now.by_key.get(key).copied().unwrap_or(0);
            if own >= MAX_PER_KEY || now.by_key.values().sum::<usize>() >= MAX_SUBSCRIBERS - OPERATOR_SLOTS {
                return None;
            }
        }
        if now.taken >= MAX_SUBSCRIBERS {
            return None;
        }
        now.taken += 1;
        if let Some(key) = &key {
            *now.by_key.entry(Arc::clone(key)).or_default() += 1;
        }
        drop(now);
        Some(Self { slots: Arc::clone(slots), key })
    }
}

impl Drop for SubscriberSlot {
    fn drop(&mut self) {
        let mut now = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        now.taken -= 1;
        if let Some(key) = &self.key
            && let Some(own) = now.by_key.get_mut(key)
        {
            *own -= 1;
            if *own == 0 {
                now.by_key.remove(key);
            }
        }
    }
}

/// The next view of running requests, if they are asked for.
async fn next_view(feed: Option<&mut watch::Receiver<Bytes>>) -> Bytes {
    if let Some(feed) = feed
        && feed.changed().await.is_ok()
    {
        return feed.borrow_and_update().clone();
    }
    pending().await
}

impl ClusterView {
    /// The event that says whether other replicas' events are missing, when that changes.
    async fn changed(view: Option<&mut Self>) -> Delivery {
        if let Some(view) = view
            && view.missing.changed().await.is_ok()
        {
            return view.state();
        }
        pending().await
    }

    /// The event that says whether other replicas' events are missing, if that is news.
    fn news(&mut self) -> Option<Delivery> {
        self.missing.has_changed().ok().filter(|is_news| *is_news)?;
        Some(self.state())
    }

    fn state(&mut self) -> Delivery {
        let data = match &*self.missing.borrow_and_update() {
            Some(reason) => json!({"instance": self.instance, "others": "missing", "reason": &**reason}),
            None => json!({"instance": self.instance, "others": "present"}),
        };
        Delivery::Event(format!("event: replicas\ndata: {data}\n\n").into())
    }
}

impl EventTap {
    /// The next event, without waiting. `None`: none is there.
    pub fn try_next(&mut self) -> Option<TappedEvent> {
        loop {
            match self.0.try_recv() {
                Ok(BusMessage::Event(owner, event)) => return Some(TappedEvent::Event(owner, event)),
                Ok(BusMessage::Elsewhere(..) | BusMessage::End) => {}
                Err(TryRecvError::Lagged(count)) => return Some(TappedEvent::Lost(count)),
                Err(TryRecvError::Closed | TryRecvError::Empty) => return None,
            }
        }
    }
}

impl Subscriber {
    /// The next item for this subscriber. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Delivery {
        if self.over {
            return Delivery::End;
        }
        loop {
            let received = tokio::select! {
                biased;
                state = ClusterView::changed(self.cluster.as_mut()) => return state,
                event = next_view(self.running.as_mut()) => return Delivery::Event(event),
                received = self.news.recv() => received,
            };
            match received {
                Ok(message) => {
                    if let Some(delivery) = self.delivery(message) {
                        return delivery;
                    }
                }
                Err(RecvError::Closed) => return Delivery::End,
                Err(RecvError::Lagged(count)) => return Delivery::Lost(count),
            }
        }
    }

    /// The next item, without waiting. `None`: none is there yet.
    pub fn try_next(&mut self) -> Option<Delivery> {
        if let Some(news) = self.cluster.as_mut().and_then(ClusterView::news) {
            return Some(news);
        }
        if let Some(feed) = &mut self.running
            && feed.has_changed().is_ok_and(|is_news| is_news)
        {
            return Some(Delivery::Event(feed.borrow_and_update().clone()));
        }
        loop {
            match self.news.try_recv() {
                Ok(message) => {
                    if let Some(delivery) = self.delivery(message) {
                        return Some(delivery);
                    }
                }
                Err(TryRecvError::Closed) => return Some(Delivery::End),
                Err(TryRecvError::Lagged(count)) => return Some(Delivery::Lost(count)),
                Err(TryRecvError::Empty) => return None,
            }
        }
    }

    /// `None`: the message is not for this subscriber.
    fn delivery(&self, message: BusMessage) -> Option<Delivery> {
        match message {
            BusMessage::Event(owner, event) => self.may_see(&owner).then_some(Delivery::Event(event)),
            BusMessage::Elsewhere(owner, event) => {
                let is_for_this = owner.is_none_or(|owner| self.may_see(&owner));
                (self.cluster.is_some() && is_for_this).then_some(Delivery::Event(event))
            }
            BusMessage::End => Some(Delivery::End),
        }
    }

    fn may_see(&self, owner: &Owner) -> bool {
        match (&self.slot.key, owner) {
            (None, _) => true,
            (Some(own), Owner::Key(key)) => own == key,
            (Some(_), Owner::Operator) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sees_what_it_may() {
        let bus = EventBus::default();
        assert!(!bus.has_subscribers());
        let (mut all, mut own) = (bus.subscribe(None).unwrap(), bus.subscribe(Some("k1".into())).unwrap());
        for (owner, name) in
            [(Owner::Key("k1".into()), "a"), (Owner::Key("k2".into()), "b"), (Owner::Operator, "c")]
        {
            bus.publish(owner, name, "{}");
        }
        bus.end();
        let told = |watcher: &mut Subscriber| {
            let text = |told| match told {
                Delivery::Event(bytes) => String::from_utf8_lossy(&bytes)[7..8].to_owned(),
                Delivery::Lost(count) => count.to_string(),
                Delivery::End => ".".to_owned(),
            };
            std::iter::from_fn(|| watcher.try_next()).map(text).collect::<String>()
        };
        assert_eq!((told(&mut all).as_str(), told(&mut own).as_str()), ("abc.", "a."));
        assert!(bus.subscribe(None).unwrap().over);
    }

    #[test]
    fn who_does_not_keep_up_loses_the_oldest_and_is_told() {
        let bus = EventBus::default();
        let mut slow = bus.subscribe(None).unwrap();
        (0..MAX_WAITING + 7)
            .for_each(|number| bus.publish(Owner::Operator, "n", &format!("{{\"n\":{number}}}")));
        assert_eq!(slow.try_next(), Some(Delivery::Lost(7)));
        assert_eq!(
            slow.try_next(),
            Some(Delivery::Event("event: n\ndata: {\"instance\":\"\",\"n\":7}\n\n".into()))
        );
    }

    /// Events of other replicas come to subscribers to all alone, and to those that may see them.
    #[test]
    fn events_of_others_come_to_subscribers_to_all() {
        let bus = EventBus::default();
        bus.set_instance("one");
        bus.set_missing(None);
        let mut own = bus.subscribe(None).unwrap();
        let mut all = bus.subscribe_to_all(None).unwrap();
        let mut key = bus.subscribe_to_all(Some("k1".into())).unwrap();
        let mut tap = bus.tap();
        bus.publish(Owner::Operator, "n", "{}");
        bus.pass_on(Owner::Key("k1".into()), "event: row\n\n".into());
        bus.pass_on(Owner::Key("k2".into()), "event: row\n\n".into());
        bus.lose_elsewhere("two", 3);
        let count = |watcher: &mut Subscriber| std::iter::from_fn(|| watcher.try_next()).count();
        assert_eq!([&mut own, &mut all, &mut key].map(count), [1, 4, 2]);
        let published = Bytes::from("event: n\ndata: {\"instance\":\"one\"}\n\n");
        assert_eq!(tap.try_next(), Some(TappedEvent::Event(Owner::Operator, published)));
        assert_eq!(tap.try_next(), None);
    }

    #[test]
    fn missing_replicas_are_told_once() {
        let bus = EventBus::default();
        let mut late = bus.subscribe_to_all(None).unwrap();
        assert!(bus.has_cluster_subscribers());
        let mut told = || {
            let Some(Delivery::Event(event)) = late.try_next() else { return "" };
            assert!(late.try_next().is_none());
            let text = String::from_utf8_lossy(&event).into_owned();
            if text.contains("present") { "present" } else { "missing" }
        };
        assert_eq!([told(), told()], ["missing", ""]);
        bus.set_missing(Some("another reason".into()));
        assert_eq!(told(), "");
        bus.set_missing(None);
        assert_eq!([told(), told()], ["present", ""]);
        drop(late);
        assert!(!bus.has_cluster_subscribers());
    }

    /// However many watch with clients' keys, an operator finds a slot; and slots are free when they are
    /// left.
    #[test]
    fn clients_do_not_lock_operators_out() {
        let bus = EventBus::default();
        for _ in 0..2 {
            let many = |key: Option<Arc<str>>| {
                std::iter::from_fn(|| bus.subscribe(key.clone()))
                    .take(MAX_SUBSCRIBERS + 1)
                    .collect::<Vec<_>>()
            };
            let first = many(Some("k0".into()));
            assert_eq!(first.len(), MAX_PER_KEY);
            let others: Vec<_> =
                (1..MAX_SUBSCRIBERS).flat_map(|key| many(Some(key.to_string().into()))).collect();
            assert_eq!(first.len() + others.len(), MAX_SUBSCRIBERS - OPERATOR_SLOTS);
            assert_eq!(many(None).len(), OPERATOR_SLOTS);
        }
        let operators: Vec<_> = std::iter::from_fn(|| bus.subscribe(None)).collect();
        assert_eq!(operators.len(), MAX_SUBSCRIBERS);
        assert!(bus.subscribe(Some("k0".into())).is_none());
    }
}
