//! What a request asks for, and who may serve it, in order. A plan is made once, by [`super::Catalog::plan`]; the
//! [`super::Course`] walks it.

use std::{ops::Deref, sync::Arc, time::Duration};

use super::{
    candidate_stats::{CandidateStats, ResponseKind},
    strategy::Strategy,
};

/// More candidates than this are not looked at: a set of them is a machine word.
pub const MOST_CANDIDATES: usize = 64;

/// What matters of a request.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    pub model: &'a str,
    /// The rest of a list `"models": [...]`, tried in order after `model`.
    pub others: &'a [Box<str>],
    /// `None`: the model's, or else the configuration's.
    pub strategy: Option<Strategy>,
    /// What the conversation is recognised by: its session's id, cache key or prefix (B21).
    pub session: Option<u64>,
    pub manner: ResponseKind,
}

impl<'a> PlanRequest<'a> {
    /// A stream of that model and nothing special about it.
    #[must_use]
    pub const fn stream(model: &'a str) -> Self {
        Self { model, others: &[], strategy: None, session: None, manner: ResponseKind::Stream }
    }
}

/// One model at one provider.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The catalogue's index.
    pub provider: usize,
    /// The model's name there.
    pub model: &'a str,
    pub record: &'a Arc<CandidateStats>,
    /// Whose turn it is to be preferred: the place in the caller's list of models, then in an alias's.
    pub(super) group: u8,
    /// How far away its region is.
    pub(super) distance: u8,
    pub(super) weight: u32,
}

/// Who may serve a request. Never empty.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub(super) candidates: CandidateOrder<'a>,
    pub strategy: Strategy,
    pub manner: ResponseKind,
    /// Which of the configuration's models this is, by its index there.
    pub rule: Option<usize>,
}

/// Most models have one candidate: no allocation for it.
#[derive(Clone, Debug)]
pub(super) enum CandidateOrder<'a> {
    One(Candidate<'a>),
    Many(Vec<Candidate<'a>>),
}

impl<'a> Deref for CandidateOrder<'a> {
    type Target = [Candidate<'a>];

    fn deref(&self) -> &[Candidate<'a>] {
        match self {
            Self::One(candidate) => std::slice::from_ref(candidate),
            Self::Many(candidates) => candidates,
        }
    }
}

impl<'a> Plan<'a> {
    /// In order of preference.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate<'a>] {
        &self.candidates
    }
}

/// Why nobody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    Unknown(UnknownModel),
    /// The model is known; all who serve it are tripped or rest, and the configuration says to refuse then.
    Nobody {
        /// Until the first of them may be asked.
        after: Duration,
    },
}

/// Nobody serves the model; these are offered and spelt alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel {
    pub near: Vec<String>,
}

impl UnknownModel {
    /// In words for whoever asked for `model`.
    #[must_use]
    pub fn message(&self, model: &str) -> String {
        match self.near.as_slice() {
            [] => format!("no provider serves the model `{model}`; GET /v1/models lists them"),
            near => format!("no provider serves the model `{model}`; did you mean {}?", quoted(near)),
        }
    }
}

impl NoPlan {
    /// In words for whoever asked for `model`.
    #[must_use]
    pub fn message(&self, model: &str) -> String {
        match self {
            Self::Unknown(unknown) => unknown.message(model),
            Self::Nobody { .. } => {
                format!("every provider of the model `{model}` is resting after failures; try again later")
            }
        }
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
