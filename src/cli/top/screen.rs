//! The picture of the state, for any size of terminal. Colour is never the only sign: a stalled stream also
//! says so.

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use tokio::time::Instant;

use super::{
    columns::{COLUMNS, MODEL, REPLICA, TopColumn, short_time},
    state::{Focus, Reach, TopState},
    summary,
    view::TopRow,
};

/// Lines above the list: title, sums, filter and order, titles of the columns.
const HEAD_LINES: u16 = 4;
/// A smaller terminal shows one line alone.
const MIN_SIZE: (u16, u16) = (30, 7);
/// The widest columns of names.
const MAX_MODEL: usize = 48;

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut TopState) {
    let area = frame.area();
    paint(frame.buffer_mut(), area, state);
}

fn paint(buffer: &mut Buffer, area: Rect, state: &mut TopState) {
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        put(buffer, area, (0, 0), "too small; q quits", PLAIN);
        return;
    }
    title(buffer, area, state);
    sums(buffer, area, state);
    if let (Focus::Detail, Some((row, runs))) = (&state.focus, &state.detail) {
        detail(buffer, area, state, (row, *runs));
        return keys(buffer, area, "Esc back   p pause   q quit");
    }
    order(buffer, area, state);
    let room = usize::from(area.height - HEAD_LINES - 1);
    state.page = room;
    let widths = widths(usize::from(area.width), state.has_replicas());
    let heads = |column: &TopColumn| column.title.to_owned();
    line(buffer, area, HEAD_LINES - 1, &cells(&widths, heads), BAR);
    let rows = state.shown();
    // The chosen row is in sight, and the first row as long as it can be.
    let first = state.chosen.saturating_sub(room.saturating_sub(1)).min(rows.len().saturating_sub(room));
    for (index, row) in rows.iter().enumerate().skip(first).take(room) {
        let style = if index == state.chosen {
            style_of(row).add_modifier(Modifier::REVERSED)
        } else {
            style_of(row)
        };
        let at = HEAD_LINES + u16::try_from(index - first).unwrap_or(u16::MAX);
        line(buffer, area, at, &cells(&widths, |column| (column.text)(row)), style);
    }
    if rows.is_empty() {
        put(buffer, area, (1, HEAD_LINES + 1), empty(state), QUIET);
    }
    match state.focus {
        Focus::Filter => keys(buffer, area, "Enter keep   Esc remove   Ctrl-C quit"),
        Focus::List | Focus::Detail => {
            keys(buffer, area, "q quit  / filter  s sort  r reverse  ↑↓ choose  Enter one stream  p pause");
        }
    }
}

/// The reason for an empty list.
fn empty(state: &TopState) -> &'static str {
    match &state.reach {
        Reach::Connecting => "The gateway is being asked …",
        Reach::Away { .. } => "The gateway is away; requests appear when it is back.",
        Reach::Live if state.view.rows.is_empty() => {
            "Nothing is under way. A request appears here as soon as it arrives."
        }
        Reach::Live => "No request under way has these words. Esc removes the filter.",
    }
}

fn title(buffer: &mut Buffer, area: Rect, state: &TopState) {
    line(buffer, area, 0, "", BAR);
    let name = format!(" thalweg top  {}  {}", state.url, state.view.instance);
    put(buffer, area, (0, 0), name.trim_end(), BAR);
    let (text, style) = match &state.reach {
        Reach::Connecting => (" connecting ".to_owned(), BAR),
        Reach::Live if state.is_paused => (" paused ".to_owned(), BAR),
        Reach::Live => (" live ".to_owned(), BAR),
        Reach::Away { .. } => (" AWAY ".to_owned(), BAD.add_modifier(Modifier::REVERSED)),
    };
    let width = u16::try_from(text.len()).unwrap_or_default();
    put(buffer, area, (area.width.saturating_sub(width), 0), &text, style);
}

fn sums(buffer: &mut Buffer, area: Rect, state: &TopState) {
    if let Reach::Away { reason, again } = &state.reach {
        let wait = again.saturating_duration_since(Instant::now()).as_secs();
        let text =
            if wait > 0 { format!("{reason}; again in {wait} s") } else { format!("{reason}; asking again") };
        return put(buffer, area, (1, 1), &text, BAD);
    }
    let mut text = summary(&state.view);
    if state.has_replicas() {
        text.push_str(&format!(" at {} replicas", state.view.replicas.len()));
    }
    if let Some((requests, tokens)) = state.rates() {
        text.push_str(&format!("   {requests:.1} requests/s   {tokens:.0} tokens/s"));
    }
    if let Some(sums) = state.sums_of_one() {
        text.push_str(&format!(
            "   {} failed   {} refused   {} connections",
            sums.failed, sums.refused, sums.in_flight.connections
        ));
    }
    if state.lost > 0 {
        text.push_str(&format!("   {} events lost", state.lost));
    }
    let style = if state.view.stalled > 0 { BOLD } else { PLAIN };
    put(buffer, area, (1, 1), &text, style);
}

