//! Decides when a key is reported to the shared store: as requests need it, before a grant ends, and when an
//! amount has become free here. Pure: time is an argument.

use std::{
    sync::{
        PoisonError,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::{
    meter::LimitMeter,
    share::{LimitShare, millis},
};

/// Places and sums in use are reported again after this.
const LEVEL_RENEWAL_MS: u64 = 3000;
/// Before the end of a grant that is in use, the next is asked for.
const RENEWAL_LEAD_MS: u64 = 1000;
/// Between two reports that no request waits for.
const PAUSE_MS: u64 = 100;
/// Amounts that have become free here are reported within this.
const FLUSH_MS: u64 = 1500;

impl LimitMeter {
    /// Requests that wait look again where all that they wait for has become free here.
    pub fn rouse_if_met(&self, now: Duration) {
        let Some(share) = self.share() else { return };
        let now = share.clock(now);
        let needs = share.needs.each_ref().map(|need| need.load(Acquire));
        let is_met = |limit: usize| needs[limit] == 0 || needs[limit] <= self.left_of(share, limit, now);
        if needs.iter().any(|need| *need > 0) && (0..4).all(is_met) {
            share.answered.notify_waiters();
        }
    }

    /// Requests that wait look again, because the store is away.
    pub fn rouse(&self) {
        if let Some(share) = self.share() {
            share.answered.notify_waiters();
        }
    }

    /// Whether a report should be made now.
    pub fn is_due(&self, now: Duration) -> bool {
        let Some(share) = self.share() else { return false };
        let now = millis(share.clock(now));
        let book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.pending.is_some() {
            return false;
        }
        let since = now.saturating_sub(book.reported_at);
        let waits = (0..4).any(|limit| {
            let need = share.needs[limit].load(Acquire);
            need > 0
                && !share.is_empty(limit, need, now)
                && need > self.left_of(share, limit, Duration::from_millis(now))
        });
        if waits || share.returns.load(Acquire) {
            return true;
        }
        if since < PAUSE_MS {
            return false;
        }
        let until = share.flow_until.load(Acquire);
        for flow in 0..2 {
            let grant = &share.flows[flow];
            let (held, left) = (book.held[flow], grant.left.load(Relaxed));
            let is_used = grant.taken.load(Relaxed) > 0;
            let is_empty = now < share.empty_until[flow].load(Acquire);
            let runs_out = is_used && left < held / 3 && !is_empty;
            let ends = is_used && now + RENEWAL_LEAD_MS >= until;
            // At its end the store counts a grant as used, until a report says how much was.
            let is_over = held > 0 && now >= until;
            if runs_out || ends || is_over {
                return true;
            }
        }
        let holds = self.running() > 0 || self.own_level() != 0;
        // Places that were not needed after all.
        let is_spare = i64::from(self.running()) < share.running_cap.load(Relaxed) && book.level_held;
        if (holds && since >= LEVEL_RENEWAL_MS)
            || (is_spare && since >= FLUSH_MS)
            || (book.level_held && !holds && since >= FLUSH_MS)
        {
            return true;
        }
        share.is_asked.load(Acquire) || since >= FLUSH_MS && share.changed.load(Acquire)
    }

    /// The amount that may be taken of a grant at this moment, in the store's time.
    fn left_of(&self, share: &LimitShare, limit: usize, now: Duration) -> i64 {
        let is_live = millis(now) < share.flow_until.load(Acquire);
        match (share.flows.get(limit), limit) {
            (Some(grant), _) => {
                if is_live {
                    grant.left.load(Acquire)
                } else {
                    0
                }
            }
            (None, 2) => {
                let most = self.facts().limits.concurrent.map_or(i64::MAX, i64::from);
                share.running_cap(now).min(most) - i64::from(self.running())
            }
            (None, _) => {
                let own = self.saved_here().saturating_add(self.own_level());
                share.ceiling(now).map_or(0, |ceiling| ceiling.saturating_sub(own))
            }
        }
    }

    /// Nothing of the key is held or counts, so nothing is left to tell, even if the store loses everything.
    pub fn is_quiet(&self, now: Duration) -> bool {
        let Some(share) = self.share() else { return true };
        let now = share.clock(now);
        let book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waited_for = share.needs.iter().any(|need| need.load(Relaxed) > 0);
        !is_waited_for
            && book.pending.is_none()
            && book.held.iter().all(|held| *held == 0)
            && !book.level_held
            && self.running() == 0
            && self.own_level() == 0
            && !share.changed.load(Acquire)
            && !share.is_asked.load(Acquire)
            && self.requests.used(now) == 0
            && self.tokens.used(now) == 0
    }

    /// The next report is made soon, whatever was used: the store may have lost the last one.
    pub fn tell_again(&self) {
        if let Some(share) = self.share() {
            share.changed.store(true, Release);
            share.book.lock().unwrap_or_else(PoisonError::into_inner).reported_at = 0;
        }
    }
}
