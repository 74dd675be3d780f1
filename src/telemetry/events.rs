//! What happens, as it happens, for whoever watches (S3.7): rows of the ledger and changed statistics. A bounded bus that
//! forgets the oldest for who does not keep up, and says how many. While nobody watches nothing is written.

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

/// News that wait for a watcher before the oldest are forgotten.
const WAITING: usize = 512;
/// Watchers at once; those with one key; and places that no client's key is given, so that operators find one.
const MOST: usize = 100;
const MOST_OF_A_KEY: usize = 4;
const KEPT: usize = 20;

/// Whose news it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator's alone.
    Operator,
    /// A key's, by its id, and the operator's.
    Key(Arc<str>),
}

#[derive(Clone, Debug)]
enum BusMessage {
    /// An event, written out.
    Event(Owner, Bytes),
    /// There will be no more.
    End,
}

/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct EventBus {
    /// Made for the first watcher: its room is a tenth of an idle gateway's heap.
    news: Arc<OnceLock<broadcast::Sender<BusMessage>>>,
    ended: Arc<AtomicBool>,
    places: Arc<Mutex<SubscriberSlots>>,
}

/// Who watches.
#[derive(Debug, Default)]
struct SubscriberSlots {
    taken: usize,
    /// Of these, by key; operators have none.
    by_key: HashMap<Arc<str>, usize>,
}

/// A place that is taken, and free again when dropped.
#[derive(Debug)]
struct SubscriberSlot {
    places: Arc<Mutex<SubscriberSlots>>,
    key: Option<Arc<str>>,
}

/// One who watches.
#[derive(Debug)]
pub struct Subscriber {
    news: broadcast::Receiver<BusMessage>,
    /// `None`: everything may be seen, else what is this key's.
    place: SubscriberSlot,
    /// There is nothing more to wait for.
    over: bool,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Event(Bytes),
    /// So many were forgotten.
    Lost(u64),
    End,
}

impl EventBus {
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.news.get().is_some_and(|news| news.receiver_count() > 0)
    }

    /// Tells an event of this name; `data` is one line.
    pub fn tell(&self, owner: Owner, name: &str, data: &str) {
        self.send(BusMessage::Event(owner, format!("event: {name}\ndata: {data}\n\n").into()));
    }

    /// Ends all watching.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        // Of two that write and then read, one sees the other: the first watcher finds this, or is found.
        fence(Ordering::SeqCst);
        self.send(BusMessage::End);
    }

    fn send(&self, news: BusMessage) {
        if let Some(bus) = self.news.get() {
            // That nobody listens is no error.
            let _ = bus.send(news);
        }
    }

    /// `None`: there are too many already.
    #[must_use]
    pub fn watch(&self, key: Option<Arc<str>>) -> Option<Subscriber> {
        let place = SubscriberSlot::take(&self.places, key)?;
        let news = self.news.get_or_init(|| broadcast::Sender::new(WAITING)).subscribe();
        // Who subscribed after the end would wait for it for ever.
        fence(Ordering::SeqCst);
        let over = self.ended.load(Ordering::Relaxed);
        Some(Subscriber { news, place, over })
    }
}

impl SubscriberSlot {
    /// `None`: there are too many with this key, or too many in all.
    fn take(places: &Arc<Mutex<SubscriberSlots>>, key: Option<Arc<str>>) -> Option<Self> {
        let mut now = places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &key {
            let own = now.by_key.get(key).copied().unwrap_or(0);
            if own >= MOST_OF_A_KEY || now.by_key.values().sum::<usize>() >= MOST - KEPT {
                return None;
            }
        }
        if now.taken >= MOST {
            return None;
        }
        now.taken += 1;
        if let Some(key) = &key {
            *now.by_key.entry(Arc::clone(key)).or_default() += 1;
        }
        drop(now);
        Some(Self { places: Arc::clone(places), key })
    }
}

impl Drop for SubscriberSlot {
    fn drop(&mut self) {
        let mut now = self.places.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// The next thing that this watcher may know. Dropping the future loses nothing.
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

    /// The same without waiting.
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
        match (&self.place.key, owner) {
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
        assert!(!bus.is_watched());
        let (mut all, mut own) = (bus.watch(None).unwrap(), bus.watch(Some("k1".into())).unwrap());
        for (owner, name) in
            [(Owner::Key("k1".into()), "a"), (Owner::Key("k2".into()), "b"), (Owner::Operator, "c")]
        {
            bus.tell(owner, name, "{}");
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
        assert!(bus.watch(None).unwrap().over);
    }

    #[test]
    fn who_does_not_keep_up_loses_the_oldest_and_is_told() {
        let bus = EventBus::default();
        let mut slow = bus.watch(None).unwrap();
        (0..WAITING + 7).for_each(|number| bus.tell(Owner::Operator, "n", &number.to_string()));
        assert_eq!(slow.try_next(), Some(Delivery::Lost(7)));
        assert_eq!(slow.try_next(), Some(Delivery::Event("event: n\ndata: 7\n\n".into())));
    }

    /// However many watch with clients' keys, an operator finds a place; and places are free when they are left.
    #[test]
    fn clients_do_not_lock_operators_out() {
        let bus = EventBus::default();
        for _ in 0..2 {
            let many = |key: Option<Arc<str>>| {
                std::iter::from_fn(|| bus.watch(key.clone())).take(MOST + 1).collect::<Vec<_>>()
            };
            let first = many(Some("k0".into()));
            assert_eq!(first.len(), MOST_OF_A_KEY);
            let others: Vec<_> = (1..MOST).flat_map(|key| many(Some(key.to_string().into()))).collect();
            assert_eq!(first.len() + others.len(), MOST - KEPT);
            assert_eq!(many(None).len(), KEPT);
        }
        let operators: Vec<_> = std::iter::from_fn(|| bus.watch(None)).collect();
        assert_eq!(operators.len(), MOST);
        assert!(bus.watch(Some("k0".into())).is_none());
    }
}
