//! `GET /v1/models` and `GET /v1/models/{model}` (S0.8, S2.4, S3.5): each model once, in OpenAI's form,
//! with the fields of its provider's list and a list of its providers; with the header `anthropic-version`
//! in Anthropic's form, and for Google's clients or below `/v1beta` in Gemini's, in pages. A key sees the
//! models that it may use and no other.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::{
    auth::KeyLimits,
    base::RequestHead,
    base::time::Rfc3339,
    proxy::{Refusal, Snapshot},
    routing::OfferedModel,
    wire::Dialect,
};

/// Models of a page in Anthropic's form, unless the query asks for another number, and the largest number.
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;
/// Models of a page in Gemini's form.
const GEMINI_PAGE: usize = 50;
const COLLECTION: &str = "models/";
/// Gemini's names of sizes, and those of other lists.
const GEMINI_SIZES: [(&str, &[&str]); 2] = [
    ("inputTokenLimit", &["context_length", "context_window", "max_model_len", "max_input_tokens"]),
    ("outputTokenLimit", &["max_output_tokens", "max_completion_tokens", "max_tokens"]),
];

/// A model that a key may use, by the name that it must use.
struct VisibleModel<'a> {
    id: String,
    providers: Vec<&'a str>,
    fields: Map<String, Value>,
}

/// Whether a request is for Anthropic's form.
#[must_use]
pub(super) fn is_for_anthropic(head: &RequestHead) -> bool {
    head.headers.contains("anthropic-version")
}

/// The list of all offered models that a key with these limits may use.
///
/// # Errors
/// The query asks for no page (400).
pub(super) fn list(
    snapshot: &Snapshot,
    limits: &KeyLimits,
    (dialect, head): (Dialect, &RequestHead),
) -> Result<Value, Box<Refusal>> {
    let query = head.uri.query().unwrap_or_default();
    let offered = snapshot.catalog.offered();
    let visible =
        each_once(offered.iter().flat_map(|offered| VisibleModel::all_of(offered, snapshot, limits)));
    match dialect {
        Dialect::Gemini => return gemini_page(visible, query),
        Dialect::Messages => return page(visible, query),
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Responses => {}
    }
    let data: Vec<Value> = visible.into_iter().map(VisibleModel::for_openai).collect();
    let mut list = json!({"object": "list", "data": data});
    // Codex reads this member alone. It keeps its own descriptions of models where the list is empty.
    if parameter(query, "client_version").is_some() {
        list["models"] = json!([]);
    }
    Ok(list)
}

/// One model. `name` is the rest of the path, percent-encoded: `model` or `provider/model`.
///
/// # Errors
/// No provider lists the model, or the key may not use it (404).
pub(super) fn one(
    snapshot: &Snapshot,
    limits: &KeyLimits,
    dialect: Dialect,
    name: &str,
) -> Result<Value, Box<Refusal>> {
    let mut wanted = decoded(name);
    if let Some(plain) = wanted.strip_prefix(COLLECTION).filter(|_| dialect == Dialect::Gemini) {
        wanted = plain.to_owned();
    }
    let offered = snapshot.catalog.offered();
    let plain = || {
        let found = offered.iter().find(|offered| offered.model == wanted)?;
        Some(VisibleModel::of(found, wanted.clone(), found.providers.clone()))
    };
    let prefixed = || {
        let (provider, model) = wanted.split_once('/')?;
        let found = offered.iter().find(|offered| offered.model == model)?;
        let provider = found.providers.iter().find(|known| **known == provider)?;
        Some(VisibleModel::of(found, wanted.clone(), vec![provider]))
    };
    let found =
        Some(()).filter(|()| snapshot.allows(limits, &wanted)).and_then(|()| plain().or_else(prefixed));
    let found = found.ok_or_else(|| {
        let message = match snapshot.catalog.check_model(&wanted) {
            // Similar names may be names of models that the key may not use.
            Err(unknown) if limits.models.is_empty() => unknown.message(&wanted),
            Err(_) | Ok(()) => format!("no provider lists the model `{wanted}`"),
        };
        Refusal::request(404, "model_not_found", message).of(Some("model"))
    })?;
    Ok(match dialect {
        Dialect::Gemini => found.for_gemini(),
        Dialect::Messages => found.for_anthropic(),
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Responses => {
            found.for_openai()
        }
    })
}

