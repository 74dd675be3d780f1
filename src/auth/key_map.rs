//! The accepted keys by their digests: the configured ones ([`ConfiguredKeys`], a part of the configuration's
//! snapshot) and the stored ones ([`StoredKeys`], replaced when the store has changed). A lookup takes no
//! lock and does no I/O.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::digest_memo::find_by_digest;
use super::limit::{LimitMeter, LimitValues};
use super::{Digest, KeyLimits, LimitHub, MeterClock, TokenSettings};

/// The owner of a key.
#[derive(Debug)]
pub struct Principal {
    /// Unchanged when the key is rotated or its limits change.
    pub id: Arc<str>,
    pub name: Arc<str>,
    /// May use the operator's pages.
    pub admin: bool,
    pub limits: KeyLimits,
    /// `None`: the key has no limit to count for.
    pub meter: Option<Arc<LimitMeter>>,
    /// The meter includes all spending under this id, other processes' too.
    spending_known: AtomicBool,
    number: u32,
}

impl Principal {
    /// A number that stands for the key where keys are compared without their names; never 0. FNV-1a of
    /// its id, so that it outlives a reload.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// It has a limit that usage counts against.
    #[must_use]
    pub const fn is_charged(&self) -> bool {
        let LimitValues { tokens, budget, .. } = &self.limits.allowance;
        tokens.is_some() || budget.is_some()
    }

    #[must_use]
    pub fn new(
        id: Arc<str>,
        name: Arc<str>,
        admin: bool,
        limits: KeyLimits,
        meter: Option<Arc<LimitMeter>>,
    ) -> Self {
        let is_limited = limits.allowance != LimitValues::default();
        let meter = is_limited.then(|| meter.unwrap_or_default());
        if let Some(meter) = &meter {
            meter.facts().limits = limits.allowance;
        }
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let number = id.bytes().fold(0x811C_9DC5, step).clamp(1, u32::MAX - 1);
        Self { id, name, admin, limits, meter, spending_known: AtomicBool::new(false), number }
    }

    /// Names its meter among replicas: by its id, or by its secret where others have the same id.
    pub fn name_meter(&self, secret: Option<&Digest>) {
        if let Some(meter) = &self.meter {
            let name = secret.map_or_else(|| Digest::of(self.id.as_bytes()), Digest::again).to_hex();
            meter.facts().name = Some(name.into());
        }
    }

    /// The store has this sum for all processes; spending that is not in the store yet is added to it.
    pub fn note_spent(&self, spent: i64) {
        if let Some(meter) = &self.meter {
            meter.note_saved(0, spent);
        }
        self.note_known();
    }

    /// Marks that the meter has the stored spending.
    pub fn note_known(&self) {
        self.spending_known.store(true, Ordering::Release);
    }

    fn knows_spending(&self) -> bool {
        self.spending_known.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.limits.expires.is_some_and(|at| at <= SystemTime::now())
    }
}

pub type KeyMap = HashMap<Digest, Arc<Principal>, RandomState>;

/// The keys of the configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredKeys(Arc<KeyMap>);

impl ConfiguredKeys {
    #[must_use]
    pub fn new(settings: &[TokenSettings]) -> Self {
        let entry = |token: &TokenSettings| {
            let id = format!("config:{}", token.description).into();
            let name = token.description.as_str().into();
            let principal = Principal::new(id, name, token.admin, token.limits.clone(), None);
            (Digest::of(token.token.expose().as_bytes()), Arc::new(principal))
        };
        Self(Arc::new(settings.iter().map(entry).collect())).with_named_meters()
    }

    fn with_named_meters(self) -> Self {
        let unique = self.by_unique_id();
        for (digest, principal) in &*self.0 {
            principal.name_meter((!unique.contains_key(&*principal.id)).then_some(digest));
        }
        self
    }

    /// The same keys, with the meters of `before`. A key keeps its meter when its secret is the same,
    /// whatever its name. Otherwise it takes the meter of the same name, but only if its secret has replaced
    /// the former one, and the name belongs to one key on both sides: names may be shared or missing. So no
    /// two keys share a meter. A budget belongs to the name: under another name, the spending is unknown
    /// until the store has been read.
    #[must_use]
    pub fn carry(&self, before: &Self) -> Self {
        let (old, new) = (before.by_unique_id(), self.by_unique_id());
        let entry = |(digest, principal): (&Digest, &Arc<Principal>)| {
            let same_name = || {
                new.get(&*principal.id)?;
                let (former, known) = old.get(&*principal.id)?;
                (!self.0.contains_key(former)).then_some(*known)
            };
            let known = before.0.get(digest).or_else(same_name).filter(|known| known.meter.is_some());
            let Principal { id, name, admin, limits, meter, spending_known: _, number: _ } = &**principal;
            let carried = known.map_or_else(|| meter.clone(), |known| known.meter.clone());
            let carried = Principal::new(Arc::clone(id), Arc::clone(name), *admin, limits.clone(), carried);
            if known.is_some_and(|known| known.id == *id && known.knows_spending()) {
                carried.note_known();
            }
            (*digest, Arc::new(carried))
        };
        Self(Arc::new(self.0.iter().map(entry).collect())).with_named_meters()
    }

