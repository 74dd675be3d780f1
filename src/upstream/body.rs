//! A response body of either protocol: each owns its connection's end. One that its provider has compressed
//! though it was asked not to (`accept-encoding: identity`) is decoded as it comes, so that the rest of the
//! gateway reads what the client reads.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::task::coop::poll_proceed;

use super::{h1, h2};
use crate::base::{
    Fault, FaultKind, HeaderFields, Sent, Stage,
    content_coding::{Coding, CodingDecoder, NotOfCoding},
};

/// Decoded bytes of one frame.
const FRAME: usize = 16 * 1024;
/// Headers about the coded bytes.
const OF_CODED: [&str; 7] =
    ["content-encoding", "content-length", "content-digest", "repr-digest", "digest", "content-md5", "etag"];

/// A response body. Dropping it before its end cancels the request at the provider.
#[derive(Debug)]
pub enum Body {
    H1(h1::Body),
    H2(h2::Body),
    Coded(Box<CodedBody>),
}

/// A compressed body on its way.
#[derive(Debug)]
pub struct CodedBody {
    /// `None` after a fault.
    body: Option<Body>,
    coding: Coding,
    /// `None` before the first bytes: a response to `HEAD` has none.
    decoder: Option<CodingDecoder>,
    /// Not decoded yet.
    coded: Bytes,
    frame: Box<[u8]>,
    /// The decoder may have more without further bytes.
    may_have_more: bool,
}

impl Body {
    /// This body, decoded if `headers` name one coding that is understood; headers about the coded bytes are
    /// then removed. A part of a coded body cannot be decoded.
    pub(super) fn decoded(self, headers: &mut HeaderFields) -> Self {
        let coding = match Coding::of(headers) {
            Ok(Some(coding)) if !headers.contains("content-range") => coding,
            Ok(None) => {
                headers.remove("content-encoding");
                return self;
            }
            Ok(Some(_)) | Err(_) => return self,
        };
        for name in OF_CODED {
            headers.remove(name);
        }
        Self::Coded(Box::new(CodedBody {
            body: Some(self),
            coding,
            decoder: None,
            coded: Bytes::new(),
            frame: vec![0; FRAME].into(),
            may_have_more: false,
        }))
    }

    /// The next bytes, as they were received or decoded. `None` at the end, and after an error.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self {
            Self::H1(body) => body.poll_frame(cx),
            Self::H2(body) => body.poll_frame(cx),
            Self::Coded(body) => body.poll_frame(cx),
        }
    }

    /// Lets the kernel acknowledge every second small packet instead of each, unless the provider was found
    /// to wait for acknowledgements. No effect on HTTP/2, because that protocol sends packets of its own
    /// back.
    pub fn acknowledge_late(&self) {
        match self {
            Self::H1(body) => body.acknowledge_late(),
            Self::H2(_) => {}
            Self::Coded(body) => {
                if let Some(body) = &body.body {
                    body.acknowledge_late();
                }
            }
        }
    }

    /// The provider waits for acknowledgements: none to it is late from here on.
    pub fn acknowledge_at_once(&self) {
        match self {
            Self::H1(body) => body.acknowledge_at_once(),
            Self::H2(_) => {}
            Self::Coded(body) => {
                if let Some(body) = &body.body {
                    body.acknowledge_at_once();
                }
            }
        }
    }

    /// All of it has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::H1(body) => body.is_done(),
            Self::H2(body) => body.is_done(),
            Self::Coded(body) => body.is_done(),
        }
    }
}

impl CodedBody {
    fn is_done(&self) -> bool {
        let has_more = self.may_have_more || !self.coded.is_empty();
        !has_more && self.is_whole() && self.body.as_ref().is_none_or(Body::is_done)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            while self.may_have_more || !self.coded.is_empty() {
                // Few bytes may stand for many, and other tasks run in between. Timers of this one wait, too.
                ready!(poll_proceed(cx)).made_progress();
                match self.step() {
                    Ok(frame) if frame.is_empty() => {}
                    Ok(frame) => return Poll::Ready(Some(Ok(frame))),
                    Err(NotOfCoding) => {
                        let message = "the body is not of the coding that its content-encoding names";
                        return self.fail(FaultKind::Garbage(message.into()));
                    }
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match ready!(body.poll_frame(cx)) {
                Some(Ok(frame)) => self.coded = frame,
                Some(Err(fault)) => return self.fail(fault.kind),
                None if self.is_whole() => return Poll::Ready(None),
                None => return self.fail(FaultKind::Truncated),
            }
        }
    }

    /// One step of the decoder.
    fn step(&mut self) -> Result<Bytes, NotOfCoding> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(CodingDecoder::new(self.coding)?),
        };
        let (read, length) = decoder.decode(&self.coded, &mut self.frame)?;
        self.coded.advance(read);
        self.may_have_more = length == self.frame.len();
        Ok(Bytes::copy_from_slice(&self.frame[..length]))
    }

    fn is_whole(&self) -> bool {
        self.decoder.as_ref().is_none_or(CodingDecoder::is_whole)
    }

    fn fail(&mut self, kind: FaultKind) -> Poll<Option<Result<Bytes, Fault>>> {
        (self.body, self.may_have_more) = (None, false);
        self.coded.clear();
        Poll::Ready(Some(Err(Fault::provider(Stage::Body, kind, Sent::Some))))
    }
}
