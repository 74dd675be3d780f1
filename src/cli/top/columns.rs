//! The columns of the list, of the terminal's and of the text's, and short figures for them.

use super::view::TopRow;

/// A column.
pub(super) struct TopColumn {
    pub(super) title: &'static str,
    pub(super) width: usize,
    /// Figures are on the right.
    pub(super) is_figure: bool,
    pub(super) text: fn(&TopRow) -> String,
}

/// The place of the model's column, which takes the width that is left.
pub(super) const MODEL: usize = 2;

/// The place of the replica's column, which is there where several are shown.
pub(super) const REPLICA: usize = 9;

pub(super) const COLUMNS: [TopColumn; 10] = [
    text("PHASE", 12, phase),
    text("KEY", 10, |row| or_dash(&row.principal)),
    text("MODEL", 11, |row| or_dash(&row.model_asked)),
    text("PROVIDER", 10, |row| or_dash(&row.provider)),
    figure("AGE", 6, |row| short_time(Some(row.age_us as f64))),
    figure("FIRST", 6, |row| short_time(row.ttft_us.map(|time| time as f64))),
    figure("TOKENS", 6, |row| short_count(row.tokens_out)),
    figure("TOK/S", 5, |row| row.tokens_per_s.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"))),
    figure("ADDED", 6, |row| short_time(row.added_max_ns.map(|time| time as f64 / 1e3))),
    text("REPLICA", 12, |row| or_dash(&row.instance)),
];

const fn text(title: &'static str, width: usize, text: fn(&TopRow) -> String) -> TopColumn {
    TopColumn { title, width, is_figure: false, text }
}

const fn figure(title: &'static str, width: usize, text: fn(&TopRow) -> String) -> TopColumn {
    TopColumn { title, width, is_figure: true, text }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { text.to_owned() }
}

/// The phase in a few letters; of a stalled stream the length of its silence.
fn phase(row: &TopRow) -> String {
    if row.state == "stalled" {
        return format!("silent {}", short_time(row.quiet_us.map(|time| time as f64)));
    }
    match row.phase.as_str() {
        "before_first_token" => "before token".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Microseconds in six letters at most.
pub(super) fn short_time(micros: Option<f64>) -> String {
    match micros {
        None => "–".to_owned(),
        Some(time) if time < 1e3 => format!("{time:.0}µs"),
        Some(time) if time < 1e4 => format!("{:.1}ms", time / 1e3),
        Some(time) if time < 1e6 => format!("{:.0}ms", time / 1e3),
        Some(time) if time < 1e8 => format!("{:.1}s", time / 1e6),
        Some(time) if time < 6e9 => {
            format!("{:.0}m{:02.0}", (time / 6e7).floor(), (time % 6e7 / 1e6).floor())
        }
        Some(time) => format!("{:.0}h{:02.0}", (time / 3.6e9).floor(), (time % 3.6e9 / 6e7).floor()),
    }
}

/// A count in six letters at most.
fn short_count(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}G", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_fit_into_their_columns() {
        let times = [0.0, 999.4, 1_234.0, 12_345.0, 999_400.0, 1_250_000.0, 99_900_000.0, 100_000_000.0]
            .map(|time| short_time(Some(time)));
        assert_eq!(times, ["0µs", "999µs", "1.2ms", "12ms", "999ms", "1.2s", "99.9s", "1m40"]);
        assert_eq!([5.9e9, 6e9, 3.6e11].map(|time| short_time(Some(time))), ["98m20", "1h40", "100h00"]);
        assert_eq!([0, 999_999, 1_234_567, 5_000_000_000].map(short_count), ["0", "999999", "1.2M", "5.0G"]);
        assert_eq!(short_time(None), "–");
    }

    #[test]
    fn a_stalled_stream_shows_its_silence() {
        let row = |state: &str, phase: &str| TopRow {
            state: state.to_owned(),
            phase: phase.to_owned(),
            quiet_us: Some(12_300_000),
            ..TopRow::default()
        };
        let shown = [("stalled", "mid_stream"), ("running", "mid_stream"), ("waiting", "before_first_token")]
            .map(|(state, name)| phase(&row(state, name)));
        assert_eq!(shown, ["silent 12.3s", "mid stream", "before token"]);
        assert!(shown.iter().all(|text| text.chars().count() <= COLUMNS[0].width));
    }
}
