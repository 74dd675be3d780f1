//! Options of requests that models of a provider have refused as such, found by asking again without them.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Models of one provider.
const MAX_MODELS: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedOptions {
    /// The model takes no wish for reasoning.
    pub effort: bool,
    /// 1: it takes no `temperature` and no `top_p` beside a wish for reasoning; 2: nor without one.
    pub sampling: u8,
    /// It is not asked for a summary of its reasoning.
    pub summary: bool,
    /// It is not asked for its reasoning in a sealed form.
    pub sealed_reasoning: bool,
    /// The answer's length is named `max_completion_tokens`.
    pub completion_tokens: bool,
    /// It takes no wish for a longer answer than this.
    pub max_tokens: Option<u64>,
}

impl RefusedOptions {
    /// With those of `other`. `None`: these are not more.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let max_tokens = self.max_tokens.into_iter().chain(other.max_tokens).min();
        let sum = Self {
            effort: self.effort || other.effort,
            // Refused once more, they were sent without such a wish.
            sampling: (self.sampling + other.sampling).min(2),
            summary: self.summary || other.summary,
            sealed_reasoning: self.sealed_reasoning || other.sealed_reasoning,
            completion_tokens: self.completion_tokens || other.completion_tokens,
            max_tokens,
        };
        (sum != self).then_some(sum)
    }
}

/// By the model's name at the provider.
#[derive(Debug, Default)]
pub(super) struct RefusalMemory {
    has_any: AtomicBool,
    models: Mutex<HashMap<Box<str>, RefusedOptions>>,
}

impl RefusalMemory {
    pub(super) fn find(&self, model: &str) -> RefusedOptions {
        if !self.has_any.load(Relaxed) {
            return RefusedOptions::default();
        }
        self.models().get(model).copied().unwrap_or_default()
    }

    /// For as long as the process runs. Of more models than fit the others are asked anew each time.
    pub(super) fn note(&self, model: &str, refused: RefusedOptions) {
        let mut models = self.models();
        if models.len() < MAX_MODELS || models.contains_key(model) {
            models.insert(model.into(), refused);
            self.has_any.store(true, Relaxed);
        }
    }

    fn models(&self) -> MutexGuard<'_, HashMap<Box<str>, RefusedOptions>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_add_up_and_are_of_one_model() {
        let none = RefusedOptions::default();
        let effort = RefusedOptions { effort: true, ..none };
        let length = |max_tokens| RefusedOptions { max_tokens: Some(max_tokens), ..none };
        let both = effort.and(length(8192)).unwrap();
        assert_eq!(both, RefusedOptions { effort: true, max_tokens: Some(8192), ..none });
        for other in [
            RefusedOptions { sampling: 2, ..none },
            RefusedOptions { summary: true, ..none },
            RefusedOptions { sealed_reasoning: true, ..none },
            RefusedOptions { completion_tokens: true, ..none },
        ] {
            let sum = both.and(other).unwrap();
            assert_eq!((sum.and(other), sum.and(both), other.and(none)), (None, None, None));
        }
        let sampling = RefusedOptions { sampling: 1, ..none };
        assert_eq!(sampling.and(sampling).unwrap().sampling, 2);
        assert_eq!((both.and(effort), both.and(length(9000))), (None, None), "nothing new");
        assert_eq!(both.and(length(4096)).unwrap().max_tokens, Some(4096));
        let memory = RefusalMemory::default();
        memory.note("a", both);
        assert_eq!((memory.find("a"), memory.find("b")), (both, RefusedOptions::default()));
        for number in 0..2 * MAX_MODELS {
            memory.note(&number.to_string(), effort);
        }
        assert_eq!(memory.models().len(), MAX_MODELS);
        assert_eq!(memory.find("a"), both);
    }
}
