//! A reload from any configuration to any other: the new one is in force as it would be after a start, and
//! equal ones do not differ. Input: two texts with a NUL between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::{
    app::rehearse,
    config::{self, Env},
};

fuzz_target!(|input: &str| {
    let Some((before, after)) = input.split_once('\0') else { return };
    let env = Env::new([("KEY", "sk-1")], |_, _| false);
    let Ok(before) = config::parse(before, &env) else { return };
    assert!(!rehearse(&before, &before).0, "equal ones do not differ");
    let Ok(after) = config::parse(after, &env) else { return };
    let (there, carried) = rehearse(&before, &after);
    let (back, _) = rehearse(&after, &before);
    assert_eq!(there, back, "a difference is one both ways");
    assert_eq!(carried.providers.len(), after.providers.len());
    for (provider, settings) in carried.providers.iter().zip(&after.providers) {
        assert_eq!((&*provider.target, provider.deadlines), (&settings.target, settings.deadlines));
    }
    assert_eq!(carried.intake.body_size, after.limits.body_size);
    assert_eq!((carried.stream, carried.failover), (after.stream, after.failover));
});
