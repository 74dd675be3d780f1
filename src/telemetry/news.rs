//! What happens, as it happens, for whoever watches (S3.7): rows of the ledger and changed statistics. A bounded bus that
//! forgets the oldest for who does not keep up, and says how many. While nobody watches nothing is written.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

/// News that wait for a watcher before the oldest are forgotten.
const WAITING: usize = 512;
/// Watchers at once.
const MOST: usize = 100;

/// Whose news it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator's alone.
    Operator,
    /// A key's, by its id, and the operator's.
    Key(Arc<str>),
}

#[derive(Clone, Debug)]
enum News {
    /// An event, written out.
    Event(Owner, Bytes),
    /// There will be no more.
    End,
}

/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Bus {
    news: broadcast::Sender<News>,
    ended: Arc<AtomicBool>,
}

impl Default for Bus {
    fn default() -> Self {
        Self { news: broadcast::Sender::new(WAITING), ended: Arc::default() }
    }
}

/// One who watches.
#[derive(Debug)]
pub struct Watcher {
    news: broadcast::Receiver<News>,
    /// `None`: everything may be seen, else what is this key's.
    key: Option<Arc<str>>,
    /// There is nothing more to wait for.
    over: bool,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Event(Bytes),
    /// So many were forgotten.
    Lost(u64),
    End,
}

impl Bus {
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Tells an event of this name; `data` is one line.
    pub fn tell(&self, owner: Owner, name: &str, data: &str) {
        // That nobody listens is no error.
        let _ = self.news.send(News::Event(owner, format!("event: {name}\ndata: {data}\n\n").into()));
    }

    /// Ends all watching.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        let _ = self.news.send(News::End);
    }

    /// `None`: there are too many already.
    #[must_use]
    pub fn watch(&self, key: Option<Arc<str>>) -> Option<Watcher> {
        let is_full = self.news.receiver_count() >= MOST;
        let news = self.news.subscribe();
        // Who subscribed after the end would wait for it for ever.
        let over = self.ended.load(Ordering::Acquire);
        (!is_full).then_some(Watcher { news, key, over })
    }
}

impl Watcher {
    /// The next thing that this watcher may know. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Told {
        if self.over {
            return Told::End;
        }
        loop {
            match self.news.recv().await {
                Ok(News::Event(owner, event)) if self.may_see(&owner) => return Told::Event(event),
                Ok(News::Event(..)) => {}
                Ok(News::End) | Err(RecvError::Closed) => return Told::End,
                Err(RecvError::Lagged(count)) => return Told::Lost(count),
            }
        }
    }

    /// The same without waiting.
    pub fn try_next(&mut self) -> Option<Told> {
        loop {
            match self.news.try_recv() {
                Ok(News::Event(owner, event)) if self.may_see(&owner) => return Some(Told::Event(event)),
                Ok(News::Event(..)) => {}
                Ok(News::End) | Err(TryRecvError::Closed) => return Some(Told::End),
                Err(TryRecvError::Lagged(count)) => return Some(Told::Lost(count)),
                Err(TryRecvError::Empty) => return None,
            }
        }
    }

    fn may_see(&self, owner: &Owner) -> bool {
        match (&self.key, owner) {
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
        let bus = Bus::default();
        assert!(!bus.is_watched());
        let (mut all, mut own) = (bus.watch(None).unwrap(), bus.watch(Some("k1".into())).unwrap());
        for (owner, name) in
            [(Owner::Key("k1".into()), "a"), (Owner::Key("k2".into()), "b"), (Owner::Operator, "c")]
        {
            bus.tell(owner, name, "{}");
        }
        bus.end();
        let told = |watcher: &mut Watcher| {
            let text = |told| match told {
                Told::Event(bytes) => String::from_utf8_lossy(&bytes)[7..8].to_owned(),
                Told::Lost(count) => count.to_string(),
                Told::End => ".".to_owned(),
            };
            std::iter::from_fn(|| watcher.try_next()).map(text).collect::<String>()
        };
        assert_eq!((told(&mut all).as_str(), told(&mut own).as_str()), ("abc.", "a."));
        assert!(bus.watch(None).unwrap().over);
    }

    #[test]
    fn who_does_not_keep_up_loses_the_oldest_and_is_told() {
        let bus = Bus::default();
        let mut slow = bus.watch(None).unwrap();
        (0..WAITING + 7).for_each(|number| bus.tell(Owner::Operator, "n", &number.to_string()));
        assert_eq!(slow.try_next(), Some(Told::Lost(7)));
        assert_eq!(slow.try_next(), Some(Told::Event("event: n\ndata: 7\n\n".into())));
        let many: Vec<_> = std::iter::from_fn(|| bus.watch(None)).take(MOST + 1).collect();
        assert_eq!(many.len(), MOST - 1);
    }
}
