//! Decodes HTTP/1.1 message bodies (RFC 9112 sections 6 and 7) in the memory they were read into: payload
//! bytes are moved together over the chunk framing between them, so that the payload of one read leaves in
//! one frame.
//!
//! Owns no bytes and reads no headers: the caller chooses the framing. Limits: a chunk size has at most 16
//! digits, the extensions and trailers of one body together at most 16 KiB. Bare LF line ends, signs, spaces
//! before a size, empty sizes, and trailers that are no fields are refused.

use std::ops::Range;

/// Bytes of chunk extensions and trailers in one body.
const MAX_OVERHEAD: u32 = 16 * 1024;

/// The rule that finds the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    Length(u64),
    Chunked,
    /// The body ends when the provider closes the connection (HTTP/1.0).
    UntilClose,
}

/// The bytes expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecodeState {
    Length(u64),
    UntilClose,
    /// The hexadecimal digits of a chunk size; `digits` of them were read.
    Size {
        value: u64,
        digits: u8,
    },
    /// Blanks after a size, before an extension or the line's end.
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
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// The incremental decoder of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    state: DecodeState,
    overhead: u32,
}

/// The next part of a body and its length in bytes.
enum BodyPiece {
    Payload(usize),
    Framing(usize),
}

/// The result of decoding one slice of bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The range of the slice that now holds the payload.
    pub payload: Range<usize>,
    /// Bytes after the end of the body, which belong to no message.
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
    pub const fn new(framing: BodyFraming) -> Self {
        let state = match framing {
            BodyFraming::Length(0) => DecodeState::Done,
            BodyFraming::Length(length) => DecodeState::Length(length),
            BodyFraming::Chunked => DecodeState::Size { value: 0, digits: 0 },
            BodyFraming::UntilClose => DecodeState::UntilClose,
        };
        Self { state, overhead: 0 }
    }

    /// Whether the body has ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, DecodeState::Done)
    }

    /// Bytes that are missing. `None`: the body's length is not known.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        if let DecodeState::Length(left) = self.state {
            return Some(left);
        }
        if self.is_done() { Some(0) } else { None }
    }

    /// Whether a close of the connection now is a correct end of the body.
    #[must_use]
    pub const fn may_close(&self) -> bool {
        matches!(self.state, DecodeState::Done | DecodeState::UntilClose)
    }

    /// Decodes `bytes` in place.
    ///
    /// # Errors
    /// The bytes do not follow the framing; the decoder must not be used again.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, DecodeError> {
        let mut payload = 0..0;
        let mut at = 0;
        while let Some(piece) = self.next(bytes.get(at..).unwrap_or_default())? {
            let end = match piece {
                BodyPiece::Framing(length) => at + length,
                BodyPiece::Payload(length) if payload.is_empty() => {
                    payload = at..at + length;
                    payload.end
                }
                BodyPiece::Payload(length) => {
                    bytes.copy_within(at..at + length, payload.end);
                    payload.end += length;
                    at + length
                }
            };
            at = end;
        }
        Ok(Decoded { payload, excess: bytes.len() - at })
    }

    /// The part at the start of `bytes`. `None`: they are empty, or the body has ended.
    fn next(&mut self, bytes: &[u8]) -> Result<Option<BodyPiece>, DecodeError> {
        let Some(byte) = bytes.first().filter(|_| self.state != DecodeState::Done) else { return Ok(None) };
        if let Some(wanted) = self.payload_wanted() {
            let taken = wanted.min(bytes.len() as u64);
            self.take_payload(taken);
            return Ok(Some(BodyPiece::Payload(taken as usize)));
        }
        if let Some(length) = self.plain_framing(bytes) {
            return Ok(Some(BodyPiece::Framing(length)));
        }
        self.state = self.step(*byte)?;
        Ok(Some(BodyPiece::Framing(1)))
    }

    /// Payload bytes expected next. `None`: framing is expected.
    fn payload_wanted(&self) -> Option<u64> {
        if let DecodeState::Length(left) | DecodeState::Data(left) = self.state {
            return Some(left);
        }
        (self.state == DecodeState::UntilClose).then_some(u64::MAX)
    }

    fn take_payload(&mut self, taken: u64) {
        if let DecodeState::Length(left) = &mut self.state {
            *left -= taken;
            if *left == 0 {
                self.state = DecodeState::Done;
            }
        } else if let DecodeState::Data(left) = &mut self.state {
            *left -= taken;
            if *left == 0 {
                self.state = DecodeState::DataCr;
            }
        }
    }

    /// The fast path for framing between two chunks: its length, if all of it is in `bytes` without an
    /// extension, or if `bytes` is the line end after a chunk alone. `None`: byte by byte.
    fn plain_framing(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.state == DecodeState::DataCr && bytes == b"\r\n" {
            self.state = DecodeState::Size { value: 0, digits: 0 };
            return Some(2);
        }
        let end = if self.state == DecodeState::DataCr { bytes.strip_prefix(b"\r\n")? } else { bytes };
        if !matches!(self.state, DecodeState::DataCr | DecodeState::Size { digits: 0, .. }) {
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
        self.state = DecodeState::Data(size);
        Some(bytes.len() - end.len() + digits + 2)
    }

    /// The state after one byte of chunk framing.
    fn step(&mut self, byte: u8) -> Result<DecodeState, DecodeError> {
        match self.state {
            DecodeState::Size { value, digits } => size_byte(value, digits, byte),
            DecodeState::SizeBlank { size } => match byte {
                b'\r' => Ok(DecodeState::SizeLf { size }),
                b';' => Ok(DecodeState::Extension { size }),
                b' ' | b'\t' => self.overhead(DecodeState::SizeBlank { size }),
                _ => Err(DecodeError::ChunkSize),
            },
            DecodeState::Extension { size } => match byte {
                b'\r' => Ok(DecodeState::SizeLf { size }),
                b'\n' => Err(DecodeError::Extension),
                _ => self.overhead(DecodeState::Extension { size }),
            },
            DecodeState::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(DecodeState::TrailerStart),
                (b'\n', size) => Ok(DecodeState::Data(size)),
                _ => Err(DecodeError::ChunkSize),
            },
            DecodeState::DataCr if byte == b'\r' => Ok(DecodeState::DataLf),
            DecodeState::DataLf if byte == b'\n' => Ok(DecodeState::Size { value: 0, digits: 0 }),
            DecodeState::DataCr | DecodeState::DataLf => Err(DecodeError::ChunkEnd),
            DecodeState::TrailerStart => match byte {
                b'\r' => Ok(DecodeState::EndLf),
                _ if is_token(byte) => self.overhead(DecodeState::TrailerName),
                _ => Err(DecodeError::Trailer),
            },
            DecodeState::TrailerName => match byte {
                b':' => self.overhead(DecodeState::Trailer),
                _ if is_token(byte) => self.overhead(DecodeState::TrailerName),
                _ => Err(DecodeError::Trailer),
            },
            DecodeState::Trailer => match byte {
                b'\r' => Ok(DecodeState::TrailerLf),
                b'\t' | b' '..=b'~' | 0x80.. => self.overhead(DecodeState::Trailer),
                _ => Err(DecodeError::Trailer),
            },
            DecodeState::TrailerLf if byte == b'\n' => Ok(DecodeState::TrailerStart),
            DecodeState::EndLf if byte == b'\n' => Ok(DecodeState::Done),
            DecodeState::TrailerLf | DecodeState::EndLf => Err(DecodeError::Trailer),
            DecodeState::Length(_) | DecodeState::UntilClose | DecodeState::Data(_) | DecodeState::Done => {
                Ok(self.state)
            }
        }
    }

    fn overhead(&mut self, next: DecodeState) -> Result<DecodeState, DecodeError> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD { Err(DecodeError::Overhead) } else { Ok(next) }
    }
}

