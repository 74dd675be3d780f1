//! The limits of a key, and one request's part of them, as values.

use std::time::Duration;

/// The limits of a key. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitValues {
    /// Requests per minute.
    pub requests: Option<u32>,
    /// Tokens per minute, input and output together.
    pub tokens: Option<u32>,
    /// Requests at once.
    pub concurrent: Option<u32>,
    /// Millionths of the currency, in all.
    pub budget: Option<i64>,
}

/// The estimated use of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Requests to providers, one at least; cut to the most that the limit can ever grant.
    pub requests: u32,
    /// Tokens of the prompt; never cut.
    pub prompt: u32,
    /// Tokens that the answer may have, and of the prompts of further requests; cut to the most that the
    /// limit can ever grant.
    pub answer: u32,
    /// Millionths of the currency; 0 when the price is not known. Cut to the rest of the budget.
    pub cost: i64,
}

impl Reservation {
    /// The requests beyond the first that this reservation takes of `limit`.
    pub(super) fn further(&self, limit: u32) -> u32 {
        self.requests.min(limit).saturating_sub(1)
    }

    /// The tokens that it takes: at most `limit`, but no fewer than the prompt has.
    pub(super) fn tokens(&self, limit: u32) -> u32 {
        self.prompt.saturating_add(self.answer).min(limit.max(self.prompt))
    }
}

impl Default for Reservation {
    fn default() -> Self {
        Self { requests: 1, prompt: 0, answer: 0, cost: 0 }
    }
}

/// The real use of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Input and output.
    pub tokens: u64,
    /// Millionths of the currency.
    pub cost: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    // In this order where amounts stand side by side.
    Requests,
    Tokens,
    Concurrent,
    Budget,
}

/// The limit that a reservation exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Limit,
    /// When to try again; `None`: time does not help.
    pub after: Option<Duration>,
    /// The amount that did not fit.
    pub(super) amount: i64,
}
