//! Formatted lines on their way to one thread that writes them. The queue is bounded: a writer that cannot
//! keep up (a paused terminal, a full pipe, a full disk) costs lines and never a worker's time. Lost lines
//! are counted, and their number is written when there is room again. The end of the process waits a second
//! at most for the last lines.
//!
//! tracing-appender does the same with fewer promises, so this stays. Its version 0.2.5 counts lines that
//! find no place in the queue, but neither counts nor reports those that the file or terminal refuses
//! (`worker.rs`), and writes no line about a loss. With a full queue its guard gives up after 100 ms without
//! the last lines, and says so on stdout (`non_blocking.rs`). It panics if the system gives no thread. Its
//! files rotate by time only, not by size, and it does not notice that another process has moved the file.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tracing_subscriber::fmt::MakeWriter;

use super::{LogFormat, escape::LineForm};

/// Lines that wait. At some 300 bytes each, about a megabyte.
const MAX_WAITING: usize = 4096;

/// From the end of the process to the last written line.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// From one try to put the flush into a full queue to the next.
const FLUSH_RETRY_INTERVAL: Duration = Duration::from_millis(1);

enum Message {
    Line(Box<[u8]>),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

/// The owner of the queue. Its drop waits, at most a second, until every line is written.
#[derive(Debug)]
pub struct LogQueue {
    lines: LineSender,
}

/// The sender of lines; one write is one line.
#[derive(Clone, Debug)]
pub struct LineSender {
    sender: Sender<Message>,
    lost: LostLines,
}

/// Lost lines: those not yet reported in the log, and all since the start.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Arc<[AtomicU64; 2]>);

impl LostLines {
    fn add(&self) {
        for count in &*self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All lost lines since the start.
    #[must_use]
    pub fn read(&self) -> u64 {
        let [_, all] = &*self.0;
        all.load(Ordering::Relaxed)
    }

    /// Writes a line about losses not yet reported.
    fn report(&self, out: &mut impl Write, format: LogFormat) {
        let [unreported, _] = &*self.0;
        let count = unreported.swap(0, Ordering::Relaxed);
        if count > 0 && out.write_all(format!("{}\n", format.loss(count)).as_bytes()).is_err() {
            unreported.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl LogQueue {
    /// Starts the thread that writes lines of this form to `out`. Without a thread, lines are lost and
    /// nothing else.
    pub(super) fn start(out: impl Write + Send + 'static, form: LineForm) -> Self {
        let (sender, receiver) = channel(MAX_WAITING);
        let lines = LineSender { sender, lost: LostLines::default() };
        let lost = lines.lost.clone();
        // Without a thread the log is missing, and the process runs on.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, form, receiver, &lost));
        Self { lines }
    }

    #[must_use]
    pub fn lines(&self) -> LineSender {
        self.lines.clone()
    }

    #[must_use]
    pub fn lost(&self) -> LostLines {
        self.lines.lost.clone()
    }
}

impl Drop for LogQueue {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let (done, flushed) = sync_channel(1);
        let mut flush = Message::Flush(done);
        while let Err(TrySendError::Full(unsent)) = self.lines.sender.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = unsent;
            thread::sleep(FLUSH_RETRY_INTERVAL);
        }
        let _ = flushed.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Write for &LineSender {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.sender.try_send(Message::Line(line.into())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.lost.add();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineSender {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Writes until the queue closes. A failing `out` does not stop it, because a later line may succeed; that
/// line follows a report of the losses.
fn write_all(mut out: impl Write, form: LineForm, mut receiver: Receiver<Message>, lost: &LostLines) {
    while let Some(message) = receiver.blocking_recv() {
        lost.report(&mut out, form.format);
        match message {
            Message::Line(line) => {
                if out.write_all(&form.escape(&line)).is_err() {
                    lost.add();
                }
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use super::*;

    const FORM: LineForm = LineForm { format: LogFormat::Human, has_color: false };

    /// Blocks writes while a test holds the lock.
    #[derive(Clone, Default)]
    struct Gate(Arc<Mutex<Vec<u8>>>);

    impl Gate {
        fn hold(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.hold().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_writer_costs_lines_and_says_how_many() {
        let gate = Gate::default();
        let queue = LogQueue::start(gate.clone(), FORM);
        let stuck = gate.hold();
        let lines = queue.lines();
        for _ in 0..2 * MAX_WAITING {
            (&lines).write_all(b"x\n").unwrap();
        }
        drop(stuck);
        drop(queue);
        let text = String::from_utf8(gate.hold().clone()).unwrap();
        let written = text.lines().filter(|line| *line == "x").count();
        let lost = text.lines().filter_map(|line| {
            line.strip_prefix(" WARN ")?.strip_suffix(" log lines lost")?.parse::<usize>().ok()
        });
        assert_eq!(written + lost.sum::<usize>(), 2 * MAX_WAITING);
        assert!(written >= MAX_WAITING);
    }

    /// As a full disk does, as long as it is full.
    #[derive(Clone, Default)]
    struct Disk {
        written: Gate,
        full: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_says_how_many_when_there_is_room() {
        let disk = Disk::default();
        let queue = LogQueue::start(disk.clone(), FORM);
        let (lines, lost) = (queue.lines(), queue.lost());
        let told = || {
            let (done, flushed) = sync_channel(1);
            queue.lines.sender.try_send(Message::Flush(done)).unwrap();
            flushed.recv().unwrap();
        };
        (&lines).write_all(b"before\n").unwrap();
        told();
        disk.full.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            (&lines).write_all(b"never\n").unwrap();
        }
        told();
        disk.full.store(false, Ordering::Relaxed);
        (&lines).write_all(b"after\n").unwrap();
        told();
        assert_eq!(
            String::from_utf8(disk.written.hold().clone()).unwrap(),
            "before\n WARN 3 log lines lost\nafter\n"
        );
        assert_eq!(lost.read(), 3);
    }
}