impl<'a> VisibleModel<'a> {
    fn of(offered: &OfferedModel<'a>, id: String, providers: Vec<&'a str>) -> Self {
        let fields = offered.details.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Self { id, providers, fields }
    }

    /// The model under its plain name if the key may use that, else under the names with those providers
    /// that the key may use.
    fn all_of(offered: &OfferedModel<'a>, snapshot: &Snapshot, limits: &KeyLimits) -> Vec<Self> {
        if snapshot.allows(limits, offered.model) {
            return vec![Self::of(offered, offered.model.to_owned(), offered.providers.clone())];
        }
        let named = |provider: &&'a str| {
            let id = format!("{provider}/{}", offered.model);
            snapshot.allows(limits, &id).then(|| Self::of(offered, id, vec![provider]))
        };
        offered.providers.iter().filter_map(named).collect()
    }

    /// The id begins with the name of its only provider.
    fn names_its_provider(&self) -> bool {
        let [provider] = &*self.providers else { return false };
        self.id.strip_prefix(provider).is_some_and(|rest| rest.starts_with('/'))
    }

    fn for_openai(self) -> Value {
        let Self { id, providers, mut fields } = self;
        fields.entry("created").or_insert(json!(0));
        fields.entry("owned_by").or_insert_with(|| providers.first().copied().unwrap_or_default().into());
        fields.insert("id".to_owned(), id.into());
        fields.insert("object".to_owned(), "model".into());
        fields.insert("providers".to_owned(), providers.into());
        fields.into()
    }

    /// The fields of a list of Google's stay; of others those are named that have a place.
    fn for_gemini(self) -> Value {
        let Self { id, mut fields, .. } = self;
        if !fields.contains_key("supportedGenerationMethods") {
            let mut own = Map::new();
            let names = fields.get("display_name").or_else(|| fields.get("name"));
            own.insert("displayName".to_owned(), names.cloned().unwrap_or_else(|| id.clone().into()));
            for (name, places) in GEMINI_SIZES {
                if let Some(size) = places.iter().find_map(|place| fields.get(*place)?.as_u64()) {
                    own.insert(name.to_owned(), size.into());
                }
            }
            let methods = json!(["generateContent", "streamGenerateContent", "countTokens"]);
            own.insert("supportedGenerationMethods".to_owned(), methods);
            fields = own;
        }
        let name = if id.starts_with("tunedModels/") { id } else { format!("{COLLECTION}{id}") };
        fields.insert("name".to_owned(), name.into());
        fields.into()
    }

    fn for_anthropic(self) -> Value {
        let Self { id, mut fields, .. } = self;
        let name = fields.get("display_name").or_else(|| fields.get("name")).and_then(Value::as_str);
        let display_name = name.unwrap_or(&id).to_owned();
        let has_date = fields.get("created_at").is_some_and(Value::is_string);
        if !has_date {
            let seconds = fields.get("created").and_then(Value::as_u64).unwrap_or(0);
            let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            let date = Rfc3339(date.unwrap_or(SystemTime::UNIX_EPOCH)).to_string();
            fields.insert("created_at".to_owned(), date.into());
        }
        fields.insert("type".to_owned(), "model".into());
        fields.insert("display_name".to_owned(), display_name.into());
        fields.insert("id".to_owned(), id.into());
        fields.into()
    }
}

