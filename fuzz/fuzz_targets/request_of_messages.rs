//! Requests of messages, translated. Input: the provider's peculiarities, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::dialect::ApiDialect;

#[path = "../requests.rs"]
mod requests;

fuzz_target!(|input: &[u8]| requests::check(ApiDialect::Messages, input));
