//! The latency that each leg adds to the provider's own: from the median to the 99th percentile, on an axis
//! that is linear around zero and logarithmic beyond, because legs differ a thousandfold.

use super::{
    axis,
    canvas::Canvas,
    class,
    scale::{signed, time},
    title,
};
use crate::web::compare::{figures::LegAddedLatency, leg::Leg, report::CompareReport};

/// Up to here the axis is about linear.
const LINEAR_US: f64 = 100.0;
const ROW: f64 = 14.0;
const TICKS_US: [f64; 6] = [0.0, 100.0, 1e3, 1e4, 1e5, 1e6];

pub(super) fn draw(canvas: &mut Canvas, report: &CompareReport) {
    // By event where events can be paired, by the whole answer where they cannot.
    let rows = report.legs.iter().filter_map(|leg| {
        let (kind, added) = match (leg.added_event_us, leg.added_total_us) {
            (Some(event), _) => ("per event", event),
            (None, Some(total)) => ("in all", total),
            (None, None) => return None,
        };
        Some((leg, kind, added))
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    title(canvas, "Added to the provider's own time: median to 99th percentile");
    let values = rows.iter().flat_map(|(_, _, added)| [added.p50, added.p99]);
    let (least, most) =
        values.fold((0.0_f64, LINEAR_US), |(least, most), value| (least.min(value), most.max(value)));
    let (from, to) = (bent(least), bent(most));
    let (left, right) = (canvas.left() + 6.0, canvas.right() - 6.0);
    let place = |value: f64| (right - left).mul_add((bent(value) - from) / (to - from), left);
    let zero = place(0.0);
    for (leg, kind, added) in rows {
        let LegAddedLatency { p50, p99, .. } = added;
        let name = if leg.leg == Leg::Control { "the provider against itself" } else { &*leg.label };
        let spread = leg.ttft_us.filter(|_| report.repeats > 1);
        let spread =
            spread.map_or_else(String::new, |first| format!("; first tokens {} apart", time(first.spread())));
        let figures = format!("{kind} {}, p99 {}{spread}", signed(p50), signed(p99));
        canvas.name_and_figures(class(leg.leg), name, &figures);
        let y = canvas.y() + ROW / 2.0;
        canvas.line("grid", (canvas.left(), y), (canvas.right(), y));
        canvas.line("axis", (zero, y - ROW / 2.0), (zero, y + ROW / 2.0));
        canvas.line(&format!("range {}", class(leg.leg)), (place(p50), y), (place(p99), y));
        canvas.circle(&format!("fill {}", class(leg.leg)), (place(p50), y), 4.5);
        canvas.skip(ROW + 2.0);
    }
    let negative = TICKS_US.iter().skip(1).rev().map(|tick| -tick);
    let ticks = negative.chain(TICKS_US).filter(|tick| (least..=most).contains(tick));
    let ticks: Vec<_> =
        ticks.map(|tick| (place(tick), if tick == 0.0 { "0".to_owned() } else { signed(tick) })).collect();
    axis(canvas, &ticks);
}

fn bent(micros: f64) -> f64 {
    micros.signum() * libm::log10(1.0 + micros.abs() / LINEAR_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_bends_beyond_its_linear_part() {
        assert_eq!(bent(0.0), 0.0);
        assert!(bent(100.0) > 2.9 * bent(10.0) && bent(1e6) < 2.0 * bent(1e4));
        assert_eq!(bent(-500.0), -bent(500.0));
    }
}
