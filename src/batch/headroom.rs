//! Whether a key's limits leave room for an item of a batch: batches take no more than half of each limit,
//! the other requests of the key included, at all replicas that share the limits, so that these always find
//! room.

use std::time::Instant;

use crate::{auth::Principal, proxy::Snapshot};

/// Whether the key uses less than half of its requests at once, its requests and its tokens per minute. A
/// limit of one is used when the key does nothing else. False also while the use by other replicas is not
/// known: it is asked for, and the answer takes a moment.
pub(super) fn has_room(snapshot: &Snapshot, principal: &Principal) -> bool {
    let Some(meter) = &principal.meter else { return true };
    let allowance = &principal.limits.allowance;
    let used = match snapshot.keys.hub() {
        Some(hub) => hub.usage(meter, allowance),
        None => Some(meter.use_here(allowance, snapshot.keys.moment(Instant::now()))),
    };
    used.is_some_and(|used| used.into_iter().flatten().all(|limit| limit.is_below_half()))
}
