//! A small random number generator (SplitMix64, Steele et al. 2014) for choices that must be spread, not
//! secret: orders and pauses. The same seed gives the same numbers, so a simulation can be repeated. Keys and
//! tokens never come from it.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator with a different seed each time, from the system.
    #[must_use]
    pub fn random() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// A second generator, independent of this one from here on.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.roll())
    }

    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number from 0 to below 1.
    pub const fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from 0 to below `end`; 0 if `end` is 0.
    #[expect(clippy::cast_possible_truncation, reason = "the product's high half is below `end`")]
    pub const fn below(&mut self, end: usize) -> usize {
        ((self.roll() as u128 * end as u128) >> 64) as usize
    }

    /// True in this share of calls.
    pub const fn happens(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Half to one and a half of `duration`, so that tasks that ran at the same time do not run at the same
    /// time again.
    pub fn jitter(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(0.5 + self.unit())
    }
}

/// Mixes the bits of a number: each input bit affects every output bit.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_numbers() {
        // The reference's first three for this seed.
        let mut rng = Rng::new(1_234_567);
        let rolls = [rng.roll(), rng.roll(), rng.roll()];
        assert_eq!(rolls, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn stays_within_bounds_and_reaches_all() {
        let mut rng = Rng::new(7);
        let mut seen = [0_u32; 3];
        for _ in 0..3000 {
            seen[rng.below(3)] += 1;
            let jittered = rng.jitter(Duration::from_secs(2));
            assert!(jittered >= Duration::from_secs(1) && jittered < Duration::from_secs(3));
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert!(!rng.happens(0.0) && rng.happens(1.0));
    }
}
