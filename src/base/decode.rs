//! HTTP/1.1 message bodies (RFC 9112 §6–7), decoded in the memory they were read into: payload bytes are moved together
//! over the chunk framing between them, so that what arrived in one read leaves in one frame.
//!
//! Limits first: a chunk size has at most 16 digits, the extensions and trailers of a whole body at most 16 KiB.
//! Bare LF line ends, signs, spaces and empty sizes are refused.

use std::ops::Range;

/// Bytes of chunk extensions and trailers that one body may carry.
const MAX_OVERHEAD: u32 = 16 * 1024;

/// How the body's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// Until the provider closes (HTTP/1.0).
    UntilClose,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    /// Hex digits of a chunk size; how many were read.
    Size {
        value: u64,
        digits: u8,
    },
    /// Blanks after a size, which may stand before an extension or the line's end.
    SizeBlank {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Incremental decoder of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    state: State,
    overhead: u32,
}

/// What comes next in a body, and how long it is.
enum Piece {
    Payload(usize),
    Framing(usize),
}

/// What a call found in the bytes it was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where the payload now lies in those bytes.
    pub payload: Range<usize>,
    /// Bytes after the end of the body, which nobody asked for.
    pub excess: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    ChunkSize,
    ChunkEnd,
    Extension,
    Trailer,
    Overhead,
}

impl DecodeError {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChunkSize => "bad chunk size",
            Self::ChunkEnd => "a chunk longer than its size",
            Self::Extension => "bad chunk extension",
            Self::Trailer => "bad trailer",
            Self::Overhead => "too many chunk extensions or trailers",
        }
    }
}

impl Decoder {
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { value: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, overhead: 0 }
    }

    /// The whole body has been seen.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the connection's end is the body's end too.
    #[must_use]
    pub const fn may_close(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// Decodes `bytes` in place.
    ///
    /// # Errors
    /// The bytes are not a body of this framing; the decoder must not be used again.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, DecodeError> {
        let mut payload = 0..0;
        let mut at = 0;
        while let Some(piece) = self.next(bytes.get(at..).unwrap_or_default())? {
            let end = match piece {
                Piece::Framing(length) => at + length,
                Piece::Payload(length) if payload.is_empty() => {
                    payload = at..at + length;
                    payload.end
                }
                Piece::Payload(length) => {
                    bytes.copy_within(at..at + length, payload.end);
                    payload.end += length;
                    at + length
                }
            };
            at = end;
        }
        Ok(Decoded { payload, excess: bytes.len() - at })
    }

    /// Follows `bytes` that somebody else decodes; how many of them are after the end of the body.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut rest = bytes;
        while let Some(Piece::Framing(length) | Piece::Payload(length)) = self.next(rest)? {
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(rest.len())
    }

    /// What stands at the start of `bytes`. `None`: nothing more of the body.
    // Eighty instructions an event, since it has two callers.
    #[inline(always)]
    fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, DecodeError> {
        let Some(byte) = bytes.first().filter(|_| self.state != State::Done) else { return Ok(None) };
        if let Some(wanted) = self.payload_wanted() {
            let taken = wanted.min(bytes.len() as u64);
            self.take_payload(taken);
            return Ok(Some(Piece::Payload(taken as usize)));
        }
        if let Some(length) = self.plain_framing(bytes) {
            return Ok(Some(Piece::Framing(length)));
        }
        self.state = self.step(*byte)?;
        Ok(Some(Piece::Framing(1)))
    }

    /// Payload bytes expected next, or `None` inside framing.
    fn payload_wanted(&self) -> Option<u64> {
        if let State::Length(left) | State::Data(left) = self.state {
            return Some(left);
        }
        (self.state == State::UntilClose).then_some(u64::MAX)
    }

    fn take_payload(&mut self, taken: u64) {
        if let State::Length(left) = &mut self.state {
            *left -= taken;
            if *left == 0 {
                self.state = State::Done;
            }
        } else if let State::Data(left) = &mut self.state {
            *left -= taken;
            if *left == 0 {
                self.state = State::DataCr;
            }
        }
    }

    /// The framing between two chunks when all of it is there and has no extension, or the first is the last that is there,
    /// in one go; its length.
    fn plain_framing(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.state == State::DataCr && bytes == b"\r\n" {
            self.state = State::Size { value: 0, digits: 0 };
            return Some(2);
        }
        let end = if self.state == State::DataCr { bytes.strip_prefix(b"\r\n")? } else { bytes };
        if !matches!(self.state, State::DataCr | State::Size { digits: 0, .. }) {
            return None;
        }
        let mut size = 0;
        let mut digits = 0;
        for byte in end.iter().take(8) {
            let Some(digit) = char::from(*byte).to_digit(16) else { break };
            size = size << 4 | u64::from(digit);
            digits += 1;
        }
        if digits == 0 || size == 0 || end.get(digits..digits + 2) != Some(b"\r\n") {
            return None;
        }
        self.state = State::Data(size);
        Some(bytes.len() - end.len() + digits + 2)
    }

    /// One byte of chunk framing.
    fn step(&mut self, byte: u8) -> Result<State, DecodeError> {
        match self.state {
            State::Size { value, digits } => size_byte(value, digits, byte),
            State::SizeBlank { size } => match byte {
                b'\r' => Ok(State::SizeLf { size }),
                b';' => Ok(State::Extension { size }),
                b' ' | b'\t' => self.overhead(State::SizeBlank { size }),
                _ => Err(DecodeError::ChunkSize),
            },
            State::Extension { size } => match byte {
                b'\r' => Ok(State::SizeLf { size }),
                b'\n' => Err(DecodeError::Extension),
                _ => self.overhead(State::Extension { size }),
            },
            State::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(State::TrailerStart),
                (b'\n', size) => Ok(State::Data(size)),
                _ => Err(DecodeError::ChunkSize),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size { value: 0, digits: 0 }),
            State::DataCr | State::DataLf => Err(DecodeError::ChunkEnd),
            State::TrailerStart => match byte {
                b'\r' => Ok(State::EndLf),
                b'\n' => Err(DecodeError::Trailer),
                _ => self.overhead(State::Trailer),
            },
            State::Trailer => match byte {
                b'\r' => Ok(State::TrailerLf),
                b'\n' => Err(DecodeError::Trailer),
                _ => self.overhead(State::Trailer),
            },
            State::TrailerLf if byte == b'\n' => Ok(State::TrailerStart),
            State::EndLf if byte == b'\n' => Ok(State::Done),
            State::TrailerLf | State::EndLf => Err(DecodeError::Trailer),
            State::Length(_) | State::UntilClose | State::Data(_) | State::Done => Ok(self.state),
        }
    }

    fn overhead(&mut self, next: State) -> Result<State, DecodeError> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD { Err(DecodeError::Overhead) } else { Ok(next) }
    }
}

