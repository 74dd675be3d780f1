//! The check of an input file before its first item: each line has the form of OpenAI's, and a name of its
//! own.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use serde_json::{Value, json};

use super::store::{BatchJob, BatchStore, FileKind, StoredFile};
use crate::{
    database::DatabaseError,
    wire::{ModelUse, batch_item, envelope},
};

/// Mistakes that are listed.
const MAX_MISTAKES: usize = 20;

/// The number of items, or the mistakes, as OpenAI's batch object lists them.
pub(super) async fn validate(
    store: &BatchStore,
    job: &BatchJob,
) -> Result<Result<i64, Vec<Value>>, DatabaseError> {
    let input = StoredFile {
        id: job.input.clone(),
        name: String::new(),
        bytes: 0,
        created: 0,
        expires: 0,
        kind: FileKind::Input,
        batch: String::new(),
    };
    let (mut check, mut after) = (LineCheck::of(&job.endpoint), 0);
    while let Some((last, text)) = store.page(&input, after).await? {
        for (number, line) in (after + 1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            check.line(number, line);
        }
        after = last;
        if check.mistakes.len() >= MAX_MISTAKES {
            break;
        }
    }
    if check.items == 0 && check.mistakes.is_empty() {
        check.add("empty_file", "the input file has no request", Value::Null, Value::Null);
    }
    Ok(if check.mistakes.is_empty() { Ok(check.items) } else { Err(check.mistakes) })
}

struct LineCheck<'a> {
    endpoint: &'a str,
    items: i64,
    /// Two digests of each name: a name may be long.
    names: HashSet<(u64, u64)>,
    keys: [RandomState; 2],
    mistakes: Vec<Value>,
}

impl<'a> LineCheck<'a> {
    fn of(endpoint: &'a str) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { endpoint, items: 0, names: HashSet::new(), keys, mistakes: Vec::new() }
    }

    fn line(&mut self, number: i64, line: &[u8]) {
        if line.trim_ascii().is_empty() || self.mistakes.len() >= MAX_MISTAKES {
            return;
        }
        self.items += 1;
        let item = match batch_item::read_line(line) {
            Ok(item) => item,
            Err(error) => {
                let param = if error.path.is_empty() { Value::Null } else { error.path.into() };
                return self.add(error.code, &error.message, param, number.into());
            }
        };
        let name = (self.keys[0].hash_one(&item.custom_id), self.keys[1].hash_one(&item.custom_id));
        let body = line.get(item.body.clone()).unwrap_or_default();
        let mistake = if !self.names.insert(name) {
            Some(("duplicate_custom_id", "custom_id", "the custom_id is that of an earlier line".to_owned()))
        } else if item.method.as_deref() != Some("POST") {
            Some(("invalid_method", "method", "`method` must be POST".to_owned()))
        } else if item.url.as_deref() != Some(self.endpoint) {
            let message = format!("`url` must be the batch's endpoint, {}", self.endpoint);
            Some(("invalid_url", "url", message))
        } else if body.is_empty() {
            Some(("missing_required_parameter", "body", "`body` is missing".to_owned()))
        } else {
            match envelope::read_for(body, ModelUse::Required, None) {
                Ok(envelope) if envelope.stream() == Some(true) => Some((
                    "invalid_request",
                    "body.stream",
                    "`stream` must not be true in a batch".to_owned(),
                )),
                Ok(_) => None,
                Err(error) => Some(("invalid_request", "body", error.to_string())),
            }
        };
        if let Some((code, param, message)) = mistake {
            self.add(code, &message, param.into(), number.into());
        }
    }

    fn add(&mut self, code: &str, message: &str, param: Value, line: Value) {
        self.mistakes.push(json!({"code": code, "message": message, "param": param, "line": line}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_checked_before_the_batch_begins() {
        let line = |name: &str, method: &str, url: &str, body: &str| {
            format!(r#"{{"custom_id":"{name}","method":"{method}","url":"{url}","body":{body}}}"#)
        };
        let (path, body) = ("/v1/chat/completions", r#"{"model":"m"}"#);
        let mut check = LineCheck::of(path);
        for (number, (line, code)) in [
            (line("a", "POST", path, body), None),
            ("\r\n".to_owned(), None),
            (line("a", "POST", path, body), Some("duplicate_custom_id")),
            (line("b", "GET", path, body), Some("invalid_method")),
            (line("c", "POST", "/v1/embeddings", body), Some("invalid_url")),
            (line("d", "POST", path, "{}"), Some("invalid_request")),
            (line("e", "POST", path, r#"{"model":"m","stream":true}"#), Some("invalid_request")),
            ("{".to_owned(), Some("invalid_json")),
            ("{}".to_owned(), Some("missing_required_parameter")),
        ]
        .into_iter()
        .enumerate()
        {
            let before = check.mistakes.len();
            check.line(i64::try_from(number).unwrap(), line.as_bytes());
            let added =
                check.mistakes.get(before).map(|mistake| (mistake["code"].clone(), mistake["line"].clone()));
            assert_eq!(added, code.map(|code| (code.into(), number.into())), "{line}");
        }
        assert_eq!(check.items, 8);
    }
}