fn order(buffer: &mut Buffer, area: Rect, state: &TopState) {
    let reversed = if state.is_reversed { ", reversed" } else { "" };
    let order = format!("order: {}{reversed}", state.sort.label());
    let is_typed = state.focus == Focus::Filter;
    let filter = match (is_typed, state.filter.as_str()) {
        (true, filter) => format!("filter: {filter}▏"),
        (false, "") => "filter: none".to_owned(),
        (false, filter) => format!("filter: {filter} ({} of {})", state.shown().len(), state.view.rows.len()),
    };
    put(buffer, area, (1, 2), &format!("{order}   {filter}"), if is_typed { BOLD } else { QUIET });
}

/// One request, with all that is known of it.
fn detail(buffer: &mut Buffer, area: Rect, state: &TopState, (row, runs): (&TopRow, bool)) {
    let time = |micros: Option<u64>| short_time(micros.map(|time| time as f64));
    let nanos = |nanos: Option<u64>| short_time(nanos.map(|time| time as f64 / 1e3));
    let end = match state.end_of_detail() {
        _ if runs => row.state.clone(),
        Some(end) => {
            let fault = if end.fault.is_empty() { &end.outcome } else { &end.fault };
            let tokens = end.tokens_out.map_or_else(String::new, |tokens| format!(", {tokens} tokens"));
            format!("ended after {}: {fault} ({}){tokens}", time(Some(end.total_us)), end.status)
        }
        None => "no longer among those under way".to_owned(),
    };
    let rate = row.tokens_per_s.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} tokens/s"));
    let lines = [
        ("Request", row.request_id.clone()),
        ("State", end),
        ("Replica", if row.instance.is_empty() { &state.view.instance } else { &row.instance }.clone()),
        ("Phase", row.phase.replace('_', " ")),
        ("Key", row.principal.clone()),
        ("Model", row.model_asked.clone()),
        ("Provider", row.provider.clone()),
        ("Path", row.path.clone()),
        ("Mode", row.mode.clone()),
        ("Age", time(Some(row.age_us))),
        ("First token", time(row.ttft_us)),
        ("Last byte", format!("{} ago", time(row.quiet_us))),
        ("Tokens", format!("{} in {} events, {rate}", row.tokens_out, row.events)),
        (
            "Added by thalweg",
            format!("{} to the first byte, {} at most", nanos(row.added_first_ns), nanos(row.added_max_ns)),
        ),
    ];
    for (index, (label, text)) in lines.into_iter().enumerate() {
        let at = 3 + u16::try_from(index).unwrap_or(u16::MAX);
        if at + 1 < area.height {
            put(buffer, area, (1, at), label, QUIET);
            put(buffer, area, (19, at), &text, if index == 1 { style_of(row) } else { PLAIN });
        }
    }
}

fn style_of(row: &TopRow) -> Style {
    match row.state.as_str() {
        "stalled" => BAD,
        "waiting" => WARN,
        _ => PLAIN,
    }
}

/// The widths of all columns. The model's takes the rest, as far as it needs it; then the other names.
/// A column without a width is not shown.
fn widths(width: usize, has_replicas: bool) -> [usize; COLUMNS.len()] {
    let mut widths = COLUMNS.each_ref().map(|column| column.width);
    let shown = if has_replicas { COLUMNS.len() } else { COLUMNS.len() - 1 };
    widths[REPLICA] *= usize::from(has_replicas);
    let mut rest = width.saturating_sub(widths.iter().sum::<usize>() + shown - 1);
    let needed = MAX_MODEL - widths[MODEL];
    for (place, most) in [(MODEL, needed), (MODEL - 1, 14), (MODEL + 1, 14)] {
        let more = rest.min(most);
        if let Some(width) = widths.get_mut(place) {
            *width += more;
        }
        rest -= more;
    }
    widths
}

/// The cells of a row in one text.
fn cells(widths: &[usize], text: impl Fn(&TopColumn) -> String) -> String {
    let mut line = String::new();
    for (column, width) in COLUMNS.iter().zip(widths).filter(|(_, width)| **width > 0) {
        let cell = fit(&text(column), *width);
        let pad = " ".repeat(width.saturating_sub(wide(&cell)));
        let (before, after) = if column.is_figure { (pad.as_str(), "") } else { ("", pad.as_str()) };
        line.extend([if line.is_empty() { "" } else { " " }, before, &cell, after]);
    }
    line
}

