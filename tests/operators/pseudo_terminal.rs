//! A pseudo-terminal with a program in it: keys in, a screen of letters out. The screen obeys the few
//! sequences that a program of ratatui's writes; colours are dropped.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    process::{Child, Command, ExitStatus},
    thread,
    time::Duration,
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct PseudoTerminal {
    master: OwnedFd,
    slave: File,
    child: Child,
    screen: watch::Receiver<Shown>,
}

/// The screen, and all that was written to it.
#[derive(Clone, Default)]
pub struct Shown {
    pub lines: Vec<String>,
    pub raw: Vec<u8>,
}

impl Shown {
    /// The places of the lines with this text.
    pub fn with(&self, text: &str) -> Vec<usize> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(_, line)| line.contains(text)).map(|(place, _)| place).collect()
    }

    pub fn has(&self, text: &str) -> bool {
        !self.with(text).is_empty()
    }

    /// This sequence was written.
    pub fn wrote(&self, sequence: &str) -> bool {
        String::from_utf8_lossy(&self.raw).contains(sequence)
    }
}

impl PseudoTerminal {
    /// Runs the gateway's program in a terminal of 80 columns and 24 lines, with only these variables.
    pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_thalweg")]).args(arguments);
        command.env_clear().env("TERM", "xterm-256color").envs(variables.iter().copied());
        set_size(&master, (80, 24));
        let end = || slave.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let (shows, screen) = watch::channel(Shown::default());
        let mut output = File::from(master.try_clone().unwrap());
        thread::spawn(move || {
            let (mut screen, mut raw, mut piece) = (TerminalScreen::default(), Vec::new(), [0; 4096]);
            while let Ok(size @ 1..) = output.read(&mut piece) {
                raw.extend_from_slice(&piece[..size]);
                screen.take(&piece[..size]);
                let lines = screen.lines.iter().map(|line| line.iter().collect()).collect();
                shows.send_replace(Shown { lines, raw: raw.clone() });
            }
        });
        Self { master, slave, child, screen }
    }

    /// The screen as soon as it fulfils `wanted`.
    pub async fn shows(&mut self, what: &str, wanted: impl Fn(&Shown) -> bool) -> Shown {
        let last = self.screen.clone();
        let found = tokio::time::timeout(PATIENCE, self.screen.wait_for(|shown| wanted(shown))).await;
        match found {
            Ok(shown) => shown.unwrap().clone(),
            Err(_) => panic!("{what} was never shown:\n{}", last.borrow().lines.join("\n")),
        }
    }

    pub fn type_in(&self, keys: &str) {
        File::from(self.master.try_clone().unwrap()).write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, size: (u16, u16)) {
        set_size(&self.master, size);
    }

    /// The terminal goes away, as by the end of an ssh connection.
    pub fn hang_up(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// The program has ended; whether the terminal shows what is typed, as it did before.
    pub async fn ends(mut self) -> (ExitStatus, bool) {
        let (status, child) =
            tokio::task::spawn_blocking(move || (self.child.wait().unwrap(), self)).await.unwrap();
        let modes = tcgetattr(&child.slave).unwrap().local_modes;
        (status, modes.contains(LocalModes::ECHO | LocalModes::ICANON))
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(master: &OwnedFd, (columns, rows): (u16, u16)) {
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// Letters by line and column.
#[derive(Default)]
struct TerminalScreen {
    lines: Vec<Vec<char>>,
    at: (usize, usize),
    /// Bytes that do not end a letter or a sequence.
    rest: Vec<u8>,
}

impl TerminalScreen {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8(self.rest.drain(..whole).collect()).unwrap();
        let mut left = text.as_str();
        while let Some(letter) = left.chars().next() {
            let Some(sequence) = left.strip_prefix('\u{1b}') else {
                self.put(letter);
                left = &left[letter.len_utf8()..];
                continue;
            };
            let Some(end) =
                sequence.char_indices().find(|(place, it)| *place > 0 && it.is_ascii_alphabetic())
            else {
                break;
            };
            self.obey(&sequence[..=end.0]);
            left = &sequence[end.0 + 1..];
        }
        self.rest.splice(0..0, left.bytes());
    }

    fn put(&mut self, letter: char) {
        let (row, column) = self.at;
        match letter {
            '\n' => self.at.0 += 1,
            '\r' => self.at.1 = 0,
            _ => {
                if self.lines.len() <= row {
                    self.lines.resize(row + 1, Vec::new());
                }
                let line = &mut self.lines[row];
                if line.len() <= column {
                    line.resize(column + 1, ' ');
                }
                line[column] = letter;
                self.at.1 += 1;
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        let (parameters, kind) = sequence.split_at(sequence.len() - 1);
        let mut numbers =
            parameters.trim_start_matches('[').split(';').map(|number| number.parse().unwrap_or(1));
        match kind {
            "H" => {
                let (row, column): (usize, usize) =
                    (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
                self.at = (row.max(1) - 1, column.max(1) - 1);
            }
            "J" => self.lines.clear(),
            _ => {}
        }
    }
}
