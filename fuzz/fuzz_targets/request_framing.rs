//! Requests on one HTTP/1.1 connection, as the server reads them. A request that it serves is one that a
//! strict reader finds in the same bytes, with the same body; so nothing is smuggled. And it is one that
//! hyper finds there, too. Input: two cuts, the bytes.
#![no_main]

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};
use libfuzzer_sys::fuzz_target;
use thalweg::{
    http1::{BodyFraming, Decoder},
    server::{HeadLimits, RequestReader},
};

#[path = "../pieces.rs"]
mod pieces;

const MAX_POLLS: usize = 64;
const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 100 };

/// A request: its method and target, and its body; `None`: the body did not come whole.
type Served = (String, Option<Vec<u8>>);

fuzz_target!(|input: &[u8]| {
    let Some((bytes, pieces)) = pieces::pieces(input) else { return };
    let served = serve(&pieces);
    assert_agree(&served, &strict_requests(bytes), "strict");
    if !served.is_empty() {
        assert_agree(&served, &hyper_requests(&pieces), "hyper");
    }
});

/// Another reader finds all requests that are served. Where it gives up on a body, the rest is not
/// compared.
fn assert_agree(served: &[Served], found: &[Served], name: &str) {
    assert!(served.len() <= found.len(), "{name}: {served:?} {found:?}");
    for ((head, body), (found_head, found_body)) in served.iter().zip(found) {
        assert_eq!(head, found_head, "{name}");
        assert!(found_body.is_none() || body.is_none() || body == found_body, "{name}: {body:?} {found_body:?}");
    }
}

/// The requests that the server would serve, one after the other.
fn serve(pieces: &[&[u8]]) -> Vec<Served> {
    let mut reader = RequestReader::default();
    let mut served: Vec<Served> = Vec::new();
    let mut body: Option<Vec<u8>> = None;
    let mut persists = true;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        match &body {
            Some(_) => reader.read_body(BytesMut::from(*piece)),
            None => match reader.read_head(BytesMut::from(*piece), LIMITS) {
                Ok(Some(parsed)) => {
                    served.push((format!("{} {}", parsed.head.method, parsed.head.uri), None));
                    body = Some(Vec::new());
                    persists = parsed.persists;
                }
                Ok(None) => continue,
                Err(_) => return served,
            },
        }
        let Some(gathered) = &mut body else { continue };
        match reader.take_payload() {
            Ok(payload) => gathered.extend_from_slice(&payload),
            Err(_) => return served,
        }
        if reader.is_taken() {
            if let Some(last) = served.last_mut() {
                last.1 = body.take();
            }
            if !(reader.end_request() && persists) {
                return served;
            }
        }
    }
    served
}

/// The requests that hyper finds.
fn hyper_requests(pieces: &[&[u8]]) -> Vec<Served> {
    let served = Rc::new(RefCell::new(Vec::new()));
    let pieces = pieces.iter().rev().filter(|piece| !piece.is_empty()).map(|piece| piece.to_vec()).collect();
    let list = Rc::clone(&served);
    let answer = move |request: Request<Incoming>| answer(request, Rc::clone(&list));
    let mut builder = http1::Builder::new();
    builder.half_close(false).pipeline_flush(false);
    let mut connection = pin!(builder.serve_connection(Wire { pieces }, service_fn(answer)));
    let cx = &mut Context::from_waker(Waker::noop());
    let _ = (0..MAX_POLLS).any(|_| connection.as_mut().poll(cx).is_ready());
    let found = served.borrow().clone();
    found
}

async fn answer(
    request: Request<Incoming>,
    served: Rc<RefCell<Vec<Served>>>,
) -> Result<Response<Empty>, Infallible> {
    let (head, mut body) = request.into_parts();
    served.borrow_mut().push((format!("{} {}", head.method, head.uri), None));
    let place = served.borrow().len() - 1;
    let mut whole = Vec::new();
    let is_sound = loop {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    if is_sound {
        served.borrow_mut()[place].1 = Some(whole);
    }
    Ok(Response::new(Empty))
}

/// An empty body.
struct Empty;

impl Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// The requests in `bytes` as the strictest of readers finds them, up to the first that is unsound.
fn strict_requests(mut bytes: &[u8]) -> Vec<Served> {
    let mut found = Vec::new();
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else { return found };
        let (head, rest) = bytes.split_at(end);
        let bare = |(at, byte): (usize, &u8)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r');
        if head.iter().enumerate().any(bare) {
            return found;
        }
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return found;
        };
        let fields: Vec<(String, &str)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
            .collect();
        let all = |name: &str| fields.iter().filter(|(of, _)| of == name).map(|(_, value)| *value).collect::<Vec<_>>();
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        if lengths.len() + codings.len() > 1 || (version == "HTTP/1.1" && all("host").len() != 1) {
            return found;
        }
        let body = match (lengths.first(), codings.first()) {
            (None, None) => Some(0),
            (Some(length), _) => length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit())),
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => None,
            (None, Some(_)) => return found,
        };
        // As it is shown: without a fragment, and with a path.
        let Ok(target) = target.parse::<hyper::Uri>() else { return found };
        let name = format!("{method} {target}");
        match body {
            Some(length) => match rest.split_at_checked(length) {
                Some((body, after)) => {
                    found.push((name, Some(body.to_vec())));
                    bytes = after;
                }
                None => {
                    found.push((name, None));
                    return found;
                }
            },
            None if !lengths.is_empty() => return found,
            None => {
                let mut decoder = Decoder::new(BodyFraming::Chunked);
                let mut rest = rest.to_vec();
                let Ok(decoded) = decoder.decode(&mut rest) else {
                    found.push((name, None));
                    return found;
                };
                if !decoder.is_done() {
                    found.push((name, None));
                    return found;
                }
                let (excess, payload) = (decoded.excess, rest[decoded.payload.clone()].to_vec());
                found.push((name, Some(payload)));
                bytes = &bytes[bytes.len() - excess..];
            }
        }
    }
}

/// A client that sends all of its pieces and then waits.
struct Wire {
    /// In reverse: the last piece is read first.
    pieces: Vec<Vec<u8>>,
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.pieces.pop() else { return Poll::Pending };
        let rest = piece.split_off(piece.len().min(into.remaining()));
        if !rest.is_empty() {
            self.pieces.push(rest);
        }
        into.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
