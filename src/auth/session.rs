//! Sessions of the gateway's own pages: a browser has a random cookie in the place of a key. Kept in this
//! process, by the cookie's digest; with Redis, also there for the other replicas. Else a restart ends them.
//!
//! A session has no rights of its own. It names a key by its digest, and each request looks that up anew: a
//! session ends with the revocation, the rotation or the expiry of its key. Invariants: a cookie is never
//! taken from a client, always made here; memory is bounded.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Digest,
    generate::NoRandomness,
    shared_session::{SharedSessions, StoredSession},
    sign_in_guard::SignInGuard,
};
use crate::{base::Secret, cluster::ValueShelf};

/// From the sign-in; use does not prolong it.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Of a link that signs in once.
pub const CODE_LIFE: Duration = Duration::from_secs(10 * 60);
/// Sessions of one key, and of all; a further one ends the oldest.
const MAX_OF_KEY: usize = 16;
/// Hexadecimal digits of a cookie.
const COOKIE_LENGTH: usize = 64;
const MAX_SESSIONS: usize = 4096;
/// Another replica may close a session; whether it did is asked so often.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Unknown cookies of one request that are asked for: of gateways on other ports of the same host, or of
/// anybody.
const MAX_ASKED: usize = 4;
/// Links that have not been used.
const MAX_CODES: usize = 8;

/// The sessions of a process. Cloning shares them.
#[derive(Clone, Default)]
pub struct PageSessions(Arc<SessionState>);

#[derive(Default)]
struct SessionState {
    /// By the digest of the cookie.
    sessions: Mutex<HashMap<Digest, SessionFacts>>,
    /// Each code's digest, its key and its end.
    codes: Mutex<Vec<(Digest, Digest, Instant)>>,
    guard: SignInGuard,
    shared: OnceLock<SharedSessions>,
    /// Closed here but not in the store, with their latest ends.
    unclosed: Mutex<HashMap<Digest, Instant>>,
}

#[derive(Clone, Copy)]
struct SessionFacts {
    /// The digest of the key as it was shown.
    key: Digest,
    ends: Instant,
    /// When the other replicas were asked whether they closed it.
    asked: Instant,
}

/// A session as a request found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSession {
    pub key: Digest,
    /// The rest of its life.
    pub rest: Duration,
}

impl PageSessions {
    /// Shares the sessions with the replicas that have the same shelf.
    pub fn share(&self, shelf: ValueShelf) {
        // A process has one Redis for this, from its start on.
        let _ = self.0.shared.set(SharedSessions::new(shelf));
    }

    #[must_use]
    pub fn are_shared(&self) -> bool {
        self.0.shared.get().is_some()
    }

