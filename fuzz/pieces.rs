//! Cuts a fuzz input into pieces.

/// The rest of a fuzz input, and its pieces, cut at the two offsets in its first four bytes.
pub fn pieces(input: &[u8]) -> Option<(&[u8], [&[u8]; 3])> {
    let [a, b, c, d, bytes @ ..] = input else { return None };
    let cut = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let (one, two) = (cut(*a, *b).min(cut(*c, *d)), cut(*a, *b).max(cut(*c, *d)));
    Some((bytes, [&bytes[..one], &bytes[one..two], &bytes[two..]]))
}
