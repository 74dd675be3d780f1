//! Events over time: a step up at each event.

use super::{
    axis,
    canvas::{Anchor, Canvas, TextStyle},
    class,
    lanes::of_all,
    title,
};
use crate::web::compare::{leg::Leg, report::CompareReport};

const HEIGHT: f64 = 120.0;

pub(super) fn draw(canvas: &mut Canvas, report: &CompareReport) {
    let most = report.legs.iter().map(|leg| leg.events_at_us.len()).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    title(canvas, "Events over time (dashed: the provider itself)");
    let scale = of_all(canvas, report);
    let (top, left) = (canvas.y() + 6.0, canvas.left());
    #[expect(clippy::cast_precision_loss, reason = "counts of events")]
    let height = |count: usize| HEIGHT.mul_add(-(count as f64 / most as f64), top + HEIGHT);
    canvas.line("grid", (left, top), (canvas.right(), top));
    canvas.text_at((left + 2.0, top + 12.0), Anchor::Start, TextStyle::Small, &format!("{most} events"));
    // The control last, so that it is seen above the legs that follow it closely.
    for leg in report.legs.iter().rev().filter(|leg| !leg.events_at_us.is_empty()) {
        let steps = leg.events_at_us.iter().enumerate();
        let points = steps.flat_map(|(index, at)| {
            let x = scale.place(*at);
            [(x, height(index)), (x, height(index + 1))]
        });
        let dashed = if leg.leg == Leg::Control { " dashed" } else { "" };
        canvas.curve(
            &format!("curve {}{dashed}", class(leg.leg)),
            [(left, height(0))].into_iter().chain(points),
        );
    }
    canvas.skip(HEIGHT + 6.0);
    axis(canvas, &scale.ticks());
}