/// Each id once: a provider may list a model by a name that begins with the name of another provider, which
/// is then the one that serves the id.
fn each_once<'a>(models: impl Iterator<Item = VisibleModel<'a>>) -> Vec<VisibleModel<'a>> {
    let (mut all, mut places): (Vec<VisibleModel<'a>>, _) = (Vec::new(), HashMap::new());
    for model in models {
        match places.get(&model.id).and_then(|place: &usize| all.get_mut(*place)) {
            Some(known) if model.names_its_provider() => *known = model,
            Some(_) => {}
            None => {
                places.insert(model.id.clone(), all.len());
                all.push(model);
            }
        }
    }
    all
}

/// A page in Gemini's form, by `pageSize` and `pageToken`, which is the number of models before it.
fn gemini_page(mut visible: Vec<VisibleModel<'_>>, query: &str) -> Result<Value, Box<Refusal>> {
    let number = |name: &'static str, usual: usize| match parameter(query, name).as_deref() {
        None | Some("" | "0") => Ok(usual),
        Some(given) => given.parse::<usize>().map_err(|_| {
            Refusal::request(400, "invalid_query", format!("`{name}` is no number of a page")).of(Some(name))
        }),
    };
    let (size, start) = (number("pageSize", GEMINI_PAGE)?.min(MAX_PAGE), number("pageToken", 0)?);
    visible.drain(..start.min(visible.len()));
    let has_more = visible.len() > size;
    visible.truncate(size);
    let models: Vec<Value> = visible.into_iter().map(VisibleModel::for_gemini).collect();
    let mut page = json!({"models": models});
    if has_more {
        page["nextPageToken"] = (start + size).to_string().into();
    }
    Ok(page)
}

/// A page in Anthropic's form, by `limit` and `after_id` or `before_id`.
fn page(mut visible: Vec<VisibleModel<'_>>, query: &str) -> Result<Value, Box<Refusal>> {
    let refuse = |name: &'static str, message: &'static str| {
        Err(Refusal::request(400, "invalid_query", message).of(Some(name)))
    };
    let limit = match parameter(query, "limit").map(|limit| limit.parse()) {
        None => PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return refuse("limit", "`limit` must be 1 to 1000"),
    };
    let place = |id: &str| visible.iter().position(|model| model.id == id);
    let (after, before) = (parameter(query, "after_id"), parameter(query, "before_id"));
    let has_more = match (after, before) {
        (Some(_), Some(_)) => return refuse("before_id", "`after_id` and `before_id` exclude each other"),
        (after, None) => {
            let start = match after.as_deref().map(place) {
                None => 0,
                Some(Some(at)) => at + 1,
                Some(None) => return refuse("after_id", "`after_id` is the id of no model"),
            };
            visible.drain(..start);
            let has_more = visible.len() > limit;
            visible.truncate(limit);
            has_more
        }
        (None, Some(before)) => {
            let Some(end) = place(&before) else {
                return refuse("before_id", "`before_id` is the id of no model");
            };
            visible.truncate(end);
            let start = end.saturating_sub(limit);
            visible.drain(..start);
            start > 0
        }
    };
    let id = |model: Option<&VisibleModel<'_>>| model.map(|model| model.id.clone());
    let (first_id, last_id) = (id(visible.first()), id(visible.last()));
    let data: Vec<Value> = visible.into_iter().map(VisibleModel::for_anthropic).collect();
    Ok(json!({"data": data, "has_more": has_more, "first_id": first_id, "last_id": last_id}))
}

/// The value of a parameter of a query, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| decoded(value))
}

/// Decodes percent-encoding (RFC 3986, section 2.1). A `%` without two hexadecimal digits stays as it is.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_percent_encoding_and_nothing_else() {
        for (text, plain) in
            [("a%2Fb", "a/b"), ("a%2", "a%2"), ("%zz%41", "%zzA"), ("%", "%"), ("%e2%82%ac", "€"), ("", "")]
        {
            assert_eq!(decoded(text), plain);
        }
    }
}
