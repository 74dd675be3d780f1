//! Requests that are right in the client's dialect, and that the maker of the other refuses as they stand.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{
    ApiDialect::{self, ChatCompletions, Gemini, Messages, Responses},
    reasoning::{self, ReasoningOrigin},
    request::{EffortForm, RequestOptions},
};

fn sent(from: ApiDialect, to: ApiDialect, members: Value) -> (Value, Vec<String>) {
    let (body, translated) = Way { from, to }.whole(&request(from, members));
    (body, translated.dropped)
}

fn of_format(from: ApiDialect, schema: &Value) -> Value {
    match from {
        ChatCompletions => {
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}})
        }
        Messages => {
            json!({"max_tokens": 99, "output_config": {"format": {"type": "json_schema", "schema": schema}}})
        }
        Responses => json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
        Gemini => json!({"generationConfig": {"responseSchema": schema}}),
    }
}

/// google-genai for Python writes the names of its members.
#[test]
fn a_form_of_gemini_is_read_in_both_spellings() {
    let form = |camel: bool| {
        let name = |camel_name: &str, snake: &str| (if camel { camel_name } else { snake }).to_owned();
        let any_of = name("anyOf", "any_of");
        json!({
            "type": "OBJECT",
            "properties": {
                "any_of": {any_of.clone(): [{"type": "STRING"}, {"type": "INTEGER"}], "title": "U"},
                "l": {"type": "ARRAY", name("minItems", "min_items"): 1, name("maxItems", "max_items"): "3",
                      "items": {"type": "STRING", name("minLength", "min_length"): 1,
                                name("maxLength", "max_length"): 9}},
                "o": {"type": "OBJECT", name("additionalProperties", "additional_properties"): {"type": "STRING"},
                      name("minProperties", "min_properties"): 1, name("maxProperties", "max_properties"): 2},
                "n": {"nullable": true, any_of: [{"type": "STRING"}, {"type": "INTEGER"}]},
            },
            name("propertyOrdering", "property_ordering"): ["any_of", "l", "o", "n"],
        })
    };
    let plain = json!({
        "type": "object",
        "properties": {
            "any_of": {"anyOf": [{"type": "string"}, {"type": "integer"}], "title": "U"},
            "l": {"type": "array", "minItems": 1, "maxItems": 3,
                  "items": {"type": "string", "minLength": 1, "maxLength": 9}},
            "o": {"type": "object", "additionalProperties": {"type": "string"},
                  "minProperties": 1, "maxProperties": 2},
            "n": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        },
    });
    for camel in [true, false] {
        let (body, _) = sent(Gemini, ChatCompletions, of_format(Gemini, &form(camel)));
        assert_eq!(body["response_format"]["json_schema"]["schema"], plain, "{camel}");
        let tools = json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": form(camel)}]}]});
        let (body, _) = sent(Gemini, Messages, tools);
        assert_eq!(body["tools"][0]["input_schema"], plain, "{camel}");
    }
    // The objects of a union are closed, too.
    let union = json!({"type": "OBJECT", "properties": {
        "u": {"any_of": [{"type": "OBJECT", "properties": {}}, {"type": "NULL"}], "nullable": true},
    }});
    let (body, _) = sent(Gemini, Messages, of_format(Gemini, &union));
    let closed =
        json!([{"type": "object", "properties": {}, "additionalProperties": false}, {"type": "null"}]);
    assert_eq!(body["output_config"]["format"]["schema"]["properties"]["u"], json!({"anyOf": closed}));
}

const BUDGET: RequestOptions<'static> = RequestOptions { effort: EffortForm::Structured, ..OPTIONS };

/// Whether the model may think, the members that were dropped, and the types of the second message's blocks.
fn thought(from: ApiDialect, members: Value) -> (bool, Vec<String>, Vec<String>) {
    let request = request(from, members);
    let translated = Way { from, to: Messages }.try_with(&request, &BUDGET).unwrap();
    let body: Value = serde_json::from_slice(&translated.body.concat()).unwrap();
    let blocks = body["messages"][1]["content"].as_array().unwrap().iter();
    let types = blocks.map(|block| block["type"].as_str().unwrap().to_owned()).collect();
    (body.get("thinking").is_some(), translated.dropped, types)
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
