//! What a run saw, and the one line of JSON that tells it: counts as they are, times as percentiles in nanoseconds.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// What all connections of a run saw.
#[derive(Debug)]
pub struct Seen {
    /// From the sending of an event to the read that brought it.
    pub ages: Times,
    /// From the request to the first byte of its answer.
    pub first_byte: Times,
    /// From the request to the end of an answer that is no stream.
    pub whole: Times,
    /// Reads that brought at least one event.
    pub reads: u64,
    /// Answers that came to their proper end.
    pub answers: u64,
}

impl Seen {
    pub fn new() -> Self {
        Self { ages: Times::new(), first_byte: Times::new(), whole: Times::new(), reads: 0, answers: 0 }
    }
}

pub fn print(seen: &Seen, nanoseconds: u64, errors: &[String]) {
    let line = json!({
        "nanoseconds": nanoseconds,
        "events": seen.ages.count(),
        "reads": seen.reads,
        "answers": seen.answers,
        "errors": errors.len(),
        "first_error": errors.first(),
        "age": seen.ages.figures(),
        "first_byte": seen.first_byte.figures(),
        "whole": seen.whole.figures(),
    });
    println!("{line}");
}

/// Times up to a minute, to three digits.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

const LONGEST: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

impl Times {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self(histogram.unwrap_or_else(|error| unreachable!("the bounds are constants: {error}")))
    }

    pub fn add(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    fn figures(&self) -> Value {
        json!({
            "p50": self.0.value_at_quantile(0.5),
            "p99": self.0.value_at_quantile(0.99),
            "p99.9": self.0.value_at_quantile(0.999),
            "max": self.0.max(),
        })
    }
}
