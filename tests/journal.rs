//! Every line that the gateway logs, in memory: one subscriber for the whole binary, since tracing has one
//! per process. A test finds its own lines by the request id that it sent.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, LazyLock, Mutex, Once},
};

use serde_json::Value;
use tracing_subscriber::{
    Layer, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::upstream::log::in_time;

#[derive(Default)]
struct Journal {
    all: Vec<Line>,
    /// By the request that a line is about. A search through all lines takes a tenth of a second in a test
    /// build, once there are hundreds of thousands.
    of_requests: HashMap<Box<str>, Vec<Line>>,
}

type Line = Arc<str>;

static JOURNAL: LazyLock<Mutex<Journal>> = LazyLock::new(Mutex::default);
/// Lines read per lock: a search through all of them under the lock stops every gateway of the binary.
const BLOCK: usize = 4096;

impl Journal {
    fn add(&mut self, line: Line) {
        if let Some(id) = id_of(&line) {
            self.of_requests.entry(id.into()).or_default().push(Arc::clone(&line));
        }
        self.all.push(line);
    }
}

fn id_of(line: &str) -> Option<&str> {
    Some(line.split_once(r#","id":""#)?.1.split_once('"')?.0)
}

/// The lines not yet read, a block at a time.
#[derive(Default)]
struct Reader {
    next: usize,
}

impl Iterator for Reader {
    type Item = Vec<Line>;

    fn next(&mut self) -> Option<Vec<Line>> {
        let lines = &JOURNAL.lock().unwrap().all;
        let end = lines.len().min(self.next + BLOCK);
        let block = lines[self.next..end].to_vec();
        self.next = end;
        (!block.is_empty()).then_some(block)
    }
}

fn parsed(line: &Line) -> Value {
    serde_json::from_str(line).unwrap()
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

/// The lines so far that are about the request of this id.
pub fn of_request(id: &str) -> Vec<Value> {
    let lines = JOURNAL.lock().unwrap().of_requests.get(id).cloned();
    lines.unwrap_or_default().iter().map(parsed).collect()
}

/// The lines so far that hold this text.
pub fn lines(text: &str) -> Vec<Value> {
    Reader::default().flat_map(|block| holding(&block, text)).collect()
}

fn holding(block: &[Line], text: &str) -> Vec<Value> {
    block.iter().filter(|line| line.contains(text)).map(parsed).collect()
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
///
/// [`EVENT_TIMEOUT`]: crate::upstream::log::EVENT_TIMEOUT
pub async fn closing(id: &str) -> Value {
    let closed = async {
        loop {
            let mut closing: Vec<_> = of_request(id).into_iter().filter(is_closing).collect();
            assert!(closing.len() < 2, "told twice: {closing:#?}");
            if let Some(line) = closing.pop() {
                return line;
            }
            // The workers' threads write lines and send no event.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    match in_time(closed).await {
        Ok(line) => line,
        Err(_) => panic!("no closing line for {id} among {:#?}", lines(id)),
    }
}

/// Waits for the first line, of any level, that holds `text` and says `message`.
pub async fn said(text: &str, message: &str) -> Value {
    let mut reader = Reader::default();
    let said = async {
        loop {
            let mut found = reader.by_ref().flat_map(|block| holding(&block, text));
            if let Some(line) = found.find(|line| line["message"] == message) {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    match in_time(said).await {
        Ok(line) => line,
        Err(_) => panic!("never said {message:?} of {text}: {:#?}", lines(text)),
    }
}

fn is_closing(line: &Value) -> bool {
    line["level"] != "TRACE" && line["level"] != "DEBUG"
}

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        JOURNAL.lock().unwrap().add(String::from_utf8_lossy(bytes).into());
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
