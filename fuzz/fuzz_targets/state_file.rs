//! The state file: any text is a state or none, and a state that was read is written and read again as the
//! same. Input: the time, the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::{base::ttl_map::CacheHits, prober::SavedState};

fuzz_target!(|input: &[u8]| {
    let Some((now, text)) = input.split_first_chunk() else { return };
    let now = u64::from_be_bytes(*now);
    let hits = CacheHits::default();
    let Some(mut state) = SavedState::parse(text, &hits) else { return };
    let written = state.render(now);
    let mut again = SavedState::parse(&written, &hits).expect("a state that was written");
    assert_eq!(again.render(now), written);
});