/// Columns of the terminal that a text takes.
fn wide(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

/// A text in so many columns, with a sign where it is cut.
fn fit(text: &str, width: usize) -> String {
    if wide(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for letter in text.chars() {
        let longer = format!("{cut}{letter}");
        if wide(&longer) >= width {
            break;
        }
        cut = longer;
    }
    cut + "…"
}

fn keys(buffer: &mut Buffer, area: Rect, text: &str) {
    put(buffer, area, (1, area.height.saturating_sub(1)), text, QUIET);
}

/// A line of the whole width.
fn line(buffer: &mut Buffer, area: Rect, at: u16, text: &str, style: Style) {
    if at < area.height {
        buffer.set_style(Rect { x: area.x, y: area.y + at, width: area.width, height: 1 }, style);
        put(buffer, area, (0, at), text, style);
    }
}

/// A text, cut at the edge.
fn put(buffer: &mut Buffer, area: Rect, (x, y): (u16, u16), text: &str, style: Style) {
    if x < area.width && y < area.height {
        buffer.set_stringn(area.x + x, area.y + y, text, usize::from(area.width - x), style);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;
    use crate::cli::top::{feed::FeedNews, state::tests::view, view::TopReplica};

    /// The lines of a screen of this size.
    fn shown(state: &mut TopState, (width, height): (u16, u16)) -> Vec<String> {
        let area = Rect { x: 0, y: 0, width, height };
        let mut buffer = Buffer::empty(area);
        paint(&mut buffer, area, state);
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    fn state(rows: &[(&str, &str, &str, u64)]) -> TopState {
        let mut state = TopState::new("http://localhost:9000".to_owned(), "");
        state.take(FeedNews::Live);
        state.take(FeedNews::View(view(rows)));
        state
    }

    #[tokio::test]
    async fn eighty_columns_have_all_of_a_row() {
        let mut state =
            state(&[("a", "stalled", "a-model-with-a-long-name", 5), ("b", "running", "深層模型", 1234)]);
        let lines = shown(&mut state, (80, 24));
        assert!(lines[0].starts_with(" thalweg top  http://localhost:9000") && lines[0].ends_with("live"));
        assert_eq!(lines[1], " 2 under way");
        assert_eq!(lines[2], " order: stalled first   filter: none");
        assert_eq!(
            lines[3],
            "PHASE        KEY        MODEL                  PROVIDER      AGE  FIRST TOKENS TOK/S  ADDED"
                .replace("MODEL                  ", "MODEL       ")
        );
        assert!(lines[4].starts_with("silent –     –          a-model-wi… demo"), "{}", lines[4]);
        assert!(lines[5].contains("mid stream") && lines[5].contains("1234"), "{}", lines[5]);
        assert!(lines[23].contains("q quit") && lines.iter().all(|line| wide(line) <= 84), "{}", lines[23]);
    }

    #[tokio::test]
    async fn the_choice_stays_in_sight_and_one_request_is_shown_whole() {
        let names: Vec<String> = (0..50).map(|number| format!("r{number}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), "running", name.as_str(), 1)).collect();
        let mut state = state(&rows);
        state.choose(30);
        let lines = shown(&mut state, (80, 15));
        assert!(lines[13].contains(" r30 ") && lines[4].contains(" r21 "), "{lines:#?}");
        state.open();
        let lines = shown(&mut state, (80, 24));
        assert!(lines[3].contains("Request") && lines[3].ends_with("r30"), "{lines:#?}");
        assert!(lines[16].contains("Added by thalweg"), "{lines:#?}");
    }

    #[tokio::test]
    async fn rows_of_several_replicas_have_their_names() {
        let mut view = view(&[("a", "running", "m", 1)]);
        view.rows[0].instance = "gateway-7".to_owned();
        view.replicas = vec![TopReplica::default(), TopReplica::default()];
        let mut state = state(&[]);
        state.take(FeedNews::View(view));
        let lines = shown(&mut state, (100, 24));
        assert!(lines[3].ends_with("REPLICA") && lines[4].ends_with("gateway-7"), "{lines:#?}");
        assert_eq!(lines[1], " 1 under way at 2 replicas");
        assert!(shown(&mut state, (80, 24))[4].ends_with('–'), "the figures go before it");
        state.open();
        assert!(shown(&mut state, (80, 24))[5].ends_with("gateway-7"));
    }

    #[tokio::test]
    async fn it_says_that_the_gateway_is_away_and_when_it_is_asked_again() {
        let mut state = state(&[("a", "running", "m", 1)]);
        let (reason, again) = ("connection refused".to_owned(), Duration::from_secs(8));
        state.take(FeedNews::Away { reason, again });
        let lines = shown(&mut state, (80, 24));
        assert!(
            lines[0].ends_with("AWAY") && lines[1].starts_with(" connection refused; again in 7 s"),
            "{lines:#?}"
        );
        assert!(lines[5].contains("away") && !lines[4].contains(" m "), "{lines:#?}");
        state.take(FeedNews::Live);
        assert!(shown(&mut state, (80, 24))[0].ends_with("live"));
    }

    #[tokio::test]
    async fn no_size_is_too_small_or_too_large() {
        let mut state = state(&[("a", "waiting", "\u{1b}[31m<b>", 5), ("b", "stalled", "m", 1)]);
        for focus in [Focus::List, Focus::Filter, Focus::Detail] {
            state.open();
            state.focus = focus;
            for size in [(0, 0), (1, 1), (29, 7), (30, 7), (30, 200), (79, 8), (500, 24), (500, 100)] {
                let lines = shown(&mut state, size);
                assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{size:?}");
            }
        }
    }
}
