//! The cost of tokens. Prices are given per million tokens, in the currency of the operator, and kept as
//! integers: millionths of the currency (micro-units) per million tokens. A cost is the exact sum of tokens
//! times prices, divided by a million once and rounded to the nearest micro-unit, halves up. After the
//! configuration is read no value is a float.

use std::{cmp::Reverse, sync::Arc};

use crate::base::glob;

/// Micro-units per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    /// Input from the provider's cache. `None`: costs as much as other input.
    pub cached: Option<u64>,
    /// Input written to the provider's cache. `None`: 1.25 times other input, as at Anthropic.
    pub cache_write: Option<u64>,
    /// The same for a cache that keeps it for an hour. `None`: 2 times other input, as at Anthropic.
    pub cache_write_1h: Option<u64>,
}

/// Tokens to pay for; `cached` and `cache_write` are parts of `input`, `cache_write_1h` is one of
/// `cache_write`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PricedTokens {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub cache_write_1h: u64,
}

/// Prices by model. A name may hold `*` for any text and `?` for one letter. The name with the most other
/// letters wins; of equals, the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    by_name: Vec<(Box<str>, Price)>,
    /// The names of the configured providers: before a slash they are no part of a model's name.
    providers: Vec<Arc<str>>,
}

impl Prices {
    #[must_use]
    pub fn new(prices: impl IntoIterator<Item = (String, Price)>) -> Self {
        let mut prices: Vec<_> = prices.into_iter().map(|(name, price)| (name.into(), price)).collect();
        prices.sort_by_key(|(name, _): &(Box<str>, Price)| Reverse(glob::literals(name)));
        Self { by_name: prices, providers: Vec::new() }
    }

    /// The same prices, in which these names before a slash are providers.
    #[must_use]
    pub fn with_providers(self, names: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { providers: names.into_iter().collect(), ..self }
    }

    /// The price of a model at a provider. Names are matched with `model` and with `provider/model`.
    #[must_use]
    pub fn find(&self, provider: &str, model: &str) -> Option<&Price> {
        let fits = |name: &str| match name.split_once('/') {
            Some((own, rest)) if self.providers.iter().any(|known| **known == *own) => {
                own == provider && glob::matches(rest, model)
            }
            Some((own, rest)) => {
                glob::matches(name, model) || (glob::matches(own, provider) && glob::matches(rest, model))
            }
            None => glob::matches(name, model),
        };
        self.by_name.iter().find(|(name, _)| fits(name)).map(|(_, price)| price)
    }

    /// `None`: there is no price for this model.
    #[must_use]
    pub fn cost(&self, provider: &str, model: &str, tokens: PricedTokens) -> Option<u64> {
        self.find(provider, model).map(|price| price.cost(tokens))
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.by_name.len()
    }
}