    /// The keys with an id that no other has.
    fn by_unique_id(&self) -> HashMap<&str, (&Digest, &Arc<Principal>)> {
        let mut found: HashMap<&str, Option<_>> = HashMap::new();
        for (digest, principal) in &*self.0 {
            let alone = Some((digest, principal));
            found.entry(&*principal.id).and_modify(|known| *known = None).or_insert(alone);
        }
        found.into_iter().filter_map(|(id, alone)| Some((id, alone?))).collect()
    }

    /// Whether one of the keys is an administrator's.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        self.0.values().any(|principal| principal.admin)
    }

    /// Whether both are the same map, not only equal ones.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn principals(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.0.values()
    }

    /// The keys with the digests of their tokens.
    pub fn entries(&self) -> impl Iterator<Item = (&Digest, &Arc<Principal>)> {
        self.0.iter()
    }
}

/// The stored keys, and the clock of all meters. Cloning shares both.
#[derive(Clone, Debug)]
pub struct StoredKeys {
    ring: Arc<ArcSwap<KeyMap>>,
    has_admin: Arc<AtomicBool>,
    known: Arc<AtomicBool>,
    has_store: Arc<AtomicBool>,
    clock: MeterClock,
    hub: Arc<OnceLock<LimitHub>>,
}

impl Default for StoredKeys {
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            has_admin: Arc::default(),
            known: Arc::new(AtomicBool::new(true)),
            has_store: Arc::default(),
            clock: MeterClock::start(),
            hub: Arc::default(),
        }
    }
}

impl StoredKeys {
    /// Accepts these keys from now on. Their meters have their spending.
    pub fn replace(&self, ring: KeyMap) {
        self.has_admin.store(ring.values().any(|principal| principal.admin), Ordering::Relaxed);
        self.ring.store(Arc::new(ring));
        self.known.store(true, Ordering::Relaxed);
    }

