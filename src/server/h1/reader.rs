//! The requests of one connection in the bytes that the client sends: a head, a body, and nothing behind it,
//! because requests are not pipelined. One parser finds both ends, so no second one can find others. Owns no
//! socket.

use bytes::{Buf as _, Bytes, BytesMut};

use super::head::{self, ParsedHead, RefusedHead};
use crate::{
    http1::{BodyFraming, DecodeError, Decoder, HeadScanner},
    server::refusal::RefusalReason,
};

/// The beginning of a head is parsed before its end has come, so that a client of another protocol has its
/// answer at once: at each read up to this many bytes, then each time that their number has doubled, because
/// a head that comes byte by byte is parsed anew each time.
const MAX_PARSED_EARLY: usize = 2048;
/// Bytes that are worth a piece of the read block of their own. Fewer are copied, because they would hold all
/// of the block for as long as a request lives.
const MIN_SHARED: usize = 16 * 1024;

/// Limits of a request's head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub bytes: usize,
    pub fields: usize,
}

/// The requests of one connection, one after the other.
#[derive(Debug)]
pub struct RequestReader {
    /// The beginning of a head.
    head: BytesMut,
    scanner: HeadScanner,
    /// Bytes of a beginning that are parsed next.
    next_parsed: usize,
    /// The body of the request in flight, and what of it was read and not yet taken.
    decoder: Decoder,
    payload: Bytes,
    broken: Option<DecodeError>,
    /// Bytes that came behind the request in flight.
    excess: usize,
}

impl Default for RequestReader {
    fn default() -> Self {
        Self {
            head: BytesMut::new(),
            scanner: HeadScanner::default(),
            next_parsed: 0,
            decoder: Decoder::new(BodyFraming::Length(0)),
            payload: Bytes::new(),
            broken: None,
            excess: 0,
        }
    }
}

impl RequestReader {
    /// Bytes that were read before a head was complete. `None`: it is not yet.
    ///
    /// # Errors
    /// The head is not served; the reader must not be used again.
    pub fn read_head(
        &mut self,
        bytes: BytesMut,
        limits: HeadLimits,
    ) -> Result<Option<ParsedHead>, RefusedHead> {
        let Ok(beyond) = self.scanner.read(&bytes) else { return Err(RefusalReason::BadHead.into()) };
        let is_first = self.head.is_empty();
        let mut whole = if is_first { bytes } else { self.joined(&bytes) };
        let length = whole.len() - beyond.unwrap_or(0);
        if length > limits.bytes {
            return Err(RefusalReason::HeadTooLarge.into());
        }
        if beyond.is_none() {
            self.head = if is_first { own(whole) } else { whole };
            if length > MAX_PARSED_EARLY && length < self.next_parsed {
                return Ok(None);
            }
            self.next_parsed = 2 * length;
            return if head::may_begin(&self.head) { Ok(None) } else { Err(RefusalReason::BadHead.into()) };
        }
        let parsed = head::parse(whole.get(..length).unwrap_or_default(), limits.fields)?;
        whole.advance(length);
        (self.scanner, self.decoder) = (HeadScanner::default(), Decoder::new(parsed.framing));
        self.next_parsed = 0;
        self.read_body(whole);
        Ok(Some(parsed))
    }

    /// Bytes that were read behind a head. Reads no more of the body than that: its payload is to be taken
    /// first.
    pub fn read_body(&mut self, bytes: BytesMut) {
        if self.has_arrived() || self.broken.is_some() {
            self.excess += bytes.len();
            return;
        }
        let mut bytes = own(bytes);
        match self.decoder.decode(&mut bytes) {
            Ok(decoded) => {
                self.excess += decoded.excess;
                bytes.truncate(decoded.payload.end);
                bytes.advance(decoded.payload.start);
                self.payload = bytes.freeze();
            }
            Err(error) => self.broken = Some(error),
        }
    }

    /// The payload that was read; it may be empty.
    ///
    /// # Errors
    /// What was read is no chunked body.
    pub fn take_payload(&mut self) -> Result<Bytes, DecodeError> {
        self.broken.map_or_else(|| Ok(std::mem::take(&mut self.payload)), Err)
    }

    /// Whether a part of the body waits to be taken.
    #[must_use]
    pub const fn has_payload(&self) -> bool {
        !self.payload.is_empty()
    }

