//! The schema against the reader: both take the same files.

use std::{fs, path::Path};

use regex::Regex;

use super::*;
use crate::config::parse;

/// A validator of the part of JSON schema that is used here. Returns the path of each violation.
fn violations(schema: &Value, root: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/definitions/");
        return violations(&root["definitions"][name], root, value, path);
    }
    let mut wrong = Vec::new();
    let mut claim = |holds: bool| {
        if !holds {
            wrong.push(path.to_owned());
        }
    };
    if let Some(forms) = schema["anyOf"].as_array() {
        let all: Vec<_> = forms.iter().map(|form| violations(form, root, value, path)).collect();
        if !all.iter().any(Vec::is_empty) {
            // The form that goes deepest is the one that was meant.
            let deepest = all.into_iter().max_by_key(|violations| violations.iter().map(String::len).max());
            return deepest.unwrap_or_default();
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        claim(words.contains(value));
    }
    if let Some(kind) = schema["type"].as_str() {
        claim(match kind {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{other}"),
        });
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64()) {
        claim(number >= least);
    }
    if let (Some(most), Some(number)) = (schema["maximum"].as_f64(), value.as_f64()) {
        claim(number <= most);
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        claim(Regex::new(pattern).unwrap().is_match(text));
    }
    if let (Some(items), true) = (value.as_array(), schema["items"].is_object()) {
        for (index, item) in items.iter().enumerate() {
            wrong.extend(violations(&schema["items"], root, item, &format!("{path}[{index}]")));
        }
    }
    if let (Some(members), true) = (value.as_object(), schema["type"] == "object") {
        for (key, member) in members {
            let inner = format!("{path}.{key}");
            if let Some(known) = schema["properties"].get(key) {
                wrong.extend(violations(known, root, member, &inner));
            } else if key.starts_with('_') || key.starts_with("//") {
            } else if schema["additionalProperties"] == false {
                wrong.push(inner);
            } else {
                wrong.extend(violations(&schema["additionalProperties"], root, member, &inner));
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        wrong.extend(required.filter_map(|key| {
            let key = key.as_str().unwrap();
            members.get(key).is_none().then(|| format!("{path}.{key}"))
        }));
    }
    wrong
}

fn check(schema: &Value, file: &Value) -> Vec<String> {
    violations(schema, schema, file, "")
}

/// Every object of the schema with its path.
fn objects(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let forms = schema["anyOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
    for form in forms {
        if let Some(properties) = form["properties"].as_object() {
            found.push((path.to_owned(), form.clone()));
            for (key, inner) in properties {
                objects(inner, &format!("{path}.{key}"), found);
            }
        }
        for inner in [&form["items"], &form["additionalProperties"]] {
            if inner.is_object() {
                objects(inner, &format!("{path}[]"), found);
            }
        }
    }
}

#[test]
fn every_key_has_a_kind() {
    let schema = schema();
    let mut found = Vec::new();
    objects(&schema, "", &mut found);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    for path in [
        "",
        ".providers[]",
        ".tokens[]",
        ".limits",
        ".streaming",
        ".streaming.on_disconnect",
        ".routing.race",
        ".routing.retry",
        ".models[]",
        ".prices[]",
        ".ledger.spool",
        ".log.rotate",
        ".tls",
        ".health",
        ".telemetry",
        ".otel",
        ".database",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    assert!(!schema.to_string().contains(r#""items":{}"#), "a list whose items no probe meets");
    for (path, object) in &found {
        for (key, value) in object["properties"].as_object().unwrap() {
            // Null alone, or nothing at all, says that no probe was taken.
            let forms = value["anyOf"].as_array().map_or(1, Vec::len);
            assert!(forms > 1 || key == "$schema", "no kind for {path}.{key}: {value}");
        }
    }
    let top = &schema["properties"];
    assert_eq!(top["port"]["anyOf"][0], json!({"type": "integer", "minimum": 0, "maximum": 65_535}));
    assert_eq!(top["keepalive_expiry"]["anyOf"][0], json!({"$ref": "#/definitions/duration"}));
    assert_eq!(top["max_response_size"]["anyOf"][0], json!({"$ref": "#/definitions/size"}));
    assert_eq!(top["failover"]["anyOf"][0], json!({"type": "boolean"}));
    assert!(top["log_level"]["anyOf"][0]["enum"].as_array().unwrap().contains(&"WARNING".into()));
    assert_eq!(schema["additionalProperties"], false);
}

/// Each JSON block of the page that is a file, with or without braces around it, and the examples.
fn documented() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for page in ["docs/CONFIGURATION.md", "README.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for block in text.split("```json\n").skip(1) {
            let block = block.split("```").next().unwrap();
            files.extend(serde_json::from_str(block).ok().map(|value| (format!("{page}: {block}"), value)));
        }
    }
    let folder = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples = folder.chain([root.join("config.example.json")]);
    for file in examples.filter(|file| file.extension().is_some_and(|it| it == "json")) {
        let value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        files.push((file.display().to_string(), value));
    }
    files
}

#[test]
fn documents_and_examples_are_within_the_schema() {
    let (schema, files) = (schema(), documented());
    assert!(files.len() > 9, "{}", files.len());
    for (name, file) in files {
        assert_eq!(check(&schema, &file), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn schema_and_reader_refuse_the_same() {
    let schema = schema();
    for (file, path) in [
        (json!({"prot": 1}), ".prot"),
        (json!({"port": "9000"}), ".port"),
        (json!({"port": 70_000}), ".port"),
        (json!({"providers": [{"name": "a"}]}), ".providers[0].base_url"),
        (json!({"providers": [{"name": "a", "base_url": "http://a", "wieght": 1}]}), ".providers[0].wieght"),
        (json!({"streaming": {"mode": "fast"}}), ".streaming.mode"),
        (json!({"limits": {"drain": "soon"}}), ".limits.drain"),
        (json!({"limits": {"body_size": "big"}}), ".limits.body_size"),
        (json!({"routing": {"hedge": {"share": 2}}}), ".routing.hedge.share"),
        (json!({"tokens": {}}), ".tokens"),
        (json!({"failover": "yes"}), ".failover"),
        (json!({"prices": {"m": {"input": 1}}}), ".prices.m.output"),
        (json!({"database": true}), ".database"),
    ] {
        assert_eq!(check(&schema, &file), [path], "{file}");
        assert!(parse(&file.to_string(), &Env::empty()).is_err(), "{file}");
    }
    for file in [
        json!({"$schema": "x", "_note": 1, "//": [], "host": null}),
        json!({"limits": {"drain": 0, "body_size": "64 MiB"}, "routing": {"sticky": false, "retry": "safe"}}),
        json!({"routing": {"strategy": "race:2", "hedge": {"delay": "p95", "share": "5%"}}}),
        json!({"database": false, "state_file": "s.json", "aliases": {"a": "b", "c": ["d", "e"]}}),
        json!({"log_level": "debug", "http2_ping": false, "streaming": {"on_disconnect": {"policy": "drain"}}}),
    ] {
        assert_eq!(check(&schema, &file), Vec::<String>::new(), "{file}");
        assert!(parse(&file.to_string(), &Env::empty()).is_ok(), "{file}");
    }
}
