//! The terminal, taken over while the program shows something and given back at its end, also by a panic.
//! Keys are read by a thread of their own, because reading them blocks.

use std::{
    io::{self, Stdout, stdout},
    thread,
    time::Duration,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{Event, poll, read},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use tokio::sync::mpsc;

/// Keys that wait.
const MAX_KEYS: usize = 64;
/// Between two looks whether keys are still wanted.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct TerminalSession {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// Gives the terminal back when dropped, after `terminal`.
    _guard: TerminalGuard,
}

#[derive(Debug)]
struct TerminalGuard;

impl TerminalSession {
    /// # Errors
    /// The terminal cannot be taken over.
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let guard = TerminalGuard;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(stdout()))?, _guard: guard })
    }

    pub(super) fn draw(&mut self, show: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(show).map(|_| ())
    }

    /// Keys, and changes of the size, from now on. `None` follows when the terminal has gone.
    pub(super) fn keys(&self) -> mpsc::Receiver<Event> {
        let (keys, receiver) = mpsc::channel(MAX_KEYS);
        // A thread that does not start drops its sender, which ends the program.
        let _ = thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while !keys.is_closed() {
                let event = match poll(POLL_INTERVAL) {
                    Ok(true) => read(),
                    Ok(false) => continue,
                    Err(error) => Err(error),
                };
                if event.ok().is_none_or(|event| keys.blocking_send(event).is_err()) {
                    return;
                }
            }
        });
        receiver
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing back.
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
