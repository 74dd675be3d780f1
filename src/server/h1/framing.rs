//! Where an HTTP/1.1 request begins and ends, followed on the raw bytes beside hyper's own parser, because
//! two parsers that disagree about it are how requests are smuggled. Refuses three things that hyper lets
//! pass: line ends without CR in a head (RFC 9112 section 2.2 permits them), a second length (hyper drops it
//! unseen), and any head that was not seen whole and in its place, which includes a pipelined one.

use crate::{
    http1::{BodyFraming, Decoder, HeadScanner},
    server::refusal::Ambiguity,
};

/// The part of a message that the next bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingGuard {
    /// A request head, as far as it has been read.
    Head(HeadScanner),
    /// A head is complete and `beyond` bytes after it have been read; hyper has not parsed the head yet.
    Seen { beyond: u64, chunks: Chunks, two_lengths: bool, one_host: bool },
    /// A body of known length, of which `left` bytes are missing.
    Body { left: u64 },
    /// A chunked body, as far as it has been read. `consumed`: its handler has read it to its end.
    Chunked { decoder: Decoder, consumed: bool },
    /// The request is complete, more bytes came after it, and its response has not begun: it is the
    /// connection's last.
    Excess,
    /// As `Excess` once the response has begun, or the end of this request is unknown.
    Last,
}

/// The bytes after a head, read as a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    Decoded(Decoder),
    /// The body is complete and more bytes came after it.
    Excess,
    /// They are no chunked body.
    Broken,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Decoded(Decoder::new(BodyFraming::Chunked))
    }
}

impl Chunks {
    fn read(&mut self, bytes: &[u8]) {
        if let Self::Decoded(decoder) = self {
            match decoder.follow(bytes) {
                Ok(0) => {}
                Ok(_) => *self = Self::Excess,
                Err(_) => *self = Self::Broken,
            }
        }
    }
}

impl Default for FramingGuard {
    fn default() -> Self {
        Self::Head(HeadScanner::default())
    }
}

impl FramingGuard {
    /// Follows bytes that were read. A line feed without CR becomes a NUL, because hyper refuses a NUL with
    /// 400 wherever it stands in a head.
    pub fn read(&mut self, bytes: &mut [u8]) {
        let count = bytes.len() as u64;
        match self {
            Self::Head(head) => match head.read(bytes) {
                Ok(None) => {}
                Ok(Some(beyond)) => {
                    let (two_lengths, one_host) = (head.two_lengths(), head.has_one_host());
                    let mut chunks = Chunks::default();
                    chunks.read(bytes.get(bytes.len() - beyond..).unwrap_or_default());
                    *self = Self::Seen { beyond: beyond as u64, chunks, two_lengths, one_host };
                }
                Err(bare) => {
                    if let Some(byte) = bytes.get_mut(bare.0) {
                        *byte = 0;
                    }
                    *self = Self::Last;
                }
            },
            Self::Seen { beyond, chunks, .. } => {
                *beyond += count;
                chunks.read(bytes);
            }
            Self::Body { left } if count <= *left => *left -= count,
            Self::Body { .. } if count > 0 => *self = Self::Excess,
            Self::Chunked { decoder, .. } => match decoder.follow(bytes) {
                Ok(0) => {}
                Ok(_) => *self = Self::Excess,
                Err(_) => *self = Self::Last,
            },
            Self::Body { .. } | Self::Excess | Self::Last => {}
        }
    }

    /// hyper has parsed a head that announces a body of `length` bytes; `None`: chunked. `needs_host`: the
    /// head has to name one.
    ///
    /// # Errors
    /// The head is ambiguous, or not in its place.
    pub fn begin_body(&mut self, length: Option<u64>, needs_host: bool) -> Result<(), Ambiguity> {
        let Self::Seen { beyond, chunks, two_lengths, one_host } = *self else {
            return Err(Ambiguity::OutOfPlace);
        };
        *self = match length {
            Some(length) if beyond <= length => Self::Body { left: length - beyond },
            Some(_) => Self::Excess,
            None => match chunks {
                Chunks::Decoded(decoder) => Self::Chunked { decoder, consumed: false },
                Chunks::Excess => Self::Excess,
                Chunks::Broken => Self::Last,
            },
        };
        match (two_lengths, needs_host && !one_host) {
            (true, _) => Err(Ambiguity::TwoLengths),
            (false, true) => Err(Ambiguity::Host),
            (false, false) => Ok(()),
        }
    }

    /// The handler has read the body to its end.
    pub fn end_body(&mut self) {
        if let Self::Chunked { consumed, .. } = self {
            *consumed = true;
        }
    }

    /// A response begins; whether it is the connection's last. A response that comes before its request's end
    /// is, because hyper reads little of a body that its handler left, and closes then: the head has to
    /// announce it.
    pub fn begin_response(&mut self) -> bool {
        if matches!(self, Self::Body { left: 1.. } | Self::Chunked { consumed: false, .. } | Self::Excess) {
            *self = Self::Last;
        }
        self.is_last()
    }

