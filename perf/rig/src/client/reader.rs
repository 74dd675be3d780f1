//! One answer read from its connection. The age of each event is taken once per read: events that a proxy held back and
//! sent together are seen late, and show as more events per read.

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
};

use tokio::net::TcpStream;

use super::{
    answer::{Answer, Progress},
    report::Seen,
};
use crate::{clock, event};

/// What one read takes at most; one buffer serves all connections, since idle ones need none.
const BUFFER: usize = 64 * 1024;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

#[derive(Debug)]
pub struct Reader<'a> {
    seen: &'a RefCell<Seen>,
    answer: Answer,
    lines: Lines,
    asked: u64,
    silent: bool,
    last_event: bool,
}

impl<'a> Reader<'a> {
    /// To be made just before the request is written: time counts from here.
    pub fn new(seen: &'a RefCell<Seen>) -> Self {
        Self {
            seen,
            answer: Answer::new(),
            lines: Lines::default(),
            asked: clock::now(),
            silent: true,
            last_event: false,
        }
    }

    /// Reads a stream to its end; an end without `[DONE]` is an error.
    pub async fn read_to_end(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.read(stream).await? == Progress::More {}
        if !self.last_event {
            return Err(io::Error::other("the stream ended without [DONE]"));
        }
        self.seen.borrow_mut().answers += 1;
        Ok(())
    }

    /// Reads an answer that is no stream to its end.
    pub async fn read_answer(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.read(stream).await? == Progress::More {}
        let mut seen = self.seen.borrow_mut();
        seen.answers += 1;
        seen.whole.add(clock::now() - self.asked);
        Ok(())
    }

    /// Reads what is there once something is.
    pub async fn read(&mut self, stream: &TcpStream) -> io::Result<Progress> {
        loop {
            stream.readable().await?;
            let taken = SHARED.with_borrow_mut(|buffer| match stream.try_read(buffer)? {
                0 => Err(io::Error::other("the answer was cut")),
                length => self.take(&buffer[..length]),
            });
            match taken {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                taken => return taken,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        let now = clock::now();
        let mut seen = self.seen.borrow_mut();
        if std::mem::take(&mut self.silent) {
            seen.first_byte.add(now - self.asked);
        }
        let before = seen.ages.count();
        let progress = self.answer.take(bytes, |body| {
            self.lines.take(body, |line| match event::age(line, now) {
                Some(age) => seen.ages.add(age),
                None => self.last_event |= line.starts_with(b"data: [DONE]"),
            });
        });
        seen.reads += u64::from(seen.ages.count() > before);
        progress
    }
}

/// Joins lines that reads or chunks cut.
#[derive(Debug, Default)]
struct Lines {
    unended: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (ended, after) = rest.split_at(end + 1);
            if self.unended.is_empty() {
                line(ended);
            } else {
                self.unended.extend_from_slice(ended);
                line(&self.unended);
                self.unended.clear();
            }
            rest = after;
        }
        self.unended.extend_from_slice(rest);
    }
}
