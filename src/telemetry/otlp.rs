//! Spans in OTLP's JSON form (opentelemetry-proto, "JSON Protobuf Encoding"): ids in hexadecimal, 64-bit
//! numbers as strings. Owns the request body and the bounded queue to the exporter; a span that finds the
//! queue full is dropped and counted. Which spans exist and when they are sent is decided elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::base::time::since_1970;

/// Spans that wait for the exporter.
const MAX_WAITING: usize = 4096;

/// The gateway's role in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Server,
    Client,
}

/// A completed span.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: u128,
    pub id: u64,
    pub parent: Option<u64>,
    pub name: String,
    pub kind: SpanKind,
    pub start: SystemTime,
    pub length: Duration,
    /// By name. Attributes without a value are not exported.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The error text. `None`: success.
    pub error: Option<String>,
}

/// The value of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    Text(String),
    Int(u64),
    Double(f64),
    /// Unknown.
    None,
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Attribute {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl<T: Into<Self>> From<Option<T>> for Attribute {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl Attribute {
    fn render(&self) -> Option<Value> {
        match self {
            Self::Text(text) => Some(json!({"stringValue": text})),
            Self::Int(number) => Some(json!({"intValue": number.to_string()})),
            Self::Double(number) => Some(json!({"doubleValue": number})),
            Self::None => None,
        }
    }
}

impl Span {
    fn render(&self) -> Value {
        let nanos = |at: SystemTime| since_1970(at).as_nanos().to_string();
        let kind = match self.kind {
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        };
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "name": self.name,
            "kind": kind,
            "startTimeUnixNano": nanos(self.start),
            "endTimeUnixNano": nanos(self.start + self.length),
            "attributes": render(&self.attributes),
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if let Some(error) = &self.error {
            span["status"] = json!({"code": 2, "message": error});
        }
        span
    }
}

fn render(attributes: &[(&'static str, Attribute)]) -> Value {
    let known = attributes.iter().filter_map(|(name, value)| Some((name, value.render()?)));
    known.map(|(name, value)| json!({"key": name, "value": value})).collect()
}

/// The body of an export request.
#[must_use]
pub fn request(service: &str, spans: &[Span]) -> String {
    let resource = [("service.name", service.into()), ("service.version", env!("CARGO_PKG_VERSION").into())];
    let spans: Vec<Value> = spans.iter().map(Span::render).collect();
    json!({
        "resourceSpans": [{
            "resource": {"attributes": render(&resource)},
            "scopeSpans": [{"scope": {"name": "thalweg"}, "spans": spans}],
        }],
    })
    .to_string()
}

/// The queue to the exporter. Clones share it; the exporter ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct SpanSender {
    queue: mpsc::Sender<Span>,
    lost: LostSpans,
}

/// Spans that were not exported.
#[derive(Clone, Debug, Default)]
pub struct LostSpans(Arc<AtomicU64>);

impl LostSpans {
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl SpanSender {
    /// The two ends of a new queue. `lost` counts spans that find it full.
    #[must_use]
    pub fn open(lost: LostSpans) -> (Self, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(MAX_WAITING);
        (Self { queue, lost }, spans)
    }

    pub fn put(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.lost.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_a_collector_reads() {
        let span = Span {
            trace: 0xab,
            id: 1,
            parent: Some(2),
            name: "chat m".into(),
            kind: SpanKind::Client,
            start: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            length: Duration::from_nanos(5),
            attributes: vec![("a", "x".into()), ("b", 7.into()), ("c", Attribute::None), ("d", 0.5.into())],
            error: Some("gone".into()),
        };
        let read: Value = serde_json::from_str(&request("s", &[span])).unwrap();
        let resource = &read["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "s");
        let span = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "000000000000000000000000000000ab");
        assert_eq!(
            (&span["spanId"], &span["parentSpanId"]),
            (&"0000000000000001".into(), &"0000000000000002".into())
        );
        assert_eq!(
            (&span["startTimeUnixNano"], &span["endTimeUnixNano"]),
            (&"1000000000".into(), &"1000000005".into())
        );
        assert_eq!((&span["kind"], &span["status"]["code"]), (&3.into(), &2.into()));
        assert_eq!(span["attributes"].as_array().unwrap().len(), 3);
        assert_eq!(span["attributes"][1]["value"]["intValue"], "7");
    }
}
