//! How many tokens a request is thought to have, without a tokenizer: a token for every four bytes of its body. What a
//! body holds beside its text is about as much as a model's chat template adds. Pictures and sounds that are written into
//! it (`data:…;base64,…`) count by the piece.

use memchr::{memchr, memmem};

/// Bytes for a token.
const TOKEN: usize = 4;
/// Tokens for a picture: what the larger models take for one of a megapixel.
const PIECE: usize = 1000;
/// No picture is in less.
const SMALL: usize = 4096;

/// Tokens of a request body.
#[must_use]
pub fn prompt(body: &[u8]) -> u32 {
    const MARK: &[u8] = b";base64,";
    let mut tokens = 0;
    let mut text = body.len();
    if text >= SMALL {
        let (mark, mut rest) = (memmem::Finder::new(MARK), body);
        // On behind the piece: a mark in it is none, and each byte is looked at once.
        while let Some(piece) = mark.find(rest).and_then(|at| rest.get(at + MARK.len()..)) {
            let end = memchr(b'"', piece).unwrap_or(piece.len());
            text = text.saturating_sub(end);
            tokens += PIECE;
            rest = piece.get(end..).unwrap_or_default();
        }
    }
    u32::try_from(tokens + text.div_ceil(TOKEN)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::prompt;

    #[test]
    fn text_counts_by_its_length_and_pictures_by_the_piece() {
        assert_eq!([prompt(b""), prompt(b"12345"), prompt(&[b'a'; 400])], [0, 2, 100]);
        let picture = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "A".repeat(1 << 20));
        let tokens = prompt(picture.as_bytes());
        assert!((1000..1020).contains(&tokens), "{tokens}");
    }

    /// Looked through again from every mark, this would take minutes.
    #[test]
    fn marks_within_a_piece_are_a_part_of_it() {
        let body = format!(r#"{{"url":"{}"}}"#, ";base64,".repeat(1 << 20));
        assert!(prompt(body.as_bytes()) < 1020);
    }
}
