//! `thalweg serve`: load, log, start, show the start-up lines, and end in steps. The first signal denies
//! readiness for a while (SIGTERM alone: no balancer watches a terminal), then drains; the second ends at
//! once, whatever is still running. The main thread runs the background tasks meanwhile, so that they need no
//! thread of their own.

use std::{
    env,
    error::Error,
    future::pending,
    io::{self, Write},
    num::NonZeroUsize,
    panic,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::json;
use tokio::{
    sync::oneshot::{self, Receiver},
    time::timeout,
};
use tracing::Level;

use super::{
    Failure, banner,
    signals::{Signals, StopSignal},
};
use crate::{
    app::{
        self, Background, Process, ProcessContext, StartError,
        background::{self, BackgroundRunner},
    },
    base::time::Rfc3339,
    config::{
        self, ConfigSource, Env, Overrides, Settings,
        settings::{LOG_FORMATS, LOG_LEVELS},
    },
    telemetry::{Log, LogFormat},
};

/// How long a notice may take to be written.
const NOTICE_TIMEOUT: Duration = Duration::from_millis(100);
/// How long files may be read or written after everything else has ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// As a shell counts a process that a signal ended.
const ENDED_BY_SIGNAL: u8 = 130;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The configuration file [default: THALWEG_CONFIG, or ./config.json when there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen [default: localhost]
    #[arg(long, value_parser = host)]
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
    /// The log's format before the file is read.
    fn requested_format(&self) -> LogFormat {
        let variable = || {
            let text = env::var("THALWEG_LOG_FORMAT").ok()?;
            let found = LOG_FORMATS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
            found.map(|(_, format)| *format)
        };
        self.log_format.or_else(variable).unwrap_or_default()
    }

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
    let mut format = options.requested_format();
    match (run_in(options, &mut format), format) {
        (Err(failure), LogFormat::Json) => {
            report(&*failure);
            Ok(ExitCode::FAILURE)
        }
        (outcome, LogFormat::Json | LogFormat::Human) => outcome,
    }
}

/// Prints the chain of causes as a line of the log: readers of JSON find no text between its lines.
fn report(failure: &(dyn Error + Send + Sync + 'static)) {
    let (mut causes, mut cause) = (Vec::new(), failure.source());
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let line = json!({
        "timestamp": Rfc3339(SystemTime::now()).to_string(),
        "level": "ERROR",
        "message": "cannot serve",
        "failure": failure.to_string(),
        "causes": causes,
    });
    // A closed stderr is no reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}

/// `format`: becomes that of the settings as soon as they are known.
fn run_in(options: &Options, format: &mut LogFormat) -> Result<ExitCode, Failure> {
    let source = ConfigSource::new(options.config.as_deref(), options.overrides(), Env::of_process());
    let settings = source.load()?;
    *format = settings.log.format;
    let log = Log::start(settings.log.clone())?;
    if settings.log.format == LogFormat::Json {
        panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
    }
    run_logged(settings, source, &log)
}

fn run_logged(settings: Settings, source: ConfigSource, log: &Log) -> Result<ExitCode, Failure> {
    let format = settings.log.format;
    let runtime = background::runtime()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::register()?
    };
    let (background, tasks) = Background::open();
    let context = ProcessContext {
        source: Some(source),
        level: Some(log.level()),
        log_lost: log.lost(),
        background: Some(background),
    };
    let started = start(settings, context)?;
    let code = runtime.block_on(async {
        tokio::select! {
            code = serve(started, signals, format) => code,
            () = run_forever(tasks) => Ok(ExitCode::SUCCESS),
        }
    });
    // A file that is still read or written does not keep the process from ending.
    runtime.shutdown_timeout(EXIT_TIMEOUT);
    code
}

/// Starts the gateway on a thread that ends with the start-up lines, because a start waits for its background
/// tasks, which run on this thread.
fn start(settings: Settings, context: ProcessContext) -> io::Result<Receiver<Result<Process, StartError>>> {
    let (sender, started) = oneshot::channel();
    thread::Builder::new().name("start".to_owned()).spawn(move || {
        let gateway = app::start_in(settings.clone(), context);
        if let Ok(gateway) = &gateway {
            // A gateway without a terminal serves all the same.
            let _ = banner::show(&mut io::stdout().lock(), &settings, gateway);
        }
        let _ = sender.send(gateway);
    })?;
    Ok(started)
}

async fn run_forever(tasks: BackgroundRunner) {
    tasks.run().await;
    pending().await
}

/// Waits for the signals, and ends the gateway in steps.
async fn serve(
    started: Receiver<Result<Process, StartError>>,
    mut signals: Signals,
    format: LogFormat,
) -> Result<ExitCode, Failure> {
    let gateway = started.await??;
    let first = signals.first(|| gateway.reload("signal")).await;
    gateway.deny_readiness();
    let delay = gateway.shutdown_delay();
    if first == StopSignal::Terminated && !delay.is_zero() {
        print_notice(format!("Not ready any more: draining begins in {delay:?}."), format).await;
        if signals.second_within(delay).await {
            return Ok(ExitCode::from(ENDED_BY_SIGNAL));
        }
    }
    print_notice("Draining: open streams may end; a second signal cuts them.".to_owned(), format).await;
    let (stopped, done) = oneshot::channel();
    thread::Builder::new().name("drain".to_owned()).spawn(move || {
        gateway.stop();
        let _ = stopped.send(());
    })?;
    let was_cut = signals.second_before(done).await;
    Ok(if was_cut { ExitCode::from(ENDED_BY_SIGNAL) } else { ExitCode::SUCCESS })
}

/// Writes a notice to the terminal, in the form of the log. It is written by a thread of its own, because a
/// terminal or pipe that is stuck must not keep the process from ending.
async fn print_notice(text: String, format: LogFormat) {
    let text = match format {
        LogFormat::Human => text,
        LogFormat::Json => {
            let timestamp = Rfc3339(SystemTime::now()).to_string();
            json!({"timestamp": timestamp, "level": "INFO", "message": text}).to_string()
        }
    };
    let (written, done) = oneshot::channel();
    let write = move || {
        let _ = writeln!(io::stderr(), "{text}");
        let _ = written.send(());
    };
    if thread::Builder::new().name("notice".to_owned()).spawn(write).is_ok() {
        let _ = timeout(NOTICE_TIMEOUT, done).await;
    }
}

fn host(text: &str) -> Result<String, String> {
    config::overrides::host(text).map_err(|expected| expected.to_string())
}

fn level(text: &str) -> Result<Level, String> {
    parse_word(text, &LOG_LEVELS)
}

fn format(text: &str) -> Result<LogFormat, String> {
    parse_word(text, &LOG_FORMATS)
}

fn parse_word<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let known = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| format!("expected one of {}", known()))
}
