//! Whether frames come so densely that the provider's connection may acknowledge every second one instead of each. To
//! acknowledge costs a fifth of relaying: the kernel sends a packet of its own for it when we read.
//!
//! A late acknowledgement waits up to 40 ms. A provider whose kernel holds small packets back until the one before is
//! acknowledged (Nagle) is stopped by that at once, and the kernel then acknowledges at once again by itself: the gap
//! gives such a provider away, and it is left alone from then on.

use tokio::time::Duration;

/// Gaps below this are dense: two frames come within the 40 ms after which Linux acknowledges anyway.
const DENSE: Duration = Duration::from_millis(30);
/// Gaps below this are a flood's, not a pace: there every acknowledgement lets the provider send on, and late ones cost a tenth
/// of the rate.
const FLOOD: Duration = Duration::from_millis(1);
/// So many dense gaps in a row make acknowledgements late.
const RUN: u8 = 8;
/// A gap that is not dense within so many frames after that is its doing.
const TRIAL: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct DelayedAck {
    /// Dense gaps in a row, as far as they matter.
    run: u8,
}

/// What the provider's connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Every second frame.
    Late,
    /// Each again, now and for later streams: the provider waits for them.
    AtOnce,
}

impl DelayedAck {
    /// A frame came so long after the one before.
    pub(super) fn note(&mut self, gap: Duration) -> Option<Acknowledge> {
        if gap < FLOOD {
            if self.run < RUN {
                self.run = 0;
            }
            return None;
        }
        if gap < DENSE {
            self.run = (self.run + 1).min(RUN + TRIAL);
            return (self.run == RUN).then_some(Acknowledge::Late);
        }
        let tried = (RUN..RUN + TRIAL).contains(&self.run);
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

    /// What is told after how many gaps.
    fn told(gaps: impl IntoIterator<Item = Duration>) -> Vec<(usize, Acknowledge)> {
        let mut pace = DelayedAck::default();
        let mut at = 0;
        let note = |gap| {
            at += 1;
            pace.note(gap).map(|told| (at, told))
        };
        gaps.into_iter().filter_map(note).collect()
    }

    #[test]
    fn dense_frames_are_acknowledged_late_and_others_are_not() {
        assert_eq!(told([DENSELY; 1000]), [(8, Acknowledge::Late)]);
        assert_eq!(told([SLOWLY; 1000]), []);
        assert_eq!(told([AT_ONCE, AT_ONCE, DENSELY].repeat(300)), []);
        let uneven = [DENSELY, DENSELY, DENSELY, DENSELY, DENSELY, DENSELY, DENSELY, SLOWLY];
        assert_eq!(told(uneven.repeat(9)), []);
    }

    #[test]
    fn a_pause_ends_it_and_it_may_begin_again() {
        let steps = [vec![DENSELY; 20], vec![SLOWLY], vec![DENSELY; 300]].concat();
        assert_eq!(told(steps), [(8, Acknowledge::Late), (29, Acknowledge::Late)]);
    }

    #[test]
    fn a_provider_that_waits_for_acknowledgements_is_found_out() {
        for dense in 8..15 {
            let late = (8, Acknowledge::Late);
            let found = (dense + 1, Acknowledge::AtOnce);
            let expected = if dense < 11 { vec![late, found] } else { vec![late] };
            assert_eq!(told([vec![DENSELY; dense], vec![SLOWLY]].concat()), expected, "after {dense}");
        }
    }
}
