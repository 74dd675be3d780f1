//! Every line that the gateway logs, in memory: one subscriber for the whole binary, since tracing has one per process.
//! A test finds its own lines by the request id that it sent.

use std::{
    io,
    sync::{Mutex, Once},
};

use serde_json::Value;
use tracing_subscriber::{
    Layer, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::upstream::log::in_time;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to collect; later calls do nothing.
pub fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        let ours = Targets::new().with_target("thalweg", tracing::Level::TRACE);
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Keep);
        tracing_subscriber::registry().with(layer.with_filter(ours)).init();
    });
}

/// The lines so far that name this request.
pub fn lines(id: &str) -> Vec<Value> {
    let lines = LINES.lock().unwrap();
    lines.iter().filter(|line| line.contains(id)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether any line holds this text, keys above all.
pub fn mentions(text: &str) -> bool {
    LINES.lock().unwrap().iter().any(|line| line.contains(text))
}

/// The one line at INFO or above that closes this request, within five seconds.
pub async fn closing(id: &str) -> Value {
    let closed = async {
        loop {
            let closing: Vec<_> = lines(id).into_iter().filter(is_closing).collect();
            if let [line] = &closing[..] {
                return line.clone();
            }
            assert!(closing.len() < 2, "told twice: {closing:#?}");
            // Lines come from the workers' threads, which nobody can wait for.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    match in_time(closed).await {
        Ok(line) => line,
        Err(_) => panic!("no closing line for {id} among {:#?}", lines(id)),
    }
}

/// Waits until a line of this request, of any level, says `message`.
pub async fn said(id: &str, message: &str) {
    let said = async {
        while !lines(id).iter().any(|line| line["message"] == message) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    let outcome = in_time(said).await;
    assert!(outcome.is_ok(), "never said {message:?} of {id}: {:#?}", lines(id));
}

fn is_closing(line: &Value) -> bool {
    line["level"] != "TRACE" && line["level"] != "DEBUG"
}

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
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