    /// The keys accepted now.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyMap> {
        self.ring.load_full()
    }

    /// The principal of a presented token, configured or stored.
    #[must_use]
    pub fn find(&self, configured: &ConfiguredKeys, presented: &[u8]) -> Option<Arc<Principal>> {
        find_by_digest(presented, |digest| self.find_by(configured, digest))
    }

    /// The principal of a token by its digest.
    #[must_use]
    pub fn find_by(&self, configured: &ConfiguredKeys, digest: &Digest) -> Option<Arc<Principal>> {
        configured.0.get(digest).cloned().or_else(|| self.ring.load().get(digest).cloned())
    }

    /// The stored keys have been read. Until then an unknown key may be a valid one.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// The spending of this principal is known. Until then its budget may be exhausted. Without a store there
    /// is nothing to know.
    #[must_use]
    pub fn is_spending_known(&self, principal: &Principal) -> bool {
        principal.knows_spending() || !self.has_store.load(Ordering::Relaxed)
    }

    /// Whether a stored key is an administrator's.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        self.has_admin.load(Ordering::Relaxed)
    }

    /// There is a store, and it has not been read yet.
    pub fn await_store(&self) {
        self.known.store(false, Ordering::Relaxed);
        self.has_store.store(true, Ordering::Relaxed);
    }

    /// The time as meters count it.
    #[must_use]
    pub fn moment(&self, at: Instant) -> Duration {
        self.clock.at(at)
    }

    #[must_use]
    pub const fn clock(&self) -> MeterClock {
        self.clock
    }

    /// The limits of all keys are shared from now on.
    pub fn share_limits(&self, hub: LimitHub) {
        let _ = self.hub.set(hub);
    }

    /// The way to shared limits. `None`: this process counts for itself.
    #[must_use]
    pub fn hub(&self) -> Option<&LimitHub> {
        self.hub.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    fn token(name: &str, token: &str, requests: Option<u32>) -> TokenSettings {
        let allowance = LimitValues { requests, ..LimitValues::default() };
        let limits = KeyLimits { allowance, ..KeyLimits::default() };
        TokenSettings { limits, ..TokenSettings::plain(name, Secret::new(token.to_owned())) }
    }

    #[test]
    fn finds_the_principal_of_a_token_and_of_nothing_else() {
        let keys = StoredKeys::default();
        let tokens = ConfiguredKeys::new(&[token("alice", "sk-alice", None)]);
        let name = |presented: &[u8]| keys.find(&tokens, presented).map(|found| found.name.to_string());
        assert_eq!(name(b"sk-alice").as_deref(), Some("alice"));
        for stranger in [&b"sk-"[..], b"", b"sk-alice ", b"sk-bob"] {
            assert_eq!(name(stranger), None);
        }
        let bob = Principal::new("key_1".into(), "bob".into(), false, KeyLimits::default(), None);
        keys.replace(KeyMap::from_iter([(Digest::of(b"sk-bob"), Arc::new(bob))]));
        assert_eq!(name(b"sk-bob").as_deref(), Some("bob"));
        keys.replace(KeyMap::default());
        assert_eq!(name(b"sk-bob"), None);
        assert!(!format!("{tokens:?} {keys:?}").contains("sk-"));
    }

    #[test]
    fn another_configuration_keeps_the_meters() {
        let keys = StoredKeys::default();
        let before =
            ConfiguredKeys::new(&[token("alice", "sk-alice", Some(5)), token("free", "sk-free", None)]);
        let meter = keys.find(&before, b"sk-alice").unwrap().meter.clone().unwrap();
        let after =
            ConfiguredKeys::new(&[token("alice", "sk-alice", Some(9)), token("free", "sk-free", Some(1))])
                .carry(&before);
        let alice = keys.find(&after, b"sk-alice").unwrap();
        assert!(Arc::ptr_eq(alice.meter.as_ref().unwrap(), &meter));
        assert_eq!(alice.limits.allowance.requests, Some(9));
        // With another secret or another name, no limit begins anew.
        let changed = ConfiguredKeys::new(&[token("alice", "sk-new", Some(9))]).carry(&before);
        assert!(Arc::ptr_eq(keys.find(&changed, b"sk-new").unwrap().meter.as_ref().unwrap(), &meter));
        let renamed = ConfiguredKeys::new(&[token("al", "sk-alice", Some(9))]).carry(&before);
        assert!(Arc::ptr_eq(keys.find(&renamed, b"sk-alice").unwrap().meter.as_ref().unwrap(), &meter));
        assert!(keys.find(&before, b"sk-free").unwrap().meter.is_none());
        assert!(keys.find(&after, b"sk-free").unwrap().meter.is_some());
    }

    #[test]
    fn spending_under_another_name_is_unknown() {
        let keys = StoredKeys::default();
        keys.await_store();
        let known = |tokens: &ConfiguredKeys, secret: &[u8]| {
            keys.is_spending_known(&keys.find(tokens, secret).unwrap())
        };
        let before = ConfiguredKeys::new(&[token("alice", "sk-a", Some(5)), token("free", "sk-f", None)]);
        assert!(!known(&before, b"sk-a"));
        before.principals().for_each(|principal| principal.note_spent(7));
        assert!(known(&before, b"sk-a"));
        let after = |name, secret| ConfiguredKeys::new(&[token(name, secret, Some(9))]).carry(&before);
        assert!(known(&after("alice", "sk-a"), b"sk-a") && known(&after("alice", "sk-new"), b"sk-new"));
        // A new meter does not have the stored spending either.
        assert!(!known(&after("al", "sk-a"), b"sk-a") && !known(&after("free", "sk-f"), b"sk-f"));
        let nowhere = ConfiguredKeys::new(&[token("alice", "sk-a", Some(5))]);
        assert!(StoredKeys::default().is_spending_known(&keys.find(&nowhere, b"sk-a").unwrap()));
    }

    #[test]
    fn no_two_keys_share_a_meter() {
        let keys = StoredKeys::default();
        let meter = |tokens: &ConfiguredKeys, secret: &str| {
            keys.find(tokens, secret.as_bytes()).unwrap().meter.clone().unwrap()
        };
        let tokens = |named: &[(&str, &str)]| {
            let settings: Vec<_> = named.iter().map(|(name, secret)| token(name, secret, Some(5))).collect();
            ConfiguredKeys::new(&settings)
        };
        let same = |before: &ConfiguredKeys, old: &str, after: &ConfiguredKeys, new: &str| {
            Arc::ptr_eq(&meter(before, old), &meter(after, new))
        };
        for name in ["", "both"] {
            // Each key keeps its own meter over any number of reloads.
            let before = tokens(&[(name, "sk-a"), (name, "sk-b")]);
            let after = before.carry(&before).carry(&before);
            assert!(same(&before, "sk-a", &after, "sk-a") && same(&before, "sk-b", &after, "sk-b"));
            assert!(!same(&after, "sk-a", &after, "sk-b"));
            // It is unknown which secret was replaced, or there is one more key.
            let after = tokens(&[(name, "sk-a"), (name, "sk-c")]).carry(&before);
            assert!(!same(&before, "sk-b", &after, "sk-c") && !same(&before, "sk-a", &after, "sk-c"));
            let after = tokens(&[(name, "sk-c")]).carry(&before);
            assert!(!same(&before, "sk-a", &after, "sk-c") && !same(&before, "sk-b", &after, "sk-c"));
            let one = tokens(&[(name, "sk-a")]);
            let after = tokens(&[(name, "sk-b"), (name, "sk-c")]).carry(&one);
            assert!(!same(&one, "sk-a", &after, "sk-b") && !same(&one, "sk-a", &after, "sk-c"));
        }
        // A name that moves to another secret leaves its meter with the former secret.
        let before = tokens(&[("alice", "sk-a")]);
        let after = tokens(&[("al", "sk-a"), ("alice", "sk-b")]).carry(&before);
        assert!(same(&before, "sk-a", &after, "sk-a") && !same(&before, "sk-a", &after, "sk-b"));
    }
}
