//! What a key may do: which models, how much, until when.

use std::time::SystemTime;

use crate::base::lease::Allowance;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Names that may be asked for; `*` stands for any letters, `?` for one. Empty: all.
    pub models: Vec<String>,
    pub allowance: Allowance,
    pub expires: Option<SystemTime>,
}

impl Limits {
    /// Whether one of the patterns matches a model as it was asked for, or what stands behind its provider's name.
    #[must_use]
    pub fn allow_model(&self, asked: &str) -> bool {
        let names = [asked, asked.split_once('/').map_or(asked, |(_, model)| model)];
        let matched =
            |pattern: &String| names.iter().any(|name| matches(pattern.as_bytes(), name.as_bytes()));
        self.models.is_empty() || self.models.iter().any(matched)
    }
}

/// Linear in practice, and never worse than pattern times name: a star that fails is tried one letter further, and only
/// the last star is ever gone back to.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut letter) = (0, 0);
    let mut star = None;
    while let Some(&found) = name.get(letter) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, letter));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == found => {
                at += 1;
                letter += 1;
            }
            Some(_) | None => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, letter) = (after, from + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_name() {
        for (pattern, name, expected) in [
            ("gpt-*", "gpt-4o", true),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "chatgpt-4o", false),
            ("gpt-4", "gpt-4o", false),
            ("*4*mini", "gpt-4o-mini", true),
            ("*4*mini", "gpt-4o-mini-2", false),
            ("gpt-4?", "gpt-4o", true),
            ("gpt-4?", "gpt-4", false),
            ("*", "", true),
            ("", "a", false),
            ("a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_model_may_be_named_with_its_provider_and_without() {
        let limits = |pattern: &str| Limits { models: vec![pattern.to_owned()], ..Limits::default() };
        assert!(limits("gpt-*").allow_model("openai/gpt-4o"));
        assert!(limits("openai/*").allow_model("openai/gpt-4o"));
        assert!(!limits("openai/*").allow_model("gpt-4o"));
        assert!(!limits("gpt-*").allow_model("other/claude"));
        assert!(Limits::default().allow_model("a"));
    }
}