    /// Begins a session of the key with this digest; returns the cookie, which is kept nowhere here.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub async fn open(&self, key: Digest, now: Instant) -> Result<Secret<String>, NoRandomness> {
        let cookie = random::<{ COOKIE_LENGTH / 2 }>()?;
        let digest = Digest::of(cookie.as_bytes());
        self.insert(digest, SessionFacts { key, ends: now + SESSION_LIFE, asked: now }, now);
        if let Some(shared) = self.0.shared.get() {
            shared.open(&digest, key, SESSION_LIFE).await;
        }
        Ok(Secret::new(cookie))
    }

    fn insert(&self, cookie: Digest, facts: SessionFacts, now: Instant) {
        let mut sessions = lock(&self.0.sessions);
        sessions.retain(|_, session| session.ends > now);
        while sessions.values().filter(|session| session.key == facts.key).count() >= MAX_OF_KEY {
            remove_oldest(&mut sessions, |session| session.key == facts.key);
        }
        if sessions.len() >= MAX_SESSIONS {
            remove_oldest(&mut sessions, |_| true);
        }
        sessions.insert(cookie, facts);
    }

    /// Asks the other replicas for the sessions of these cookies. Without an answer those of this process go
    /// on, because a request looks up their keys all the same.
    pub async fn refresh<'c>(&self, cookies: impl Iterator<Item = &'c [u8]>, now: Instant) {
        let Some(shared) = self.0.shared.get() else { return };
        self.close_later(shared).await;
        let mut unknown = 0;
        for cookie in digests(cookies) {
            if lock(&self.0.unclosed).contains_key(&cookie) {
                continue;
            }
            let known = match lock(&self.0.sessions).get_mut(&cookie) {
                Some(known) if now.duration_since(known.asked) < ASK_AGAIN => continue,
                Some(known) => {
                    known.asked = now;
                    Some(*known)
                }
                None if unknown == MAX_ASKED => continue,
                None => {
                    unknown += 1;
                    None
                }
            };
            match (shared.find(&cookie).await, known) {
                (Ok(StoredSession::Open { key, rest }), None) => {
                    self.insert(cookie, SessionFacts { key, ends: now + rest, asked: now }, now);
                }
                (Ok(StoredSession::Closed), Some(_)) => {
                    lock(&self.0.sessions).remove(&cookie);
                }
                // The store was away at the sign-in, or has come back empty.
                (Ok(StoredSession::Unknown), Some(known)) => {
                    shared.open(&cookie, known.key, known.ends.duration_since(now)).await;
                }
                _ => {}
            }
        }
    }

    /// Notes in the store some of the sessions that were closed while it could not be written. Their browsers
    /// send them no more, so that any page's request does it.
    async fn close_later(&self, shared: &SharedSessions) {
        for _ in 0..MAX_ASKED {
            let next = lock(&self.0.unclosed).keys().next().copied();
            let Some(cookie) = next else { return };
            if !shared.close(&cookie, SESSION_LIFE).await {
                return;
            }
            lock(&self.0.unclosed).remove(&cookie);
        }
    }

    /// The session of one of these cookies. `None`: it has ended, or there was none.
    pub fn find<'c>(&self, cookies: impl Iterator<Item = &'c [u8]>, now: Instant) -> Option<FoundSession> {
        let digests = digests(cookies);
        let sessions = lock(&self.0.sessions);
        digests.iter().filter_map(|digest| sessions.get(digest)).find_map(|session| {
            let rest = session.ends.checked_duration_since(now).filter(|rest| !rest.is_zero())?;
            Some(FoundSession { key: session.key, rest })
        })
    }

    /// Ends the sessions of these cookies.
    pub async fn close<'c>(&self, cookies: impl Iterator<Item = &'c [u8]>) {
        let digests = digests(cookies);
        let mut closed = Vec::new();
        lock(&self.0.sessions).retain(|digest, _| {
            let is_open = !digests.contains(digest);
            if !is_open {
                closed.push(*digest);
            }
            is_open
        });
        let Some(shared) = self.0.shared.get() else { return };
        // One that is unknown here is not noted, because a client may send any.
        for cookie in closed {
            if !shared.close(&cookie, SESSION_LIFE).await {
                let (mut unclosed, now) = (lock(&self.0.unclosed), Instant::now());
                unclosed.retain(|_, ends| *ends > now);
                if unclosed.len() >= MAX_SESSIONS
                    && let Some(oldest) = unclosed.iter().min_by_key(|(_, ends)| **ends).map(|(of, _)| *of)
                {
                    unclosed.remove(&oldest);
                }
                unclosed.insert(cookie, now + SESSION_LIFE);
            }
        }
    }

    /// A text that signs in once as the key with this digest, within [`CODE_LIFE`].
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn make_code(&self, key: Digest, now: Instant) -> Result<Secret<String>, NoRandomness> {
        let code = random::<16>()?;
        let mut codes = lock(&self.0.codes);
        codes.retain(|(_, _, ends)| *ends > now);
        if codes.len() >= MAX_CODES {
            codes.remove(0);
        }
        codes.push((Digest::of(code.as_bytes()), key, now + CODE_LIFE));
        Ok(Secret::new(code))
    }

    /// The key of a code, which is used up. `None`: it was used before, is too old, or was never made.
    pub fn take_code(&self, code: &[u8], now: Instant) -> Option<Digest> {
        let digest = Digest::of(code);
        let mut codes = lock(&self.0.codes);
        let at = codes.iter().position(|(known, ..)| *known == digest)?;
        let (_, key, ends) = codes.remove(at);
        (ends > now).then_some(key)
    }

    /// The bound of sign-ins that fail.
    #[must_use]
    pub fn guard(&self) -> &SignInGuard {
        &self.0.guard
    }
}

impl fmt::Debug for PageSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageSessions").field("open", &lock(&self.0.sessions).len()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The digests of the cookies that may be of this gateway, before any lock is taken: requests of all threads
/// wait for the lock, and a client chooses how long its cookies are.
fn digests<'c>(cookies: impl Iterator<Item = &'c [u8]>) -> Vec<Digest> {
    cookies.filter(|cookie| cookie.len() == COOKIE_LENGTH).map(Digest::of).collect()
}

