//! `thalweg serve`: load, log, start, say how to be reached, and end in steps. The first signal denies readiness for a
//! while (SIGTERM alone: at a terminal nobody looks), then drains; the second ends at once, whatever is still running.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::Level;

use super::{
    Failure, banner,
    signals::{Signals, StopSignal},
};
use crate::{
    app::{self, ProcessContext},
    config::{
        ConfigSource, Env, Overrides,
        settings::{LOG_FORMATS, LOG_LEVELS},
    },
    telemetry::{Log, LogFormat},
};

/// How long a notice may take to be written.
const PATIENCE: Duration = Duration::from_millis(100);

/// As a shell counts a process that a signal ended.
const ENDED_BY_SIGNAL: u8 = 130;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The configuration file [default: THALWEG_CONFIG, or ./config.json when there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen [default: localhost]
    #[arg(long)]
    host: Option<String>,
    /// The port; 0 lets the system pick one [default: 9000]
    #[arg(short, long)]
    port: Option<u16>,
    /// Threads that serve [default: one per core]
    #[arg(short, long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL [default: WARNING with a file, INFO without]
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    log_level: Option<Level>,
    /// human or json [default: human]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    log_format: Option<LogFormat>,
    /// A file that the log goes to beside the console
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

impl Options {
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            host: self.host.clone(),
            port: self.port,
            workers: self.workers,
            log_level: self.log_level,
            log_format: self.log_format,
            log_file: self.log_file.clone(),
        }
    }
}

/// # Errors
/// The configuration is wrong, or the gateway cannot start.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let source = ConfigSource::new(options.config.as_deref(), options.overrides(), Env::of_process());
    let settings = source.load()?;
    let log = Log::start(settings.log.clone())?;
    let mut signals = Signals::register()?;
    let surroundings =
        ProcessContext { source: Some(source), level: Some(log.level()), log_lost: log.lost() };
    let gateway = app::start_in(settings.clone(), surroundings)?;
    // A gateway without a terminal serves all the same.
    let _ = banner::show(&mut io::stdout().lock(), &settings, &gateway);
    let first = signals.first(|| gateway.reload("signal"));
    gateway.deny_readiness();
    let delay = gateway.shutdown_delay();
    if first == StopSignal::Asked && !delay.is_zero() {
        say(format!("Not ready any more: draining begins in {delay:?}."));
        if signals.second_within(delay) {
            return Ok(ExitCode::from(ENDED_BY_SIGNAL));
        }
    }
    say("Draining: open streams may end; a second signal cuts them.".to_owned());
    let (told, done) = oneshot::channel();
    thread::Builder::new().name("drain".to_owned()).spawn(move || {
        gateway.stop();
        let _ = told.send(());
    })?;
    Ok(if signals.second_before(done) { ExitCode::from(ENDED_BY_SIGNAL) } else { ExitCode::SUCCESS })
}

/// Tells a person. A terminal or pipe that is stuck must not keep the process from ending.
fn say(text: String) {
    let (told, done) = sync_channel(1);
    let write = move || {
        let _ = writeln!(io::stderr(), "{text}");
        let _ = told.try_send(());
    };
    if thread::Builder::new().name("notice".to_owned()).spawn(write).is_ok() {
        let _ = done.recv_timeout(PATIENCE);
    }
}

fn level(text: &str) -> Result<Level, String> {
    chosen(text, &LOG_LEVELS)
}

fn format(text: &str) -> Result<LogFormat, String> {
    chosen(text, &LOG_FORMATS)
}

fn chosen<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| format!("expected one of {}", known()))
}
