//! HTTP/2 frames: made of a fuzz input, and found in bytes.

use std::{collections::HashMap, time::Duration};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS; of SETTINGS and PING the same bit acknowledges.
const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const FRAME_HEAD: usize = 9;
const MAX_PAYLOAD: usize = 16 * 1024;

/// The next thing that a provider does.
#[derive(Debug)]
pub enum Step {
    Bytes(Vec<u8>),
    Wait(Duration),
}

/// The rest of a fuzz input; zeros behind its end.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A length: small ones, and some that are not.
    pub fn length(&mut self) -> usize {
        match self.byte() {
            255 => 100_000,
            high @ 200.. => usize::from(high - 200) * 512,
            low => usize::from(low),
        }
    }

    fn number(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => 0x7fff_ffff,
            high @ 200.. => 1 << (high % 32),
            low => u32::from(low),
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Streams that a client opens, and a few others.
    fn stream(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            low => [1, 3, 5, 1, 3, 7, 0, 2][usize::from(low % 8)],
        }
    }
}

/// What is left of the input as a provider's steps.
pub fn steps(input: &mut Input<'_>) -> Vec<Step> {
    let (mut steps, mut bytes) = (Vec::new(), Vec::new());
    let mut written = 0_u8;
    let mut size = 0;
    while !input.0.is_empty() && size < 1 << 20 {
        let before = bytes.len();
        match input.byte() % 16 {
            0 => settings(input, &mut bytes),
            1 | 2 => head(input, &mut bytes),
            3..=5 => {
                let (stream, flags, length) = (input.stream(), input.byte(), input.length().min(MAX_PAYLOAD));
                data(stream, flags, length, &mut written, &mut bytes);
            }
            // Many small frames at once.
            6 => {
                let (stream, count) = (input.stream(), input.length().min(20_000));
                (0..count).for_each(|_| data(stream, 0, 1, &mut written, &mut bytes));
            }
            7 => trailers(input, &mut bytes),
            8 => frame(RST_STREAM, 0, input.stream(), &input.number().to_be_bytes(), &mut bytes),
            9 => {
                let words = [input.stream(), input.number()].map(u32::to_be_bytes).concat();
                frame(GOAWAY, 0, 0, &words, &mut bytes);
            }
            10 => frame(PING, input.byte() & ACK, 0, &[7; 8], &mut bytes),
            11 => frame(WINDOW_UPDATE, 0, input.stream(), &input.number().to_be_bytes(), &mut bytes),
            12 => {
                let (kind, flags, stream, length) = (input.byte(), input.byte(), input.stream(), input.length());
                let kind = [kind, PUSH_PROMISE, CONTINUATION, HEADERS][usize::from(kind % 4)];
                frame(kind, flags, stream, input.take(length), &mut bytes);
            }
            13 => {
                let length = input.length();
                bytes.extend_from_slice(input.take(length));
            }
            14 => {
                steps.push(Step::Bytes(std::mem::take(&mut bytes)));
                steps.push(Step::Wait(Duration::from_millis(1 << (input.byte() % 16))));
            }
            _ => steps.push(Step::Bytes(std::mem::take(&mut bytes))),
        }
        size += bytes.len().saturating_sub(before);
    }
    steps.push(Step::Bytes(bytes));
    steps
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

pub fn acknowledgement(ping: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame(PING, ACK, 0, ping, &mut out);
    out
}

fn settings(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let count = input.byte();
    let flags = if count == 255 { ACK } else { 0 };
    let mut payload = Vec::new();
    for _ in 0..count % 4 {
        payload.extend_from_slice(&u16::from(input.byte() % 8).to_be_bytes());
        payload.extend_from_slice(&input.number().to_be_bytes());
    }
    frame(SETTINGS, flags, 0, &payload, out);
}

/// The head of a response: its status, its length or none, whether the stream ends, whether it comes in two.
fn head(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let (stream, status, length, shape) = (input.stream(), input.byte(), input.byte(), input.byte());
    let mut block = match status {
        // `:status` of the static table.
        low @ 0..200 => vec![0x80 | (8 + low % 7)],
        high => [&[8, 3][..], [b"100", b"103", b"199", b"429", b"999"][usize::from(high % 5)]].concat(),
    };
    if length != 0 {
        let digits = if length == 255 { "x".to_owned() } else { (length - 1).to_string() };
        // `content-length`, not indexed.
        block.extend_from_slice(&[0x0f, 0x0d, digits.len() as u8]);
        block.extend_from_slice(digits.as_bytes());
    }
    let end = if shape & 1 == 1 { END_STREAM } else { 0 };
    if shape & 2 == 0 {
        return frame(HEADERS, end | END_HEADERS, stream, &block, out);
    }
    let (one, two) = block.split_at(block.len() / 2);
    frame(HEADERS, end, stream, one, out);
    frame(CONTINUATION, END_HEADERS, stream, two, out);
}

fn trailers(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let flags = if input.byte() == 255 { END_HEADERS } else { END_HEADERS | END_STREAM };
    frame(HEADERS, flags, input.stream(), b"\x00\x01x\x01y", out);
}

/// A DATA frame of bytes that differ from frame to frame.
fn data(stream: u32, flags: u8, length: usize, written: &mut u8, out: &mut Vec<u8>) {
    *written = written.wrapping_add(1);
    let payload: Vec<u8> = (0..length).map(|at| written.wrapping_add(at as u8)).collect();
    let flags = flags & (END_STREAM | PADDED);
    let payload = if flags & PADDED == 0 { payload } else { [&[3][..], &payload, &[0; 3]].concat() };
    frame(DATA, flags, stream, &payload, out);
}

/// The frames at the start of `bytes`: kind, flags, stream, payload; and the count of their bytes.
pub fn parse(bytes: &[u8]) -> (Vec<(u8, u8, u32, &[u8])>, usize) {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some([a, b, c, kind, flags, stream @ ..]) = bytes[at..].first_chunk::<FRAME_HEAD>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(payload) = bytes[at + FRAME_HEAD..].get(..length) else { break };
        frames.push((*kind, *flags, u32::from_be_bytes(*stream) & 0x7fff_ffff, payload));
        at += FRAME_HEAD + length;
    }
    (frames, at)
}

/// The payload of a stream, up to its end if it has one.
#[derive(Debug, Default)]
pub struct Sent {
    pub payload: Vec<u8>,
    pub has_ended: bool,
}

/// The payloads of all streams, as any reader of the same frames finds them.
pub fn payloads(bytes: &[u8]) -> HashMap<u32, Sent> {
    let mut found = HashMap::<u32, Sent>::new();
    for (kind, flags, stream, payload) in parse(bytes).0 {
        let sent = found.entry(stream).or_default();
        if !matches!(kind, DATA | HEADERS) || sent.has_ended {
            continue;
        }
        if kind == DATA {
            let pad = if flags & PADDED == 0 { None } else { payload.first() };
            let from = usize::from(pad.is_some());
            let to = payload.len().saturating_sub(pad.map_or(0, |pad| usize::from(*pad)));
            sent.payload.extend_from_slice(payload.get(from..to).unwrap_or_default());
        }
        sent.has_ended = flags & END_STREAM != 0;
    }
    found
}
