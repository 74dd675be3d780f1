//! The exchange of one key with the shared store: a [`ShareReport`] says all that this replica has used and
//! holds and wants; a [`ShareAnswer`] says all that it has from then on. A report replaces the one
//! before it in the store, so an answer that was lost costs nothing: the next report tells the same again.
//! Pure: time is an argument, and the way to the store is another room's.

use std::{
    sync::{
        PoisonError,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::{
    meter::LimitMeter,
    places::RETRY_MS,
    share::{COUNTED_MS, LimitShare, PendingReport, millis},
    values::LimitValues,
};

/// How long granted requests and tokens may be used.
pub const GRANT_LIFE_MS: u64 = 3000;
/// How long granted places and sums are held without a further report: after a replica's death they are free.
pub const LEVEL_LIFE_MS: u64 = 8000;
/// A key of which the store had nothing is asked for again after this.
const EMPTY_MS: u64 = 250;

/// One replica's whole state of one key. Amounts per flow are requests and tokens, per level requests at once
/// and money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareReport {
    /// Rises. The first is the process's time, because another meter of the process may have reported under
    /// the same name.
    pub seq: u64,
    pub limits: LimitValues,
    /// Spent in all, as the database has it.
    pub spent: i64,
    /// By flow: the rest of grants, the amount wanted in all, and the one that requests wait for.
    pub keep: [i64; 2],
    pub want: [i64; 2],
    pub need: [i64; 2],
    /// By level: the amounts held and wanted in all.
    pub level: [i64; 2],
    pub want_level: [i64; 2],
    /// By flow: the use in each second, as the window counts seconds.
    pub windows: [Vec<(u32, u32)>; 2],
}

/// The store's grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareAnswer {
    pub seq: u64,
    /// The store's time, in milliseconds.
    pub now: u64,
    /// The end of the grants of requests and tokens.
    pub lapse: u64,
    /// By flow: the amount for use until then, with the kept one; the rest for all; when the amount that was
    /// needed is free.
    pub held: [i64; 2],
    pub free: [i64; 2],
    pub free_at: [u64; 2],
    /// By level: the most that may be held.
    pub cap: [i64; 2],
    /// Requests at once that other replicas hold. `None`: the store has not said.
    pub elsewhere: Option<u64>,
    /// The number of this replica's report before this one. `None`: the store has none.
    pub last: Option<u64>,
}

impl LimitMeter {
    /// The next report. `None`: the key is not shared, or a report is under way. `recovery`: the store has
    /// lost everything and may not have the others' reports yet; of so many replicas this one gets its part.
    pub fn report(&self, now: Duration, recovery: Option<u32>) -> Option<ShareReport> {
        let share = self.share()?;
        let limits = self.facts().limits;
        let (made_at, now) = (millis(now), millis(share.clock(now)));
        let mut book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.pending.is_some() {
            return None;
        }
        share.changed.store(false, Release);
        share.is_asked.store(false, Release);
        // Before the places in use are read: one that is left later is reported later.
        share.returns.store(false, Release);
        let elapsed = now.saturating_sub(book.reported_at).clamp(100, 60_000);
        let is_first = book.answered_at == 0 || now.saturating_sub(book.answered_at) > COUNTED_MS;
        let is_live = now < share.flow_until.load(Acquire);
        let mut report = ShareReport {
            seq: if book.seq == 0 { made_at.max(1) } else { book.seq + 1 },
            limits,
            spent: self.saved(),
            keep: [0; 2],
            want: [0; 2],
            need: [0; 2],
            level: [0; 2],
            want_level: [0; 2],
            windows: Default::default(),
        };
        book.seq = report.seq;
        // Before the needs are read: a request knows by it which answers concern its own.
        share.reported.store(report.seq, Release);
        let needs = share.needs.each_ref().map(|need| need.fetch_add(0, AcqRel));
        let (mut own, mut allowances) = ([0; 2], [0; 2]);
        let windows = [(&self.requests, limits.requests), (&self.tokens, limits.tokens)];
        for (flow, (window, limit)) in windows.into_iter().enumerate() {
            let grant = &share.flows[flow];
            let limit = limit.map_or(0, i64::from);
            let taken = grant.taken.swap(0, AcqRel);
            let rate = taken as f64 * 1e3 / elapsed as f64;
            book.rates[flow] = if taken == 0 { 0.0 } else { rate.max(book.rates[flow] / 2.0) };
            let need = needs[flow].min(limit);
            #[expect(clippy::cast_possible_truncation, reason = "cut to an eighth of the limit")]
            let wanted = (book.rates[flow] * GRANT_LIFE_MS as f64 / 800.0).ceil() as i64;
            let floor =
                if need > 0 || is_first && needs.iter().any(|need| *need > 0) { limit / 16 } else { 0 };
            let mut want = wanted.min(limit / 8).max(floor) + need;
            // The rest is read before the window: an amount between the two counts in both.
            if is_live {
                let _ = grant.left.fetch_update(AcqRel, Acquire, |left| (left > want).then_some(want));
                report.keep[flow] = grant.left.load(Acquire).max(0);
            } else {
                grant.left.store(0, Release);
            }
            let seconds = window.seconds(Duration::from_millis(now));
            own[flow] = seconds.iter().map(|(_, amount)| i64::from(*amount)).sum();
            if let Some(replicas) = recovery {
                let most = book.allowance(flow, limit, replicas, now);
                want = want.min((most - own[flow]).max(report.keep[flow]));
                allowances[flow] = most;
            }
            report.want[flow] = want;
            report.need[flow] = need;
            report.windows[flow] = seconds;
        }
        self.report_levels(share, &mut report, needs, (now, &mut book.spare));
        if let Some(replicas) = recovery {
            let places = limits.concurrent.map_or(0, |most| book.place_allowance(most.into(), replicas, now));
            let budget = limits.budget.map_or(0, |all| all - report.spent) / i64::from(replicas.max(1));
            for (level, part) in [places, budget].into_iter().enumerate() {
                report.want_level[level] = report.want_level[level].min(part.max(report.level[level]));
            }
        }
        book.reported_at = now;
        book.pending = Some(PendingReport {
            seq: book.seq,
            sent: now,
            keep: report.keep,
            needs,
            levels: [self.running().into(), self.own_level()],
            saved_here: self.saved_here(),
            own,
            windows: report.windows.clone(),
            allowances: recovery.map(|_| allowances),
        });
        Some(report)
    }

