//! The gaps between events, how many of each length: gathered events stand at the left, stalls at the right.

use super::{axis, canvas::Canvas, class, scale::time, title};
use crate::web::compare::report::CompareReport;

const HEIGHT: f64 = 24.0;
/// Decades from 10 µs to 10 s, and bars in each.
const DECADES: usize = 6;
const PER_DECADE: usize = 6;
const BARS: usize = DECADES * PER_DECADE;
const SHORTEST_US: f64 = 10.0;

pub(super) fn draw(canvas: &mut Canvas, report: &CompareReport) {
    let streams = report.legs.iter().filter(|leg| leg.events_at_us.len() > 1);
    let counted: Vec<_> = streams.map(|leg| (leg, counts(&leg.events_at_us))).collect();
    if counted.is_empty() {
        return;
    }
    title(canvas, "Gaps between events: the share of each length");
    let (left, right) = (canvas.left(), canvas.right());
    #[expect(clippy::cast_precision_loss, reason = "a few bars")]
    let place = |bar: usize| (right - left).mul_add(bar as f64 / BARS as f64, left);
    for (leg, counts) in counted {
        canvas.name_and_figures(class(leg.leg), &leg.label, &figures(&leg.events_at_us));
        let (top, all) = (canvas.y(), counts.iter().max().copied().unwrap_or_default().max(1));
        for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let height = (HEIGHT * f64::from(*count) / f64::from(all)).max(1.5);
            let width = place(1) - place(0) - 1.0;
            canvas.rectangle(
                &format!("fill {}", class(leg.leg)),
                (place(bar) + 0.5, top + HEIGHT - height),
                (width, height),
            );
        }
        canvas.line("grid", (left, top + HEIGHT), (right, top + HEIGHT));
        canvas.skip(HEIGHT + 3.0);
    }
    let ticks = (0..=DECADES).map(|decade| {
        let label = match decade {
            0 => format!("≤ {}", time(SHORTEST_US)),
            DECADES => "≥ 10 s".to_owned(),
            _ => time(SHORTEST_US * 10_f64.powi(i32::try_from(decade).unwrap_or_default())),
        };
        (place(decade * PER_DECADE), label)
    });
    axis(canvas, &ticks.collect::<Vec<_>>());
}

fn gaps(events: &[f64]) -> impl Iterator<Item = f64> {
    events.iter().zip(events.iter().skip(1)).map(|(earlier, later)| later - earlier)
}

fn counts(events: &[f64]) -> [u32; BARS] {
    let mut counts = [0; BARS];
    for gap in gaps(events) {
        #[expect(clippy::cast_precision_loss, reason = "a few bars")]
        let at = (libm::log10(gap / SHORTEST_US) * PER_DECADE as f64).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bars")]
        let bar = at.clamp(0.0, (BARS - 1) as f64) as usize;
        if let Some(count) = counts.get_mut(bar) {
            *count += 1;
        }
    }
    counts
}

fn figures(events: &[f64]) -> String {
    let mut gaps: Vec<f64> = gaps(events).collect();
    gaps.sort_by(f64::total_cmp);
    let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
    format!("median {}, longest {}", time(median), time(gaps.last().copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_is_counted_also_those_beyond_the_ends() {
        let counts = counts(&[0.0, 0.0, 5.0, 1_005.0, 9e9]);
        assert_eq!(counts.iter().sum::<u32>(), 4);
        assert_eq!((counts[0], counts[BARS - 1], counts[2 * PER_DECADE]), (2, 1, 1));
        assert_eq!(figures(&[0.0, 10.0, 2_010.0]), "median 2 ms, longest 2 ms");
    }
}
