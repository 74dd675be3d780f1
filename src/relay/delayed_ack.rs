//! Chooses how the provider's connection acknowledges frames: where they come densely, every second one
//! instead of each. An acknowledgement costs a fifth of relaying, because the kernel sends a packet of its
//! own for it at each read.
//!
//! A late acknowledgement waits up to 40 ms. A kernel that holds small packets back until the one before is
//! acknowledged (Nagle) is stopped by that at once, and our kernel then acknowledges at once again by itself.
//! The gap shows such a provider, and its connections acknowledge at once from then on.

use tokio::time::Duration;

/// Gaps below this are dense: two frames come within the 40 ms after which Linux acknowledges anyway.
const DENSE_GAP_LIMIT: Duration = Duration::from_millis(30);
/// Gaps below this are a flood: there every acknowledgement lets the provider send on, and late ones cost a
/// tenth of the rate.
const FLOOD_GAP_LIMIT: Duration = Duration::from_millis(1);
/// Dense gaps in a row after which acknowledgements are late.
const MIN_DENSE_RUN: u8 = 8;
/// Frames after that within which a gap that is not dense is a consequence of late acknowledgements.
const TRIAL_FRAMES: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct DelayedAck {
    /// Dense gaps in a row, counted up to the end of the trial.
    run: u8,
}

/// The provider's connection acknowledges:
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// every second frame,
    Late,
    /// each frame again, now and for later streams, because the provider waits for it.
    AtOnce,
}

impl DelayedAck {
    /// Notes a frame that came `gap` after the one before. `None`: nothing changes.
    pub(super) fn note(&mut self, gap: Duration) -> Option<Acknowledge> {
        if gap < FLOOD_GAP_LIMIT {
            if self.run < MIN_DENSE_RUN {
                self.run = 0;
            }
            return None;
        }
        if gap < DENSE_GAP_LIMIT {
            self.run = (self.run + 1).min(MIN_DENSE_RUN + TRIAL_FRAMES);
            return (self.run == MIN_DENSE_RUN).then_some(Acknowledge::Late);
        }
        let tried = (MIN_DENSE_RUN..MIN_DENSE_RUN + TRIAL_FRAMES).contains(&self.run);
        self.run = 0;
        tried.then_some(Acknowledge::AtOnce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENSELY: Duration = Duration::from_millis(20);
    const AT_ONCE: Duration = Duration::from_micros(100);
    const SLOWLY: Duration = Duration::from_millis(39);

    /// The modes that are set, each with the number of gaps before it.
    fn modes(gaps: impl IntoIterator<Item = Duration>) -> Vec<(usize, Acknowledge)> {
        let mut delayed_ack = DelayedAck::default();
        let mut at = 0;
        let note = |gap| {
            at += 1;
            delayed_ack.note(gap).map(|mode| (at, mode))
        };
        gaps.into_iter().filter_map(note).collect()
    }

    #[test]
    fn dense_frames_are_acknowledged_late_and_others_are_not() {
        assert_eq!(modes([DENSELY; 1000]), [(8, Acknowledge::Late)]);
        assert_eq!(modes([SLOWLY; 1000]), []);
        assert_eq!(modes([AT_ONCE, AT_ONCE, DENSELY].repeat(300)), []);
        let uneven = [DENSELY, DENSELY, DENSELY, DENSELY, DENSELY, DENSELY, DENSELY, SLOWLY];
        assert_eq!(modes(uneven.repeat(9)), []);
    }

    #[test]
    fn a_pause_ends_it_and_it_may_begin_again() {
        let steps = [vec![DENSELY; 20], vec![SLOWLY], vec![DENSELY; 300]].concat();
        assert_eq!(modes(steps), [(8, Acknowledge::Late), (29, Acknowledge::Late)]);
    }

    #[test]
    fn a_provider_that_waits_for_acknowledgements_is_found() {
        for dense in 8..15 {
            let late = (8, Acknowledge::Late);
            let found = (dense + 1, Acknowledge::AtOnce);
            let expected = if dense < 11 { vec![late, found] } else { vec![late] };
            assert_eq!(modes([vec![DENSELY; dense], vec![SLOWLY]].concat()), expected, "after {dense}");
        }
    }
}
