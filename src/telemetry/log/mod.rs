//! The log: lines for people or JSON for machines, to stderr and to a file (S2.11). A worker formats its line
//! and puts it into a bounded queue, so it never waits for a terminal, a pipe or a disk. Lines that find the
//! queue full are dropped and counted.
//!
//! - [`queue`]: the queue of one destination, and the thread that writes it
//! - `escape`: the characters that do not get into a line
//! - [`file`]: the log file and its rotation

mod escape;
pub mod file;
pub mod queue;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    layer::{Layer, SubscriberExt},
    registry::LookupSpan,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use escape::{FieldsInColor, LineForm};
pub use file::FileSettings;
use file::Rotating;
pub use queue::LostLines;
use queue::{LineSender, LogQueue};

/// Where the log goes, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: Level,
    /// The format on the console; a file has its own.
    pub format: LogFormat,
    /// `None`: only the console.
    pub file: Option<FileSettings>,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line per event, coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Human,
    /// An object per line.
    Json,
}

impl LogFormat {
    /// The line that reports so many lost lines.
    fn loss(self, count: u64) -> String {
        match self {
            Self::Human => format!(" WARN {count} log lines lost"),
            Self::Json => format!(r#"{{"level":"WARN","message":"log lines lost","count":{count}}}"#),
        }
    }
}

/// Sets the level of a running log, for reloads.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    /// Sets the level for all later lines.
    pub fn set(&self, level: Level) {
        // Fails only when the subscriber is gone, and then there is nothing to set.
        let _ = self.0.reload(targets(level));
    }
}

/// The running log. Its drop waits, at most a second for each queue, until queued lines are written.
#[derive(Debug)]
pub struct Log {
    level: reload::Handle<Targets, Registry>,
    /// Dropped before the console, so that an error with the file's last lines still reaches the console.
    file: Option<LogQueue>,
    console: LogQueue,
}

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot open the log file {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// The process has a log already.
    #[error("cannot start the log")]
    Taken(#[source] TryInitError),
}

impl Log {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// The file cannot be opened, or the process has a log already.
    pub fn start(settings: LogSettings) -> Result<Self, LogError> {
        let color =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let file = settings.file.clone().map(|file| {
            let (path, format) = (file.path.clone(), file.format);
            let rotating = Rotating::open(file).map_err(|error| LogError::File { path, error })?;
            Ok((LogQueue::start(rotating, LineForm { format, has_color: false }), format))
        });
        let file: Option<(LogQueue, LogFormat)> = file.transpose()?;
        let console = LogQueue::start(io::stderr(), LineForm { format: settings.format, has_color: color });
        let second = file.as_ref().map(|(queue, format)| (queue.lines(), *format));
        let (subscriber, level) = subscriber(&settings, color, console.lines(), second);
        subscriber.try_init().map_err(LogError::Taken)?;
        Ok(Self { level, console, file: file.map(|(queue, _)| queue) })
    }

    /// The counters of lost lines: the console's and the file's.
    #[must_use]
    pub fn lost(&self) -> Vec<LostLines> {
        [Some(&self.console), self.file.as_ref()].into_iter().flatten().map(LogQueue::lost).collect()
    }

    #[must_use]
    pub fn level(&self) -> LevelHandle {
        LevelHandle(self.level.clone())
    }
}

fn subscriber(
    settings: &LogSettings,
    color: bool,
    console: LineSender,
    file: Option<(LineSender, LogFormat)>,
) -> (impl Subscriber + Send + Sync, reload::Handle<Targets, Registry>) {
    let (level, handle) = reload::Layer::new(targets(settings.level));
    let console = layer(settings.format, color, console);
    let file = file.map(|(lines, format)| layer(format, false, lines));
    (tracing_subscriber::registry().with(level).with(console).with(file), handle)
}

fn layer<S>(format: LogFormat, color: bool, lines: LineSender) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(lines);
    match format {
        LogFormat::Human if color => layer.with_ansi(true).fmt_fields(FieldsInColor).boxed(),
        LogFormat::Human => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// The gateway's lines from `level` on, libraries' from warnings on, because one of them writes a line per
/// frame at debug.
fn targets(level: Level) -> Targets {
    let ours = LevelFilter::from_level(level);
    Targets::new().with_target("thalweg", ours).with_default(ours.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(settings: LogSettings, events: impl FnOnce(&reload::Handle<Targets, Registry>)) -> String {
        logged_in(false, settings, events)
    }

    fn logged_in(
        color: bool,
        settings: LogSettings,
        events: impl FnOnce(&reload::Handle<Targets, Registry>),
    ) -> String {
        let sink = Sink::default();
        let queue = LogQueue::start(sink.clone(), LineForm { format: settings.format, has_color: color });
        let (subscriber, level) = subscriber(&settings, color, queue.lines(), None);
        tracing::subscriber::with_default(subscriber, || events(&level));
        drop(queue);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn keeps_to_its_level_and_keeps_libraries_quiet() {
        let text =
            logged(LogSettings { level: Level::DEBUG, format: LogFormat::Human, file: None }, |level| {
                tracing::debug!(target: "thalweg::relay", chunks = 3, "first");
                tracing::trace!("hidden");
                tracing::debug!(target: "h2::codec", "hidden");
                tracing::warn!(target: "rustls", "second");
                LevelHandle(level.clone()).set(Level::ERROR);
                tracing::warn!("hidden");
                tracing::error!("third");
            });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].contains("DEBUG first chunks=3")
                && lines[1].contains("second")
                && lines[2].contains("third")
        );
    }

    /// Texts of clients and providers neither command a terminal nor forge a line.
    #[test]
    fn foreign_text_stays_text() {
        let foreign = "a\u{9b}2J\u{202e}b\u{2028}c\x1b[2Jd\ne";
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = logged(LogSettings { level: Level::INFO, format, file: None }, |_| {
                tracing::info!(error = %foreign, model = foreign, "{foreign}");
            });
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(crate::base::control::is_display_control), "{line:?}");
            if format == LogFormat::Json {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!([&line["error"], &line["model"], &line["message"]], [foreign; 3]);
            }
        }
    }

    /// A text cannot imitate a level's colour.
    #[test]
    fn foreign_colours_are_escaped_in_a_coloured_line() {
        let foreign = "a\x1b[0m \x1b[31mERROR\x1b[0m";
        let settings = LogSettings { level: Level::INFO, format: LogFormat::Human, file: None };
        let text = logged_in(true, settings, |_| {
            tracing::info!(error = %foreign, model = foreign, status = 200, debug = ?Some(foreign), "{foreign}");
            tracing::info!(message = foreign);
        });
        let plain = "a\\u{1b}[0m \\u{1b}[31mERROR\\u{1b}[0m";
        let name = |name: &str| format!("\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m");
        let fields = [
            format!("{}{plain}", name("error")),
            format!("{}\"{plain}\"", name("model")),
            format!("{}200", name("status")),
            format!("{}Some(\"{plain}\")", name("debug")),
        ];
        let lines: Vec<&str> =
            text.lines().map(|line| line.split_once("\x1b[32m INFO\x1b[0m ").unwrap().1).collect();
        assert_eq!(lines, [format!("{plain} {}", fields.join(" ")), plain.to_owned()]);
    }

    #[test]
    fn writes_an_object_per_line() {
        let text = logged(LogSettings { level: Level::INFO, format: LogFormat::Json, file: None }, |_| {
            tracing::info!(chunks = 3, "done\nnow");
        });
        let line: serde_json::Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(
            (&line["message"], &line["chunks"], &line["level"]),
            (&"done\nnow".into(), &3.into(), &"INFO".into())
        );
    }
}
