//! The bound of sign-ins that fail. Counts by client address (of IPv6 by network, because a client has a
//! whole one) and over all. Only failures count and only failures are refused: a good key always signs in,
//! because addresses are shared (a proxy, a provider's network), and failures of one client must not lock
//! out another. Time is a parameter; memory is bounded.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures of one address within [`ADDRESS_WINDOW`].
const MAX_OF_ADDRESS: u32 = 10;
const ADDRESS_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Failures of all addresses within [`WINDOW`].
const MAX_OF_ALL: u32 = 200;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; a further one replaces the oldest.
const MAX_ADDRESSES: usize = 1024;

#[derive(Debug, Default)]
pub struct SignInGuard(Mutex<FailureCounts>);

#[derive(Debug, Default)]
struct FailureCounts {
    addresses: HashMap<IpAddr, FailureWindow>,
    all: Option<FailureWindow>,
}

#[derive(Clone, Copy, Debug)]
struct FailureWindow {
    since: Instant,
    count: u32,
}

impl FailureWindow {
    /// Counts one more. Refused with the time until the window ends, if it has `most`.
    fn enter(&mut self, (most, length): (u32, Duration), now: Instant) -> Result<(), Duration> {
        let age = now.saturating_duration_since(self.since);
        if age >= length {
            *self = Self { since: now, count: 0 };
        } else if self.count >= most {
            return Err(length.saturating_sub(age));
        }
        self.count += 1;
        Ok(())
    }
}

impl SignInGuard {
    /// Counts a sign-in that failed.
    ///
    /// # Errors
    /// Too many have failed: the time after which to try again.
    pub fn count(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let mut counts = self.lock();
        let new = FailureWindow { since: now, count: 0 };
        let address = network(address);
        if !counts.addresses.contains_key(&address) {
            counts.make_room(now);
        }
        let FailureCounts { addresses, all } = &mut *counts;
        addresses.entry(address).or_insert(new).enter((MAX_OF_ADDRESS, ADDRESS_WINDOW), now)?;
        all.get_or_insert(new).enter((MAX_OF_ALL, WINDOW), now)
    }

    fn lock(&self) -> MutexGuard<'_, FailureCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureCounts {
    fn make_room(&mut self, now: Instant) {
        if self.addresses.len() < MAX_ADDRESSES {
            return;
        }
        self.addresses.retain(|_, window| now.saturating_duration_since(window.since) < ADDRESS_WINDOW);
        if self.addresses.len() >= MAX_ADDRESSES {
            let oldest = self.addresses.iter().min_by_key(|(_, window)| window.since);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.addresses.remove(&oldest);
            }
        }
    }
}

/// The address that counts; without one, all share a place.
fn network(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::from([a, b, c, d, 0, 0, 0, 0]).into()
        }
        Some(address @ IpAddr::V4(_)) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_few_tries_and_another_one_its_own() {
        let (guard, now) = (SignInGuard::default(), Instant::now());
        let enter = |address: &str, now| guard.count(address.parse().ok(), now);
        for _ in 0..MAX_OF_ADDRESS {
            assert_eq!(enter("192.0.2.1", now), Ok(()));
        }
        assert_eq!(enter("192.0.2.1", now + Duration::from_secs(60)), Err(Duration::from_secs(240)));
        assert_eq!(enter("::ffff:192.0.2.1", now), Err(ADDRESS_WINDOW), "the same in another form");
        assert_eq!(enter("192.0.2.2", now), Ok(()));
        assert_eq!(enter("192.0.2.1", now + ADDRESS_WINDOW), Ok(()));
        for last in 0..MAX_OF_ADDRESS {
            assert_eq!(enter(&format!("2001:db8::{last}"), now), Ok(()));
        }
        assert!(enter("2001:db8::ffff", now).is_err(), "of the same network");
        assert_eq!(enter("2001:db8:0:1::1", now), Ok(()));
    }

    #[test]
    fn many_addresses_share_a_bound_and_take_bounded_memory() {
        let (guard, now) = (SignInGuard::default(), Instant::now());
        let address = |number: u32| Some(IpAddr::from(number.to_be_bytes()));
        let passed =
            (0..4 * MAX_ADDRESSES as u32).filter(|number| guard.count(address(*number), now).is_ok());
        assert_eq!(passed.count(), MAX_OF_ALL as usize);
        assert_eq!(guard.lock().addresses.len(), MAX_ADDRESSES);
        assert_eq!(guard.count(address(1), now + WINDOW), Ok(()));
    }
}
