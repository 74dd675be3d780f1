//! The fields that a provider's list gives a model beside its name: the length of its context, its date, its
//! owner. Kept as JSON text, because nothing in the gateway depends on them; the list bounds them.

use std::collections::HashMap;

/// By the model's name: an object as JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelDetails(HashMap<Box<str>, Box<str>>);

impl ModelDetails {
    /// The first entry of a model stays.
    pub fn add(&mut self, model: &str, fields: String) {
        self.0.entry(model.into()).or_insert_with(|| fields.into());
    }

    /// `None`: the list has nothing but its name.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&str> {
        self.0.get(model).map(|fields| &**fields)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