/// Whether a field's name may have it (RFC 9110 section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn size_byte(value: u64, digits: u8, byte: u8) -> Result<DecodeState, DecodeError> {
    match (byte, char::from(byte).to_digit(16)) {
        (_, Some(digit)) if digits < 16 => {
            Ok(DecodeState::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
        }
        (b'\r', None) if digits > 0 => Ok(DecodeState::SizeLf { size: value }),
        (b' ' | b'\t', None) if digits > 0 => Ok(DecodeState::SizeBlank { size: value }),
        (b';', None) if digits > 0 => Ok(DecodeState::Extension { size: value }),
        _ => Err(DecodeError::ChunkSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes the pieces in order; returns payload, whether the body ended, and the excess.
    fn run(framing: BodyFraming, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), DecodeError> {
        let mut decoder = Decoder::new(framing);
        let (mut payload, mut excess) = (Vec::new(), 0);
        for piece in pieces {
            let mut piece = piece.to_vec();
            let decoded = decoder.decode(&mut piece)?;
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
            assert_eq!(run(BodyFraming::Chunked, &[a, b]), Ok((b"hello 123456789!".to_vec(), true, 0)));
        }
        let bytes: Vec<&[u8]> = CHUNKED.chunks(1).collect();
        assert_eq!(run(BodyFraming::Chunked, &bytes), Ok((b"hello 123456789!".to_vec(), true, 0)));
    }

    #[test]
    fn tells_excess_from_body() {
        assert_eq!(run(BodyFraming::Length(3), &[b"abcHTTP"]), Ok((b"abc".to_vec(), true, 4)));
        assert_eq!(run(BodyFraming::Chunked, &[b"0\r\n\r\nmore"]), Ok((vec![], true, 4)));
        assert_eq!(run(BodyFraming::Length(0), &[b"x"]), Ok((vec![], true, 1)));
        assert_eq!(run(BodyFraming::UntilClose, &[b"ab", b"c"]), Ok((b"abc".to_vec(), false, 0)));
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
            (b"0\r\nhello\r\n", DecodeError::Trailer),
            (b"0\r\na : b\r\n", DecodeError::Trailer),
            (b"0\r\n: b\r\n", DecodeError::Trailer),
            (b"0\r\n a: b\r\n", DecodeError::Trailer),
            (b"0\r\na: b\0\r\n", DecodeError::Trailer),
            (b"0\r\na: b\r\n\tc\r\n", DecodeError::Trailer),
        ] {
            assert_eq!(run(BodyFraming::Chunked, &[raw]), Err(error), "{:?}", String::from_utf8_lossy(raw));
        }
        let long = [b"5;".to_vec(), vec![b'x'; MAX_OVERHEAD as usize + 1]].concat();
        assert_eq!(run(BodyFraming::Chunked, &[&long]), Err(DecodeError::Overhead));
    }

    #[test]
    fn a_size_of_all_ones_does_not_overflow() {
        let (payload, done, _) = run(BodyFraming::Chunked, &[b"ffffffffffffffff\r\nab"]).unwrap();
        assert_eq!((payload.as_slice(), done), (&b"ab"[..], false));
    }
}
