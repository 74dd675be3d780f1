//! Compresses documents for clients that accept it: the gateway's own pages, and, where the configuration
//! says so, collected answers of providers. A stream never comes here, and a document that has a coding, or
//! that says it is not to be changed, stays as it is. Other requests of the worker run between the steps.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::task::yield_now;

use super::accept_encoding::{self, CodingChoice, ContentCoding, vary};
use crate::base::{ByteList, HeaderFields};

/// Bytes of one step: 0.15 ms at level 1, 0.5 ms at level 6 of gzip.
const STEP: usize = 64 * 1024;
/// Exponent of brotli's window: no document that matters is larger, and its memory is the window's.
const BROTLI_WINDOW: u32 = 18;
const BROTLI_BUFFER: usize = 4096;
/// Digests of the bytes as they are, which a coding would make wrong.
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// The configuration's `compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionSettings {
    pub enabled: bool,
    /// Bytes of the shortest document that is compressed.
    pub min_size: usize,
    /// From 1, the fastest, to 9.
    pub level: u8,
    /// Whether answers of providers that do not stream are compressed, too.
    pub answers: bool,
}

impl Default for CompressionSettings {
    fn default() -> Self {
        Self { enabled: true, min_size: 1024, level: 1, answers: false }
    }
}

/// The document in the coding that the request's headers choose, with its headers; as it is where none fits.
pub async fn compress(
    settings: CompressionSettings,
    request: &HeaderFields,
    headers: &mut HeaderFields,
    document: ByteList,
) -> ByteList {
    if !settings.enabled || document.is_empty() || !may_be_changed(headers) {
        return document;
    }
    // On a document that stays plain, too, because another request would get it coded.
    vary(headers);
    let CodingChoice { coding, refuses_plain } = CodingChoice::of(request);
    if document.len() < settings.min_size && !refuses_plain || forbids_change(request) {
        return document;
    }
    let Some(coding) = coding else { return document };
    let Ok(coded) = encode(coding, settings.level, &document).await else { return document };
    headers.insert("content-encoding", coding.name());
    headers.remove("content-length");
    headers.remove("accept-ranges");
    weaken(headers);
    coded.into()
}

/// Whether a request takes a document that is kept in gzip.
#[must_use]
pub fn takes_gzip(request: &HeaderFields) -> bool {
    accept_encoding::takes_gzip(request)
}

/// Whether the headers say that the body is text without a coding, and none forbids the change.
fn may_be_changed(headers: &HeaderFields) -> bool {
    let is_bound =
        ["content-encoding", "content-range"].iter().chain(&DIGESTS).any(|name| headers.contains(name));
    let kind = headers.get("content-type").unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let is_text = kind.starts_with(b"text/") && kind != b"text/event-stream"
        || kind == b"application/json"
        || kind == b"application/openmetrics-text"
        || kind.ends_with(b"+json");
    is_text && !is_bound && !forbids_change(headers)
}

/// Whether `Cache-Control` forbids a coding in between (RFC 9111 section 5.2.2.6).
pub(super) fn forbids_change(headers: &HeaderFields) -> bool {
    headers
        .get_all("cache-control")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// A coded document has other bytes than the plain one, so that a strong validator would lie.
fn weaken(headers: &mut HeaderFields) {
    let tag = headers.get("etag").filter(|tag| !tag.starts_with(b"W/"));
    if let Some(weak) = tag.map(|tag| [b"W/", tag].concat()) {
        headers.insert("etag", weak);
    }
}

/// # Errors
/// The encoder has no memory.
async fn encode(coding: ContentCoding, level: u8, document: &ByteList) -> io::Result<Bytes> {
    let room = Vec::with_capacity(document.len() / 4);
    let level = u32::from(level);
    match coding {
        ContentCoding::Gzip => {
            let mut encoder = GzEncoder::new(room, Compression::new(level));
            write_in_steps(&mut encoder, document).await?;
            encoder.finish().map(Bytes::from)
        }
        ContentCoding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(room, i32::try_from(level).unwrap_or(1))?;
            // The window, which is most of its memory, is no larger than the document.
            encoder.set_pledged_src_size(Some(document.len() as u64))?;
            write_in_steps(&mut encoder, document).await?;
            encoder.finish().map(Bytes::from)
        }
        ContentCoding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(room, BROTLI_BUFFER, level, BROTLI_WINDOW);
            write_in_steps(&mut encoder, document).await?;
            Ok(encoder.into_inner().into())
        }
    }
}

async fn write_in_steps(encoder: &mut impl Write, document: &ByteList) -> io::Result<()> {
    let mut steps = document.iter().flat_map(|part| part.chunks(STEP)).peekable();
    while let Some(step) = steps.next() {
        encoder.write_all(step)?;
        if steps.peek().is_some() {
            yield_now().await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderFields {
        fields.iter().copied().collect()
    }

    /// The headers of a document of this size and with these headers, whose client accepts gzip.
    async fn sent(size: usize, own: &[(&'static str, &'static str)]) -> HeaderFields {
        let mut headers = fields(own);
        let document = Bytes::from(vec![b'x'; size]).into();
        let request = [("accept-encoding", "gzip")].into_iter().collect();
        compress(CompressionSettings::default(), &request, &mut headers, document).await;
        headers
    }

    #[tokio::test]
    async fn text_is_coded_once_and_only_where_it_may_be() {
        let json = ("content-type", "application/json");
        for (size, own, coded) in [
            (1024, &[json][..], true),
            (1024, &[("content-type", "text/plain; charset=utf-8")], true),
            (1024, &[("content-type", "application/problem+json")], true),
            (0, &[json], false),
            (1024, &[("content-type", "text/event-stream")], false),
            (1024, &[("content-type", "audio/mpeg")], false),
            (1024, &[], false),
            (1024, &[json, ("content-encoding", "br")], false),
            (1024, &[json, ("content-encoding", "identity")], false),
            (1024, &[json, ("cache-control", "no-store, No-Transform")], false),
            (1024, &[json, ("repr-digest", "sha-256=:x:")], false),
            (1024, &[json, ("content-range", "bytes 0-1/2")], false),
        ] {
            let headers = sent(size, own).await;
            let is_coded = headers.get("content-encoding").is_some_and(|value| value == b"gzip");
            assert_eq!(is_coded, coded, "{size} {own:?}");
            assert_eq!(headers.contains("vary"), coded, "{size} {own:?}");
        }
    }

    /// A document varies with `accept-encoding` even where this request gets it plain (RFC 9110 12.5.5).
    #[tokio::test]
    async fn a_document_that_stays_plain_for_one_request_varies() {
        for (size, request) in [
            (1023, &[("accept-encoding", "gzip")][..]),
            (1, &[]),
            (4096, &[]),
            (4096, &[("accept-encoding", "gzip"), ("cache-control", "no-transform")]),
        ] {
            let mut headers = fields(&[("content-type", "application/json")]);
            let document = Bytes::from(vec![b'x'; size]).into();
            compress(CompressionSettings::default(), &fields(request), &mut headers, document).await;
            let found = (headers.text("content-encoding"), headers.text("vary"));
            assert_eq!(found, (None, Some("accept-encoding")));
        }
    }

    #[tokio::test]
    async fn a_validator_becomes_weak() {
        for (tag, sent_tag) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\"")] {
            let headers = sent(2000, &[("content-type", "application/json"), ("etag", tag)]).await;
            assert_eq!(headers.text("etag"), Some(sent_tag));
        }
    }
}
