//! Takes a provider's own secrets out of its answers: some quote the key that they refuse. Holds for headers,
//! for bodies that are collected, and for the error events of a stream; the rest of a stream passes as it
//! comes. An event that comes in several frames and begins as an error does waits for its end once it may
//! quote a secret.
//!
//! A secret is found however its characters that are neither letters nor digits are written: as they are,
//! escaped for JSON (`\u002B`, `\/`; once more inside a string in a string), for HTML (`&#43;`) or for a URL
//! (`%2B`). Its longest run of letters and digits is written in one way only, and is searched for.

use std::fmt;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::{
    base::{ByteList, HeaderFields},
    upstream::Target,
};

/// Takes the place of a secret.
const MASK: &[u8] = b"***";
/// Backslashes in front of one character.
const MAX_SLASHES: usize = 8;
/// Bytes of a character in HTML.
const MAX_ENTITY: usize = 10;
/// Bytes of a character in any form: the backslashes, `u`, and four digits.
const MAX_FORM: usize = MAX_SLASHES + 5;

/// The bytes with which a form that is not the character itself begins.
const FORM_STARTS: [u8; 3] = *b"\\%&";

/// The bytes from which on a text counts as a secret. Keys of providers are longer; shorter ones are words
/// for servers that need none (`ollama`), which an answer may hold by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Error,
    Answer,
}

impl Within {
    const fn least_length(self) -> usize {
        match self {
            Self::Error => 8,
            Self::Answer => 16,
        }
    }
}

/// The secrets of one provider.
#[derive(Clone, Default)]
pub struct SecretMask(Vec<SoughtSecret>);

/// One secret.
#[derive(Clone)]
struct SoughtSecret {
    text: Box<[u8]>,
    /// Its longest run of letters and digits, and where that begins.
    core: Finder<'static>,
    core_at: usize,
}

impl fmt::Debug for SecretMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretMask").field(&self.0.len()).finish()
    }
}

impl SecretMask {
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let mut texts: Vec<&str> =
            target.secrets().filter(|text| text.len() >= Within::Error.least_length()).collect();
        // The longest first: one may be a part of another.
        texts.sort_by_key(|text| (std::cmp::Reverse(text.len()), *text));
        texts.dedup();
        Self(texts.into_iter().map(SoughtSecret::new).collect())
    }

    /// `body` without the secrets. Copied only if it has a part of one.
    #[must_use]
    pub(super) fn mask(&self, mut body: ByteList, within: Within) -> ByteList {
        for secret in self.0.iter().filter(|secret| secret.text.len() >= within.least_length()) {
            if is_in(&body, &secret.core)
                && let Some(masked) = secret.replace(&body.join())
            {
                body = masked.into();
            }
        }
        body
    }

    /// The same of the text of an error.
    #[must_use]
    pub(super) fn mask_text(&self, text: Bytes) -> Bytes {
        if self.0.is_empty() { text } else { self.mask(text.into(), Within::Error).join() }
    }

    /// The same of the words of an error.
    #[must_use]
    pub(super) fn mask_words(&self, words: String) -> String {
        String::from_utf8_lossy(&self.mask_text(words.into())).into_owned()
    }

    /// Whether a secret is in these bytes, or begins in them and may go on behind them.
    #[must_use]
    pub(super) fn may_be_in(&self, part: &[u8]) -> bool {
        self.0.iter().any(|secret| secret.core.find(part).is_some() || secret.may_begin_in(part))
    }

    /// Takes the secrets out of the values of headers.
    pub(super) fn mask_headers(&self, headers: &mut HeaderFields) {
        for secret in &self.0 {
            headers.replace_values(|value| {
                if value.len() < secret.text.len() { None } else { secret.replace(value) }
            });
        }
    }
}

