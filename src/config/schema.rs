//! A JSON schema of the configuration file (draft 7), for editors. It is found by asking the code: the reader
//! is given values of all kinds in each place, and its problems tell which it takes. So no key is missing,
//! and a new one needs no second description. Ranges and words are those of the problems' texts.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    document,
    env::Env,
    problem::Problem,
    root,
    section::{ReadContext, SeenKeys},
};

/// Objects within objects; the file has fewer.
const MAX_DEPTH: usize = 8;

/// A key in the place of those that the operator chooses.
const ANY_KEY: &str = "any";

/// Strings of the forms that some key takes.
const STRINGS: [&str; 13] = [
    "word",
    "race",
    "1s",
    "p95",
    "a|b",
    "a|http://a.example/v1|b",
    "localhost:9001",
    "http://a.example",
    "redis://a.example",
    "postgres://a.example",
    "10.0.0.0/8",
    "2027-01-31",
    "a.example",
];

/// One step from the root to a value.
#[derive(Clone)]
enum PathStep {
    Key(String),
    Item,
}

/// The answer of the reader to one file.
struct Reading {
    problems: Vec<Problem>,
    seen: HashMap<String, SeenKeys>,
}

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schema_of(&[]);
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        object.insert("title".to_owned(), "thalweg's configuration".into());
        object.insert("definitions".to_owned(), definitions());
    }
    schema
}

/// Kinds of values that many keys take.
fn definitions() -> Value {
    json!({
        "duration": {
            "description": "seconds as a number, or a string with a unit: 250us, 50ms, 300s, 1m, 2h, 1d",
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|µs|ms|s|sec|m|min|h|d)?\s*$"},
            ],
        },
        "size": {
            "description": "bytes as a number, or a string with a unit: 64KiB, 32MiB, 1GB",
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgG][iI]?)?[bB]?\s*$"},
            ],
        },
        "share": {
            "description": "a share from 0 to 1, or as 5%",
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?%\s*$"},
            ],
        },
    })
}

/// The schema of the value at this place.
fn schema_of(place: &[PathStep]) -> Value {
    if place.len() > MAX_DEPTH {
        return json!({});
    }
    let mut forms = Vec::new();
    forms.extend(boolean(place));
    forms.extend(number(place));
    forms.extend(string(place));
    if refusal(place, &json!([])).is_none() {
        let items: Vec<PathStep> = place.iter().cloned().chain([PathStep::Item]).collect();
        forms.push(json!({"type": "array", "items": schema_of(&items)}));
    }
    forms.extend(object(place));
    // A key that is null counts as absent.
    if matches!(place.last(), Some(PathStep::Key(_))) {
        forms.push(json!({"type": "null"}));
    }
    match forms.len() {
        // A kind that no probe meets: anything is within the schema.
        0 => json!({}),
        1 => forms.swap_remove(0),
        _ => json!({"anyOf": forms}),
    }
}

fn boolean(place: &[PathStep]) -> Option<Value> {
    let takes = |flag: bool| refusal(place, &flag.into()).is_none();
    match (takes(true), takes(false)) {
        (true, true) => Some(json!({"type": "boolean"})),
        (false, true) => Some(json!({"enum": [false]})),
        (true, false) => Some(json!({"enum": [true]})),
        (false, false) => None,
    }
}

/// A number, or a kind that is written as a number, too.
fn number(place: &[PathStep]) -> Option<Value> {
    let Some(reason) = refusal(place, &json!(-1)) else { return Some(json!({"type": "number"})) };
    let starts = |text: &str| reason.starts_with(text);
    let form = if starts("expected a whole number from ") {
        let (least, most) = reason.trim_start_matches("expected a whole number from ").split_once(" to ")?;
        json!({"type": "integer", "minimum": least.parse::<u64>().ok()?, "maximum": most.parse::<u64>().ok()?})
    } else if starts("expected seconds, ") {
        json!({"$ref": "#/definitions/duration"})
    } else if starts("expected a number of bytes, ") {
        json!({"$ref": "#/definitions/size"})
    } else if starts("expected a share ") {
        json!({"$ref": "#/definitions/share"})
    } else if refusal(place, &json!(1)).is_none() {
        json!({"type": "number", "minimum": 0})
    } else {
        return None;
    };
    Some(form)
}

