//! Descriptions and schemas of tools, also from Gemini's own form of a schema.
//!
//! A schema is written as the client wrote it, with its members in their order: providers' prefix caches
//! count on it. A custom tool becomes a function of one string, with its grammar in the description.

use std::borrow::Cow;

use super::{
    value::JsonValue,
    wishes::{FunctionTool, ToolForm},
    write::{ArrayWriter, ObjectWriter},
};
use crate::dialect::json::JsonWrite;

impl FunctionTool<'_> {
    /// The description, with the grammar that binds a custom tool's input.
    pub(super) fn full_description(&self) -> Option<Cow<'_, str>> {
        let ToolForm::Custom { grammar } = self.form else {
            return self.description.as_deref().map(Cow::Borrowed);
        };
        let description = self.description.as_deref().unwrap_or_default();
        Some(match grammar {
            Some((syntax, definition)) => Cow::Owned(format!(
                "{description}\n\nThe member `input` is a text of this grammar ({syntax}):\n{definition}"
            )),
            None => Cow::Owned(format!("{description}\n\nThe member `input` is a free text.")),
        })
    }

    /// Whether the client gives a schema with a type.
    pub(super) fn has_typed_schema(&self) -> bool {
        match self.form {
            ToolForm::Function { parameters } => {
                parameters.is_some_and(|schema| schema.get("type").is_some())
            }
            ToolForm::GeminiFunction { parameters } => parameters.get("type").is_some(),
            ToolForm::Custom { .. } | ToolForm::LocalShell => true,
        }
    }

    /// Writes the schema of the arguments as a member, if there is one.
    pub(super) fn write_schema(&self, name: &str, object: &mut ObjectWriter<'_>) -> bool {
        let has_schema = !matches!(self.form, ToolForm::Function { parameters: None });
        if has_schema {
            self.write_schema_to(object.key(name));
        }
        has_schema
    }

    fn write_schema_to(&self, out: &mut Vec<u8>) {
        match self.form {
            ToolForm::Function { parameters: None } => {}
            ToolForm::Function { parameters: Some(parameters) } => parameters.write(out),
            ToolForm::GeminiFunction { parameters } => write_gemini_schema(parameters, out),
            ToolForm::Custom { .. } => _ = out.raw(INPUT_SCHEMA),
            ToolForm::LocalShell => _ = out.raw(SHELL_SCHEMA),
        }
    }

    /// The same for OpenAI, which refuses an object that does not say its properties, and an array that does
    /// not say its items.
    pub(super) fn write_parameters(&self, object: &mut ObjectWriter<'_>) -> bool {
        let schema = match self.form {
            ToolForm::Function { parameters } => parameters,
            ToolForm::GeminiFunction { parameters } => Some(parameters),
            ToolForm::Custom { .. } | ToolForm::LocalShell => None,
        };
        let is_bare = |schema: &JsonValue<'_>| {
            let kind = schema.get("type").and_then(JsonValue::as_str);
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case("object")) && schema.get("properties").is_none()
        };
        let is_bare = schema.as_ref().is_some_and(is_bare);
        // Gemini's own API asks for the items, too.
        let itemless = match self.form {
            ToolForm::Function { parameters } => parameters.filter(|schema| lacks_items(*schema)),
            ToolForm::GeminiFunction { .. } | ToolForm::Custom { .. } | ToolForm::LocalShell => None,
        };
        if !is_bare && itemless.is_none() {
            return self.write_schema("parameters", object);
        }
        let mut text = Vec::new();
        match itemless {
            Some(schema) => write_with_items(schema, &mut text),
            None => self.write_schema_to(&mut text),
        }
        let out = object.key("parameters");
        match text.strip_suffix(b"}").filter(|_| is_bare) {
            Some(open) => out.raw(open).raw(r#","properties":{}}"#),
            None => out.raw(&text),
        };
        true
    }
}

/// Keywords whose members are schemas, and keywords that are a schema or a list of them.
const NAMED_SCHEMAS: [&str; 5] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
const INNER_SCHEMAS: [&str; 11] = [
    "items",
    "prefixItems",
    "additionalProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "contains",
];

fn is_itemless(schema: JsonValue<'_>) -> bool {
    let kind = schema.get("type");
    let is_array = |kind: JsonValue<'_>| kind.as_str() == Some("array");
    let says_array =
        kind.is_some_and(|kind| is_array(kind) || kind.is_array() && kind.elements().any(is_array));
    says_array && schema.get("items").is_none()
}