fn remove_oldest(sessions: &mut HashMap<Digest, SessionFacts>, of: impl Fn(&SessionFacts) -> bool) {
    let among = sessions.iter().filter(|(_, session)| of(session));
    if let Some(oldest) = among.min_by_key(|(_, session)| session.ends).map(|(digest, _)| *digest) {
        sessions.remove(&oldest);
    }
}

/// So many bytes of the system's generator, in hexadecimal.
fn random<const SIZE: usize>() -> Result<String, NoRandomness> {
    let mut bytes = [0; SIZE];
    getrandom::getrandom(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::{
        iter::once,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    /// Without Redis nothing waits.
    fn finish<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("pending"),
        }
    }

    fn open(sessions: &PageSessions, key: Digest, now: Instant) -> Secret<String> {
        finish(sessions.open(key, now)).unwrap()
    }

    fn find(sessions: &PageSessions, cookie: &Secret<String>, now: Instant) -> Option<Digest> {
        sessions.find(once(cookie.expose().as_bytes()), now).map(|found| found.key)
    }

    #[test]
    fn a_session_lives_for_its_time_and_until_it_is_closed() {
        let (sessions, now, key) = (PageSessions::default(), Instant::now(), Digest::of(b"sk-a"));
        let [one, other] = [open(&sessions, key, now), open(&sessions, key, now)];
        assert_eq!(one.expose().len(), 64, "256 bits");
        assert_ne!(one, other);
        assert_eq!(find(&sessions, &one, now), Some(key));
        let nearly = now + SESSION_LIFE - Duration::from_millis(1);
        assert_eq!(find(&sessions, &one, nearly), Some(key));
        assert_eq!(find(&sessions, &one, now + SESSION_LIFE), None, "use has not prolonged it");
        finish(sessions.close(once(one.expose().as_bytes())));
        assert_eq!((find(&sessions, &one, now), find(&sessions, &other, now)), (None, Some(key)));
        for forged in [&b""[..], b"0", &other.expose().as_bytes()[1..]] {
            assert_eq!(sessions.find(once(forged), now), None);
        }
        let padded = format!("{} ", other.expose());
        let cookies = [padded.as_bytes(), &[b'0'; 8192], other.expose().as_bytes()];
        assert_eq!(digests(cookies.into_iter()).len(), 1, "those of another length are not hashed");
        assert!(sessions.find(cookies.into_iter(), now).is_some());
        let shown = format!("{sessions:?}");
        assert!(!shown.contains(other.expose()), "{shown}");
    }

    #[test]
    fn a_key_has_few_sessions_and_displaces_no_others() {
        let (sessions, now) = (PageSessions::default(), Instant::now());
        let other = open(&sessions, Digest::of(b"sk-b"), now);
        let at = |number: usize| now + Duration::from_secs(number as u64);
        let many: Vec<_> =
            (0..=MAX_OF_KEY).map(|number| open(&sessions, Digest::of(b"sk-a"), at(number))).collect();
        assert_eq!(find(&sessions, &many[0], now), None, "the oldest");
        assert!(many[1..].iter().all(|cookie| find(&sessions, cookie, now).is_some()));
        assert!(find(&sessions, &other, now).is_some());
        for number in 0..MAX_SESSIONS {
            open(&sessions, Digest::of(&number.to_ne_bytes()), at(100));
        }
        assert_eq!(lock(&sessions.0.sessions).len(), MAX_SESSIONS);
        open(&sessions, Digest::of(b"sk-a"), now + 2 * SESSION_LIFE);
        assert_eq!(lock(&sessions.0.sessions).len(), 1, "ended ones are dropped");
    }

    #[test]
    fn a_code_is_used_once_within_its_time() {
        let (sessions, now, key) = (PageSessions::default(), Instant::now(), Digest::of(b"sk-a"));
        let code = sessions.make_code(key, now).unwrap();
        assert_eq!(sessions.take_code(b"", now), None);
        assert_eq!(sessions.take_code(code.expose().as_bytes(), now), Some(key));
        assert_eq!(sessions.take_code(code.expose().as_bytes(), now), None);
        let late = sessions.make_code(key, now).unwrap();
        assert_eq!(sessions.take_code(late.expose().as_bytes(), now + CODE_LIFE), None);
        let codes: Vec<_> = (0..=MAX_CODES).map(|_| sessions.make_code(key, now).unwrap()).collect();
        assert_eq!(sessions.take_code(codes[0].expose().as_bytes(), now), None, "bounded");
        assert_eq!(find(&sessions, &codes[1], now), None, "a code is no cookie");
    }
}