fn string(place: &[PathStep]) -> Option<Value> {
    let word = refusal(place, &STRINGS[0].into());
    if let Some(list) = word.as_deref().and_then(|reason| reason.strip_prefix("expected one of "))
        && !list.contains(", or ")
    {
        // They are read in any letter case; these two are usual.
        let words: Vec<&str> = list.split(", ").collect();
        let other =
            words.iter().map(|word| word.to_ascii_lowercase()).filter(|word| !words.contains(&&**word));
        let all: Vec<String> = words.iter().map(|word| (*word).to_owned()).chain(other).collect();
        return Some(json!({"enum": all}));
    }
    let is_taken = |text: &&str| refusal(place, &(**text).into()).is_none();
    // A duration's strings are in its own definition.
    let number = refusal(place, &json!(-1)).unwrap_or_default();
    let is_own = ["expected seconds, ", "expected a number of bytes, ", "expected a share "]
        .iter()
        .any(|kind| number.starts_with(kind));
    let takes_words = STRINGS.iter().any(is_taken) || word.is_some_and(|reason| reason.contains(", or as "));
    (takes_words && (!is_own || refusal(place, &"p95".into()).is_none())).then(|| json!({"type": "string"}))
}

fn object(place: &[PathStep]) -> Option<Value> {
    if refusal(place, &json!({})).is_some() {
        return None;
    }
    let Reading { problems, mut seen } = read(place, &json!({}));
    let path = path_of(place);
    let deeper = |key: &str| place.iter().cloned().chain([PathStep::Key(key.to_owned())]).collect::<Vec<_>>();
    let Some(keys) = seen.remove(&path) else {
        return Some(json!({"type": "object", "additionalProperties": schema_of(&deeper(ANY_KEY))}));
    };
    let mut properties: Map<String, Value> =
        keys.known.iter().map(|key| ((*key).to_owned(), schema_of(&deeper(key)))).collect();
    properties.insert("$schema".to_owned(), json!({"type": "string"}));
    let is_required = |key: &&&str| {
        let place = path_of(&deeper(key));
        problems.iter().any(|problem| problem.path == place && problem.message == "missing")
    };
    let required: Vec<&&str> = keys.known.iter().filter(is_required).collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {"^(_|//)": {}},
        "additionalProperties": if keys.any { schema_of(&deeper(ANY_KEY)) } else { false.into() },
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    Some(object)
}

/// Why a value of this kind is not taken at this place. `None`: its kind is, though this value may be wrong.
fn refusal(place: &[PathStep], value: &Value) -> Option<String> {
    let path = path_of(place);
    let problems = read(place, value).problems;
    let problem =
        problems.into_iter().find(|problem| problem.path == path && problem.message.starts_with("expected"));
    problem.map(|problem| problem.message)
}

/// Reads a file that holds this value at this place, and nothing else.
fn read(place: &[PathStep], value: &Value) -> Reading {
    let file = place.iter().rev().fold(value.clone(), |inner, step| match step {
        PathStep::Key(key) => json!({ key.as_str(): inner }),
        PathStep::Item => json!([inner]),
    });
    let env = Env::empty();
    let mut context =
        ReadContext { env: &env, folder: None, problems: Vec::new(), seen: Some(HashMap::new()) };
    if let Ok(document) = document::read(&file.to_string()) {
        root::read(&mut context, &document);
    }
    Reading { problems: context.problems, seen: context.seen.unwrap_or_default() }
}

/// The path of a place, as problems have it.
fn path_of(place: &[PathStep]) -> String {
    place.iter().fold(String::new(), |path, step| match step {
        PathStep::Key(key) if path.is_empty() => key.clone(),
        PathStep::Key(key) => format!("{path}.{key}"),
        PathStep::Item => format!("{path}[0]"),
    })
}

#[cfg(test)]
mod tests;
