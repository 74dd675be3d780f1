//! What a key may do: which models, how much, until when.

use std::time::SystemTime;

use super::limit::LimitValues;
use crate::base::glob;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Names that may be asked for; `*` stands for any letters, `?` for one. Empty: all.
    pub models: Vec<String>,
    pub allowance: LimitValues,
    pub expires: Option<SystemTime>,
}

impl KeyLimits {
    /// Whether one of the patterns matches a model as it was asked for, or what stands behind its provider's name.
    #[must_use]
    pub fn allow_model(&self, asked: &str) -> bool {
        let names = [asked, asked.split_once('/').map_or(asked, |(_, model)| model)];
        let matched = |pattern: &String| names.iter().any(|name| glob::matches(pattern, name));
        self.models.is_empty() || self.models.iter().any(matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_be_named_with_its_provider_and_without() {
        let limits = |pattern: &str| KeyLimits { models: vec![pattern.to_owned()], ..KeyLimits::default() };
        assert!(limits("gpt-*").allow_model("openai/gpt-4o"));
        assert!(limits("openai/*").allow_model("openai/gpt-4o"));
        assert!(!limits("openai/*").allow_model("gpt-4o"));
        assert!(!limits("gpt-*").allow_model("other/claude"));
        assert!(KeyLimits::default().allow_model("a"));
    }
}
