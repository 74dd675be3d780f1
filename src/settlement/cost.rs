//! The cost of a completed request, in micro-units of the currency, and the tokens that it is computed from.

use crate::{
    exchange::RequestRecord,
    ledger::{PricedTokens, Prices},
    wire::{Dialect, Usage},
};

/// `None`: no usage is known, or no price.
pub(super) fn cost(record: &RequestRecord, prices: &Prices) -> Option<u64> {
    let usage = with_cached_input(record.route.dialect()?, record.stats.usage?);
    let tokens = PricedTokens {
        input: usage.input.unwrap_or(0),
        output: usage.output.unwrap_or(0),
        cached: usage.cached.unwrap_or(0),
    };
    let model = record.upstream_model.as_deref().or(record.model.as_deref()).unwrap_or_default();
    prices.cost(record.provider.as_deref()?, model, tokens)
}

/// Anthropic counts input from its cache beside the input, all others as a part of it. The ledger counts it
/// as a part, so that sums over providers mean something.
pub(super) fn with_cached_input(dialect: Dialect, usage: Usage) -> Usage {
    match dialect {
        Dialect::Messages => {
            Usage { input: usage.input.map(|input| input.saturating_add(usage.cached.unwrap_or(0))), ..usage }
        }
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Responses => usage,
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
    fn cached_input_is_a_part_of_all_input() {
        let reported = Usage { input: Some(10), cached: Some(90), ..Usage::default() };
        assert_eq!(with_cached_input(Dialect::Messages, reported).input, Some(100));
        assert_eq!(with_cached_input(Dialect::ChatCompletions, reported).input, Some(10));
    }

    #[test]
    fn a_cost_beyond_the_range_is_not_free() {
        assert_eq!([None, Some(7), Some(u64::MAX)].map(payable), [0, 7, i64::MAX]);
    }
}
