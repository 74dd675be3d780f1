//! The recommended leg of a comparison, with its reason: a sentence with the deciding figures.

use serde::{Deserialize, Serialize};

use super::{leg::Leg, leg_report::LegReport};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// `None`: no leg works.
    pub leg: Option<Leg>,
    /// The instruction to a client that wants this leg.
    pub how: Option<String>,
    pub reason: String,
}

/// The ASGI mode, unless it does not work or the buffered mode reaches the first token earlier by more than
/// the spread of the repeats. The three ASGI legs differ only in the request, so the first one that works is
/// recommended.
pub(super) fn recommend(legs: &[LegReport]) -> Recommendation {
    let works = |wanted: &dyn Fn(Leg) -> bool| legs.iter().find(|leg| wanted(leg.leg) && leg.works);
    let asgi = works(&Leg::is_asgi);
    let buffered = works(&|leg| leg == Leg::Buffered);
    let whole = works(&|leg| leg == Leg::NonStreaming);
    match (asgi, buffered, whole) {
        (Some(asgi), Some(buffered), _) if is_clearly_quicker(buffered, asgi) => named(
            buffered,
            format!("its first token came {} sooner than on the fast path", margin(asgi, buffered)),
        ),
        (Some(asgi), Some(buffered), _) => named(
            asgi,
            format!(
                "bytes pass as they arrive: first token {} ({} buffered), {} reads of {} bytes ({} of {} buffered)",
                token(asgi),
                token(buffered),
                asgi.chunks,
                asgi.bytes.checked_div(asgi.chunks).unwrap_or_default(),
                buffered.chunks,
                buffered.bytes.checked_div(buffered.chunks).unwrap_or_default(),
            ),
        ),
        (Some(asgi), None, _) => named(
            asgi,
            format!("bytes pass as they arrive: first token {}; buffering does not work", token(asgi)),
        ),
        (None, Some(buffered), _) => named(buffered, "the fast path does not work here".to_owned()),
        (None, None, Some(whole)) => named(whole, "no stream works here; whole answers do".to_owned()),
        (None, None, None) => {
            let control = legs.iter().any(|leg| leg.leg == Leg::Control && leg.works);
            let cause = if control {
                "the provider itself works: the fault is the gateway's"
            } else {
                "nor does the provider itself"
            };
            Recommendation {
                leg: None,
                how: None,
                reason: format!("nothing works through the gateway; {cause}"),
            }
        }
    }
}

fn named(leg: &LegReport, reason: String) -> Recommendation {
    Recommendation { leg: Some(leg.leg), how: Some(leg.how.clone()), reason }
}

/// Whether `one` is faster by more than the spread of the repeats and by more than the cost of a first
/// connection: a single repeat has no spread and may show that cost alone.
fn is_clearly_quicker(one: &LegReport, other: &LegReport) -> bool {
    const NOISE_US: f64 = 5000.0;
    let (Some(one), Some(other)) = (one.ttft_us, other.ttft_us) else { return false };
    one.median + NOISE_US < other.median && one.median + one.spread().max(other.spread()) < other.median
}

fn margin(slow: &LegReport, quick: &LegReport) -> String {
    let median = |leg: &LegReport| leg.ttft_us.map_or(0.0, |across| across.median);
    millis(median(slow) - median(quick))
}

fn token(leg: &LegReport) -> String {
    leg.ttft_us.map_or_else(|| "never seen".to_owned(), |across| format!("after {}", millis(across.median)))
}

fn millis(micros: f64) -> String {
    format!("{:.1} ms", micros / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::compare::figures::Repeated;

    fn leg(leg: Leg, works: bool, ttft_ms: f64) -> LegReport {
        let median = ttft_ms * 1000.0;
        LegReport {
            leg,
            label: String::new(),
            how: leg.how().to_owned(),
            works,
            status: Some(200),
            error: None,
            chunks: 10,
            events: 10,
            bytes: 1000,
            connect_us: None,
            ttfb_us: None,
            ttft_us: Some(Repeated { median, min: median - 1000.0, max: median + 1000.0 }),
            total_us: None,
            interval_us: None,
            zero_interval_share: None,
            added_ttft_us: None,
            added_total_us: None,
            added_event_us: None,
            events_at_us: Vec::new(),
        }
    }

    #[test]
    fn the_fast_path_wins_unless_it_is_clearly_slower() {
        let choose = |asgi, buffered| {
            recommend(&[leg(Leg::AsgiParameter, true, asgi), leg(Leg::Buffered, true, buffered)]).leg
        };
        assert_eq!(choose(20.0, 70.0), Some(Leg::AsgiParameter));
        assert_eq!(choose(20.0, 19.0), Some(Leg::AsgiParameter), "within the spread");
        assert_eq!(choose(40.0, 20.0), Some(Leg::Buffered));
    }

    #[test]
    fn recommends_what_works() {
        let all = |asgi, buffered, whole| {
            recommend(&[
                leg(Leg::AsgiParameter, false, 1.0),
                leg(Leg::AsgiHeader, asgi, 1.0),
                leg(Leg::Buffered, buffered, 9.0),
                leg(Leg::NonStreaming, whole, 9.0),
            ])
        };
        assert_eq!(all(true, true, true).leg, Some(Leg::AsgiHeader));
        assert_eq!(all(false, true, true).leg, Some(Leg::Buffered));
        assert_eq!(all(false, false, true).leg, Some(Leg::NonStreaming));
        let none = all(false, false, false);
        assert_eq!((none.leg, none.how), (None, None));
        assert!(none.reason.ends_with("nor does the provider itself"));
    }
}
