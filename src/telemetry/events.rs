//! Events for subscribers as they happen (S3.7): rows of the ledger and changed statistics. A bounded bus: a
//! subscriber that does not keep up loses the oldest events and receives their number. Without subscribers
//! nothing is formatted and nothing is stored.
//!
//! Invariant: a subscriber with a key receives only that key's events; the operator receives all.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering, fence},
    },
};

use bytes::Bytes;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

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
    /// No more events follow.
    End,
}

/// Clones share the bus.
#[derive(Clone, Debug, Default)]
pub struct EventBus {
    /// Created for the first subscriber, because its buffer is a tenth of an idle gateway's heap.
    news: Arc<OnceLock<broadcast::Sender<BusMessage>>>,
    ended: Arc<AtomicBool>,
    slots: Arc<Mutex<SubscriberSlots>>,
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

    /// Sends an event of this name; `data` is one line.
    pub fn publish(&self, owner: Owner, name: &str, data: &str) {
        self.send(BusMessage::Event(owner, format!("event: {name}\ndata: {data}\n\n").into()));
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
        Some(Subscriber { news, slot, over })
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

impl Subscriber {
    /// The next item for this subscriber. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Delivery {
        if self.over {
            return Delivery::End;
        }
        loop {
            match self.news.recv().await {
                Ok(BusMessage::Event(owner, event)) if self.may_see(&owner) => return Delivery::Event(event),
                Ok(BusMessage::Event(..)) => {}
                Ok(BusMessage::End) | Err(RecvError::Closed) => return Delivery::End,
                Err(RecvError::Lagged(count)) => return Delivery::Lost(count),
            }
        }
    }

    /// The next item, without waiting. `None`: none is there yet.
    pub fn try_next(&mut self) -> Option<Delivery> {
        loop {
            match self.news.try_recv() {
                Ok(BusMessage::Event(owner, event)) if self.may_see(&owner) => {
                    return Some(Delivery::Event(event));
                }
                Ok(BusMessage::Event(..)) => {}
                Ok(BusMessage::End) | Err(TryRecvError::Closed) => return Some(Delivery::End),
                Err(TryRecvError::Lagged(count)) => return Some(Delivery::Lost(count)),
                Err(TryRecvError::Empty) => return None,
            }
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
        (0..MAX_WAITING + 7).for_each(|number| bus.publish(Owner::Operator, "n", &number.to_string()));
        assert_eq!(slow.try_next(), Some(Delivery::Lost(7)));
        assert_eq!(slow.try_next(), Some(Delivery::Event("event: n\ndata: 7\n\n".into())));
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
