//! Decodes a request body that its client has compressed (RFC 9110 section 8.4). Small bytes may stand for
//! many, so the result is bounded while it is made, and other requests of the worker run between its steps.

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;

use crate::base::content_coding::{Coding, CodingDecoder, NotOfCoding};

/// Bytes of one step.
const STEP: usize = 64 * 1024;

/// Why a body is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodedBodyError {
    /// The bytes are not of the coding, or end too early.
    Broken,
    /// Larger than its bound.
    TooLarge,
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
    mut grow: impl AsyncFnMut(usize),
) -> Result<Bytes, CodedBodyError> {
    let mut decoder = CodingDecoder::new(coding)?;
    let mut coded = &coded[..];
    let mut whole = BytesMut::new();
    let mut step = vec![0; STEP];
    loop {
        let (read, length) = decoder.decode(coded, &mut step)?;
        coded = &coded[read..];
        if whole.len() + length > limit {
            return Err(CodedBodyError::TooLarge);
        }
        grow(length).await;
        whole.extend_from_slice(&step[..length]);
        if coded.is_empty() && length < STEP {
            return if decoder.is_whole() { Ok(whole.freeze()) } else { Err(CodedBodyError::Broken) };
        }
        yield_now().await;
    }
}

impl From<NotOfCoding> for CodedBodyError {
    fn from(NotOfCoding: NotOfCoding) -> Self {
        Self::Broken
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
}
