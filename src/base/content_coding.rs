//! Content codings of bodies (RFC 9110 section 8.4): their names, and a decoder that takes bytes as they
//! come.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, Operation};

use super::HeaderFields;

/// Exponent of the largest window: 8 MiB, the most that a sender of this coding may use (RFC 9659).
const MAX_ZSTD_WINDOW: u32 = 23;
/// Exponent of the largest window: 32 KiB (RFC 1951 section 2).
const GZIP_WINDOW: u8 = 15;

/// The codings that are understood, as `Accept-Encoding` lists them.
pub const CODINGS: &str = "zstd, gzip, deflate";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

/// A coding that is unknown, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCoding;

/// The bytes are not of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOfCoding;

/// Decodes a body piece by piece.
pub struct CodingDecoder {
    coding: Coding,
    state: CodingState,
    is_whole: bool,
}

enum CodingState {
    Flate(Decompress),
    Zstd(Zstd<'static>),
}

impl Coding {
    /// The coding of a body with these headers. `None`: it is not coded.
    ///
    /// # Errors
    /// [`UnknownCoding`].
    pub fn of(headers: &HeaderFields) -> Result<Option<Self>, UnknownCoding> {
        let mut found = None;
        let names = headers.get_all("content-encoding");
        for name in names.flat_map(|value| value.split(|byte| *byte == b',')) {
            let coding = match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Self::Gzip,
                b"deflate" => Self::Deflate,
                b"zstd" => Self::Zstd,
                _ => return Err(UnknownCoding),
            };
            if found.replace(coding).is_some() {
                return Err(UnknownCoding);
            }
        }
        Ok(found)
    }
}

impl CodingDecoder {
    /// # Errors
    /// There is no memory for it.
    pub fn new(coding: Coding) -> Result<Self, NotOfCoding> {
        Ok(Self { coding, state: CodingState::new(coding)?, is_whole: false })
    }

    /// Decodes the first bytes of `coded` into the first of `decoded`, and returns how many of each. If all
    /// of `decoded` is written to, a further call, for which `coded` may be empty, may write more.
    ///
    /// # Errors
    /// [`NotOfCoding`].
    pub fn decode(&mut self, coded: &[u8], decoded: &mut [u8]) -> Result<(usize, usize), NotOfCoding> {
        if self.is_whole && !coded.is_empty() {
            match self.coding {
                // Another member (RFC 1952 section 2.2). The state of zstd reads on by itself.
                Coding::Gzip => self.state = CodingState::new(self.coding)?,
                // No meaning is defined for bytes behind the end.
                Coding::Deflate => return Ok((coded.len(), 0)),
                Coding::Zstd => {}
            }
            self.is_whole = false;
        }
        let (read, written, is_whole) = match &mut self.state {
            CodingState::Flate(state) => {
                let (read, written) = (state.total_in(), state.total_out());
                let status = state.decompress(coded, decoded, FlushDecompress::None);
                let is_whole = status.map_err(|_| NotOfCoding)? == Status::StreamEnd;
                let grown = |now: u64, before| usize::try_from(now - before).map_err(|_| NotOfCoding);
                (grown(state.total_in(), read)?, grown(state.total_out(), written)?, is_whole)
            }
            CodingState::Zstd(state) => {
                let status = state.run_on_buffers(coded, decoded).map_err(|_| NotOfCoding)?;
                (status.bytes_read, status.bytes_written, status.remaining == 0)
            }
        };
        self.is_whole |= is_whole;
        if read == 0 && written == 0 && !coded.is_empty() && !decoded.is_empty() {
            return Err(NotOfCoding);
        }
        Ok((read, written))
    }

    /// Whether the bytes so far are a whole body.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl CodingState {
    fn new(coding: Coding) -> Result<Self, NotOfCoding> {
        Ok(match coding {
            Coding::Gzip => Self::Flate(Decompress::new_gzip(GZIP_WINDOW)),
            Coding::Deflate => Self::Flate(Decompress::new(true)),
            Coding::Zstd => {
                let mut state = Zstd::new().map_err(|_| NotOfCoding)?;
                let window = DParameter::WindowLogMax(MAX_ZSTD_WINDOW);
                state.set_parameter(window).map_err(|_| NotOfCoding)?;
                Self::Zstd(state)
            }
        })
    }
}

impl fmt::Debug for CodingDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodingDecoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_one_coding_at_most() {
        let of = |value: &'static str| Coding::of(&HeaderFields::from_iter([("content-encoding", value)]));
        assert_eq!([of("gzip"), of("X-GZIP")], [Ok(Some(Coding::Gzip)); 2]);
        assert_eq!([of("identity"), of("")], [Ok(None); 2]);
        assert_eq!(of("identity, zstd"), Ok(Some(Coding::Zstd)));
        for value in ["br", "gzip, gzip", "gzip2"] {
            assert_eq!(of(value), Err(UnknownCoding), "{value}");
        }
    }
}
