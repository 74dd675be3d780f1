//! Spans in OTLP's two forms (opentelemetry-proto): Protocol Buffers, and JSON with ids in hexadecimal and
//! 64-bit numbers as strings. Owns the request body and the bounded queue to the exporter; a span that finds
//! the queue full is dropped and counted. Which spans exist and when they are sent is decided elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::protobuf::ProtoMessage;
use crate::base::time::since_1970;

/// The form of an export request. Some collectors take Protocol Buffers alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpEncoding {
    #[default]
    Protobuf,
    Json,
}

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

impl SpanKind {
    const fn number(self) -> u64 {
        match self {
            Self::Server => 2,
            Self::Client => 3,
        }
    }
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
    /// `Span` of `trace.proto`.
    fn write(&self, message: &mut ProtoMessage) {
        let nanos = |at: SystemTime| u64::try_from(since_1970(at).as_nanos()).unwrap_or(u64::MAX);
        message.bytes(1, &self.trace.to_be_bytes());
        message.bytes(2, &self.id.to_be_bytes());
        if let Some(parent) = self.parent {
            message.bytes(4, &parent.to_be_bytes());
        }
        message.text(5, &self.name);
        message.number(6, self.kind.number());
        message.fixed64(7, nanos(self.start));
        message.fixed64(8, nanos(self.start + self.length));
        write_attributes(message, 9, &self.attributes);
        if let Some(error) = &self.error {
            message.message(15, |status| {
                status.text(2, error);
                status.number(3, 2);
            });
        }
    }

    fn render(&self) -> Value {
        let nanos = |at: SystemTime| since_1970(at).as_nanos().to_string();
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "name": self.name,
            "kind": self.kind.number(),
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
pub fn request(encoding: OtlpEncoding, service: &str, spans: &[Span]) -> Vec<u8> {
    let resource = [("service.name", service.into()), ("service.version", env!("CARGO_PKG_VERSION").into())];
    match encoding {
        OtlpEncoding::Protobuf => protobuf_request(&resource, spans),
        OtlpEncoding::Json => json_request(&resource, spans),
    }
}

/// `ExportTraceServiceRequest` of `trace_service.proto`.
fn protobuf_request(resource: &[(&'static str, Attribute)], spans: &[Span]) -> Vec<u8> {
    let mut request = ProtoMessage::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| write_attributes(message, 1, resource));
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| scope.text(1, "thalweg"));
            for span in spans {
                scope_spans.message(2, |message| span.write(message));
            }
        });
    });
    request.into_bytes()
}

/// `KeyValue` and `AnyValue` of `common.proto`.
fn write_attributes(message: &mut ProtoMessage, field: u64, attributes: &[(&'static str, Attribute)]) {
    for (name, attribute) in attributes.iter().filter(|(_, attribute)| *attribute != Attribute::None) {
        message.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |value| match attribute {
                Attribute::Text(text) => value.text(1, text),
                Attribute::Int(number) => value.number(3, *number),
                Attribute::Double(number) => value.double(4, *number),
                Attribute::None => {}
            });
        });
    }
}

fn json_request(resource: &[(&'static str, Attribute)], spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(Span::render).collect();
    json!({
        "resourceSpans": [{
            "resource": {"attributes": render(resource)},
            "scopeSpans": [{"scope": {"name": "thalweg"}, "spans": spans}],
        }],
    })
    .to_string()
    .into_bytes()
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

    fn span() -> Span {
        Span {
            trace: 0xab,
            id: 1,
            parent: Some(2),
            name: "chat m".into(),
            kind: SpanKind::Client,
            start: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            length: Duration::from_nanos(5),
            attributes: vec![("a", "x".into()), ("b", 7.into()), ("c", Attribute::None), ("d", 0.5.into())],
            error: Some("gone".into()),
        }
    }

    #[test]
    fn is_what_a_collector_reads() {
        let read: Value = serde_json::from_slice(&request(OtlpEncoding::Json, "s", &[span()])).unwrap();
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

    /// Byte by byte, as opentelemetry-proto numbers the fields.
    #[test]
    fn protocol_buffers_have_the_fields_of_the_standard() {
        let mut expected: Vec<u8> = Vec::new();
        let version = env!("CARGO_PKG_VERSION");
        let pair = |name: &str, value: &[u8]| {
            let inner =
                [&[0x0a, name.len() as u8], name.as_bytes(), &[0x12, value.len() as u8], value].concat();
            [&[inner.len() as u8], &inner[..]].concat()
        };
        let text = |text: &str| [&[0x0a, text.len() as u8], text.as_bytes()].concat();
        let resource = [
            &[0x0a][..],
            &pair("service.name", &text("s")),
            &[0x0a],
            &pair("service.version", &text(version)),
        ];
        let resource = resource.concat();
        let mut span_bytes =
            [&[0x0a, 16][..], &0xab_u128.to_be_bytes(), &[0x12, 8], &1_u64.to_be_bytes()].concat();
        span_bytes.extend([&[0x22, 8][..], &2_u64.to_be_bytes(), b"\x2a\x06chat m", &[0x30, 3]].concat());
        span_bytes.extend([&[0x39][..], &1_000_000_000_u64.to_le_bytes()].concat());
        span_bytes.extend([&[0x41][..], &1_000_000_005_u64.to_le_bytes()].concat());
        span_bytes.extend([&[0x4a][..], &pair("a", &text("x")), &[0x4a], &pair("b", &[0x18, 7])].concat());
        span_bytes
            .extend([&[0x4a][..], &pair("d", &[&[0x21][..], &0.5_f64.to_le_bytes()].concat())].concat());
        span_bytes.extend(b"\x7a\x08\x12\x04gone\x18\x02");
        let scope =
            [b"\x0a\x09\x0a\x07thalweg\x12".as_slice(), &[span_bytes.len() as u8], &span_bytes].concat();
        let length = |bytes: &[u8]| match bytes.len() {
            short @ 0..128 => vec![short as u8],
            long => vec![(long & 0x7f) as u8 | 0x80, (long >> 7) as u8],
        };
        let inner = [&[0x0a, resource.len() as u8][..], &resource, &[0x12], &length(&scope), &scope].concat();
        expected.push(0x0a);
        expected.extend(length(&inner));
        expected.extend(inner);
        assert!(span_bytes.len() < 128 && resource.len() < 128);
        assert_eq!(request(OtlpEncoding::Protobuf, "s", &[span()]), expected);
    }
}
