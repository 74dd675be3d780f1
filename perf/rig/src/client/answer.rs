//! One HTTP/1.1 answer, taken apart as it arrives: status, then the body's bytes without their framing, then its end.
//! Only what proxies of this rig send: Content-Length or chunked, no trailers worth reading.

use std::io;

#[derive(Debug)]
pub struct Answer {
    unread: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    /// After the last chunk: the empty line that ends the trailers.
    Trailers,
    Done,
}

/// What the bytes so far made certain.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    Done,
}

impl Answer {
    pub fn new() -> Self {
        Self { unread: Vec::new(), state: State::Head }
    }

    /// Takes bytes of the connection and gives the body's among them to `body`, in pieces.
    pub fn take(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> io::Result<Progress> {
        let carried = !self.unread.is_empty();
        let held = if carried {
            self.unread.extend_from_slice(bytes);
            std::mem::take(&mut self.unread)
        } else {
            Vec::new()
        };
        let mut rest = if carried { held.as_slice() } else { bytes };
        while let Some(used) = self.step(rest, &mut body)? {
            rest = &rest[used..];
        }
        self.unread.extend_from_slice(rest);
        Ok(if self.state == State::Done { Progress::Done } else { Progress::More })
    }

    /// How many bytes one part of the answer used; `None` when more are needed or none are expected.
    fn step(&mut self, rest: &[u8], body: &mut impl FnMut(&[u8])) -> io::Result<Option<usize>> {
        let (used, next) = match self.state {
            State::Head => match head(rest)? {
                Some(found) => found,
                None => return Ok(None),
            },
            State::Done => return Ok(None),
            State::Length(0) => (0, State::Done),
            _ if rest.is_empty() => return Ok(None),
            State::Length(left) => {
                let used = left.min(rest.len());
                body(&rest[..used]);
                (used, State::Length(left - used))
            }
            State::ChunkSize => match chunk_size(rest)? {
                Some((used, 0)) => (used, State::Trailers),
                // With the line end that follows the data.
                Some((used, size)) => (used, State::Chunk(size + 2)),
                None => return Ok(None),
            },
            State::Chunk(left) => {
                let used = left.min(rest.len());
                body(&rest[..used.min(left.saturating_sub(2))]);
                (used, if used == left { State::ChunkSize } else { State::Chunk(left - used) })
            }
            State::Trailers if rest.len() < 2 => return Ok(None),
            State::Trailers => (2, State::Done),
        };
        self.state = next;
        Ok(Some(used))
    }
}

fn head(bytes: &[u8]) -> io::Result<Option<(usize, State)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    if response.code != Some(200) {
        return Err(io::Error::other(format!(
            "status {:?}: {}",
            response.code,
            String::from_utf8_lossy(&bytes[length..])
        )));
    }
    let declared = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let state = match declared {
        Some(header) => State::Length(
            std::str::from_utf8(header.value).map_err(io::Error::other)?.parse().map_err(io::Error::other)?,
        ),
        None => State::ChunkSize,
    };
    Ok(Some((length, state)))
}

fn chunk_size(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete((used, size))) => {
            Ok(Some((used, usize::try_from(size).map_err(io::Error::other)?)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(io::Error::other("bad chunk size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8], cut: usize) -> (Vec<u8>, Progress) {
        let (mut answer, mut body) = (Answer::new(), Vec::new());
        let mut progress = Progress::More;
        for part in [&wire[..cut], &wire[cut..]] {
            progress = answer.take(part, |bytes| body.extend_from_slice(bytes)).unwrap();
        }
        (body, progress)
    }

    #[test]
    fn chunks_come_out_joined_wherever_they_are_cut() {
        let wire =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for cut in 0..wire.len() {
            assert_eq!(read(wire, cut), (b"abc0123456789".to_vec(), Progress::Done), "{cut}");
        }
    }

    #[test]
    fn a_declared_length_ends_the_answer() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
        for cut in 0..wire.len() {
            assert_eq!(read(wire, cut), (b"abcd".to_vec(), Progress::Done), "{cut}");
        }
    }

    #[test]
    fn other_statuses_are_errors() {
        assert!(Answer::new().take(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", |_| ()).is_err());
    }
}