impl SoughtSecret {
    fn new(text: &str) -> Self {
        let (mut at, mut core, mut core_at) = (0, "", 0);
        for run in text.split(|letter: char| !letter.is_ascii_alphanumeric()) {
            if run.len() > core.len() {
                (core, core_at) = (run, at);
            }
            at += run.len();
            at += text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        }
        let core = if core.is_empty() { text } else { core };
        Self { text: text.as_bytes().into(), core: Finder::new(core.as_bytes()).into_owned(), core_at }
    }

    /// `body` with masks in place of the secret. `None`: it does not have it.
    fn replace(&self, body: &[u8]) -> Option<Bytes> {
        let mut masked = Vec::new();
        let (mut from, mut at) = (0, 0);
        // Two hits may overlap.
        while let Some(core) = body.get(at..).and_then(|rest| self.core.find(rest)).map(|hit| at + hit) {
            at = core + 1;
            // Nothing of the secret that was found before is a part of it.
            let earliest = core.saturating_sub(self.core_at * MAX_FORM).max(from);
            let Some(latest) = core.checked_sub(self.core_at).filter(|latest| *latest >= earliest) else {
                continue;
            };
            let mut starts = earliest..=latest;
            let found = starts.find_map(|start| Some((start, self.end_in(body, start)?)));
            if let Some((start, end)) = found.filter(|(_, end)| *end > core) {
                masked.extend_from_slice(body.get(from..start).unwrap_or_default());
                masked.extend_from_slice(MASK);
                (from, at) = (end, end);
            }
        }
        if from == 0 {
            return None;
        }
        masked.extend_from_slice(body.get(from..).unwrap_or_default());
        Some(masked.into())
    }

    /// Whether these bytes end within the secret, in whatever form, or may do so.
    fn may_begin_in(&self, part: &[u8]) -> bool {
        let earliest = part.len().saturating_sub(self.text.len() * MAX_FORM);
        let ends_within = |start: usize| {
            let mut rest = part.get(start..).unwrap_or_default();
            for byte in &self.text {
                match length_of_form(rest, *byte) {
                    Some(length) => rest = rest.get(length..).unwrap_or_default(),
                    None => return rest.is_empty() || is_cut_form(rest),
                }
            }
            false
        };
        let tail = part.get(earliest..).unwrap_or_default();
        let begins = |byte: u8| self.text.first() == Some(&byte) || FORM_STARTS.contains(&byte);
        (earliest..).zip(tail).any(|(start, byte)| begins(*byte) && ends_within(start))
    }

    /// The end of the secret that begins at `start`, in whatever form.
    fn end_in(&self, body: &[u8], start: usize) -> Option<usize> {
        if body.get(start..)?.starts_with(&self.text) {
            return Some(start + self.text.len());
        }
        let end = |at: usize, byte: &u8| Some(at + length_of_form(body.get(at..)?, *byte)?);
        self.text.iter().try_fold(start, end)
    }
}

/// Whether the form of a character may go on behind these bytes.
fn is_cut_form(text: &[u8]) -> bool {
    text.len() < MAX_FORM && text.first().is_some_and(|first| FORM_STARTS.contains(first))
}

