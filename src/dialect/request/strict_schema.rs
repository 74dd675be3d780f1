//! Schemas as OpenAI's strict mode takes them.
//!
//! An object must be closed and ask for all of its properties, and few keywords are known; another schema is
//! a 400. Anthropic's strict mode takes more, so that its clients' schemas may go without.
//! <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>

use std::collections::HashSet;

use super::value::JsonValue;

const KEYWORDS: [&str; 16] = [
    "$schema",
    "type",
    "title",
    "description",
    "required",
    "additionalProperties",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
];
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// Whether strict mode takes the schema of a tool's parameters or of an answer.
pub(super) fn fits(schema: JsonValue<'_>) -> bool {
    schema.get("type").and_then(JsonValue::as_str) == Some("object")
        && schema.get("anyOf").is_none()
        && is_strict(schema)
}

fn is_strict(schema: JsonValue<'_>) -> bool {
    if schema.get("$ref").is_some() {
        // It may have nothing beside it.
        return schema.members().all(|(name, _)| name == "$ref");
    }
    let is_known = |(name, value): (&str, JsonValue<'_>)| match name {
        "properties" | "$defs" | "definitions" => {
            value.is_object() && value.members().all(|(_, inner)| is_strict(inner))
        }
        "items" => is_strict(value),
        "anyOf" => value.is_array() && value.elements().all(is_strict),
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        _ => KEYWORDS.contains(&name),
    };
    let is_typed = schema.get("type").is_some() || schema.get("anyOf").is_some();
    schema.is_object() && is_typed && schema.members().all(is_known) && is_closed(schema)
}

/// No object, or one that is closed and asks for all of its properties.
fn is_closed(schema: JsonValue<'_>) -> bool {
    let is_object = |kind: JsonValue<'_>| kind.as_str() == Some("object");
    let kind = schema.get("type");
    if !kind.is_some_and(|kind| is_object(kind) || kind.elements().any(is_object)) {
        return true;
    }
    let (Some(required), Some(properties)) = (schema.get("required"), schema.get("properties")) else {
        return false;
    };
    let asked: HashSet<&str> = required.elements().filter_map(JsonValue::as_str).collect();
    schema.get("additionalProperties").and_then(JsonValue::as_bool) == Some(false)
        && properties.members().all(|(name, _)| asked.contains(name))
}
