//! The providers that made ids and sealed texts (a response's id, encrypted reasoning, the signature of a
//! thought), so that a request with one of them can go back there. A table of hashes of fixed size, shared by
//! all workers and kept over a reload; atomics only. It may forget: the oldest of four entries goes first.
//!
//! And the keys that made responses, so that no other key reads them: [`OwnerTable`].

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Entries that share a place.
const WAYS: usize = 4;
/// With the ways: 64 Ki entries, 512 KiB.
const SETS: usize = 16 * 1024;
/// The bits of an entry that name the provider.
const MAKER_BITS: u64 = 0xFFFF;

/// A provider's name in 16 bits, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginMaker(u16);

/// A hash of an id, or of the end of a sealed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginToken(u64);

/// Allocated with its first entry.
#[derive(Debug, Default)]
pub struct OriginTable(OnceLock<Box<[AtomicU64]>>);

/// Responses of one key that are remembered, and of all.
const MAX_OWNED: usize = 16 * 1024;
const MAX_OWNED_IN_ALL: usize = 64 * 1024;

/// The keys that made responses. An id belongs to the first key that it was given to: some servers let a
/// request choose it. It may forget, the oldest of a key first, so that no key makes another's forgotten
/// while it has more itself.
#[derive(Debug, Default)]
pub struct OwnerTable(Mutex<OwnedIds>);

#[derive(Debug, Default)]
struct OwnedIds {
    owners: HashMap<OriginToken, Arc<str>>,
    /// The tokens of each key, in the order of their making.
    by_owner: HashMap<Arc<str>, VecDeque<OriginToken>>,
}

/// Writes down that one provider made something.
#[derive(Clone, Debug)]
pub struct OriginNote {
    pub table: Arc<OriginTable>,
    pub maker: OriginMaker,
    /// The key whose request made it. `None`: nothing in the answer belongs to a key.
    pub owner: Option<(Arc<OwnerTable>, Arc<str>)>,
}

impl OriginMaker {
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = hash(name.as_bytes());
        let [.., high, low] = hash.to_be_bytes();
        Self(u16::from_be_bytes([high, low]).max(1))
    }
}

impl OriginToken {
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self(hash(text))
    }

    /// The place of its set, and the bits that an entry keeps.
    fn place(self) -> (usize, u64) {
        let Self(hash) = self;
        let [.., high, low] = hash.to_be_bytes();
        let set = usize::from(u16::from_be_bytes([high, low])) % SETS;
        (set * WAYS, hash & !MAKER_BITS)
    }
}

/// The same in every run of this build.
fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl OriginTable {
    /// Remembers the maker of `token`.
    pub fn put(&self, token: OriginToken, maker: OriginMaker) {
        let slots = self.0.get_or_init(|| (0..SETS * WAYS).map(|_| AtomicU64::new(0)).collect());
        let (place, kept) = token.place();
        let Some(set) = slots.get(place..place + WAYS) else { return };
        let mut entry = kept | u64::from(maker.0);
        // Each entry moves on by one, up to an older one of the same token.
        for slot in set {
            entry = slot.swap(entry, Relaxed);
            if entry == 0 || entry & !MAKER_BITS == kept {
                return;
            }
        }
    }

    /// `None`: it is not known, or has been forgotten.
    #[must_use]
    pub fn find(&self, token: OriginToken) -> Option<OriginMaker> {
        let (place, kept) = token.place();
        let set = self.0.get()?.get(place..place + WAYS)?;
        let entries = set.iter().map(|slot| slot.load(Relaxed));
        let entry = entries.into_iter().find(|entry| *entry != 0 && entry & !MAKER_BITS == kept)?;
        u16::try_from(entry & MAKER_BITS).ok().map(OriginMaker)
    }
}

impl OriginNote {
    pub fn put(&self, token: OriginToken) {
        self.table.put(token, self.maker);
    }

    /// The same for the id of a response, which belongs to the key.
    pub fn put_response(&self, token: OriginToken) {
        self.put(token);
        if let Some((owners, key)) = &self.owner {
            owners.claim(token, key);
        }
    }
}

