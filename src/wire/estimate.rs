//! Estimates the tokens of a request without a tokenizer: one token for every four bytes of its body. The
//! JSON around the text is about as long as the tokens that a model's chat template adds. An embedded image
//! or sound (`data:…;base64,…`) counts as a fixed number of tokens.

use memchr::{memchr, memmem};

/// Bytes of text per token.
const BYTES_PER_TOKEN: usize = 4;
/// The larger models count about this many tokens for an image of one megapixel.
const TOKENS_PER_IMAGE: usize = 1000;
/// Bytes; a smaller body holds no image.
const MIN_BODY_WITH_IMAGE: usize = 4096;

/// The estimated tokens of a request body.
#[must_use]
pub fn prompt_tokens(body: &[u8]) -> u32 {
    const BASE64_MARK: &[u8] = b";base64,";
    let mut tokens = 0;
    let mut text = body.len();
    if text >= MIN_BODY_WITH_IMAGE {
        let (finder, mut rest) = (memmem::Finder::new(BASE64_MARK), body);
        // The search goes on behind the image, so that each byte is read once; a mark inside it does not
        // count.
        while let Some(image) = finder.find(rest).and_then(|at| rest.get(at + BASE64_MARK.len()..)) {
            let end = memchr(b'"', image).unwrap_or(image.len());
            text = text.saturating_sub(end);
            tokens += TOKENS_PER_IMAGE;
            rest = image.get(end..).unwrap_or_default();
        }
    }
    u32::try_from(tokens + text.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

/// The estimated tokens of a form with so many bytes of text and so many files.
#[must_use]
pub fn of_parts(text: usize, files: usize) -> u32 {
    let tokens = text.div_ceil(BYTES_PER_TOKEN).saturating_add(files.saturating_mul(TOKENS_PER_IMAGE));
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::prompt_tokens;

    #[test]
    fn text_counts_by_its_length_and_pictures_by_the_piece() {
        assert_eq!([prompt_tokens(b""), prompt_tokens(b"12345"), prompt_tokens(&[b'a'; 400])], [0, 2, 100]);
        let picture = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "A".repeat(1 << 20));
        let tokens = prompt_tokens(picture.as_bytes());
        assert!((1000..1020).contains(&tokens), "{tokens}");
    }

    /// A search that starts again at every mark would take minutes.
    #[test]
    fn marks_within_a_piece_are_a_part_of_it() {
        let body = format!(r#"{{"url":"{}"}}"#, ";base64,".repeat(1 << 20));
        assert!(prompt_tokens(body.as_bytes()) < 1020);
    }
}
