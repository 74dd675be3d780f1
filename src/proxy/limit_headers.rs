//! The response's headers about a key's limits, and when to try again.

use std::{sync::Arc, time::Duration};

use crate::auth::{
    Principal,
    limit::{LimitMeter, LimitValues},
};

use crate::base::HeaderFields;

/// A key with limits, for the response's headers.
#[derive(Debug)]
pub(super) struct LimitHeaders {
    pub(super) principal: Arc<Principal>,
    pub(super) meter: Arc<LimitMeter>,
    /// When the request arrived, as the meter counts time.
    pub(super) began: Duration,
}

const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

impl LimitHeaders {
    /// OpenAI's `x-ratelimit-*`: the rest of this key's limits. They replace the provider's own, which are
    /// about the gateway's account there; where the key has no such limit, the provider's pass (R33).
    pub(super) fn write(&self, headers: &mut HeaderFields, elapsed: Duration) {
        let now = self.meter.clock(self.began + elapsed);
        let left = self.meter.left();
        let LimitValues { requests, tokens, .. } = self.principal.limits.allowance;
        let windows = [(REQUESTS, &self.meter.requests, requests), (TOKENS, &self.meter.tokens, tokens)];
        for (flow, ([limit_name, remaining_name, reset_name], window, limit)) in
            windows.into_iter().enumerate()
        {
            let Some(limit) = limit else { continue };
            let own = u64::from(limit).saturating_sub(window.used(now));
            // Other replicas have used some of it, too.
            let remaining = left.map_or(own, |left| own.min(left[flow]));
            headers.insert(limit_name, itoa::Buffer::new().format(limit));
            headers.insert(remaining_name, itoa::Buffer::new().format(remaining));
            headers.insert(reset_name, seconds(window.reset(now)));
        }
    }
}

/// `retry-after` in whole seconds, rounded up, and `retry-after-ms`, which OpenAI's clients prefer.
pub(super) fn write_retry(headers: &mut HeaderFields, after: Duration) {
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1);
    headers.insert("retry-after", itoa::Buffer::new().format(millis.div_ceil(1000)));
    headers.insert("retry-after-ms", itoa::Buffer::new().format(millis));
}

/// A duration in seconds in Go's notation, as OpenAI's headers have it.
fn seconds(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut fraction = itoa::Buffer::new();
    let fraction = fraction.format(1000 + millis % 1000).get(1..).unwrap_or_default();
    let mut text = String::with_capacity(16);
    for part in [itoa::Buffer::new().format(millis / 1000), ".", fraction, "s"] {
        text.push_str(part);
    }
    text
}
