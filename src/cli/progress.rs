//! A progress bar on the terminal for long commands, cleared on drop. Without a terminal it prints nothing,
//! so that stderr in a file stays readable.
//!
//! Never writes to stdout, which belongs to the result.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

const WIDTH: usize = 32;

#[derive(Debug)]
pub(super) struct ProgressBar {
    watched: bool,
}

impl ProgressBar {
    /// A bar on standard error, if that is a terminal that can overwrite a line.
    pub(super) fn new() -> Self {
        let draws = env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb");
        Self { watched: draws && io::stderr().is_terminal() }
    }

    /// Draws the bar: `done` of `total`, and `label` behind it.
    pub(super) fn show(&self, done: u64, total: u64, label: impl FnOnce() -> String) {
        if self.watched {
            write(&line(done, total, &label()));
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        if self.watched {
            write("\r\x1b[K");
        }
    }
}

/// Overwrites the line before. Turns wrapping off, because a wrapped line cannot be overwritten.
fn line(done: u64, total: u64, label: &str) -> String {
    let full = u128::from(done.min(total)) * WIDTH as u128 / u128::from(total.max(1));
    let bar = "━".repeat(usize::try_from(full).unwrap_or_default());
    format!("\r\x1b[K\x1b[?7l  {bar:WIDTH$}  {label}\x1b[?7h")
}

/// Errors are ignored, because a closed terminal is no reason to stop the command.
fn write(text: &str) {
    let mut terminal = io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_and_never_overflows() {
        let full = |done, total| {
            let line = line(done, total, "words");
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