/// Whether a schema of an array in it does not say the items.
fn lacks_items(schema: JsonValue<'_>) -> bool {
    if schema.is_array() {
        return schema.elements().any(lacks_items);
    }
    let has_one = |(name, value): (&str, JsonValue<'_>)| {
        if NAMED_SCHEMAS.contains(&name) {
            return value.is_object() && value.members().any(|(_, inner)| lacks_items(inner));
        }
        INNER_SCHEMAS.contains(&name) && lacks_items(value)
    };
    schema.is_object() && (is_itemless(schema) || schema.members().any(has_one))
}

/// The schema, in which an array of anything says so.
fn write_with_items(schema: JsonValue<'_>, out: &mut Vec<u8>) {
    if schema.is_array() {
        let mut array = ArrayWriter::open(out);
        schema.elements().for_each(|element| write_with_items(element, array.element()));
        return array.close();
    }
    if !schema.is_object() {
        return schema.write(out);
    }
    let mut object = ObjectWriter::open(out);
    for (name, value) in schema.members() {
        if NAMED_SCHEMAS.contains(&name) && value.is_object() {
            let mut named = object.object(name);
            value.members().for_each(|(name, inner)| write_with_items(inner, named.key(name)));
            named.close();
        } else if INNER_SCHEMAS.contains(&name) {
            write_with_items(value, object.key(name));
        } else {
            object.value(name, value);
        }
    }
    if is_itemless(schema) {
        object.key("items").raw("{}");
    }
    object.close();
}

const INPUT_SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;
const SHELL_SCHEMA: &str = r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The program and its arguments"},"timeout_ms":{"type":"integer"},"working_directory":{"type":"string"},"env":{"type":"object","additionalProperties":{"type":"string"}}},"required":["command"]}"#;

/// Gemini's schemas name types in capitals, mark `nullable` and write bounds as texts.
pub(super) fn write_gemini_schema(schema: JsonValue<'_>, out: &mut Vec<u8>) {
    if schema.is_array() {
        let mut array = ArrayWriter::open(out);
        schema.elements().for_each(|element| write_gemini_schema(element, array.element()));
        return array.close();
    }
    if !schema.is_object() {
        return schema.write(out);
    }
    let is_nullable = schema.get("nullable").and_then(JsonValue::as_bool).unwrap_or(false);
    let mut object = ObjectWriter::open(out);
    for (name, value) in schema.members() {
        let (name, text) = (keyword(name), value.as_str());
        match name {
            "nullable" if value.as_bool().is_some() => {}
            "type" if text.is_some() => {
                let kind = text.unwrap_or_default().to_ascii_lowercase();
                if is_nullable {
                    let mut kinds = object.array("type");
                    kinds.element().string(&kind);
                    kinds.element().string("null");
                    kinds.close();
                } else {
                    object.text("type", &kind);
                }
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                match text.and_then(|text| text.parse().ok()) {
                    Some(bound) => object.number(name, bound),
                    None => object.value(name, value),
                }
            }
            "enum" if is_nullable && value.is_array() => {
                let mut words = object.array("enum");
                value.elements().for_each(|word| word.write(words.element()));
                if !value.elements().any(JsonValue::is_null) {
                    words.element().raw("null");
                }
                words.close();
            }
            "enum" | "default" | "example" | "required" | "description" => object.value(name, value),
            "propertyOrdering" => {}
            "properties" | "$defs" | "definitions" if value.is_object() => {
                let mut named = object.object(name);
                value.members().for_each(|(name, inner)| write_gemini_schema(inner, named.key(name)));
                named.close();
            }
            "anyOf" if is_nullable && value.is_array() => {
                let mut forms = object.array("anyOf");
                value.elements().for_each(|form| write_gemini_schema(form, forms.element()));
                if !value.elements().any(is_null_form) {
                    forms.element().raw(r#"{"type":"null"}"#);
                }
                forms.close();
            }
            _ => write_gemini_schema(value, object.key(name)),
        }
    }
    object.close();
}

/// A keyword in the spelling of JSON Schema: Google's own library for Python sends the names of its members.
fn keyword(name: &str) -> &str {
    match name {
        "any_of" => "anyOf",
        "property_ordering" => "propertyOrdering",
        "additional_properties" => "additionalProperties",
        "min_items" => "minItems",
        "max_items" => "maxItems",
        "min_length" => "minLength",
        "max_length" => "maxLength",
        "min_properties" => "minProperties",
        "max_properties" => "maxProperties",
        name => name,
    }
}

fn is_null_form(form: JsonValue<'_>) -> bool {
    let kind = form.get("type").and_then(JsonValue::as_str);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("null"))
}
