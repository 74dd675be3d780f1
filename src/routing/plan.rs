//! The routing input of a request, and its candidates in order. A plan is made once, by
//! [`super::Catalog::plan`], and does not change; [`super::AttemptPlan`] runs it. Most requests have one
//! candidate and allocate nothing here.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use super::{
    candidate_stats::{CandidateStats, ResponseKind},
    strategy::Strategy,
};
use crate::base::Endpoint;

/// Further candidates are ignored, because a set of candidates is one machine word.
pub const MAX_CANDIDATES: usize = 64;

/// The routing input of a request.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    pub model: &'a str,
    /// The rest of the client's `models`, tried in order after `model`.
    pub fallback_models: &'a [Box<str>],
    /// The client's strategy. `None`: the model's strategy applies, or else the configuration's.
    pub strategy: Option<Strategy>,
    /// A hash that identifies the conversation: of its session id, cache key or prompt prefix (B21). `None`:
    /// unknown.
    pub session: Option<u64>,
    pub kind: ResponseKind,
    /// The endpoint that the request goes to.
    pub endpoint: Endpoint,
    /// The number of the request's key; 0: unknown.
    pub caller: u32,
    /// A provider that lacks the endpoint may be asked at another one, in another dialect.
    pub may_translate: bool,
}

impl<'a> PlanRequest<'a> {
    /// A chat stream of that model, with defaults for all else.
    #[must_use]
    pub const fn stream(model: &'a str) -> Self {
        Self {
            model,
            fallback_models: &[],
            strategy: None,
            session: None,
            kind: ResponseKind::Stream,
            endpoint: Endpoint::ChatCompletions,
            caller: 0,
            may_translate: false,
        }
    }
}

/// One model at one provider.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The provider's index in the catalogue.
    pub provider: usize,
    /// The model's name at the provider.
    pub model: &'a str,
    pub stats: &'a Arc<CandidateStats>,
    /// The endpoint at which it is asked.
    pub endpoint: Endpoint,
    /// The endpoints at which it is asked if it turns out to lack `endpoint`.
    pub(super) alternatives: Alternatives,
    /// Whether it may be asked in another dialect, by a rule of its model. `None`: no rule says it.
    pub(super) translate: Option<bool>,
    /// Lower groups come first: the index in the client's list of models, then in the alias's targets.
    pub(super) group: u8,
    /// The index of its region in the configured regions; lower comes first.
    pub(super) region_rank: u8,
    pub(super) weight: u32,
}

/// The endpoints at which a candidate is asked in turn, in other dialects than the client's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alternatives([Option<Endpoint>; 3]);

impl Alternatives {
    /// Adds an endpoint at the end, once.
    pub(super) fn add(&mut self, endpoint: Endpoint) {
        if !self.0.contains(&Some(endpoint))
            && let Some(free) = self.0.iter_mut().find(|place| place.is_none())
        {
            *free = Some(endpoint);
        }
    }

    pub(super) const fn first(&self) -> Option<Endpoint> {
        let [first, ..] = self.0;
        first
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    pub(super) const fn take_first(&mut self) -> Option<Endpoint> {
        let [first, second, third] = self.0;
        self.0 = [second, third, None];
        first
    }
}

/// The candidates of a request. Never empty.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub(super) candidates: CandidateOrder<'a>,
    pub strategy: Strategy,
    /// A race by which `adaptive` measures its candidates. The timeout of races does not hold for it,
    /// because a strategy that did not race would wait as well.
    pub is_first_race: bool,
    pub kind: ResponseKind,
    pub endpoint: Endpoint,
    pub caller: u32,
    /// The index of the rule in the configuration's models that applies. `None`: no rule does.
    pub rule: Option<usize>,
}

/// Most models have one candidate, which needs no allocation.
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

impl DerefMut for CandidateOrder<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::One(candidate) => std::slice::from_mut(candidate),
            Self::Many(candidates) => candidates,
        }
    }
}

impl<'a> Plan<'a> {
    /// Attempts that begin at once: more than one in a race.
    #[must_use]
    pub fn width(&self) -> u32 {
        match self.strategy {
            Strategy::Race { width } => {
                u32::try_from(self.candidates.len()).unwrap_or(u32::MAX).min(width.into())
            }
            Strategy::Hedge { .. } | Strategy::Priority | Strategy::Weighted | Strategy::Adaptive => 1,
        }
    }

    /// In order of preference.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate<'a>] {
        &self.candidates
    }
}

/// Why a request has no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    Unknown(UnknownModel),
    /// The model is known, but the configuration says that none of its providers has the endpoint.
    NoEndpoint(Endpoint),
    /// The model is known, but all its candidates are tripped or resting, and the configuration refuses
    /// requests then.
    AllResting {
        /// Until the first of them admits requests.
        retry_after: Duration,
    },
}

/// No provider serves the model; `similar` are offered names with a similar spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownModel {
    pub similar: Vec<String>,
}

impl UnknownModel {
    /// The error text for a client that requested `model`.
    #[must_use]
    pub fn message(&self, model: &str) -> String {
        match self.similar.as_slice() {
            [] => format!("no provider serves the model `{model}`; GET /v1/models lists them"),
            similar => format!("no provider serves the model `{model}`; did you mean {}?", quoted(similar)),
        }
    }
}

impl NoPlan {
    /// The error text for a client that requested `model`.
    #[must_use]
    pub fn message(&self, model: &str) -> String {
        match self {
            Self::Unknown(unknown) => unknown.message(model),
            Self::NoEndpoint(endpoint) => {
                format!("no provider of the model `{model}` has the endpoint `{}`", endpoint.path())
            }
            Self::AllResting { .. } => {
                format!("every provider of the model `{model}` is resting after failures; try again later")
            }
        }
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
