//! The forms in which providers list their models, and the names taken from them. Reads text that a provider
//! controls: names are bounded in number and length, and a name becomes part of a path only if every byte of
//! it is harmless there.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use crate::routing::ModelDetails;

/// Models of one provider's list; those beyond are not offered by name.
pub(super) const MAX_MODELS: usize = 4096;
/// Bytes of a model's name.
const MAX_NAME: usize = 256;
/// Bytes of the path of a next page.
const MAX_NEXT: usize = 2048;
/// Bytes of a field that is kept beside the name, as JSON; longer ones are descriptions.
const MAX_FIELD: usize = 512;
/// Bytes of all fields of a model, and of all models of a list.
const MAX_FIELDS: usize = 2048;
const MAX_DETAILS: usize = 1024 * 1024;
/// Bytes of a list for other replicas.
const MAX_DOCUMENT: usize = 2 * 1024 * 1024;

/// The models of a provider's list.
#[derive(Debug, Default)]
pub(super) struct ListedModels {
    pub(super) names: Vec<Box<str>>,
    pub(super) details: ModelDetails,
    /// Bytes of the details so far.
    size: usize,
}

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
    /// That of Gemini's own API.
    #[serde(rename_all = "camelCase")]
    Google {
        models: Vec<GoogleEntry>,
        #[serde(default)]
        next_page_token: Option<Box<str>>,
    },
}

/// One entry. An entry without a usable `id` is skipped, because it says nothing about the others.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ListEntry {
    Model {
        id: Box<str>,
        #[serde(flatten)]
        fields: Map<String, Value>,
    },
    Unusable(IgnoredAny),
}

/// An entry of Google's list, whose name has a prefix.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum GoogleEntry {
    Model {
        name: Box<str>,
        #[serde(flatten)]
        fields: Map<String, Value>,
    },
    Unusable(IgnoredAny),
}

/// The name and the other fields of a usable entry.
type NamedEntry = (Box<str>, Map<String, Value>);

impl ListEntry {
    fn named(self) -> Option<NamedEntry> {
        match self {
            Self::Model { id, fields } => Some((id, fields)),
            Self::Unusable(IgnoredAny) => None,
        }
    }
}

impl GoogleEntry {
    fn named(self) -> Option<NamedEntry> {
        match self {
            Self::Model { name, fields }
                if name.starts_with("models/") || name.starts_with("tunedModels/") =>
            {
                Some((name, fields))
            }
            Self::Model { .. } | Self::Unusable(IgnoredAny) => None,
        }
    }
}

impl ModelListForm {
    /// Reads one page. `None`: not a list, or a list of which no entry has a name.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let page: Self = serde_json::from_slice(body).ok()?;
        let (named, is_empty) = match &page {
            Self::Object { data: entries, .. } | Self::Bare(entries) => {
                (entries.iter().any(|entry| matches!(entry, ListEntry::Model { .. })), entries.is_empty())
            }
            Self::Google { models, .. } => {
                (models.iter().any(|entry| matches!(entry, GoogleEntry::Model { .. })), models.is_empty())
            }
        };
        (named || is_empty).then_some(page)
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
            Self::Google { next_page_token: Some(token), .. } => {
                let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
                let path = format!("/models?pageSize=1000&pageToken={token}");
                (path.len() <= MAX_NEXT).then_some(path)
            }
            Self::Object { .. } | Self::Bare(_) | Self::Google { .. } => None,
        }
    }

    /// Adds the names that a request can contain, up to [`MAX_MODELS`].
    pub(super) fn take(self, models: &mut ListedModels) {
        let named: Vec<NamedEntry> = match self {
            Self::Object { data: listed, .. } | Self::Bare(listed) => {
                listed.into_iter().filter_map(ListEntry::named).collect()
            }
            Self::Google { models, .. } => models.into_iter().filter_map(GoogleEntry::named).collect(),
        };
        for (id, fields) in named {
            // Gemini lists its models with a prefix that its chat endpoint does not use.
            let name = id.strip_prefix("models/").unwrap_or(&id);
            let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
            if fits && models.names.len() < MAX_MODELS {
                models.names.push(name.into());
                models.add_details(name, fields);
            }
        }
    }
}

impl ListedModels {
    /// The list in the form that [`ModelListForm`] reads, for other replicas. `None`: it is too long.
    pub(super) fn document(&self) -> Option<Vec<u8>> {
        let entry = |name: &str| {
            let fields = self.details.of(name).and_then(|fields| serde_json::from_str(fields).ok());
            let mut entry: Map<String, Value> = fields.unwrap_or_default();
            entry.insert("id".to_owned(), Value::from(name));
            entry
        };
        let data: Vec<_> = self.names.iter().map(|name| entry(name)).collect();
        let document = serde_json::json!({ "data": data }).to_string().into_bytes();
        (document.len() <= MAX_DOCUMENT).then_some(document)
    }

