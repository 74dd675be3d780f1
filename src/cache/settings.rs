//! The settings of the answer cache, and which requests they concern.

use std::{collections::HashMap, sync::Arc, time::Duration};

/// How a stored stream is given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayPace {
    /// All at once.
    #[default]
    AtOnce,
    /// Each frame as long after the first as it once came.
    Recorded,
}

/// The configuration's `cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// For all requests whose key and model do not say otherwise.
    pub enabled: bool,
    /// The age up to which an answer is given again.
    pub max_age: Duration,
    /// Bytes of all entries.
    pub max_size: usize,
    /// Bytes of one entry; a longer answer is not stored.
    pub max_entry_size: usize,
    /// Whether a key is given answers that another one has paid.
    pub shared: bool,
    pub pace: ReplayPace,
    /// Whether equal requests at once share one answer.
    pub coalesce: bool,
    /// Models that say it for themselves, by the names that clients use.
    pub models: HashMap<Arc<str>, bool>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            max_age: Duration::from_secs(3600),
            max_size: 64 << 20,
            max_entry_size: 1 << 20,
            shared: false,
            pace: ReplayPace::AtOnce,
            coalesce: false,
            models: HashMap::new(),
        }
    }
}

/// The settings as requests are served by them.
#[derive(Clone, Debug, Default)]
pub struct CachePolicy {
    pub settings: CacheSettings,
    /// Some request may be concerned. False: the cache costs one comparison.
    pub is_in_use: bool,
}

impl CachePolicy {
    /// `by_keys`: some key says that its requests are concerned.
    #[must_use]
    pub fn new(settings: CacheSettings, by_keys: bool) -> Self {
        let is_in_use = settings.enabled || by_keys || settings.models.values().any(|enabled| *enabled);
        Self { settings, is_in_use }
    }

    /// Whether a request is concerned: the key's word takes precedence over the model's, and that over the
    /// general one.
    #[must_use]
    pub fn concerns(&self, key: Option<bool>, model: Option<&str>) -> bool {
        let by_model = || self.settings.models.get(model?).copied();
        key.or_else(by_model).unwrap_or(self.settings.enabled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_word_goes_before_a_models_and_that_before_the_general_one() {
        let policy = |enabled| {
            let models = HashMap::from([("on".into(), true), ("off".into(), false)]);
            CachePolicy::new(CacheSettings { enabled, models, ..CacheSettings::default() }, false)
        };
        for (enabled, key, model, concerned) in [
            (false, None, None, false),
            (true, None, Some("other"), true),
            (false, None, Some("on"), true),
            (true, None, Some("off"), false),
            (true, Some(false), Some("on"), false),
            (false, Some(true), Some("off"), true),
        ] {
            assert_eq!(policy(enabled).concerns(key, model), concerned, "{enabled} {key:?} {model:?}");
        }
        assert!(!CachePolicy::new(CacheSettings::default(), false).is_in_use);
        assert!(CachePolicy::new(CacheSettings::default(), true).is_in_use);
    }
}
