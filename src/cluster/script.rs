//! Scripts that run in Redis. A server forgets them when it restarts, and a new node of a cluster has none,
//! so a call by digest that fails is made again with the text, which needs no right to load scripts.

use redis::Script;

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
