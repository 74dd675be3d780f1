//! The peculiarities of Claude models, by the version in their names.
//!
//! A wish for thinking that a model does not know is a 400 at Anthropic: up to 4.5 it is a budget, from 4.7
//! on it is adaptive, and 4.6 takes both.
//! <https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting>

use super::{EffortForm, RequestOptions};
use crate::dialect::ApiDialect;

impl RequestOptions<'_> {
    /// With the peculiarities of the model, as far as its name says them.
    pub fn of_model(self, provider: ApiDialect) -> Self {
        match (provider, ClaudeVersion::of_name(self.model)) {
            (ApiDialect::Messages, Some(version)) => Self {
                effort: version.effort(),
                takes_sampling: version < ClaudeVersion::OPUS_4_7,
                hides_thinking: version >= ClaudeVersion::OPUS_4_7,
                default_max_tokens: version.longest_answer(),
                ..self
            },
            _ => self,
        }
    }
}

/// A major and a minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ClaudeVersion(u8, u8);

impl ClaudeVersion {
    /// The first model that thinks.
    const SONNET_3_7: Self = Self(3, 7);
    /// The first one with adaptive thinking.
    const OPUS_4_6: Self = Self(4, 6);
    /// The first one that refuses sampling parameters, and leaves out the text of its thinking.
    const OPUS_4_7: Self = Self(4, 7);

    /// The version in `claude-sonnet-4-5-20250929`, `claude-3-7-sonnet-latest`, `anthropic/claude-opus-4.1`.
    /// `None`: another model, or a name without a version.
    fn of_name(model: &str) -> Option<Self> {
        let (_, rest) = model.split_once("claude")?;
        let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric());
        // A date is no version.
        let number = |word: &str| (word.len() <= 2).then(|| word.parse().ok()).flatten();
        let major = words.find_map(number)?;
        Some(Self(major, words.next().and_then(number).unwrap_or(0)))
    }

    /// The tokens that each model of this version and later ones gives.
    /// <https://platform.claude.com/docs/en/about-claude/models/overview>
    const fn longest_answer(self) -> u64 {
        match self {
            Self(..3, _) | Self(3, ..5) => 4096,
            Self(3, ..7) => 8192,
            _ => 32_000,
        }
    }

    fn effort(self) -> EffortForm {
        match self {
            version if version < Self::SONNET_3_7 => EffortForm::Never,
            version if version < Self::OPUS_4_6 => EffortForm::Structured,
            _ => EffortForm::Named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_names() {
        for (name, version) in [
            ("claude-sonnet-4-5-20250929", Some((4, 5))),
            ("claude-opus-4-20250514", Some((4, 0))),
            ("claude-opus-4-1", Some((4, 1))),
            ("claude-3-7-sonnet-latest", Some((3, 7))),
            ("claude-3-haiku-20240307", Some((3, 0))),
            ("claude-haiku-5", Some((5, 0))),
            ("claude-opus-4-10", Some((4, 10))),
            ("anthropic/claude-sonnet-4.5", Some((4, 5))),
            ("anthropic.claude-sonnet-4-20250514-v1:0", Some((4, 0))),
            ("us.anthropic.claude-opus-4-6-v1", Some((4, 6))),
            ("claude-sonnet-4@20250514", Some((4, 0))),
            ("claude-mythos-preview", None),
            ("claude", None),
            ("deepseek-chat", None),
        ] {
            let expected = version.map(|(major, minor)| ClaudeVersion(major, minor));
            assert_eq!(ClaudeVersion::of_name(name), expected, "{name}");
        }
    }
}