    /// Lowers places and money held to those wanted, and reports them.
    fn report_levels(
        &self,
        share: &LimitShare,
        report: &mut ShareReport,
        needs: [i64; 4],
        (now, spare): (u64, &mut [i64; 2]),
    ) {
        let is_live = now < share.level_until.load(Acquire);
        if let Some(limit) = report.limits.concurrent {
            let entered = share.entered.swap(0, AcqRel);
            // Of a small limit nothing is held that is not in use.
            let most = if share.places_are_few.load(Relaxed) { 0 } else { i64::from(limit) / 4 };
            spare[0] = next_spare(spare[0], entered, needs[2]).min(most);
            let want = i64::from(self.running()) + needs[2] + spare[0];
            if is_live {
                share.running_cap.fetch_min(want, AcqRel);
            } else {
                share.running_cap.store(0, Release);
            }
            // Read after the cap is lowered: no more than this can run until the answer.
            report.level[0] = share.running_cap.load(Acquire).max(i64::from(self.running()));
            report.want_level[0] = want;
        }
        if let Some(budget) = report.limits.budget {
            let set_aside = share.set_aside.swap(0, AcqRel).saturating_mul(2);
            let is_short = share.sum_is_short.swap(false, AcqRel);
            let need = if is_short { 0 } else { needs[3] };
            let most = if is_short { 0 } else { budget / 8 };
            spare[1] = next_spare(spare[1], set_aside, need).min(most);
            let want = self.own_level().saturating_add(need).saturating_add(spare[1]);
            let here = self.saved_here();
            if is_live {
                share.ceiling.fetch_min(here.saturating_add(want), AcqRel);
            } else {
                share.ceiling.store(here, Release);
            }
            let kept = share.ceiling.load(Acquire).saturating_sub(here);
            report.level[1] = kept.max(self.own_level());
            report.want_level[1] = want;
        }
    }

