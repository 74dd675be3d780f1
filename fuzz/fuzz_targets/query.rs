//! The queries of `/streaming-compare` and `/stats`: values within their bounds, or an error; what was read
//! is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::web::{compare::params::{MAX_REPEATS, Params}, ledger_query};

fuzz_target!(|query: &str| {
    if let Ok(params) = Params::parse(query) {
        assert!((1..=MAX_REPEATS).contains(&params.repeats) && params.prompt.len() <= 4096);
        assert_eq!(Params::parse(&params.query()), Ok(params));
    }
    if let Err(refusal) = ledger_query(query) {
        assert_eq!((refusal.status, refusal.code), (400, "invalid_query"));
    }
});
