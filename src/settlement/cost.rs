//! The cost of a completed request, in micro-units of the currency, and the tokens that it is computed from.

use crate::{
    exchange::RequestRecord,
    ledger::{PricedTokens, Prices},
    wire::Usage,
};

/// `None`: no usage is known, or no price.
pub(super) fn cost(record: &RequestRecord, prices: &Prices) -> Option<u64> {
    let tokens = tokens(&record.stats.usage?);
    let model = record.upstream_model.as_deref().or(record.model.as_deref()).unwrap_or_default();
    prices.cost(record.provider.as_deref()?, model, tokens)
}

fn tokens(usage: &Usage) -> PricedTokens {
    PricedTokens {
        input: usage.input.unwrap_or(0),
        output: usage.output.unwrap_or(0),
        cached: usage.cached.unwrap_or(0),
        cache_write: usage.cache_write.unwrap_or(0),
        cache_write_1h: usage.cache_write_1h.unwrap_or(0),
    }
}

/// The charge to a key's budget. A request without a price is free; a cost beyond the number's range is
/// charged in full range.
pub(super) fn payable(cost: Option<u64>) -> i64 {
    cost.map_or(0, |cost| i64::try_from(cost).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_beyond_the_range_is_not_free() {
        assert_eq!([None, Some(7), Some(u64::MAX)].map(payable), [0, 7, i64::MAX]);
    }
}