    /// Takes the answer to the last report; others are ignored. `sent`: when the report was made. True: the
    /// store has lost its record of this replica.
    pub fn accept(&self, answer: &ShareAnswer, sent: Duration, replicas: u32) -> bool {
        let Some(share) = self.share() else { return false };
        let limits = self.facts().limits;
        let mut book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pending) = book.pending.take_if(|pending| pending.seq == answer.seq) else { return false };
        book.outage.note_answer(millis(sent));
        let is_lost = answer.last.is_none()
            && book.answered_at != 0
            && pending.sent.saturating_sub(book.answered_at) < COUNTED_MS - 2000;
        // Its grants were made without the others' reports.
        if is_lost && pending.allowances.is_none() {
            return true;
        }
        // The store's clock was not later than this when the report was made, so that no use is dated early.
        let offset = answer.now.wrapping_sub(millis(sent)).cast_signed();
        share.offset.store(offset, Relaxed);
        for flow in 0..2 {
            let grant = &share.flows[flow];
            let granted = answer.held[flow] - pending.keep[flow];
            grant.left.fetch_add(granted.max(0), AcqRel);
            grant.low.store(answer.held[flow] / 3, Relaxed);
            grant.free.store(answer.free[flow].max(0).unsigned_abs(), Relaxed);
            let is_short = pending.needs[flow] > answer.held[flow];
            // If the report asked for none of this flow, the answer does not show whether the store has it.
            if pending.needs[flow] > 0 {
                let (part, until) = match is_short {
                    true => (answer.held[flow], (answer.now + EMPTY_MS).min(answer.free_at[flow])),
                    false => (0, 0),
                };
                share.free_at[flow].store(answer.free_at[flow], Relaxed);
                share.returned_parts[flow].store(0, Release);
                share.parts[flow].store(part, Release);
                share.empty_until[flow].store(until, Release);
            }
            book.held[flow] = answer.held[flow];
            let rest = answer.free[flow].max(0) / i64::from(replicas.max(1));
            // A store that has lost everything does not know the rest.
            let known = pending.allowances.map(|allowances| allowances[flow]);
            book.own_at_answer[flow] = known.unwrap_or(pending.own[flow] + rest);
        }
        share.flow_until.store(answer.lapse, Release);
        share.running_cap.store(answer.cap[0], Release);
        share.ceiling.store(pending.saved_here.saturating_add(answer.cap[1]), Release);
        share.level_until.store(answer.now + LEVEL_LIFE_MS, Release);
        book.note_places(answer.cap[0], answer.elsewhere, pending.allowances.is_some());
        if let Some(limit) = limits.concurrent {
            self.look_at_places(share, limit.into(), book.running_elsewhere, replicas);
        }
        for level in 0..2 {
            let limit = level + 2;
            let need = pending.needs[limit];
            // Places that were held stay, also of a limit that was lowered.
            let most = limits.concurrent.filter(|_| level == 0).map_or(i64::MAX, i64::from);
            let is_short =
                need > 0 && answer.cap[level].min(most) < pending.levels[level].saturating_add(need);
            let is_soon = level == 0 && share.places_are_few.load(Relaxed);
            let pause = if is_soon { RETRY_MS } else { EMPTY_MS };
            let until = if is_short { answer.now + pause } else { 0 };
            share.free_at[limit].store(answer.now + 1000, Relaxed);
            share.empty_until[limit].store(until, Release);
        }
        book.level_held = answer.cap.iter().any(|cap| *cap > 0);
        (book.own_seconds, book.alone_since) = (pending.windows, 0);
        book.is_whole = pending.allowances.is_none() && !is_lost;
        book.answered_at = answer.now;
        drop(book);
        share.answered_report.store(answer.seq, Release);
        share.answered.notify_waiters();
        is_lost
    }

    /// No answer came to the last report. It may be carried out at any time; the next one replaces it.
    pub fn give_up(&self) {
        let Some(share) = self.share() else { return };
        share.changed.store(true, Release);
        share.book.lock().unwrap_or_else(PoisonError::into_inner).pending = None;
    }

    /// The report that was made at this moment has no answer. After the first of them the next report is made
    /// soon, so that one lost answer is no outage.
    pub fn note_failure(&self, sent: Duration) {
        if let Some(share) = self.share()
            && share.book.lock().unwrap_or_else(PoisonError::into_inner).outage.note_failure(millis(sent))
        {
            share.returns.store(true, Release);
        }
    }

    /// The store has a later report under this name: the key has another meter, and this one has nothing to
    /// tell any more.
    pub fn retire(&self) {
        let Some(share) = self.share() else { return };
        let mut book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        (book.pending, book.held, book.level_held) = (None, [0; 2], false);
        for flag in [&share.changed, &share.returns, &share.is_asked] {
            flag.store(false, Release);
        }
        drop(book);
        share.answered.notify_waiters();
    }

    /// The store has not answered about this key for a while, or does so again since a moment: it may not
    /// know all that others have used.
    pub fn recovers(&self, now: Duration) -> bool {
        let outage = |share: &LimitShare| {
            share.book.lock().unwrap_or_else(PoisonError::into_inner).outage.recovers(millis(now))
        };
        self.share().is_some_and(outage)
    }

    /// The most that this replica's window may hold while the store is away.
    pub(super) fn allowance_alone(&self, flow: usize, limit: u32, replicas: u32, now: Duration) -> u32 {
        let Some(share) = self.share() else { return limit };
        let mut book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.alone_since == 0 {
            book.alone_since = millis(now);
        }
        u32::try_from(book.allowance(flow, limit.into(), replicas, millis(now))).unwrap_or(0)
    }
}

/// How much of a level to hold beyond its use, after `used` of it was taken since the last report. It doubles
/// while requests wait, because the time between two reports is short then and so is the use in it.
fn next_spare(spare: i64, used: i64, need: i64) -> i64 {
    if need > 0 { spare.saturating_mul(2).max(need) } else { spare / 2 }.max(used)
}

#[cfg(test)]
pub(in crate::auth) mod tests;
