//! A bar on the terminal for what takes a while, cleared when dropped. Where nobody watches there is none.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

const WIDTH: usize = 32;
/// An eye sees no more.
const BETWEEN: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct ProgressBar {
    watched: bool,
    drawn: Option<Instant>,
}

impl ProgressBar {
    /// On standard error.
    pub(super) fn new() -> Self {
        Self { watched: io::stderr().is_terminal(), drawn: None }
    }

    /// Shows how much of the whole is done.
    pub(super) fn show(&mut self, done: u64, whole: u64, words: impl FnOnce() -> String) {
        if self.watched && self.drawn.is_none_or(|drawn| drawn.elapsed() >= BETWEEN) {
            self.drawn = Some(Instant::now());
            write(&line(done, whole, &words()));
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            write("\r\x1b[K");
        }
    }
}

/// In place of the line before. Does not wrap: what wraps cannot be drawn over.
fn line(done: u64, whole: u64, words: &str) -> String {
    let full = u128::from(done.min(whole)) * WIDTH as u128 / u128::from(whole.max(1));
    let bar = "━".repeat(usize::try_from(full).unwrap_or_default());
    format!("\r\x1b[K\x1b[?7l  {bar:WIDTH$}  {words}\x1b[?7h")
}

/// A terminal that is gone is no reason to stop measuring.
fn write(text: &str) {
    let mut terminal = io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_and_never_overflows() {
        let full = |done, whole| {
            let line = line(done, whole, "words");
            let bar =
                line.strip_prefix("\r\x1b[K\x1b[?7l  ").unwrap().strip_suffix("  words\x1b[?7h").unwrap();
            assert_eq!(bar.chars().count(), WIDTH);
            bar.matches('━').count()
        };
        let shares =
            [full(0, 10), full(5, 10), full(10, 10), full(11, 10), full(0, 0), full(u64::MAX, u64::MAX)];
        assert_eq!(shares, [0, 16, 32, 32, 0, 32]);
    }
}