/// The bytes that `text` begins with if they stand for `byte`.
fn length_of_form(text: &[u8], byte: u8) -> Option<usize> {
    let slashes = text.iter().take(MAX_SLASHES).take_while(|found| **found == b'\\').count();
    let after = text.get(slashes..)?;
    let is_code = |digits: &[u8], radix| {
        let digits = std::str::from_utf8(digits).ok();
        digits.and_then(|digits| u32::from_str_radix(digits, radix).ok()) == Some(u32::from(byte))
    };
    if slashes > 0 {
        if after.first() == Some(&b'u') && after.get(1..5).is_some_and(|digits| is_code(digits, 16)) {
            return Some(slashes + 5);
        }
        if byte == b'\\' {
            return Some(slashes.min(2));
        }
        // `\n` is no n.
        let is_it = after.first() == Some(&byte) && !byte.is_ascii_alphanumeric();
        return is_it.then_some(slashes + 1);
    }
    match after.first()? {
        b'%' if after.get(1..3).is_some_and(|digits| is_code(digits, 16)) => return Some(3),
        b'&' => {
            let start = after.get(..MAX_ENTITY).unwrap_or(after);
            let end = start.iter().position(|found| *found == b';').unwrap_or(0);
            let stands_for_it = match start.get(1..end).unwrap_or_default() {
                [b'#', b'x' | b'X', digits @ ..] => is_code(digits, 16),
                [b'#', digits @ ..] => is_code(digits, 10),
                b"amp" => byte == b'&',
                b"quot" => byte == b'"',
                b"apos" => byte == b'\'',
                b"lt" => byte == b'<',
                b"gt" => byte == b'>',
                _ => false,
            };
            if stands_for_it {
                return Some(end + 1);
            }
        }
        _ => {}
    }
    (after.first() == Some(&byte)).then_some(1)
}

