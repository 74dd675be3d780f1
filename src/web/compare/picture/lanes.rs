//! One lane per leg on one time axis: a bar from the request to the end of the answer, a mark for each event.

use super::{
    axis,
    canvas::Canvas,
    class,
    scale::{LinearScale, time},
    title,
};
use crate::web::compare::{leg_report::LegReport, report::CompareReport};

const LANE: f64 = 18.0;

pub(super) fn draw(canvas: &mut Canvas, report: &CompareReport) {
    title(canvas, "Each event of the last answer, from the request on");
    let scale = of_all(canvas, report);
    for leg in &report.legs {
        let class = class(leg.leg);
        canvas.name_and_figures(class, &leg.label, &figures(leg));
        let (left, top) = (canvas.left(), canvas.y());
        canvas.rectangle("lane", (left, top), (scale.right - left, LANE));
        if let Some(total) = leg.total_us {
            canvas.rectangle(&format!("span {class}"), (left, top), (scale.place(total.median) - left, LANE));
        }
        for at in &leg.events_at_us {
            canvas.mark(class, (scale.place(*at), top + 1.0), LANE - 2.0);
        }
        canvas.skip(LANE + 3.0);
    }
    axis(canvas, &scale.ticks());
}

/// The axis of time that holds all events.
pub(super) fn of_all(canvas: &Canvas, report: &CompareReport) -> LinearScale {
    let last = |leg: &LegReport| {
        let event = leg.events_at_us.last().copied().unwrap_or_default();
        event.max(leg.total_us.map_or(0.0, |total| total.median))
    };
    let max = report.legs.iter().map(last).fold(0.0, f64::max);
    LinearScale { left: canvas.left(), right: canvas.right(), max: max.max(1_000.0) }
}

fn figures(leg: &LegReport) -> String {
    if let Some(error) = &leg.error {
        return error.clone();
    }
    let Some(total) = leg.total_us else { return "not asked yet".to_owned() };
    let first = leg.ttft_us.map(|first| format!("first token {}, ", time(first.median)));
    let counts = if leg.leg.is_stream() {
        format!("{} events in {} reads, ", leg.events, leg.chunks)
    } else {
        String::new()
    };
    format!("{counts}{}total {}", first.unwrap_or_default(), time(total.median))
}
