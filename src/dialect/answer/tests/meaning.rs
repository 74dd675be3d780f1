//! An answer's meaning, which all dialects can say.

use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Meaning {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<CallMeaning>,
    /// `stop`, `length`, `tool`, `filter`; `None`: no end.
    pub(super) stop: Option<&'static str>,
    /// Input with cached, cached, output with reasoning.
    pub(super) usage: Option<(u64, u64, u64)>,
    pub(super) error: Option<String>,
    /// The order of blocks: `t`, `r`, `c`.
    pub(super) order: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct CallMeaning {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Value,
}

impl Meaning {
    pub(super) fn note(&mut self, block: char) {
        if block == 'c' || !self.order.ends_with(block) {
            self.order.push(block);
        }
    }

    pub(super) fn call(&mut self, id: &str, name: &str, arguments: &str) {
        self.note('c');
        self.calls.push(CallMeaning {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: parse(arguments),
        });
    }

    /// Ids of calls are made up where the provider gives none: only that they differ counts.
    pub(super) fn without_ids(mut self) -> Self {
        let mut ids: Vec<_> = self.calls.iter().map(|call| call.id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), self.calls.len(), "ids repeat");
        self.calls.iter_mut().for_each(|call| call.id.clear());
        self
    }
}

pub(super) fn parse(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return serde_json::json!({});
    }
    serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()))
}
