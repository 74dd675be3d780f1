//! Gives a provider's response, in pieces, to hyper's client and returns the result. The futures are polled
//! by hand: nothing has to be waited for, so there is no runtime. After the bytes the provider closes or
//! stays silent.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use hyper::{
    HeaderMap, Request, StatusCode,
    body::Body,
    client::conn::http1,
    rt::{Read, ReadBufCursor, Write},
};

/// Polls within which hyper must make progress; after them it counts as pending for ever.
const MAX_POLLS: u8 = 8;

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub payload: Vec<u8>,
    pub end: End,
}

#[derive(Debug)]
pub enum End {
    /// The whole body came. `open`: the connection accepts another request.
    Whole { open: bool },
    /// The body is cut off or malformed, with hyper's reason.
    Failed(String),
}

/// hyper's result for the response in `pieces`, or its error if it finds no response head.
pub fn run_hyper(pieces: &[&[u8]], closes: bool) -> Result<Answer, String> {
    let cx = &mut Context::from_waker(Waker::noop());
    let pieces = pieces.iter().rev().filter(|piece| !piece.is_empty()).map(|piece| piece.to_vec()).collect();
    let wire = Wire { pieces, closes, asked: false };
    let handshake = pin!(http1::Builder::new().max_headers(128).handshake::<_, String>(wire));
    let Poll::Ready(Ok((mut sender, mut connection))) = handshake.poll(cx) else {
        unreachable!("no I/O in it")
    };
    let mut open = true;
    let mut drive = |cx: &mut Context<'_>| {
        open = open && Pin::new(&mut connection).poll(cx).is_pending();
        open
    };

    let mut response = pin!(sender.send_request(Request::new(String::new())));
    let response = poll_until_ready(|| (drive(cx), response.as_mut().poll(cx)).1).expect("a head or an error");
    let (head, mut body) = response.map_err(|error| format!("{error:?}"))?.into_parts();
    let mut payload = Vec::new();
    let end = loop {
        let frame = poll_until_ready(|| (drive(cx), Pin::new(&mut body).poll_frame(cx)).1);
        match frame.expect("a frame, an end or an error") {
            Some(Ok(frame)) => payload.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(error)) => break End::Failed(format!("{error:?}")),
            None => break End::Whole { open: (0..MAX_POLLS).all(|_| drive(cx)) },
        }
    };
    Ok(Answer { status: head.status, headers: head.headers, payload, end })
}

fn poll_until_ready<T>(mut poll: impl FnMut() -> Poll<T>) -> Option<T> {
    (0..MAX_POLLS).find_map(|_| match poll() {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}

/// A provider that answers after it has received a request.
struct Wire {
    /// In reverse: the last piece is read first.
    pieces: Vec<Vec<u8>>,
    closes: bool,
    asked: bool,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop() else {
            return if self.closes { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(into.remaining()));
        if !rest.is_empty() {
            self.pieces.push(rest);
        }
        into.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