    /// Of such a document.
    pub(super) fn of_document(document: &[u8]) -> Option<Self> {
        let mut models = Self::default();
        ModelListForm::read(document)?.take(&mut models);
        Some(models)
    }

    /// Keeps the short fields, as far as there is room.
    fn add_details(&mut self, name: &str, fields: Map<String, Value>) {
        let mut size = 0;
        let kept: Map<String, Value> = fields
            .into_iter()
            .filter(|(key, _)| !matches!(&**key, "object" | "providers" | "permission"))
            .filter(|(key, value)| {
                let length = key.len() + value.to_string().len();
                let fits = length <= MAX_FIELD && size + length <= MAX_FIELDS;
                size += if fits { length } else { 0 };
                fits
            })
            .collect();
        if !kept.is_empty() && self.size + size <= MAX_DETAILS {
            self.size += size;
            self.details.add(name, Value::Object(kept).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Box<str>> {
        let mut models = ListedModels::default();
        ModelListForm::read(text.as_bytes()).unwrap().take(&mut models);
        models.names
    }

    #[test]
    fn reads_lists_in_all_their_forms() {
        let plain = [Box::from("a"), Box::from("b/c")];
        assert_eq!(names(r#"{"object":"list","data":[{"id":"a","x":1},{"id":"b/c"}]}"#), plain);
        assert_eq!(names(r#"[{"id":"a"},{"id":"b/c","pricing":{}}]"#), plain);
        let google =
            r#"{"models":[{"name":"models/a","displayName":"A"},{"name":"tunedModels/c"},{"name":"b"}]}"#;
        assert_eq!(names(google), [Box::from("a"), Box::from("tunedModels/c")]);
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

    /// B11.
    #[test]
    fn short_fields_are_kept_within_bounds() {
        let mut models = ListedModels::default();
        let long = "x".repeat(600);
        let list = format!(
            r#"[{{"id":"a","object":"model","created":7,"context_length":4096,"description":"{long}","pricing":{{"prompt":"0.1"}}}},{{"id":"b"}},{{"id":"models/c","owned_by":"me"}}]"#
        );
        ModelListForm::read(list.as_bytes()).unwrap().take(&mut models);
        let of = |name| models.details.of(name).map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(
            of("a"),
            Some(serde_json::json!({"created": 7, "context_length": 4096, "pricing": {"prompt": "0.1"}}))
        );
        assert_eq!((of("b"), of("c")), (None, Some(serde_json::json!({"owned_by": "me"}))));
        let field = |number: usize| format!(r#""f{number}":"{}""#, "y".repeat(400));
        let many: Vec<String> = (0..3000)
            .map(|number| {
                format!(r#"{{"id":"m{number}",{}}}"#, (0..9).map(field).collect::<Vec<_>>().join(","))
            })
            .collect();
        let mut models = ListedModels::default();
        ModelListForm::read(format!("[{}]", many.join(",")).as_bytes()).unwrap().take(&mut models);
        assert!(models.details.of("m0").is_some_and(|text| text.len() < 2 * MAX_FIELDS));
        assert!(models.details.of("m2999").is_none() && models.names.len() == 3000);
    }

    #[test]
    fn a_list_for_other_replicas_is_read_as_it_was() {
        let list = br#"[{"id":"a","context_length":4096},{"id":"models/b"}]"#;
        let mut models = ListedModels::default();
        ModelListForm::read(list).unwrap().take(&mut models);
        let read = ListedModels::of_document(&models.document().unwrap()).unwrap();
        assert_eq!((&read.names, &read.details), (&models.names, &models.details));
        assert_eq!((read.names.len(), read.details.of("a").is_some()), (2, true));
        assert!(ListedModels::of_document(b"x").is_none());
    }

    #[test]
    fn follows_pages_only_by_harmless_names() {
        let next = |text: &str| ModelListForm::read(text.as_bytes()).unwrap().next();
        let page = |last: &str| format!(r#"{{"data":[],"has_more":true,"last_id":"{last}"}}"#);
        assert_eq!(next(&page("claude-3")), Some("/models?limit=1000&after_id=claude-3".into()));
        for last in ["", "a b", "a&b", "a\\r\\nx: y", "é"] {
            assert_eq!(next(&page(last)), None, "{last}");
        }
        let google = r#"{"models":[{"name":"models/a"}],"nextPageToken":"Ch5t=&"}"#;
        assert_eq!(next(google), Some("/models?pageSize=1000&pageToken=Ch5t%3D%26".into()));
        assert_eq!(next(r#"{"models":[]}"#), None);
        assert_eq!(next(r#"{"data":[],"has_more":false,"last_id":"a"}"#), None);
    }
}