fn size_byte(value: u64, digits: u8, byte: u8) -> Result<State, DecodeError> {
    match (byte, char::from(byte).to_digit(16)) {
        (_, Some(digit)) if digits < 16 => {
            Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
        }
        (b'\r', None) if digits > 0 => Ok(State::SizeLf { size: value }),
        (b' ' | b'\t', None) if digits > 0 => Ok(State::SizeBlank { size: value }),
        (b';', None) if digits > 0 => Ok(State::Extension { size: value }),
        _ => Err(DecodeError::ChunkSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `raw` in the given pieces; gives payload, whether it ended, and the excess.
    fn run(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), DecodeError> {
        let mut decoder = Decoder::new(framing);
        let (mut payload, mut excess) = (Vec::new(), 0);
        for piece in pieces {
            let (mut follower, mut piece) = (decoder, piece.to_vec());
            let followed = follower.follow(&piece);
            let decoded = decoder.decode(&mut piece);
            assert_eq!(followed, decoded.as_ref().map(|decoded| decoded.excess).map_err(|error| *error));
            assert_eq!(follower, decoder);
            let decoded = decoded?;
            payload.extend_from_slice(&piece[decoded.payload]);
            excess += decoded.excess;
        }
        Ok((payload, decoder.is_done(), excess))
    }

    const CHUNKED: &[u8] = b"5\r\nhello\r\nA \t;x=\"y\"\r\n 123456789\r\n001 \r\n!\r\n0\r\nx-sum: 1\r\n\r\n";

    #[test]
    fn joins_chunks_at_every_split() {
        for cut in 0..=CHUNKED.len() {
            let (a, b) = CHUNKED.split_at(cut);
            assert_eq!(run(Framing::Chunked, &[a, b]), Ok((b"hello 123456789!".to_vec(), true, 0)));
        }
        let bytes: Vec<&[u8]> = CHUNKED.chunks(1).collect();
        assert_eq!(run(Framing::Chunked, &bytes), Ok((b"hello 123456789!".to_vec(), true, 0)));
    }

    #[test]
    fn tells_excess_from_body() {
        assert_eq!(run(Framing::Length(3), &[b"abcHTTP"]), Ok((b"abc".to_vec(), true, 4)));
        assert_eq!(run(Framing::Chunked, &[b"0\r\n\r\nmore"]), Ok((vec![], true, 4)));
        assert_eq!(run(Framing::Length(0), &[b"x"]), Ok((vec![], true, 1)));
        assert_eq!(run(Framing::UntilClose, &[b"ab", b"c"]), Ok((b"abc".to_vec(), false, 0)));
    }

    #[test]
    fn refuses_what_is_not_chunked() {
        for (raw, error) in [
            (&b"\r\n"[..], DecodeError::ChunkSize),
            (b"-1\r\n", DecodeError::ChunkSize),
            (b"+5\r\n", DecodeError::ChunkSize),
            (b"0x5\r\n", DecodeError::ChunkSize),
            (b"5\nhello", DecodeError::ChunkSize),
            (b"5 5\r\nhello", DecodeError::ChunkSize),
            (b"5 x\r\nhello", DecodeError::ChunkSize),
            (b"11111111111111111\r\n", DecodeError::ChunkSize),
            (b"3\r\nhello\r\n", DecodeError::ChunkEnd),
            (b"3\r\nabc\n", DecodeError::ChunkEnd),
            (b"3;x\ny\r\n", DecodeError::Extension),
            (b"0\r\n\n", DecodeError::Trailer),
            (b"0\r\na: b\n", DecodeError::Trailer),
        ] {
            assert_eq!(run(Framing::Chunked, &[raw]), Err(error), "{:?}", String::from_utf8_lossy(raw));
        }
        let long = [b"5;".to_vec(), vec![b'x'; MAX_OVERHEAD as usize + 1]].concat();
        assert_eq!(run(Framing::Chunked, &[&long]), Err(DecodeError::Overhead));
    }

    #[test]
    fn a_size_of_all_ones_does_not_overflow() {
        let (payload, done, _) = run(Framing::Chunked, &[b"ffffffffffffffff\r\nab"]).unwrap();
        assert_eq!((payload.as_slice(), done), (&b"ab"[..], false));
    }
}