impl Price {
    /// In micro-units.
    #[must_use]
    pub fn cost(&self, tokens: PricedTokens) -> u64 {
        const MILLION: u64 = 1_000_000;
        // No part is larger than the whole, even if a provider says so.
        let cached = tokens.cached.min(tokens.input);
        let written = tokens.cache_write.min(tokens.input - cached);
        let written_1h = tokens.cache_write_1h.min(written);
        let cache_write = self.cache_write.unwrap_or_else(|| self.input.saturating_add(self.input / 4));
        let parts = [
            (tokens.input - cached - written, self.input),
            (cached, self.cached.unwrap_or(self.input)),
            (written - written_1h, cache_write),
            (written_1h, self.cache_write_1h.unwrap_or_else(|| self.input.saturating_mul(2))),
            (tokens.output, self.output),
        ];
        let sum = parts
            .iter()
            .fold(0_u128, |sum, (count, price)| sum.saturating_add(u128::from(*count) * u128::from(*price)));
        let sum = sum.saturating_add(u128::from(MILLION / 2));
        // A division of 64 bits where they do takes a tenth of the time.
        match u64::try_from(sum) {
            Ok(sum) => sum / MILLION,
            Err(_) => u64::try_from(sum / u128::from(MILLION)).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(input: u64) -> Price {
        Price { input, output: 4 * input, cached: Some(input / 2), ..Price::default() }
    }

    #[test]
    fn the_most_exact_name_wins() {
        let names = ["*", "gpt-4o", "gpt-4o-*", "gpt-*", "azure/gpt-4o", "openai/*-mini"];
        let prices =
            Prices::new(names.iter().zip(1..).map(|(name, input)| ((*name).to_owned(), price(input))));
        for (provider, model, input) in [
            ("p", "gpt-4o", 2),
            ("p", "gpt-4o-mini", 3),
            ("openai", "gpt-4o-mini", 6),
            ("p", "gpt-5", 4),
            ("azure", "gpt-4o", 5),
            ("p", "claude", 1),
        ] {
            assert_eq!(prices.find(provider, model), Some(&price(input)), "{provider} {model}");
        }
        assert_eq!(Prices::new([("a".to_owned(), price(1))]).find("p", "b"), None);
        assert_eq!(Prices::default().cost("p", "m", PricedTokens::default()), None);
    }

    /// B4: a configured provider's name before the slash is that provider, not a part of a model's name.
    #[test]
    fn a_providers_name_in_a_price_is_that_provider() {
        let names = ["openai/gpt-4o", "gpt-4o", "*"];
        let prices =
            Prices::new(names.iter().zip(1..).map(|(name, input)| ((*name).to_owned(), price(input))));
        assert_eq!(prices.find("openrouter", "openai/gpt-4o"), Some(&price(1)), "the name of a model");
        let prices = prices.with_providers(["openai".into(), "openrouter".into()]);
        assert_eq!(prices.find("openrouter", "openai/gpt-4o"), Some(&price(3)));
        assert_eq!(prices.find("openai", "gpt-4o"), Some(&price(1)));
        assert_eq!(prices.find("openrouter", "gpt-4o"), Some(&price(2)));
    }

    #[test]
    fn costs_are_exact_and_rounded_once() {
        // gpt-4o: 2.50 in, 10.00 out, 1.25 cached.
        let price =
            Price { input: 2_500_000, output: 10_000_000, cached: Some(1_250_000), ..Price::default() };
        let cost = |input, output, cached| {
            price.cost(PricedTokens { input, output, cached, ..PricedTokens::default() })
        };
        assert_eq!(cost(1_000_000, 1_000_000, 0), 12_500_000);
        assert_eq!(cost(1000, 0, 1000), 1250);
        // 2.5 micro-units for one token, 7.5 for three, 1.25 for one from the cache.
        assert_eq!([cost(1, 0, 0), cost(3, 0, 0), cost(1, 0, 1)], [3, 8, 1]);
        assert_eq!(cost(0, 0, 5), 0, "no more than all of it is cached");
        assert_eq!(cost(u64::MAX, u64::MAX, 0), u64::MAX);
        let plain = Price { cached: None, ..price };
        assert_eq!(plain.cost(PricedTokens { input: 2, cached: 2, ..PricedTokens::default() }), 5);
    }

    #[test]
    fn what_is_written_to_a_cache_has_a_price_of_its_own() {
        // Claude Sonnet: 3.00 in, 3.75 and 6.00 written, 0.30 read, 15.00 out.
        let given = Price {
            input: 3_000_000,
            output: 15_000_000,
            cached: Some(300_000),
            cache_write: Some(4_000_000),
            cache_write_1h: Some(7_000_000),
        };
        let usual = Price { cache_write: None, cache_write_1h: None, ..given };
        let tokens = |cache_write, cache_write_1h| PricedTokens {
            input: 1_000_000,
            output: 0,
            cached: 500_000,
            cache_write,
            cache_write_1h,
        };
        assert_eq!(usual.cost(tokens(0, 0)), 1_650_000);
        assert_eq!(usual.cost(tokens(400_000, 0)), 150_000 + 300_000 + 1_500_000);
        assert_eq!(usual.cost(tokens(400_000, 300_000)), 150_000 + 300_000 + 375_000 + 1_800_000);
        assert_eq!(given.cost(tokens(400_000, 300_000)), 150_000 + 300_000 + 400_000 + 2_100_000);
        assert_eq!(given.cost(tokens(u64::MAX, u64::MAX)), 150_000 + 3_500_000, "no part is above the whole");
    }
}
