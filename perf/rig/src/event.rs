//! One SSE event of a completion that says when it was sent: `data: {"t":<ns>,…}`. The emulator renders it
//! once, as an HTTP/1.1 chunk, and overwrites the digits for each sending; `thalweg bench` takes the event's
//! age from them.
//!
//! The number stands at the left of [`DIGITS`] places, with spaces behind it as JSON allows: an event's size
//! never changes. A gateway that translates keeps the text alone, so there the text begins with the time:
//! `<t:<ns>>`.

use std::io::Write;

use crate::clock;

pub const END: &[u8] = b"data: [DONE]\n\n";
/// The end of a stream whose events a gateway translates: it has a reason.
pub const REASONED_END: &[u8] = concat!(
    "data: {\"id\":\"chatcmpl-rig\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,",
    "\"model\":\"rig-model\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],",
    "\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":14,\"total_tokens\":33}}\n\ndata: [DONE]\n\n",
)
.as_bytes();
const DIGITS: usize = 16;
const MARK: &[u8] = b"data: {\"t\":";
const FRAME: &str =
    r#","id":"chatcmpl-rig","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":""#;
const SHORT_FRAME: &str = r#","choices":[{"index":0,"delta":{"content":""#;
const TAIL: &[u8] = b"\"}}]}\n\n";
const TEXT_MARK: &[u8] = concat!(
    "data: {\"id\":\"chatcmpl-rig\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,",
    "\"model\":\"rig-model\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"<t:",
)
.as_bytes();
const TEXT_TAIL: &[u8] = b">\"},\"finish_reason\":null}]}\n\n";
const LINE_END: &[u8] = b"\r\n";

/// A rendered event whose time can be set.
#[derive(Clone, Debug)]
pub struct Event {
    chunk: Vec<u8>,
    /// Where the time stands.
    digits: usize,
    /// Where the event begins, behind the chunk's size.
    body: usize,
}

impl Event {
    /// An event of `size` bytes between the chunk's framing, or the smallest there is when that is more.
    pub fn of_size(size: usize) -> Self {
        let fixed = |frame: &str| MARK.len() + DIGITS + frame.len() + TAIL.len();
        let frame = if fixed(FRAME) < size { FRAME } else { SHORT_FRAME };
        let text = "x".repeat(size.saturating_sub(fixed(frame)).max(1));
        let data = [MARK, &[b' '; DIGITS], frame.as_bytes(), text.as_bytes(), TAIL].concat();
        Self::new(&data, MARK.len())
    }

    /// The same with the time in its text.
    pub fn of_text_size(size: usize) -> Self {
        let fixed = TEXT_MARK.len() + DIGITS + TEXT_TAIL.len();
        let text = "x".repeat(size.saturating_sub(fixed).max(1));
        let data = [TEXT_MARK, &[b' '; DIGITS], text.as_bytes(), TEXT_TAIL].concat();
        Self::new(&data, TEXT_MARK.len())
    }

    fn new(data: &[u8], digits: usize) -> Self {
        let chunk = chunk(data);
        let body = chunk.len() - LINE_END.len() - data.len();
        Self { digits: body + digits, body, chunk }
    }

    /// The event, sent now, as an HTTP/1.1 chunk.
    pub fn chunk_now(&mut self) -> &[u8] {
        let mut places = &mut self.chunk[self.digits..self.digits + DIGITS];
        // Sixteen digits of nanoseconds are 115 days of uptime; a longer number is cut, and its events have
        // no age.
        let _ = write!(places, "{:<DIGITS$}", clock::now());
        &self.chunk
    }

    /// The event, sent now, without a chunk's framing.
    pub fn data_now(&mut self) -> &[u8] {
        self.chunk_now();
        &self.chunk[self.body..self.chunk.len() - LINE_END.len()]
    }
}

pub fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, LINE_END].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_size_asked_for_and_says_when_it_was_sent() {
        for size in [100, 200, 1024] {
            let mut event = Event::of_size(size);
            let before = clock::now();
            let data = String::from_utf8(event.data_now().to_vec()).unwrap();
            assert_eq!(data.len(), size);
            let (number, _) = data.strip_prefix("data: {\"t\":").unwrap().split_once(',').unwrap();
            assert!((before..=clock::now()).contains(&number.trim_end().parse().unwrap()), "{data}");
        }
    }

    #[test]
    fn the_time_may_stand_in_the_text() {
        let data = String::from_utf8(Event::of_text_size(200).data_now().to_vec()).unwrap();
        assert_eq!(data.len(), 200);
        let json: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let text = json["choices"][0]["delta"]["content"].as_str().unwrap();
        assert!(text.starts_with("<t:") && text.ends_with('>'), "{text}");
    }

    #[test]
    fn a_chunk_is_the_event_in_its_frame() {
        let mut event = Event::of_size(200);
        let chunk = event.chunk_now().to_vec();
        assert!(chunk.starts_with(b"c8\r\ndata: {\"t\":") && chunk.ends_with(b"\"}}]}\n\n\r\n"));
    }
}
