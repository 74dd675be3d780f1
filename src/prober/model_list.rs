//! The forms in which providers list their models, and the names taken from them. Reads text that a provider
//! controls: names are bounded in number and length, and a name becomes part of a path only if every byte of
//! it is harmless there.

use serde::{Deserialize, de::IgnoredAny};

/// Models of one provider's list; those beyond are not offered by name.
pub(super) const MAX_MODELS: usize = 4096;
/// Bytes of a model's name.
const MAX_NAME: usize = 256;

/// One page of a list.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ModelListForm {
    /// OpenAI's, with the paging of Anthropic's.
    Object {
        data: Vec<ListEntry>,
        #[serde(default)]
        has_more: Option<bool>,
        #[serde(default)]
        last_id: Option<Box<str>>,
    },
    /// Together's.
    Bare(Vec<ListEntry>),
}

/// One entry. An entry without a usable `id` is skipped, because it says nothing about the others.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ListEntry {
    Model { id: Box<str> },
    Unusable(IgnoredAny),
}

impl ModelListForm {
    /// Reads one page. `None`: not a list, or a list of which no entry has a name.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let page: Self = serde_json::from_slice(body).ok()?;
        let entries = page.entries();
        let named = entries.iter().any(|entry| matches!(entry, ListEntry::Model { .. }));
        (named || entries.is_empty()).then_some(page)
    }

    fn entries(&self) -> &[ListEntry] {
        let (Self::Object { data: entries, .. } | Self::Bare(entries)) = self;
        entries
    }

    /// The path of the next page. `None`: this is the last page, or its last name cannot stand in a path.
    pub(super) fn next(&self) -> Option<String> {
        match self {
            Self::Object { has_more: Some(true), last_id: Some(last), .. } => {
                let plain = |byte: u8| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/')
                };
                let fits = !last.is_empty() && last.len() <= MAX_NAME && last.bytes().all(plain);
                fits.then(|| format!("/models?limit=1000&after_id={last}"))
            }
            Self::Object { .. } | Self::Bare(_) => None,
        }
    }

    /// Adds the names that a request can contain, up to [`MAX_MODELS`].
    pub(super) fn take(self, models: &mut Vec<Box<str>>) {
        let (Self::Object { data: listed, .. } | Self::Bare(listed)) = self;
        for entry in listed {
            let ListEntry::Model { id } = entry else { continue };
            // Gemini lists its models with a prefix that its chat endpoint does not use.
            let name = id.strip_prefix("models/").unwrap_or(&id);
            let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
            if fits && models.len() < MAX_MODELS {
                models.push(name.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Box<str>> {
        let mut models = Vec::new();
        ModelListForm::read(text.as_bytes()).unwrap().take(&mut models);
        models
    }

    #[test]
    fn reads_lists_in_all_their_forms() {
        let plain = [Box::from("a"), Box::from("b/c")];
        assert_eq!(names(r#"{"object":"list","data":[{"id":"a","x":1},{"id":"b/c"}]}"#), plain);
        assert_eq!(names(r#"[{"id":"a"},{"id":"b/c","pricing":{}}]"#), plain);
        assert_eq!(names(r#"{"data":[{"id":"models/a"},{"id":"b/c"},{"id":""},{"id":"\u0007"}]}"#), plain);
        for text in ["{}", "null", "[1]", r#"{"data":{}}"#, r#"{"data":[{"name":"a"}]}"#, r#"{"error":"x"}"#]
        {
            assert!(ModelListForm::read(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(names(r#"{"data":[{"id":"a"},{"id":null},7,{"name":"x"},{"id":"b/c"}]}"#), plain);
        let many: Vec<String> =
            (0..MAX_MODELS + 9).map(|number| format!(r#"{{"id":"m{number}"}}"#)).collect();
        assert_eq!(names(&format!("[{}]", many.join(","))).len(), MAX_MODELS);
    }

    #[test]
    fn follows_pages_only_by_harmless_names() {
        let next = |text: &str| ModelListForm::read(text.as_bytes()).unwrap().next();
        let page = |last: &str| format!(r#"{{"data":[],"has_more":true,"last_id":"{last}"}}"#);
        assert_eq!(next(&page("claude-3")), Some("/models?limit=1000&after_id=claude-3".into()));
        for last in ["", "a b", "a&b", "a\\r\\nx: y", "é"] {
            assert_eq!(next(&page(last)), None, "{last}");
        }
        assert_eq!(next(r#"{"data":[],"has_more":false,"last_id":"a"}"#), None);
    }
}
