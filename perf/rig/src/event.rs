//! One SSE event of a completion that says when it was sent: `data: {"t":<ns>,…}`. The emulator renders it once, as an
//! HTTP/1.1 chunk, and overwrites the digits for each sending; the client finds the digits again.
//!
//! The number stands right-aligned in [`DIGITS`] places, with spaces before it as JSON allows: an event's size never
//! changes.

use crate::clock;

pub const END: &[u8] = b"data: [DONE]\n\n";
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const DIGITS: usize = 16;
const MARK: &[u8] = b"data: {\"t\":";
const FRAME: &str =
    r#","id":"chatcmpl-rig","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":""#;
const SHORT_FRAME: &str = r#","choices":[{"index":0,"delta":{"content":""#;
const TAIL: &str = "\"}}]}\n\n";

/// A rendered event whose time can be set.
#[derive(Clone, Debug)]
pub struct Event {
    chunk: Vec<u8>,
    digits: usize,
}

impl Event {
    /// An event of `size` bytes between the chunk's framing, or the smallest there is when that is more.
    pub fn of_size(size: usize) -> Self {
        let fixed = |frame: &str| MARK.len() + DIGITS + frame.len() + TAIL.len();
        let frame = if fixed(FRAME) < size { FRAME } else { SHORT_FRAME };
        let text = "x".repeat(size.saturating_sub(fixed(frame)).max(1));
        let length = fixed(frame) + text.len();
        let mut chunk = format!("{length:x}\r\n").into_bytes();
        chunk.extend_from_slice(MARK);
        let digits = chunk.len();
        chunk.extend_from_slice(&[b' '; DIGITS]);
        for part in [frame, &text, TAIL, "\r\n"] {
            chunk.extend_from_slice(part.as_bytes());
        }
        Self { chunk, digits }
    }

    /// The event, sent now, as an HTTP/1.1 chunk.
    pub fn chunk_now(&mut self) -> &[u8] {
        let mut rest = clock::now();
        for digit in self.chunk[self.digits..self.digits + DIGITS].iter_mut().rev() {
            *digit = if rest == 0 { b' ' } else { b'0' + (rest % 10) as u8 };
            rest /= 10;
        }
        &self.chunk
    }
}

/// Nanoseconds between the sending of the event in `line` and `now`; `None` when the line is no event of the rig.
pub fn age(line: &[u8], now: u64) -> Option<u64> {
    let digits = line.strip_prefix(MARK)?.get(..DIGITS)?.trim_ascii_start();
    let sent: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(now.saturating_sub(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_size_asked_for_and_tells_its_age() {
        for size in [100, 200, 1024] {
            let mut event = Event::of_size(size);
            let before = clock::now();
            let chunk = event.chunk_now().to_vec();
            let data = &chunk[chunk.iter().position(|byte| *byte == b'\n').unwrap() + 1..chunk.len() - 2];
            assert_eq!(data.len(), size);
            let age = age(data, clock::now() + 5_000).unwrap();
            assert!((5_000..=clock::now() - before + 5_000).contains(&age), "{age}");
        }
    }

    #[test]
    fn other_lines_have_no_age() {
        assert_eq!(age(END, 1), None);
        assert_eq!(age(b"data: {\"t\":12", 1), None);
    }
}
