//! A comparison as a picture, in SVG: one lane per leg on one time axis with a mark for each event, events
//! over time, the gaps between events, the latency that each leg adds to the provider's own, and the verdict.
//! A pure function of the report; the page, `format=svg` and `thalweg compare --svg` show the same.
//!
//! Colours are classes with a style sheet of the picture's own, which follows the reader's light or dark; a
//! page that takes the picture in has the same rules in its own sheet.
//!
//! - `canvas`: elements and text, escaped and cut to the width
//! - `scale`: the way from values to places, and the ticks
//! - `lanes`, `curves`, `gaps`, `added`: the four charts

mod added;
mod canvas;
mod curves;
mod gaps;
mod lanes;
mod scale;

use super::{leg::Leg, report::CompareReport};
use canvas::{Anchor, Canvas, TextStyle};

/// Bounds of the width, in pixels.
pub const MIN_WIDTH: u16 = 320;
pub const MAX_WIDTH: u16 = 1600;
/// The width without a wish.
pub const DEFAULT_WIDTH: u16 = 960;
/// The rules of the picture, which the page has in its own sheet, too.
const STYLE: &str = include_str!("../../pages/assets/picture.css");

const MARGIN: f64 = 16.0;

/// The report as a picture of this width, within the bounds.
#[must_use]
pub fn svg(report: &CompareReport, width: u16) -> String {
    let mut canvas = Canvas::new(f64::from(width.clamp(MIN_WIDTH, MAX_WIDTH)), MARGIN);
    heading(&mut canvas, report);
    lanes::draw(&mut canvas, report);
    curves::draw(&mut canvas, report);
    gaps::draw(&mut canvas, report);
    added::draw(&mut canvas, report);
    let name = format!("Comparison of {} at {}", report.model, report.provider);
    canvas.finish(&name, &verdict(report), STYLE)
}

fn heading(canvas: &mut Canvas, report: &CompareReport) {
    canvas.text_line(TextStyle::Title, &format!("{} at {}", report.model, report.provider));
    let repeats = report.repeats;
    let times = if repeats == 1 { "once".to_owned() } else { format!("{repeats} times") };
    let scope = format!("one prompt, {times} through each way; up to {} tokens", report.max_tokens);
    canvas.paragraph(TextStyle::Quiet, &scope);
    canvas.skip(4.0);
    canvas.paragraph(TextStyle::Strong, &verdict(report));
    canvas.skip(6.0);
}

/// The recommendation in a sentence.
#[must_use]
pub fn verdict(report: &CompareReport) -> String {
    let recommended = &report.recommended;
    match recommended.leg {
        Some(leg) => format!("Recommended: {} — {}.", leg.label(), recommended.reason),
        None if report.legs.iter().all(|leg| leg.status.is_none() && leg.error.is_none()) => {
            "Waiting for the first answer.".to_owned()
        }
        None => format!("Recommended: none — {}.", recommended.reason),
    }
}

/// The class that colours a leg.
const fn class(leg: Leg) -> &'static str {
    match leg {
        Leg::Control => "c0",
        Leg::AsgiParameter => "c1",
        Leg::AsgiHeader => "c2",
        Leg::AsgiEndpoint => "c3",
        Leg::Buffered => "c4",
        Leg::NonStreaming => "c5",
    }
}

/// A chart's title, with the unit of its axis.
fn title(canvas: &mut Canvas, text: &str) {
    canvas.skip(10.0);
    canvas.paragraph(TextStyle::Heading, text);
    canvas.skip(3.0);
}

