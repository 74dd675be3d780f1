//! Every line that the gateway logs, in memory: one subscriber for the whole binary, since tracing has one
//! per process. A test finds its own lines by the request id that it sent.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use serde_json::Value;
use tracing_subscriber::{
    Layer, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::upstream::log::in_time;

static LINES: Mutex<Vec<Arc<str>>> = Mutex::new(Vec::new());
/// Lines read per lock: a search through hundreds of thousands under the lock stops every gateway of the
/// binary for seconds.
const BLOCK: usize = 4096;

/// The lines not yet read, a block at a time.
#[derive(Default)]
struct Reader {
    next: usize,
}

impl Iterator for Reader {
    type Item = Vec<Arc<str>>;

    fn next(&mut self) -> Option<Vec<Arc<str>>> {
        let lines = LINES.lock().unwrap();
        let end = lines.len().min(self.next + BLOCK);
        let block = lines[self.next..end].to_vec();
        self.next = end;
        (!block.is_empty()).then_some(block)
    }
}

/// The lines of one request so far.
struct RequestLines<'a> {
    id: &'a str,
    reader: Reader,
    lines: Vec<Value>,
}

impl<'a> RequestLines<'a> {
    fn of(id: &'a str, after: Place) -> Self {
        let mut story = Self { id, reader: Reader { next: after.0 }, lines: Vec::new() };
        story.go_on();
        story
    }

    fn go_on(&mut self) {
        for block in self.reader.by_ref() {
            let ours = block.iter().filter(|line| line.contains(self.id));
            self.lines.extend(ours.map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
}

/// Begins to collect; later calls do nothing.
pub fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        let ours = Targets::new().with_target("thalweg", tracing::Level::TRACE);
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Keep);
        tracing_subscriber::registry().with(layer.with_filter(ours)).init();
    });
}

/// A place in the journal. Requests that begin later are found from there on, without the lines of all tests
/// before.
#[derive(Clone, Copy, Default)]
pub struct Place(usize);

/// The journal's end.
pub fn end() -> Place {
    Place(LINES.lock().unwrap().len())
}

/// The lines so far that name this request.
pub fn lines(id: &str) -> Vec<Value> {
    lines_after(Place::default(), id)
}

pub fn lines_after(place: Place, id: &str) -> Vec<Value> {
    RequestLines::of(id, place).lines
}

/// The lines that hold both texts.
pub fn count(texts: [&str; 2]) -> usize {
    let holds = |line: &&Arc<str>| texts.iter().all(|text| line.contains(text));
    Reader::default().map(|block| block.iter().filter(holds).count()).sum()
}

/// Whether any line holds this text, keys above all.
pub fn mentions(text: &str) -> bool {
    Reader::default().any(|block| block.iter().any(|line| line.contains(text)))
}

/// The one line at INFO or above that closes this request, within [`EVENT_TIMEOUT`].
pub async fn closing(id: &str) -> Value {
    closing_after(Place::default(), id).await
}

pub async fn closing_after(place: Place, id: &str) -> Value {
    let mut story = RequestLines::of(id, place);
    let closed = async {
        loop {
            let closing: Vec<_> = story.lines.iter().filter(|line| is_closing(line)).collect();
            if let [line] = &closing[..] {
                return Value::clone(line);
            }
            assert!(closing.len() < 2, "told twice: {closing:#?}");
            // The workers' threads write lines and send no event.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            story.go_on();
        }
    };
    match in_time(closed).await {
        Ok(line) => line,
        Err(_) => panic!("no closing line for {id} among {:#?}", lines(id)),
    }
}

/// Waits for the first line of this request, of any level, that says `message`.
pub async fn said(id: &str, message: &str) -> Value {
    let mut story = RequestLines::of(id, Place::default());
    let said = async {
        loop {
            if let Some(line) = story.lines.iter().find(|line| line["message"] == message) {
                return line.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            story.go_on();
        }
    };
    match in_time(said).await {
        Ok(line) => line,
        Err(_) => panic!("never said {message:?} of {id}: {:#?}", lines(id)),
    }
}

fn is_closing(line: &Value) -> bool {
    line["level"] != "TRACE" && line["level"] != "DEBUG"
}

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push(String::from_utf8_lossy(bytes).into());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Keep {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
