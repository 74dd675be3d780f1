//! A request as a test builds it, and its answer as a test reads it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::conn::Driver;
use crate::upstream::{Log, log::in_time};

/// The client token of every test gateway.
pub const TOKEN: &str = "sk-client-token-of-the-tests";

/// A request to send. Has the test's token and a request id of its own unless changed.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: Method, target: &str) -> Self {
        let call = Self { method, target: target.into(), headers: HeaderMap::new(), body: Bytes::new() };
        call.header("authorization", &format!("Bearer {TOKEN}")).header("x-request-id", &next_id())
    }

    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    /// A POST of this JSON text, byte for byte.
    pub fn post(target: &str, json: impl Into<Bytes>) -> Self {
        let call = Self::new(Method::POST, target).header("content-type", "application/json");
        Self { body: json.into(), ..call }
    }

    /// A streaming chat completion.
    pub fn stream() -> Self {
        Self::post("/v1/chat/completions", STREAM)
    }

    /// A chat completion in one piece.
    pub fn whole() -> Self {
        Self::post("/v1/chat/completions", WHOLE)
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    /// The request id in the gateway's log.
    pub fn id(&self) -> String {
        self.headers["x-request-id"].to_str().unwrap().to_owned()
    }

    /// The request as HTTP/1.1 bytes.
    pub fn wire(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: x\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }

    pub fn request(self, authority: &str) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(format!("http://{authority}{}", self.target))
            .body(Full::new(self.body))
            .unwrap();
        *request.headers_mut() = self.headers;
        request
    }
}

pub const STREAM: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;
pub const WHOLE: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// A request id that is unique in this run.
pub fn next_id() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}-", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An answer of which the head has arrived.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    /// The log that counts the payload received.
    pub told: Option<Arc<Log>>,
    received: u64,
    _driver: Driver,
}

/// A body as it came.
#[derive(Debug)]
pub struct Received {
    pub frames: Vec<Bytes>,
    /// Whether it ended as its framing declares.
    pub complete: bool,
}

impl Received {
    pub fn bytes(&self) -> Bytes {
        self.frames.concat().into()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.frames.concat()).expect("a body in UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes()).unwrap_or_else(|error| panic!("{error} in {:?}", self.bytes()))
    }
}

impl Answer {
    pub fn new(response: http::Response<Incoming>, driver: Driver) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, told: None, received: 0, _driver: driver }
    }

    /// The value of a header, which must be present, in ASCII.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().unwrap()
    }

    /// The next piece of the body, within `EVENT_TIMEOUT`; `None` at its end; `Some(Err)` if it broke off.
    pub async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = in_time(self.body.frame()).await.expect("a frame in time")?;
            let data = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_trailers)) => continue,
                Err(error) => return Some(Err(error)),
            };
            if data.is_empty() {
                continue;
            }
            self.received += data.len() as u64;
            if let Some(log) = &self.told {
                log.delivered.send_replace(self.received);
            }
            return Some(Ok(data));
        }
    }

    /// The next piece, which must come.
    pub async fn piece(&mut self) -> Bytes {
        self.next().await.expect("more of the body").expect("a sound body")
    }

    /// The whole body, or the part of it that arrived.
    pub async fn collect(mut self) -> Received {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Some(Ok(data)) => frames.push(data),
                Some(Err(_)) => return Received { frames, complete: false },
                None => return Received { frames, complete: true },
            }
        }
    }

    /// Whether no byte arrives for this time.
    pub async fn silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.body.frame()).await.is_err()
    }
}
