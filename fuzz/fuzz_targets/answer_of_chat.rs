//! Streams of a provider of chat completions, translated. Input: the request's wishes, two cuts, the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::dialect::ApiDialect;

#[path = "../pieces.rs"]
mod pieces;
#[path = "../streams.rs"]
mod streams;

fuzz_target!(|input: &[u8]| streams::check(ApiDialect::ChatCompletions, input));