/// The axis below a chart: a line, and a label at each tick that has room.
fn axis(canvas: &mut Canvas, ticks: &[(f64, String)]) {
    let (left, right) = (canvas.left(), canvas.right());
    let top = canvas.y();
    canvas.line("axis", (left, top), (right, top));
    let mut free_from = 0.0;
    for (x, label) in ticks {
        canvas.line("axis", (*x, top), (*x, top + 4.0));
        let half = canvas::width_of(label, TextStyle::Small) / 2.0;
        let at = x.clamp(left + half, (right - half).max(left + half));
        if at - half >= free_from {
            canvas.text_at((at, top + 16.0), Anchor::Middle, TextStyle::Small, label);
            free_from = at + half + 8.0;
        }
    }
    canvas.skip(22.0);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::web::compare::{
        figures::{LegAddedLatency, Repeated},
        leg_report::LegReport,
        recommendation::Recommendation,
    };

    fn leg(leg: Leg, events_at_us: Vec<f64>) -> LegReport {
        let end = events_at_us.last().copied().unwrap_or(900_000.0);
        let over = |median: f64| Some(Repeated { median, min: median * 0.9, max: median * 1.1 });
        let added = |p50: f64| Some(LegAddedLatency { p50, p99: p50 * 3.0, count: 9 });
        LegReport {
            leg,
            label: leg.label().to_owned(),
            how: leg.how().to_owned(),
            works: true,
            status: Some(200),
            error: None,
            chunks: 3,
            events: events_at_us.len() as u64,
            bytes: 100,
            connect_us: over(20.0),
            ttfb_us: over(200_000.0),
            ttft_us: over(204_000.0),
            total_us: over(end),
            interval_us: over(20_000.0),
            zero_interval_share: Some(0.1),
            added_ttft_us: added(120.0),
            added_total_us: added(-80.0),
            added_event_us: added(35_000.0),
            events_at_us,
        }
    }

    pub(in crate::web::compare) fn report(model: &str, events: usize) -> CompareReport {
        let at = |number: usize| (0..number).map(|index| 200_000.0 + 7_000.0 * index as f64).collect();
        let legs = Leg::ALL.map(|one| leg(one, at(if one.is_stream() { events } else { 0 })));
        CompareReport {
            thalweg_compare: 1,
            id: None,
            model: model.to_owned(),
            provider: "p".to_owned(),
            repeats: 3,
            max_tokens: 256,
            legs: legs.into(),
            recommended: Recommendation {
                leg: Some(Leg::AsgiParameter),
                how: None,
                reason: "bytes pass as they arrive".to_owned(),
            },
        }
    }

    fn marks(svg: &str) -> usize {
        svg.matches("class=\"mark ").count()
    }

    #[test]
    fn each_event_of_each_leg_is_a_mark() {
        for events in [0, 1, 126, 4096] {
            assert_eq!(marks(&svg(&report("m", events), 960)), events * 5);
        }
    }

    #[test]
    fn text_of_others_is_text() {
        let mut report = report("<script>alert(1)</script>&\"'", 3);
        report.legs[2].error = Some("</svg><img src=x>\u{0}\u{1b}".to_owned());
        report.legs[2].works = false;
        let svg = svg(&report, 960);
        assert!(svg.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"));
        assert!(!svg.contains("<script") && !svg.contains("<img") && svg.matches("</svg>").count() == 1);
        assert!(!svg.contains(['\u{0}', '\u{1b}']), "XML has no such characters");
    }

    /// All numbers of an attribute of this name.
    fn numbers(svg: &str, name: &str) -> Vec<f64> {
        let ahead = format!(" {name}=\"");
        let values = svg.split(&ahead).skip(1).map(|rest| rest.split('"').next().unwrap());
        values.map(|value| value.parse().unwrap()).collect()
    }

    #[test]
    fn everything_fits_the_width() {
        for width in [0, 320, 360, 960, u16::MAX] {
            let long = "a-model-with-a-name-that-has-no-end-".repeat(9);
            let mut report = report(&long, 50);
            report.legs[0].events_at_us.push(9e9);
            report.legs[3].error = Some("it broke ".repeat(40));
            let svg = svg(&report, width);
            let wide = f64::from(width.clamp(MIN_WIDTH, MAX_WIDTH));
            assert!(svg.starts_with("<svg xmlns="));
            for name in ["x", "x1", "x2", "cx"] {
                for x in numbers(&svg, name) {
                    assert!((0.0..=wide).contains(&x), "{width}: {name} {x}");
                }
            }
            for text in svg.split("<text ").skip(1) {
                let x = numbers(&format!(" {text}"), "x")[0];
                let style = TextStyle::ALL
                    .into_iter()
                    .find(|style| text.contains(&format!("class=\"{}\"", style.class())));
                let shown = text.split('>').nth(1).unwrap().split('<').next().unwrap();
                let shown = shown.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
                let length = canvas::width_of(&shown, style.unwrap());
                let start = match () {
                    () if text.contains("\"middle\"") => x - length / 2.0,
                    () if text.contains("\"end\"") => x - length,
                    () => x,
                };
                assert!(start >= -0.1 && start + length <= wide + 0.1, "{width}: {shown}");
            }
        }
    }

    #[test]
    fn a_report_without_answers_says_that_it_waits() {
        let mut report = report("m", 0);
        report.recommended.leg = None;
        for leg in &mut report.legs {
            (leg.works, leg.status, leg.total_us, leg.ttft_us) = (false, None, None, None);
            (leg.added_event_us, leg.added_ttft_us) = (None, None);
        }
        let svg = svg(&report, 400);
        assert!(svg.contains("Waiting for the first answer."), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