    /// Whether all of the body was taken.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.has_arrived() && self.payload.is_empty()
    }

    /// Whether a part of a head has come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// Whether the body has arrived to its end.
    #[must_use]
    pub const fn has_arrived(&self) -> bool {
        self.decoder.is_done()
    }

    /// Bytes of the body that were not yet taken. `None`: it is chunked.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.decoder.left().map(|left| left + self.payload.len() as u64)
    }

    /// Bytes that came behind the request in flight, or behind the place where its body broke.
    #[must_use]
    pub const fn excess(&self) -> usize {
        self.excess
    }

    /// Nothing more of the body is taken. `true`: the request was read to its end and nothing came behind it,
    /// so that another may follow.
    pub fn end_request(&mut self) -> bool {
        self.payload = Bytes::new();
        self.has_arrived() && self.excess == 0
    }

    fn joined(&mut self, bytes: &[u8]) -> BytesMut {
        let mut whole = std::mem::take(&mut self.head);
        whole.extend_from_slice(bytes);
        whole
    }
}

/// Bytes of the read block, in memory of their own if they are few.
fn own(bytes: BytesMut) -> BytesMut {
    if bytes.len() < MIN_SHARED { BytesMut::from(&*bytes) } else { bytes }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::server::refusal::Ambiguity;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8 };

    /// A request in one piece or several.
    struct Read {
        reader: RequestReader,
        head: Option<ParsedHead>,
        body: Vec<u8>,
    }

    fn read(pieces: &[&str]) -> Result<Read, RefusalReason> {
        let (mut reader, mut found, mut body) = (RequestReader::default(), None, Vec::new());
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let bytes = BytesMut::from(piece.as_bytes());
            match &found {
                Some(_) => reader.read_body(bytes),
                None => found = reader.read_head(bytes, LIMITS).map_err(|refused| refused.reason)?,
            }
            body.extend_from_slice(&reader.take_payload().unwrap_or_default());
        }
        Ok(Read { reader, head: found, body })
    }

    /// The request cut in two at every place, and byte by byte.
    fn each_cut(request: &str) -> impl Iterator<Item = Vec<&str>> {
        let cuts = (0..=request.len()).map(|cut| <[&str; 2]>::from(request.split_at(cut)).to_vec());
        cuts.chain([request.split("").collect()])
    }

    #[test]
    fn a_request_is_the_same_at_every_cut() {
        let chunked = "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\na: b\r\n\r\n";
        for (framing, body, payload) in [
            ("content-length: 6", "hello!", "hello!"),
            ("Transfer-Encoding: Chunked", chunked, "hello!"),
            ("content-length: 0", "", ""),
            ("x: y", "", ""),
        ] {
            let request = format!("\r\nPOST /a?b HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n{body}");
            for pieces in each_cut(&request) {
                let Read { mut reader, head, body } = read(&pieces).unwrap();
                let head = head.unwrap();
                assert_eq!((head.head.method, &*head.head.uri.to_string()), (Method::POST, "/a?b"));
                assert_eq!(body, payload.as_bytes(), "{pieces:?}");
                assert!(reader.is_taken() && reader.end_request() && head.persists, "{pieces:?}");
            }
            for pieces in each_cut(&format!("{request}G")) {
                let mut seen = read(&pieces).unwrap();
                assert!(!seen.reader.end_request() && seen.reader.excess() == 1, "{pieces:?}");
                assert_eq!(seen.body, payload.as_bytes());
                assert_eq!(seen.reader.take_payload(), Ok(Bytes::new()));
            }
        }
    }

    #[test]
    fn ambiguous_requests_are_refused_at_every_cut() {
        let bad = RefusalReason::BadHead;
        let ambiguous = RefusalReason::Ambiguous;
        for (version, lines, reason) in [
            ("1.1", "host: x\r\ncontent-length: 3\r\ncontent-length: 3", ambiguous(Ambiguity::TwoLengths)),
            (
                "1.1",
                "host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
                ambiguous(Ambiguity::TwoLengths),
            ),
            (
                "1.1",
                "host: x\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 3",
                ambiguous(Ambiguity::TwoLengths),
            ),
            ("1.1", "host: x\r\ntransfer-encoding: gzip, chunked", ambiguous(Ambiguity::Coding)),
            ("1.0", "host: x\r\ntransfer-encoding: chunked", ambiguous(Ambiguity::Coding)),
            ("1.1", "x: y", ambiguous(Ambiguity::Host)),
            ("1.1", "host: x\r\nhost: x", ambiguous(Ambiguity::Host)),
            ("1.0", "host: x\r\nhost: x", ambiguous(Ambiguity::Host)),
            ("1.1", "host: a b", ambiguous(Ambiguity::Host)),
            ("1.1", "host: x\r\ncontent-length: +3", bad),
            ("1.1", "host: x\r\ncontent-length: 3, 3", bad),
            ("1.1", "host: x\r\ncontent-length: 99999999999999999999", bad),
            ("1.1", "host: x\ny: z", bad),
            ("1.1", "host: x\r\ny : z", bad),
            ("1.1", "host: x\r\n z", bad),
            ("2.0", "host: x", bad),
            ("1.1", &format!("host: x{}", "\r\na: b".repeat(8)), RefusalReason::HeadTooLarge),
            ("1.1", &format!("host: {}", "x".repeat(1024)), RefusalReason::HeadTooLarge),
        ] {
            let request = format!("POST / HTTP/{version}\r\n{lines}\r\n\r\n");
            for pieces in each_cut(&request) {
                assert_eq!(read(&pieces).err(), Some(reason), "{pieces:?}");
            }
        }
    }

    /// A client of TLS sends no line end, and waits for an answer.
    #[test]
    fn bytes_that_begin_no_request_are_refused_at_once() {
        for bytes in ["\x16\x03\x01\x02", "GET  / HTTP/1.1\r\n", "{\"model\":", "GET / HTTP/1.1\r\nx y: z"] {
            assert_eq!(read(&[bytes]).err(), Some(RefusalReason::BadHead), "{bytes:?}");
        }
        assert!(read(&["GET / HTTP/1.1\r\nhost"]).unwrap().head.is_none());
        let limits = HeadLimits { bytes: 64 * 1024, fields: 8 };
        let other = "\x16\x03\x01\x02".repeat(1000);
        let mut reader = RequestReader::default();
        assert!(reader.read_head(BytesMut::from(other.as_bytes()), limits).is_err());
        let mut reader = RequestReader::default();
        let start = format!("GET / HTTP/1.1\r\nhost: {}", "x".repeat(3000));
        assert!(reader.read_head(BytesMut::from(start.as_bytes()), limits).unwrap().is_none());
        let refused = (0..4000).position(|_| reader.read_head(BytesMut::from("\0"), limits).is_err());
        assert!(refused.is_some());
    }

    #[test]
    fn a_broken_body_is_an_error_and_no_request_follows() {
        let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        for body in ["xyz\r\n", "4\nabcd", "4\r\nabcdef\r\n"] {
            let mut read = read(&[head, body]).unwrap();
            assert!(read.reader.take_payload().is_err() && !read.reader.end_request(), "{body:?}");
        }
    }

    /// A connection that waits holds no piece of the read block.
    #[test]
    fn a_body_that_is_not_taken_ends_with_its_request() {
        let body = "x".repeat(20 * 1024);
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut reader = RequestReader::default();
        assert!(reader.read_head(BytesMut::from(request.as_bytes()), LIMITS).unwrap().is_some());
        assert_eq!((reader.left(), reader.is_taken()), (Some(20 * 1024), false));
        assert!(reader.end_request());
        assert_eq!(reader.take_payload(), Ok(Bytes::new()));
    }

    #[test]
    fn the_connection_persists_as_its_version_and_its_options_say() {
        for (version, option, persists) in [
            ("1.1", "x: y", true),
            ("1.1", "connection: close", false),
            ("1.1", "connection: x, Close", false),
            ("1.1", "connection: keep-alive", true),
            ("1.0", "x: y", false),
            ("1.0", "connection: Keep-Alive", true),
            ("1.0", "connection: keep-alive, close", false),
        ] {
            let head = read(&[&format!("GET / HTTP/{version}\r\nhost: x\r\n{option}\r\n\r\n")]).unwrap().head;
            assert_eq!(head.unwrap().persists, persists, "{version} {option}");
        }
    }
}
