//! Whether a key's limits leave room for an item of a batch: batches take no more than half of each limit,
//! the other requests of the key included, so that these always find room.

use std::time::Instant;

use crate::{auth::Principal, proxy::Snapshot};

/// Whether the key uses less than half of its requests at once, its requests and its tokens per minute. A
/// limit of one is used when the key does nothing else.
pub(super) fn has_room(snapshot: &Snapshot, principal: &Principal) -> bool {
    let Some(meter) = &principal.meter else { return true };
    let allowance = principal.limits.allowance;
    let now = snapshot.keys.moment(Instant::now());
    let below_half =
        |used: u64, limit: Option<u32>| limit.is_none_or(|limit| used < u64::from(limit.div_ceil(2)));
    below_half(meter.running().into(), allowance.concurrent)
        && below_half(meter.requests.used(now), allowance.requests)
        && below_half(meter.tokens.used(now), allowance.tokens)
}
