//! Takes a provider's own secrets out of the bodies that it sends: some quote the key that they refuse. Holds
//! for bodies that are collected; a stream passes as it comes.

use std::fmt;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::{base::ByteList, upstream::Target};

/// Takes the place of a secret.
const MASK: &[u8] = b"***";

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
pub struct SecretMask(Vec<Finder<'static>>);

impl fmt::Debug for SecretMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretMask").field(&self.0.len()).finish()
    }
}

impl SecretMask {
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let mut texts = Vec::new();
        for secret in target.secrets() {
            // As JSON may write it.
            let quoted = serde_json::Value::from(secret).to_string();
            let quoted = quoted.trim_matches('"');
            for text in [secret, quoted, &quoted.replace('/', "\\/")] {
                if text.len() >= Within::Error.least_length() && !texts.iter().any(|known| known == text) {
                    texts.push(text.to_owned());
                }
            }
        }
        // The longest first: one may be a part of another.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts.iter().map(|text| Finder::new(text.as_bytes()).into_owned()).collect())
    }

    /// `body` without the secrets. Copied only if it has one.
    #[must_use]
    pub(super) fn mask(&self, mut body: ByteList, within: Within) -> ByteList {
        for finder in self.0.iter().filter(|finder| finder.needle().len() >= within.least_length()) {
            if is_in(&body, finder) {
                body = replace(&body.join(), finder).into();
            }
        }
        body
    }

    /// The same of the text of an error.
    #[must_use]
    pub(super) fn mask_text(&self, text: Bytes) -> Bytes {
        if self.0.is_empty() { text } else { self.mask(text.into(), Within::Error).join() }
    }
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

fn replace(body: &[u8], finder: &Finder<'_>) -> Bytes {
    let mut masked = Vec::with_capacity(body.len());
    let mut from = 0;
    for at in finder.find_iter(body) {
        masked.extend_from_slice(body.get(from..at).unwrap_or_default());
        masked.extend_from_slice(MASK);
        from = at + finder.needle().len();
    }
    masked.extend_from_slice(body.get(from..).unwrap_or_default());
    masked.into()
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
        assert_eq!(format!("{mask:?}"), "SecretMask(4)");
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
