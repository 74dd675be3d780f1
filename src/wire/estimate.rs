//! Estimates the tokens of a request without a tokenizer: one token for every four bytes of its body. The
//! JSON around the text is about as long as the tokens that a model's chat template adds. A long string in
//! base64's alphabet is an image, a sound or a document, wherever it stands, and counts as one piece: a fixed
//! number of tokens.

/// Bytes of text per token.
const BYTES_PER_TOKEN: usize = 4;
/// The larger models count about this many tokens for an image of one megapixel.
const TOKENS_PER_PIECE: usize = 1000;
/// Bytes; a shorter string counts as text. No word is as long.
const MIN_PIECE: usize = 1024;
/// Distance of the bytes that are looked at: each piece holds one of them.
const STEP: usize = MIN_PIECE / 2;

/// Base64 in both alphabets, with its padding. Some writers escape the slash (`\/`), some break lines (`\n`).
const IS_BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let letter = byte as u8;
        table[byte] =
            letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
        byte += 1;
    }
    table
};

/// The estimated tokens of a request body.
#[must_use]
pub fn prompt_tokens(body: &[u8]) -> u32 {
    let is_base64 = |byte: &u8| IS_BASE64.get(usize::from(*byte)).copied().unwrap_or(false);
    let (mut tokens, mut text) = (0, body.len());
    // Each byte is read once at most: a string is followed to its end, and the search goes on behind it.
    let (mut searched, mut at) = (0, STEP);
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let ahead = rest.iter().take_while(|byte| is_base64(byte)).count();
        if ahead > 0 {
            let before = body.get(searched..at).unwrap_or_default();
            let piece = before.iter().rev().take_while(|byte| is_base64(byte)).count() + ahead;
            if piece >= MIN_PIECE {
                text = text.saturating_sub(piece);
                tokens += TOKENS_PER_PIECE.min(piece.div_ceil(BYTES_PER_TOKEN));
            }
            searched = at + ahead;
        }
        at = at.max(searched) + STEP;
    }
    u32::try_from(tokens + text.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

/// The estimated tokens of a form with so many bytes of text and so many files.
#[must_use]
pub fn of_parts(text: usize, files: usize) -> u32 {
    let tokens = text.div_ceil(BYTES_PER_TOKEN).saturating_add(files.saturating_mul(TOKENS_PER_PIECE));
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::prompt_tokens;

    #[test]
    fn text_counts_by_its_length_and_pictures_by_the_piece() {
        let text = "word ".repeat(400);
        assert_eq!(
            [prompt_tokens(b""), prompt_tokens(b"12345"), prompt_tokens(text.as_bytes())],
            [0, 2, 500]
        );
        let picture = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "A".repeat(1 << 20));
        let tokens = prompt_tokens(picture.as_bytes());
        assert!((1000..1020).contains(&tokens), "{tokens}");
    }

    /// Anthropic's sources, tool results and sounds have no mark before them.
    #[test]
    fn a_long_string_in_the_alphabet_is_a_piece_wherever_it_stands() {
        let data = "aB3+/-_9".repeat(100_000);
        let escaped = "aB3+\\/-_9".repeat(100_000);
        let broken = format!("{}\\r\\n", "aB3+".repeat(19)).repeat(10_000);
        for piece in [&data, &escaped, &broken] {
            for around in [
                r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"DATA"}}"#,
                r#"{"type":"tool_result","content":[{"source":{"data":"DATA=="}}]}"#,
                r#"{"type":"input_audio","input_audio":{"data":"DATA","format":"wav"}}"#,
                r#"{"a":"DATA","b":"DATA","c":"DATA"}"#,
            ] {
                let pieces = around.matches("DATA").count() as u32;
                let tokens = prompt_tokens(around.replace("DATA", piece).as_bytes());
                assert!((pieces * 1000..pieces * 1000 + 30).contains(&tokens), "{around}: {tokens}");
            }
        }
    }

    /// At every place relative to the bytes that are looked at.
    #[test]
    fn a_piece_is_found_at_every_place() {
        for before in 0..1100 {
            for (length, expected) in [(1024, 256), (4096, 1000), (9000, 1000)] {
                let body = [" ".repeat(before), "x".repeat(length), " ".repeat(700)].concat();
                let text = (before + 700).div_ceil(4);
                assert_eq!(prompt_tokens(body.as_bytes()) as usize, text + expected, "{before} {length}");
            }
        }
        let short = "x".repeat(1000);
        assert_eq!(prompt_tokens(short.as_bytes()), 250);
    }

    /// A search that starts again at every mark would take minutes.
    #[test]
    fn a_body_of_short_strings_is_read_once() {
        let body = format!(r#"{{"url":"{}"}}"#, ";base64,".repeat(1 << 20));
        assert_eq!(prompt_tokens(body.as_bytes()) as usize, body.len().div_ceil(4));
    }
}
