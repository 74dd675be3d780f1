//! Formatted lines on their way to one thread that writes them. Bounded: a writer that cannot keep up (a paused
//! terminal, a full pipe) costs lines, never a worker's time; how many were lost is written when there is room again.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

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
pub struct Queue {
    lines: Lines,
}

/// Where lines are put; one write is one line.
#[derive(Clone, Debug)]
pub struct Lines {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread that writes to `out`; `note` words the line that says how many were lost. Without a thread,
    /// lines are lost and nothing else.
    pub fn start(out: impl Write + Send + 'static, note: fn(u64) -> String) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let lines = Lines { sender, lost: Arc::default() };
        let lost = Arc::clone(&lines.lost);
        // A machine without room for a thread has worse troubles than a missing log.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, note, &receiver, &lost));
        Self { lines }
    }

    #[must_use]
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }
}

impl Drop for Queue {
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

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.sender.try_send(Message::Line(line.into())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// A failing `out` is no reason to stop: the next line may find it well again, and nobody could be told anyway.
fn write_all(mut out: impl Write, note: fn(u64) -> String, receiver: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(message) = receiver.recv() {
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(out, "{}", note(count));
        }
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
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
        let queue = Queue::start(gate.clone(), |count| format!("lost {count}"));
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
}
