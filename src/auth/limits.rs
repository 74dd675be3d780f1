//! The limits of a key: models, amounts, expiry.

use std::time::SystemTime;

use super::limit::LimitValues;
use crate::base::glob;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Names of models; `*` stands for any text, `?` for one letter. Empty: all.
    pub models: Vec<String>,
    pub allowance: LimitValues,
    pub expires: Option<SystemTime>,
}

impl KeyLimits {
    /// Whether a pattern matches the model as requested, or the part after the provider's name.
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