impl OwnerTable {
    /// The key of this id made what the token stands for.
    pub fn claim(&self, token: OriginToken, key: &Arc<str>) {
        let mut ids = self.lock();
        if ids.owners.contains_key(&token) {
            return;
        }
        let of_key = ids.by_owner.get(key).map_or(0, VecDeque::len);
        if of_key >= MAX_OWNED {
            ids.forget_oldest(key);
        } else if ids.owners.len() >= MAX_OWNED_IN_ALL {
            let most = ids.by_owner.iter().max_by_key(|(_, tokens)| tokens.len());
            if let Some(key) = most.map(|(key, _)| Arc::clone(key)) {
                ids.forget_oldest(&key);
            }
        }
        ids.owners.insert(token, Arc::clone(key));
        ids.by_owner.entry(Arc::clone(key)).or_default().push_back(token);
    }

    /// Whether the key of this id made it. `None`: its maker is not known, or has been forgotten.
    #[must_use]
    pub fn is_owner(&self, token: OriginToken, key: &str) -> Option<bool> {
        self.lock().owners.get(&token).map(|owner| **owner == *key)
    }

    fn lock(&self) -> MutexGuard<'_, OwnedIds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnedIds {
    fn forget_oldest(&mut self, key: &str) {
        let Some(tokens) = self.by_owner.get_mut(key) else { return };
        if let Some(oldest) = tokens.pop_front() {
            self.owners.remove(&oldest);
        }
        if tokens.is_empty() {
            self.by_owner.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_last_maker_of_each_token() {
        let table = OriginTable::default();
        let (one, two) = (OriginMaker::of("one"), OriginMaker::of("two"));
        assert_ne!(one, two);
        assert_eq!(table.find(OriginToken::of(b"r")), None);
        let id = |number: usize| OriginToken::of(format!("resp_{number}").as_bytes());
        for number in 0..1000 {
            table.put(id(number), one);
        }
        table.put(id(7), two);
        table.put(id(7), two);
        for number in 0..1000 {
            assert_eq!(table.find(id(number)), Some(if number == 7 { two } else { one }), "{number}");
        }
        assert_eq!(table.find(id(1000)), None);
    }

    #[test]
    fn a_response_belongs_to_the_first_key_that_it_was_given_to() {
        let owners = OwnerTable::default();
        let [alice, bob]: [Arc<str>; 2] = ["alice", "bob"].map(Into::into);
        let token = |number: usize| OriginToken(number as u64);
        assert_eq!(owners.is_owner(token(1), "alice"), None);
        owners.claim(token(1), &alice);
        owners.claim(token(1), &bob);
        assert_eq!(
            (owners.is_owner(token(1), "alice"), owners.is_owner(token(1), "bob")),
            (Some(true), Some(false))
        );
        // A key with many ids makes its own forgotten.
        for number in 2..MAX_OWNED_IN_ALL + 100 {
            owners.claim(token(number), &bob);
        }
        assert_eq!(owners.is_owner(token(1), "alice"), Some(true));
        assert_eq!((owners.is_owner(token(2), "bob"), owners.lock().owners.len()), (None, MAX_OWNED + 1));
        for key in 0..8 {
            let key: Arc<str> = format!("key {key}").into();
            for number in 0..MAX_OWNED {
                owners.claim(OriginToken::of(format!("{key} {number}").as_bytes()), &key);
            }
        }
        assert_eq!(owners.is_owner(token(1), "alice"), Some(true), "the key with the most loses one");
        assert_eq!(owners.lock().owners.len(), MAX_OWNED_IN_ALL);
    }

    #[test]
    fn forgets_the_oldest_of_a_place() {
        let (table, maker) = (OriginTable::default(), OriginMaker::of("one"));
        let same_place = |number: u64| OriginToken((number + 1) << 16 | 5);
        for number in 0..6 {
            table.put(same_place(number), maker);
        }
        let known: Vec<bool> = (0..6).map(|number| table.find(same_place(number)).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true, true]);
    }
}
