//! `GET /v1/models` and `GET /v1/models/{model}` (S0.8, S2.4, S3.5): each model once, in OpenAI's format,
//! with a list of its providers beside the standard fields.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::{
    proxy::{Refusal, Snapshot},
    routing::OfferedModel,
};

/// The list of all offered models.
pub(super) fn list(snapshot: &Snapshot) -> Value {
    let data: Vec<Value> = snapshot.catalog.offered().iter().map(entry).collect();
    json!({"object": "list", "data": data})
}

/// One model. `name` is the rest of the path, percent-encoded: `model` or `provider/model`.
///
/// # Errors
/// No provider lists the model (404).
pub(super) fn one(snapshot: &Snapshot, name: &str) -> Result<Value, Box<Refusal>> {
    let wanted = decoded(name);
    let offered = snapshot.catalog.offered();
    let plain = offered.iter().find(|offered| offered.model == wanted);
    let found = plain.map(entry).or_else(|| {
        let (provider, model) = wanted.split_once('/')?;
        let served =
            |offered: &&OfferedModel<'_>| offered.model == model && offered.providers.contains(&provider);
        offered.iter().find(served).map(|_| shown(&wanted, &[provider]))
    });
    found.ok_or_else(|| {
        let message = match snapshot.catalog.check_model(&wanted) {
            Err(unknown) => unknown.message(&wanted),
            Ok(()) => format!("no provider lists the model `{wanted}`"),
        };
        Refusal::request(404, "model_not_found", message).of(Some("model"))
    })
}

fn entry(offered: &OfferedModel<'_>) -> Value {
    shown(offered.model, &offered.providers)
}

fn shown(model: &str, providers: &[&str]) -> Value {
    json!({
        "id": model,
        "object": "model",
        "created": 0,
        "owned_by": providers.first().copied().unwrap_or_default(),
        "providers": providers,
    })
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
