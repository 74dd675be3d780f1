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

/// Lines that may wait. At some 300 bytes each, about a megabyte.
const WAITING: usize = 4096;

/// How long the end of the process waits for the last lines.
const LAST: Duration = Duration::from_secs(1);

/// How often the end of the process looks for room in a full queue.
const RETRY: Duration = Duration::from_millis(1);

enum Message {
    Line(Box<[u8]>),
    /// All lines before this one are to be written; then the sender is told.
    Flush(SyncSender<()>),
}

/// The queue's owner. Dropping it waits, for a second at most, until every line has been written.
#[derive(Debug)]
pub struct LogQueue {
    lines: LineSender,
}

/// Where lines are put; one write is one line.
#[derive(Clone, Debug)]
pub struct LineSender {
    sender: Sender<Message>,
    lost: LostLines,
}

/// Lines that were lost: those that nobody has been told of yet, and all of them.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Arc<[AtomicU64; 2]>);

impl LostLines {
    fn add(&self) {
        for count in &*self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Since the start.
    #[must_use]
    pub fn read(&self) -> u64 {
        let [_, all] = &*self.0;
        all.load(Ordering::Relaxed)
    }

    /// Tells of those that nobody was told of.
    fn tell(&self, out: &mut impl Write, note: fn(u64) -> String) {
        let [untold, _] = &*self.0;
        let count = untold.swap(0, Ordering::Relaxed);
        if count > 0 && out.write_all(format!("{}\n", note(count)).as_bytes()).is_err() {
            untold.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl LogQueue {
    /// Starts the thread that writes to `out`; `note` words the line that says how many were lost. Without a
    /// thread, lines are lost and nothing else.
    pub fn start(out: impl Write + Send + 'static, note: fn(u64) -> String) -> Self {
        let (sender, receiver) = channel(WAITING);
        let lines = LineSender { sender, lost: LostLines::default() };
        let lost = lines.lost.clone();
        // A machine without room for a thread has worse troubles than a missing log.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, note, receiver, &lost));
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
        let deadline = Instant::now() + LAST;
        let (told, tell) = sync_channel(1);
        let mut flush = Message::Flush(told);
        while let Err(TrySendError::Full(unsent)) = self.lines.sender.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = unsent;
            thread::sleep(RETRY);
        }
        let _ = tell.recv_timeout(deadline.saturating_duration_since(Instant::now()));
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

/// A failing `out` is no reason to stop: the next line may find it well again, and then says how many were
/// lost.
fn write_all(
    mut out: impl Write,
    note: fn(u64) -> String,
    mut receiver: Receiver<Message>,
    lost: &LostLines,
) {
    while let Some(message) = receiver.blocking_recv() {
        lost.tell(&mut out, note);
        match message {
            Message::Line(line) => {
                if out.write_all(&line).is_err() {
                    lost.add();
                }
            }
            Message::Flush(told) => {
                let _ = out.flush();
                let _ = told.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use super::*;

    /// Writes only while nobody holds it.
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
        let queue = LogQueue::start(gate.clone(), |count| format!("lost {count}"));
        let stuck = gate.hold();
        let lines = queue.lines();
        for _ in 0..2 * WAITING {
            (&lines).write_all(b"x\n").unwrap();
        }
        drop(stuck);
        drop(queue);
        let text = String::from_utf8(gate.hold().clone()).unwrap();
        let written = text.lines().filter(|line| *line == "x").count();
        let lost = text.lines().filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok());
        assert_eq!(written + lost.sum::<usize>(), 2 * WAITING);
        assert!(written >= WAITING);
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
        let queue = LogQueue::start(disk.clone(), |count| format!("lost {count}"));
        let (lines, lost) = (queue.lines(), queue.lost());
        let told = || {
            let (told, tell) = sync_channel(1);
            queue.lines.sender.try_send(Message::Flush(told)).unwrap();
            tell.recv().unwrap();
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
        assert_eq!(String::from_utf8(disk.written.hold().clone()).unwrap(), "before\nlost 3\nafter\n");
        assert_eq!(lost.read(), 3);
    }
}
