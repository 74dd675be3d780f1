//! Schemas as Anthropic's structured outputs take them.
//!
//! An object must be closed (`additionalProperties: false`), and bounds of numbers, lengths and lists are
//! refused with a 400. They move into the description, and an open object is closed, as Anthropic's own
//! libraries do it; both are listed.
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>

use super::{
    members::Dropped,
    nodes::NodeBuffers,
    schema::write_gemini_schema,
    value::{JsonDocument, JsonValue},
    write::{ArrayWriter, ObjectWriter},
};

const BOUNDS: [&str; 12] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

pub(super) fn write_closed(schema: JsonValue<'_>, is_gemini: bool, dropped: &mut Dropped, out: &mut Vec<u8>) {
    if !is_gemini {
        return write_node(schema, true, dropped, out);
    }
    let mut usual = Vec::new();
    write_gemini_schema(schema, &mut usual);
    let (usual, mut buffers) = (str::from_utf8(&usual).unwrap_or_default(), NodeBuffers::default());
    match buffers.read(usual) {
        Ok(()) => write_node(JsonDocument::new(usual, &buffers).root(), true, dropped, out),
        Err(_) => schema.write(out),
    }
}

fn write_node(schema: JsonValue<'_>, is_root: bool, dropped: &mut Dropped, out: &mut Vec<u8>) {
    if schema.is_array() {
        let mut array = ArrayWriter::open(out);
        schema.elements().for_each(|element| write_node(element, false, dropped, array.element()));
        return array.close();
    }
    if !schema.is_object() {
        return schema.write(out);
    }
    let bounds: Vec<(&str, JsonValue<'_>)> =
        schema.members().filter(|(name, value)| is_bound(name, *value)).collect();
    let mut object = ObjectWriter::open(out);
    for (name, value) in schema.members() {
        match name {
            _ if is_bound(name, value) => dropped.note(&format!("schema:{name}")),
            "description" if !bounds.is_empty() => {}
            "additionalProperties" if value.as_bool() != Some(false) => {
                dropped.note("schema:additionalProperties");
                object.flag("additionalProperties", false);
            }
            "properties" | "$defs" | "definitions" if value.is_object() => {
                let mut map = object.object(name);
                value.members().for_each(|(name, inner)| write_node(inner, false, dropped, map.key(name)));
                map.close();
            }
            "items" | "anyOf" | "allOf" => write_node(value, false, dropped, object.key(name)),
            "oneOf" => write_node(value, false, dropped, object.key("anyOf")),
            _ => object.value(name, value),
        }
    }
    if schema.get("additionalProperties").is_none() {
        // One without properties is any object, which Anthropic cannot say.
        let has_properties = schema.get("properties").is_some();
        let is_object = |kind: JsonValue<'_>| kind.as_str() == Some("object");
        let kind = schema.get("type");
        let has_object = kind.is_some_and(|kind| is_object(kind) || kind.elements().any(is_object));
        let is_any = !has_properties && !is_root && has_object;
        if is_any {
            dropped.note("schema:additionalProperties");
        }
        if has_properties || is_any {
            object.flag("additionalProperties", false);
        }
    }
    if !bounds.is_empty() {
        let words: Vec<String> =
            bounds.iter().map(|(name, value)| format!("{name}: {}", value.to_text())).collect();
        let before = schema.get("description").and_then(JsonValue::as_str).unwrap_or_default();
        let gap = if before.is_empty() { "" } else { "\n\n" };
        object.text("description", &format!("{before}{gap}{{{}}}", words.join(", ")));
    }
    object.close();
}

fn is_bound(name: &str, value: JsonValue<'_>) -> bool {
    match name {
        "minItems" => value.as_u64().is_none_or(|least| least > 1),
        "format" => value.as_str().is_none_or(|format| !FORMATS.contains(&format)),
        _ => BOUNDS.contains(&name),
    }
}
