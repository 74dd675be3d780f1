//! The limits of a key: models, amounts, expiry.

use std::time::SystemTime;

use super::limit::LimitValues;
use crate::base::glob;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Names of models; `*` stands for any text, `?` for one letter. Empty: all.
    pub models: Vec<String>,
    /// The strategies that it may choose for a request. `None`: those that the configuration gives to all.
    pub strategies: Option<Vec<String>>,
    pub allowance: LimitValues,
    pub expires: Option<SystemTime>,
    /// Whether its requests use the answer cache. `None`: as their models say.
    pub cache: Option<bool>,
}

impl KeyLimits {
    /// Whether a pattern matches the model as requested, or the part after the first slash. A pattern that
    /// begins with the name of a configured provider and a slash is for models of that provider alone, as in
    /// a request.
    #[must_use]
    pub fn allow_model(&self, asked: &str, is_provider: impl Fn(&str) -> bool) -> bool {
        if self.models.is_empty() {
            return true;
        }
        let (asked_provider, asked_model) = match asked.split_once('/') {
            Some((provider, model)) => (Some(provider).filter(|name| is_provider(name)), model),
            None => (None, asked),
        };
        let matched = |pattern: &String| match pattern.split_once('/') {
            Some((provider, model)) if is_provider(provider) => {
                asked_provider == Some(provider) && glob::matches(model, asked_model)
            }
            Some(_) | None => glob::matches(pattern, asked) || glob::matches(pattern, asked_model),
        };
        self.models.iter().any(matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_be_named_with_its_provider_and_without() {
        let limits = |pattern: &str| KeyLimits { models: vec![pattern.to_owned()], ..KeyLimits::default() };
        for is_provider in [true, false] {
            let allows = |pattern: &str, model: &str| limits(pattern).allow_model(model, |_| is_provider);
            assert!(allows("gpt-*", "openai/gpt-4o"));
            assert!(allows("openai/*", "openai/gpt-4o"));
            assert!(!allows("openai/*", "gpt-4o"));
            assert!(!allows("gpt-*", "other/claude"));
        }
        assert!(KeyLimits::default().allow_model("a", |_| false));
    }

    /// B4: a configured provider's name before the slash takes precedence over a model with a slash.
    #[test]
    fn a_providers_name_in_a_pattern_is_that_provider() {
        let both = |name: &str| matches!(name, "openai" | "openrouter");
        let router = |name: &str| name == "openrouter";
        let limits = KeyLimits { models: vec!["openai/gpt-*".to_owned()], ..KeyLimits::default() };
        assert!(limits.allow_model("openai/gpt-4o", both));
        assert!(!limits.allow_model("openrouter/openai/gpt-4o", both), "served by another provider");
        assert!(limits.allow_model("openrouter/openai/gpt-4o", router), "no provider: a model's name");
        assert!(limits.allow_model("openai/gpt-4o", router));
    }
}
