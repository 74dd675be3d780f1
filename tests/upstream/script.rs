//! Steps of an answer, and common answers made of them. Steps describe bytes, valid or not: a length may be
//! false, a head may be garbage, a stream may stop inside a character.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

/// How the end of a body is marked (HTTP/1.1; on HTTP/2 only a `Length` is sent, as a header).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Chunked,
    /// The declared length, which may be false.
    Length(u64),
    UntilClose,
}

/// One step. Each write is flushed on its own.
#[derive(Clone, Debug)]
pub enum Step {
    Head {
        status: u16,
        headers: Vec<(String, String)>,
        framing: Framing,
    },
    /// Payload, framed as the head said.
    Body(Bytes),
    /// The end of the body in the framing of the head.
    End,
    /// Raw bytes (HTTP/1.1 only), and the number of payload bytes among them.
    Raw(Bytes, usize),
    /// Waits until the client has all payload so far: the next write is a read of its own.
    Delivered,
    /// Waits a millisecond, where delivery cannot be observed (inside a head, or while the gateway holds
    /// bytes back).
    Moment,
    /// Waits until the test opens the gate, and reports when it is reached.
    Wait(Gate),
    /// Does nothing until the peer leaves.
    Stall,
    /// A TCP reset, or `RST_STREAM` with `INTERNAL_ERROR`.
    Reset,
    /// A TCP reset, or `RST_STREAM` with `CANCEL`.
    Cancel,
    /// Closes the connection in an orderly way, whatever was declared.
    Close,
}

/// Opened by the test, waited for by a script.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    pub fn new() -> Self {
        Self { open: Arc::new(watch::Sender::new(false)) }
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub async fn passed(&self) {
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

/// The length of a [`Step::Moment`]: enough for a loopback read.
pub const MOMENT: Duration = Duration::from_millis(1);

/// A head with the given status and content type.
pub fn head(status: u16, content_type: &str, framing: Framing) -> Step {
    Step::Head { status, headers: vec![("content-type".into(), content_type.into())], framing }
}

/// The head of an event stream.
pub fn sse_head() -> Step {
    head(200, "text/event-stream; charset=utf-8", Framing::Chunked)
}

pub fn body(bytes: impl Into<Bytes>) -> Step {
    Step::Body(bytes.into())
}

/// A whole event stream in one write.
pub fn sse(bytes: impl Into<Bytes>) -> Vec<Step> {
    vec![sse_head(), body(bytes), Step::End]
}

/// An event stream in which every piece is a read of its own.
pub fn sse_pieces(pieces: impl IntoIterator<Item = Bytes>) -> Vec<Step> {
    let mut steps = vec![sse_head()];
    for piece in pieces {
        steps.extend([Step::Body(piece), Step::Delivered]);
    }
    steps.push(Step::End);
    steps
}

/// A JSON answer with its length.
pub fn json(status: u16, text: impl Into<Bytes>) -> Vec<Step> {
    let text = text.into();
    vec![head(status, "application/json", Framing::Length(text.len() as u64)), Step::Body(text), Step::End]
}

/// Exactly these bytes, then the next steps.
pub fn raw(bytes: impl Into<Bytes>) -> Step {
    Step::Raw(bytes.into(), 0)
}

/// One event of the chat API with this content.
pub fn delta(content: &str) -> Bytes {
    let content = serde_json::Value::from(content);
    format!(
        "data: {{\"id\":\"chatcmpl-t\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":{content}}},\"finish_reason\":null}}]}}\n\n"
    )
    .into()
}

/// The first event of the chat API, which has no content yet.
pub fn role() -> Bytes {
    let text = String::from_utf8(delta("").to_vec()).unwrap();
    text.replace("\"content\":\"\"", "\"role\":\"assistant\"").into()
}

/// The last event of an answer of a provider that sends no `[DONE]`.
pub fn last_delta(content: &str) -> Bytes {
    let text = String::from_utf8(delta(content).to_vec()).unwrap();
    text.replace("\"finish_reason\":null", "\"finish_reason\":\"stop\"").into()
}

/// The usage event, as providers send it on request.
pub fn usage() -> Bytes {
    Bytes::from_static(
        b"data: {\"id\":\"chatcmpl-t\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\
          \"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}\n\n",
    )
}

pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// A short complete stream: three deltas and `[DONE]`.
pub fn short_stream() -> Bytes {
    [delta("one"), delta(" two"), delta(" three \u{1f30a}"), DONE.into()].concat().into()
}

/// A short complete answer without streaming.
pub const COMPLETION: &str = "{\"id\":\"chatcmpl-t\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\
    \"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"one two\"},\"finish_reason\":\"stop\"}],\
    \"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}";
