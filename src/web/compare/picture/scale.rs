//! From values to places, and the ticks of axes. Times are microseconds.

/// A linear axis from zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinearScale {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) max: f64,
}

impl LinearScale {
    /// The place of a value; one beyond the end is at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.max > 0.0 { (value / self.max).clamp(0.0, 1.0) } else { 0.0 };
        (self.right - self.left).mul_add(share, self.left)
    }

    /// Round times, about eight of them.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let step = round_step(self.max / 8.0);
        let ticks = (0..=20).map(|index| f64::from(index) * step).filter(|value| *value <= self.max);
        ticks.map(|value| (self.place(value), time(value))).collect()
    }
}

/// 1, 2 or 5 times a power of ten, not below `value`.
fn round_step(value: f64) -> f64 {
    let base = libm::exp10(libm::log10(value.max(1.0)).floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| base * factor >= value);
    base * factor.unwrap_or(10.0)
}

/// A time with its unit.
pub(super) fn time(micros: f64) -> String {
    let size = micros.abs();
    if size < 0.5 {
        "0".to_owned()
    } else if size < 1_000.0 {
        format!("{micros:.0} µs")
    } else if size < 10_000.0 {
        format!("{} ms", trimmed(micros / 1e3, 2))
    } else if size < 1_000_000.0 {
        format!("{} ms", trimmed(micros / 1e3, 1))
    } else {
        format!("{} s", trimmed(micros / 1e6, 2))
    }
}

/// A signed time.
pub(super) fn signed(micros: f64) -> String {
    let sign = if micros < -0.5 { "" } else { "+" };
    format!("{sign}{}", time(micros))
}

fn trimmed(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_that_fit() {
        let shown = [0.0, 12.4, 999.0, 1_500.0, 24_130.0, 206_500.0, 3_326_000.0].map(time);
        assert_eq!(shown, ["0", "12 µs", "999 µs", "1.5 ms", "24.1 ms", "206.5 ms", "3.33 s"]);
        assert_eq!((signed(-80.0), signed(1_200.0)), ("-80 µs".to_owned(), "+1.2 ms".to_owned()));
    }

    #[test]
    fn ticks_are_round_and_few() {
        for max in [1.0, 37.0, 999.0, 3.3e6, 6e7] {
            let ticks = LinearScale { left: 0.0, right: 100.0, max }.ticks();
            assert!((1..=20).contains(&ticks.len()), "{max}: {ticks:?}");
        }
        let labels: Vec<String> = LinearScale { left: 0.0, right: 1.0, max: 3.3e6 }
            .ticks()
            .into_iter()
            .map(|tick| tick.1)
            .collect();
        assert_eq!(labels, ["0", "500 ms", "1 s", "1.5 s", "2 s", "2.5 s", "3 s"]);
        assert_eq!(LinearScale { left: 1.0, right: 2.0, max: 0.0 }.place(5.0), 1.0);
    }
}
