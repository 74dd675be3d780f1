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
        match self.form {
            ToolForm::Function { parameters: None } => return false,
            ToolForm::Function { parameters: Some(parameters) } => object.value(name, parameters),
            ToolForm::GeminiFunction { parameters } => write_gemini_schema(parameters, object.key(name)),
            ToolForm::Custom { .. } => _ = object.key(name).raw(INPUT_SCHEMA),
            ToolForm::LocalShell => _ = object.key(name).raw(SHELL_SCHEMA),
        }
        true
    }
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