    /// The response is complete: another head may follow if the request ended at its announced length.
    pub fn end_message(&mut self) {
        *self = match self {
            Self::Body { left: 0 } => Self::default(),
            Self::Chunked { decoder, .. } if decoder.is_done() => Self::default(),
            Self::Head(_)
            | Self::Seen { .. }
            | Self::Body { .. }
            | Self::Chunked { .. }
            | Self::Excess
            | Self::Last => Self::Last,
        };
    }

    /// Whether bytes came that follow the request in flight, and its response has not begun.
    #[must_use]
    pub fn has_excess(self) -> bool {
        self == Self::Excess
    }

    /// Whether the connection has to be closed after this response.
    #[must_use]
    pub fn is_last(self) -> bool {
        matches!(self, Self::Excess | Self::Last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The framing after `bytes`, read in pieces cut at `cut`.
    fn after(bytes: &str, cut: usize) -> (FramingGuard, Vec<u8>) {
        let mut bytes = bytes.as_bytes().to_vec();
        let mut framing = FramingGuard::default();
        let (first, second) = bytes.split_at_mut(cut);
        framing.read(first);
        framing.read(second);
        (framing, bytes)
    }

    #[test]
    fn sees_the_head_end_at_every_cut() {
        let request = "\r\nPOST / HTTP/1.1\r\nhost: x\r\nContent-Length: 3\r\n\r\nab";
        for cut in 0..request.len() {
            let (mut framing, bytes) = after(request, cut);
            assert!(
                matches!(framing, FramingGuard::Seen { beyond: 2, two_lengths: false, one_host: true, .. }),
                "cut at {cut}"
            );
            assert_eq!(bytes, request.as_bytes());
            assert_eq!(framing.begin_body(Some(3), true), Ok(()));
            assert_eq!(framing, FramingGuard::Body { left: 1 });
            framing.read(&mut [b'c']);
            framing.end_message();
            assert_eq!(framing, FramingGuard::default());
        }
    }

    #[test]
    fn spoils_a_bare_line_feed_at_every_cut() {
        for request in [
            "GET / HTTP/1.1\nhost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n\n",
        ] {
            for cut in 0..=request.len() {
                let (framing, bytes) = after(request, cut);
                assert_eq!(framing, FramingGuard::Last, "{request:?} cut at {cut}");
                assert_eq!(bytes.iter().filter(|byte| **byte == 0).count(), 1);
            }
        }
    }

    #[test]
    fn sees_two_lengths_at_every_cut() {
        for lengths in [
            "content-length: 3\r\ncontent-length: 3",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "transfer-encoding: chunked\r\nCONTENT-LENGTH: 3",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        ] {
            let request = format!("POST / HTTP/1.1\r\n{lengths}\r\n\r\n");
            for cut in 0..request.len() {
                let (mut framing, _) = after(&request, cut);
                assert_eq!(
                    framing.begin_body(Some(3), true),
                    Err(Ambiguity::TwoLengths),
                    "{lengths:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn follows_a_chunked_body_to_its_end_at_every_cut() {
        let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\na: b\r\n\r\n";
        // A part of the body comes before hyper has parsed the head, the rest after.
        for early in 0..=body.len() {
            let (early, late) = body.split_at(early);
            let (mut framing, _) = after(&format!("{head}{early}"), head.len());
            assert_eq!(framing.begin_body(None, true), Ok(()));
            framing.read(&mut late.as_bytes().to_vec());
            let mut unread = framing;
            assert!(unread.begin_response());
            framing.end_body();
            assert!(!framing.begin_response());
            let mut more = framing;
            framing.end_message();
            assert_eq!(framing, FramingGuard::default(), "{early:?}");
            more.read(&mut [b'G']);
            assert!(more.is_last());
        }
        for broken in ["5\r\nhello\r\n", "5\nhello\r\n0\r\n\r\n", "0\r\n\r\nGET"] {
            let (mut framing, _) = after(&format!("{head}{broken}"), head.len());
            assert_eq!(framing.begin_body(None, true), Ok(()));
            framing.end_message();
            assert!(framing.is_last(), "{broken:?}");
        }
    }

    #[test]
    fn trusts_no_head_after_a_request_whose_end_is_unknown() {
        let head = "GET / HTTP/1.1\r\n\r\n";
        let (mut chunked, _) = after(&head.repeat(2), 0);
        assert_eq!(chunked.begin_body(None, false), Ok(()));
        let (mut pipelined, _) = after(&head.repeat(2), 0);
        assert_eq!(pipelined.begin_body(Some(0), false), Ok(()));
        let (mut late, _) = after(head, 0);
        assert_eq!(late.begin_body(Some(0), false), Ok(()));
        late.read(&mut [b'G']);
        for mut framing in [chunked, pipelined, late] {
            assert!(framing.is_last());
            framing.end_message();
            assert_eq!(framing.begin_body(Some(0), false), Err(Ambiguity::OutOfPlace));
        }
    }
}
