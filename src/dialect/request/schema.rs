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

    /// The same for OpenAI, which refuses an object that does not say its properties.
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
        if schema.filter(is_bare).is_none() {
            return self.write_schema("parameters", object);
        }
        let mut bare = Vec::new();
        self.write_schema_to(&mut bare);
        let open = bare.strip_suffix(b"}").unwrap_or(&bare);
        object.key("parameters").raw(open).raw(r#","properties":{}}"#);
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
