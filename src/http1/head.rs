//! Finds the end of a request head as it is read, line by line, and line feeds without CR, which RFC 9112
//! section 2.2 lets a reader accept and which two readers in a row may take differently. Parses no values.

use wide::u8x16;

/// Bytes that are searched for line feeds at once. The lines of a head are short: a search for the next one
/// would begin anew every few bytes.
const BLOCK: usize = 64;

/// The state of a head that has been read in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    /// A non-empty line has ended. Empty lines before the request line are skipped.
    begun: bool,
    /// The last byte read.
    last: u8,
    /// Length of the current line so far.
    line: usize,
}

/// A line feed without CR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BareLineFeed;

impl HeadScanner {
    /// Reads on. `Some`: the head has ended, and this many of the bytes come after it.
    ///
    /// # Errors
    /// A line feed without CR.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        let mut start = 0;
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            let mut feeds = line_feeds(block);
            while feeds != 0 {
                let at = number * BLOCK + feeds.trailing_zeros() as usize;
                feeds &= feeds - 1;
                let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
                if before.unwrap_or(self.last) != b'\r' {
                    return Err(BareLineFeed);
                }
                if self.line + at - start > 1 {
                    self.begun = true;
                } else if self.begun {
                    return Ok(Some(bytes.len() - at - 1));
                }
                (self.line, start) = (0, at + 1);
            }
        }
        self.line += bytes.len() - start;
        self.last = bytes.last().copied().unwrap_or(self.last);
        Ok(None)
    }
}

/// The line feeds among at most [`BLOCK`] bytes, as a mask whose bit n is byte n.
fn line_feeds(block: &[u8]) -> u64 {
    let mut padded = [0; BLOCK];
    let bytes = block.first_chunk().unwrap_or_else(|| {
        if let Some(start) = padded.get_mut(..block.len()) {
            start.copy_from_slice(block);
        }
        &padded
    });
    let (quarters, _) = bytes.as_chunks();
    quarters.iter().enumerate().fold(0, |mask, (index, quarter)| {
        let feeds = u8x16::new(*quarter).simd_eq(u8x16::splat(b'\n'));
        mask | u64::from(feeds.to_bitmask()) << (index * 16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_feeds_are_found_in_every_place() {
        for length in 0..=BLOCK {
            for at in 0..length {
                let mut block = vec![b'\r'; length];
                block[at] = b'\n';
                block[length - 1] = b'\n';
                assert_eq!(line_feeds(&block), 1 << at | 1 << (length - 1), "{at} of {length}");
            }
        }
    }

    #[test]
    fn heads_of_every_length_end_at_every_cut() {
        for length in 0..3 * BLOCK {
            let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\nabc", "x".repeat(length));
            for cut in [0, 1, length, BLOCK, request.len() - 4, request.len() - 3, request.len()] {
                let cut = cut.min(request.len());
                assert_eq!(read(request.as_bytes(), cut), Ok(Some(3)), "{length}, cut at {cut}");
            }
        }
    }

    fn read(bytes: &[u8], cut: usize) -> Result<Option<usize>, BareLineFeed> {
        let mut scanner = HeadScanner::default();
        let (first, second) = bytes.split_at(cut);
        match scanner.read(first)? {
            Some(beyond) => Ok(Some(beyond + second.len())),
            None => scanner.read(second),
        }
    }

    #[test]
    fn finds_the_end_at_every_cut() {
        let request = b"\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nab";
        for cut in 0..=request.len() {
            assert_eq!(read(request, cut), Ok(Some(2)), "cut at {cut}");
        }
        for cut in 0..request.len() - 3 {
            assert_eq!(read(&request[..request.len() - 3], cut), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn finds_a_bare_line_feed_at_every_cut() {
        for request in [
            &b"GET / HTTP/1.1\nhost: x\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nhost: x\n\r\n",
            b"GET / HTTP/1.1\r\nhost: x\r\n\n",
            b"\nGET / HTTP/1.1\r\n\r\n",
        ] {
            for cut in 0..=request.len() {
                assert_eq!(read(request, cut), Err(BareLineFeed), "{request:?} cut at {cut}");
            }
        }
    }
}
