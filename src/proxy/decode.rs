//! Decodes a request body that its client has compressed (RFC 9110 section 8.4). Small bytes may stand for
//! many, so the result is bounded while it is made, and other requests of the worker run between its steps.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use tokio::task::yield_now;

use crate::base::HeaderFields;

/// Bytes of one step.
const STEP: usize = 64 * 1024;
/// Exponent of the largest window: 8 MiB, the most that a sender of this coding may use (RFC 9659).
const MAX_ZSTD_WINDOW: u32 = 23;

/// The codings that are understood, as `Accept-Encoding` lists them.
pub const CODINGS: &str = "zstd, gzip, deflate";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

/// Why a body is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodedBodyError {
    /// The bytes are not of the coding, or end too early.
    Broken,
    /// Larger than its bound.
    TooLarge,
}

/// The coding of a body. `None`: it is not coded.
///
/// # Errors
/// The coding is unknown, or there are several.
pub(super) fn coding(headers: &HeaderFields) -> Result<Option<Coding>, ()> {
    let mut found = None;
    let names = headers.get_all("content-encoding");
    for name in names.flat_map(|value| value.split(|byte| *byte == b',')) {
        let coding = match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"deflate" => Coding::Deflate,
            b"zstd" => Coding::Zstd,
            _ => return Err(()),
        };
        if found.replace(coding).is_some() {
            return Err(());
        }
    }
    Ok(found)
}

/// The decoded bytes of a whole body, at most `limit`. `grow` is awaited before each step with the bytes that
/// it adds.
///
/// # Errors
/// [`CodedBodyError`].
pub async fn decode(
    coding: Coding,
    coded: &Bytes,
    limit: usize,
    grow: impl AsyncFnMut(usize),
) -> Result<Bytes, CodedBodyError> {
    let coded = &coded[..];
    match coding {
        Coding::Gzip => collect(MultiGzDecoder::new(coded), limit, grow).await,
        Coding::Deflate => collect(ZlibDecoder::new(coded), limit, grow).await,
        Coding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(coded).and_then(|mut decoder| {
                decoder.window_log_max(MAX_ZSTD_WINDOW)?;
                Ok(decoder)
            });
            collect(decoder.map_err(|_| CodedBodyError::Broken)?, limit, grow).await
        }
    }
}

async fn collect(
    mut decoder: impl Read,
    limit: usize,
    mut grow: impl AsyncFnMut(usize),
) -> Result<Bytes, CodedBodyError> {
    let mut whole = BytesMut::new();
    let mut step = vec![0; STEP];
    loop {
        let length = decoder.read(&mut step).map_err(|_| CodedBodyError::Broken)?;
        let Some(part) = step.get(..length).filter(|part| !part.is_empty()) else {
            return Ok(whole.freeze());
        };
        if whole.len() + length > limit {
            return Err(CodedBodyError::TooLarge);
        }
        grow(length).await;
        whole.extend_from_slice(part);
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    fn coded(coding: Coding, text: &[u8]) -> Bytes {
        match coding {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap().into()
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap().into()
            }
            Coding::Zstd => zstd::encode_all(text, 3).unwrap().into(),
        }
    }

    async fn decoded(coding: Coding, coded: &Bytes, limit: usize) -> Result<Bytes, CodedBodyError> {
        let mut counted = 0;
        let result = decode(coding, coded, limit, async |bytes| counted += bytes).await;
        assert!(counted <= limit, "no more than the bound is ever held");
        result
    }

    #[tokio::test]
    async fn decodes_within_the_bound_and_refuses_a_bomb() {
        let text = b"{\"model\":\"m\"}".repeat(100_000);
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let coded = coded(coding, &text);
            assert_eq!(decoded(coding, &coded, text.len()).await.unwrap(), text, "{coding:?}");
            assert_eq!(decoded(coding, &coded, text.len() - 1).await, Err(CodedBodyError::TooLarge));
            let cut = coded.slice(..coded.len() - 5);
            assert_eq!(decoded(coding, &cut, text.len()).await, Err(CodedBodyError::Broken), "{coding:?}");
            let plain = Bytes::from_static(b"{\"model\":\"m\"}");
            assert_eq!(decoded(coding, &plain, 100).await, Err(CodedBodyError::Broken));
        }
    }

    #[tokio::test]
    async fn a_window_that_no_sender_may_use_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(&vec![b'a'; 20 << 20]).unwrap();
        let coded = encoder.finish().unwrap().into();
        assert_eq!(decoded(Coding::Zstd, &coded, 32 << 20).await, Err(CodedBodyError::Broken));
    }

    #[test]
    fn names_one_coding_at_most() {
        let of = |value: &'static str| coding(&HeaderFields::from_iter([("content-encoding", value)]));
        assert_eq!([of("gzip"), of("X-GZIP")], [Ok(Some(Coding::Gzip)); 2]);
        assert_eq!([of("identity"), of("")], [Ok(None); 2]);
        assert_eq!(of("identity, zstd"), Ok(Some(Coding::Zstd)));
        for value in ["br", "gzip, gzip", "gzip2"] {
            assert_eq!(of(value), Err(()), "{value}");
        }
    }
}
