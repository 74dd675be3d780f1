//! Sessions that replicas share: each finds in Redis those that others have opened or closed. A cookie is
//! there by its digest, and its key by the key's, so that nothing there signs in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Digest;
use crate::cluster::{RedisFault, ValueShelf};

/// In the place of a session that was closed, so that it differs from one that was lost.
const CLOSED: &[u8] = b"closed";
/// Of a stored session: the key's digest and the end in milliseconds of Unix time, with a space between.
const MAX_SIZE: usize = 64 + 1 + 20;

/// A cookie's session as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredSession {
    Open { key: Digest, rest: Duration },
    Closed,
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) struct SharedSessions(ValueShelf);

impl SharedSessions {
    pub(super) const fn new(shelf: ValueShelf) -> Self {
        Self(shelf)
    }

    pub(super) async fn find(&self, cookie: &Digest) -> Result<StoredSession, RedisFault> {
        let value = self.0.get(&cookie.to_hex(), MAX_SIZE).await?;
        if value == CLOSED {
            return Ok(StoredSession::Closed);
        }
        Ok(read(&value, unix_time()).unwrap_or(StoredSession::Unknown))
    }

    /// A failure is not reported: the session lives in its own replica, which tries again.
    pub(super) async fn open(&self, cookie: &Digest, key: Digest, rest: Duration) {
        let value = written(key, unix_time() + rest);
        let _ = self.0.put(&cookie.to_hex(), value.as_bytes(), rest).await;
    }

    /// `life`: of the longest session. Whether the store has noted it.
    pub(super) async fn close(&self, cookie: &Digest, life: Duration) -> bool {
        self.0.put(&cookie.to_hex(), CLOSED, life).await.is_ok()
    }
}

fn written(key: Digest, ends: Duration) -> String {
    format!("{} {}", key.to_hex(), ends.as_millis())
}

/// `None`: it is none of ours, or has ended.
fn read(value: &[u8], now: Duration) -> Option<StoredSession> {
    let (key, ends) = str::from_utf8(value).ok()?.split_once(' ')?;
    let rest = Duration::from_millis(ends.parse().ok()?).checked_sub(now)?;
    Some(StoredSession::Open { key: Digest::from_hex(key)?, rest }).filter(|_| !rest.is_zero())
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_session_is_none() {
        let (key, now, rest) = (Digest::of(b"sk-a"), unix_time(), Duration::from_secs(60));
        let value = written(key, now + rest);
        assert!(value.len() <= MAX_SIZE);
        let Some(StoredSession::Open { key: found, rest: left }) = read(value.as_bytes(), now) else {
            panic!("{value}");
        };
        assert_eq!(found, key);
        assert!(rest - left <= Duration::from_millis(1), "{left:?}");
        assert_eq!(read(value.as_bytes(), now + rest), None, "it has ended");
        for other in ["", "closed", " ", "00 1", &value[1..], &value[..65], &format!("{value} 0")] {
            assert_eq!(read(other.as_bytes(), now), None, "{other}");
        }
    }
}
