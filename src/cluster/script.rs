//! Scripts that run in Redis. A server forgets them when it restarts, and a new node of a cluster has none,
//! so a call by digest that fails is made again with the text, which needs no right to load scripts.

use redis::{Script, Value};

/// A script and its digest.
#[derive(Debug)]
pub struct RedisScript {
    text: &'static str,
    digest: String,
}

impl RedisScript {
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }

    pub(super) const fn text(&self) -> &'static str {
        self.text
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

/// The numbers of an answer that is a list of them, as text; negative ones as their two's complement. `None`:
/// it has another form.
#[must_use]
pub fn numbers<const N: usize>(answer: &Value) -> Option<[u64; N]> {
    let Value::Array(values) = answer else { return None };
    let number = |value: &Value| {
        if let Value::BulkString(text) = value {
            str::from_utf8(text).ok()?.parse::<i64>().ok()
        } else if let Value::Int(number) = value {
            Some(*number)
        } else {
            None
        }
    };
    let found: Vec<u64> = values.iter().map_while(number).map(i64::cast_unsigned).collect();
    found.try_into().ok()
}