/// Whether the bytes are in one of the frames, or across frames.
fn is_in(body: &ByteList, finder: &Finder<'_>) -> bool {
    let overlap = finder.needle().len().saturating_sub(1);
    let mut seam: Vec<u8> = Vec::new();
    body.iter().any(|frame| {
        let found = finder.find(frame).is_some() || {
            seam.extend_from_slice(frame.get(..overlap).unwrap_or(frame));
            finder.find(&seam).is_some()
        };
        if let Some(end) = frame.len().checked_sub(overlap) {
            seam.clear();
            seam.extend_from_slice(frame.get(end..).unwrap_or_default());
        } else {
            seam.drain(..seam.len().saturating_sub(overlap));
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{base::Secret, upstream::BaseUrl};

    fn mask(key: &str) -> SecretMask {
        let base = BaseUrl::parse("http://h/v1").unwrap();
        let headers =
            [("x-team", "a-word-that-is-no-secret"), ("x-second-token", "Bearer second-secret-of-it")];
        let headers =
            headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        SecretMask::of(&Target {
            key: Some(Secret::new(key.to_owned())),
            headers: headers.into(),
            ..Target::plain("p", base)
        })
    }

    fn list(pieces: &[&str]) -> ByteList {
        let mut list = ByteList::new();
        pieces.iter().for_each(|piece| list.push(Bytes::copy_from_slice(piece.as_bytes())));
        list
    }

    #[test]
    fn secrets_are_taken_out_of_errors() {
        let mask = mask("sk-of/the\"operator");
        for (text, masked) in [
            (r#"key sk-of/the"operator, sk-of/the"operator!"#, "key ***, ***!"),
            (r#"{"m":"sk-of/the\"operator"}"#, r#"{"m":"***"}"#),
            (r#"{"m":"sk-of\/the\"operator"}"#, r#"{"m":"***"}"#),
            ("second-secret-of-it", "***"),
            ("a-word-that-is-no-secret", "a-word-that-is-no-secret"),
            ("sk-of/the", "sk-of/the"),
        ] {
            assert_eq!(mask.mask(list(&[text]), Within::Error).join(), masked, "{text}");
            assert_eq!(mask.mask_text(Bytes::from(text)), masked);
            // Wherever frames end.
            let bytes: Vec<_> = text.split("").collect();
            assert_eq!(mask.mask(list(&bytes), Within::Error).join(), masked, "{text}");
            for cut in 0..text.len() {
                let (start, end) = text.split_at(cut);
                assert_eq!(mask.mask(list(&[start, end]), Within::Error).join(), masked, "{text} {cut}");
            }
        }
        assert_eq!(format!("{mask:?}"), "SecretMask(2)");
    }

    /// As JSON is written by .NET, PHP, Go and in a string of a string, as HTML, and as a part of a URL.
    #[test]
    fn a_secret_is_found_in_every_form() {
        let mask = mask("sk+of/the=operator&co");
        for text in [
            r"sk\u002Bof/the\u003Doperator\u0026co",
            r"sk\u002bof\/the=operator\u0026co",
            r"sk\\u002bof\\\/the=operator\\u0026co",
            "sk&#43;of/the&#x3D;operator&amp;co",
            "sk&#x2b;of&#47;the&#061;operator&#38;co",
            "sk%2Bof%2fthe%3Doperator%26co",
        ] {
            for around in ["", "\\\"", "+", "&#43;", "%2B", "\\u002B"] {
                let around_it = |middle: &str| format!("{around}{middle}{around} {middle}");
                assert_eq!(mask.mask_words(around_it(text)), around_it("***"), "{around}");
            }
            let start = text.get(..text.len() - 1).unwrap().to_owned();
            assert_eq!(mask.mask_words(start.clone()), start);
        }
        // A letter behind a backslash is another one; half a form is none.
        for other in [r"sk+of/the=operator&\co", "sk&#43of/the=operator&co", r"sk\u02Bof/the=operator&co"] {
            assert_eq!(mask.mask_words(other.to_owned()), other);
        }
    }

    /// Wherever a frame ends, the part before may have the secret, or a beginning of it that would be none
    /// later: then it must not pass.
    #[test]
    fn a_part_that_may_have_a_secret_is_known() {
        let mask = mask("sk+of/the=operator&co");
        let forms = [
            "sk+of/the=operator&co",
            r"sk\u002bof\/the=operator\u0026co",
            "sk%2Bof%2fthe&#x3D;operator&amp;co",
        ];
        for form in forms {
            let text = format!("data: {{\"error\":\"no {form}\"}}");
            let (start, end) = (text.find("sk").unwrap(), text.len());
            for cut in start + 1..=end {
                assert!(mask.may_be_in(&text.as_bytes()[..cut]), "{}", &text[..cut]);
            }
        }
        for text in ["", "data: {\"error\":\"no ", "data: sk+of/they", "a-word-that-is-no-secret"] {
            assert!(!mask.may_be_in(text.as_bytes()), "{text}");
        }
        assert!(!SecretMask::default().may_be_in(b"sk"));
    }

    #[test]
    fn secrets_are_taken_out_of_headers() {
        let mut headers = HeaderFields::new();
        for value in ["key sk-a-real-key-of-it, sk%2Da-real-key-of-it", "sk-a-real-key", ""] {
            headers.append("openai-x", value);
        }
        mask("sk-a-real-key-of-it").mask_headers(&mut headers);
        let masked = [&b"key ***, ***"[..], b"sk-a-real-key", b""];
        assert!(headers.get_all("openai-x").eq(masked));
    }

    proptest::proptest! {
        /// Any secret of printable characters, in any text that ends it.
        #[test]
        fn no_secret_stays(secret in "[!-~]{8,40}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            let mask = mask(&secret);
            let quoted = serde_json::to_string(&secret).unwrap();
            for text in [secret.clone(), quoted.trim_matches('"').to_owned()] {
                let text = format!("{before} {text} {after}");
                proptest::prop_assert!(!mask.mask_words(text).contains(&secret));
            }
        }
    }

    /// An answer may have a short key's text by chance; a whole answer that has none is not copied.
    #[test]
    fn an_answer_keeps_short_words() {
        let body = list(&["an answer about lm-studio", " and sk-a-real-key-of-it"]);
        assert_eq!(mask("lm-studio").mask(body.clone(), Within::Answer).join(), body.join());
        assert_eq!(mask("ollama").mask(list(&["ollama"]), Within::Error).join(), "ollama");
        let masked = mask("sk-a-real-key-of-it").mask(body, Within::Answer).join();
        assert_eq!(masked, "an answer about lm-studio and ***");
        let frames = list(&["one", "two"]);
        let passed = mask("sk-a-real-key-of-it").mask(frames, Within::Answer);
        assert_eq!(passed.iter().count(), 2);
    }
}
