//! Which provider serves which model. A client names a model plainly or as `provider/model` (S2.3), by an
//! alias, or as a list; a provider with an unknown list is tried if no list has the model.
//!
//! Lookups are done when the catalogue is built, so that a request reads one map. A catalogue never changes:
//! a new list makes a new one, with the same statistics. `endpoints` chooses the endpoint of each candidate.

mod endpoints;

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use regex::Regex;

use super::{
    candidate_stats::{Admission, CandidateStats},
    known_endpoints::KnownEndpoints,
    model_details::ModelDetails,
    order::{self, SortBy},
    plan::{
        Alternatives, Candidate, CandidateOrder, MAX_CANDIDATES, NoPlan, Plan, PlanRequest, UnknownModel,
    },
    settings::{AllTripped, ModelRule, RoutingSettings},
    stats_registry::StatsRegistry,
    strategy::Strategy,
};
use crate::base::{Endpoint, EndpointSet, Moment, Rng, glob, origins::OriginMaker};

/// Similar names in the error for an unknown model.
const MAX_SUGGESTIONS: usize = 3;
/// Bytes of a name that is compared, and the number of names, because both come from clients and providers.
const MAX_COMPARED_LENGTH: usize = 80;
const MAX_COMPARED_NAMES: usize = 2000;
/// The Jaro-Winkler similarity of a suggested name, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.7;
/// Before the names of Gemini's model list.
const GEMINI_PREFIX: &str = "models/";

/// The model list of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// Not fetched yet, or the provider has no list.
    #[default]
    Unknown,
    /// Fetched from the provider, which may serve more (aliases, fine-tunes).
    Fetched(Vec<Box<str>>),
    /// From the configuration: these models and no others.
    Configured(Vec<Box<str>>),
}

/// The properties of a provider that the choice of candidates uses.
#[derive(Clone, Debug)]
pub struct RoutedProvider {
    pub name: Arc<str>,
    /// Its base URL; with the name, the key of its statistics.
    pub base: Box<str>,
    pub listing: Listing,
    /// For the strategy `weighted`; at least 1.
    pub weight: u32,
    pub region: Option<Arc<str>>,
    /// The endpoints of [`Endpoint::MAIN`] that it has, by configuration. `None`: its address and its answers
    /// show it.
    pub dialects: Option<EndpointSet>,
    /// The same by its address.
    pub known: Option<KnownEndpoints>,
    /// Whether it may be asked in another dialect than the client's. `None`: as the settings say.
    pub translate: Option<bool>,
    /// The other fields of its list.
    pub details: Arc<ModelDetails>,
}

/// Providers by index, in the configuration's order, and the models that they serve.
#[derive(Clone, Debug)]
pub struct Catalog {
    providers: Vec<RoutedProvider>,
    /// For each provider: the statistics of its unlisted models, and the rank of its region.
    unlisted_stats: Vec<(Arc<CandidateStats>, u8)>,
    models: HashMap<Box<str>, Model, RandomState>,
    /// Aliases with `*` or `?`, the one with the most literal characters first.
    patterns: Vec<(Box<str>, Model)>,
    settings: Arc<RoutingSettings>,
    supported: Vec<Regex>,
    registry: StatsRegistry,
}

/// The candidates of a name, and the index of its rule in the configuration.
#[derive(Clone, Debug, Default)]
struct Model {
    serving: Vec<Serving>,
    rule: Option<usize>,
}

/// A provider that serves a model. `model`: its name there, if it differs.
#[derive(Clone, Debug)]
struct Serving {
    provider: usize,
    model: Option<Arc<str>>,
    stats: Arc<CandidateStats>,
    rank: u8,
    /// Whether it may be asked in another dialect, by a rule of the model.
    translate: Option<bool>,
}

/// A model of the merged list, with the providers that serve it.
#[derive(Debug, PartialEq, Eq)]
pub struct OfferedModel<'a> {
    pub model: &'a str,
    pub providers: Vec<&'a str>,
    /// The fields of the first list that has more than its name, as a JSON object.
    pub details: Option<&'a str>,
}

/// Removes repeated candidates; the first of each stays.
fn without_duplicates(all: Vec<Serving>) -> Vec<Serving> {
    let mut kept: Vec<Serving> = Vec::with_capacity(all.len());
    for serving in all {
        if !kept.iter().any(|known| (known.provider, &known.model) == (serving.provider, &serving.model)) {
            kept.push(serving);
        }
    }
    kept
}

impl Catalog {
    /// `supported`: a model is offered if an expression matches its plain or prefixed name; empty: all are
    /// (S2.5).
    #[must_use]
    pub fn new(
        providers: Vec<RoutedProvider>,
        supported: Vec<Regex>,
        settings: Arc<RoutingSettings>,
        registry: &StatsRegistry,
    ) -> Self {
        let unlisted_stats = providers
            .iter()
            .map(|provider| {
                let stats = registry.candidate(&provider.name, &provider.base, None);
                (stats, region_rank(provider, &settings))
            })
            .collect();
        let registry = registry.clone();
        let mut catalog = Self {
            providers,
            unlisted_stats,
            models: HashMap::default(),
            patterns: Vec::new(),
            settings,
            supported,
            registry,
        };
        catalog.add_listed_models();
        catalog.apply_rules();
        catalog
    }

    /// The statistics of all candidates, each with its provider's index; some come more than once.
    pub fn all_stats(&self) -> impl Iterator<Item = (usize, &CandidateStats)> {
        let unlisted = self.unlisted_stats.iter().enumerate().map(|(index, (stats, _))| (index, &**stats));
        let servings = self.models.values().flat_map(|model| &model.serving);
        unlisted.chain(servings.map(|serving| (serving.provider, &*serving.stats)))
    }

    fn add_listed_models(&mut self) {
        for (index, provider) in self.providers.iter().enumerate() {
            for model in provider.listing.models() {
                if !self.is_offered(index, model) {
                    continue;
                }
                let serving = &mut self.models.entry(model.clone()).or_default().serving;
                if serving.iter().all(|known| known.provider != index) {
                    let stats = self.registry.candidate(&provider.name, &provider.base, Some(model));
                    serving.push(Serving { provider: index, model: None, stats, rank: 0, translate: None });
                }
            }
        }
    }

    /// Applies the configuration's rules for single models.
    fn apply_rules(&mut self) {
        let settings = Arc::clone(&self.settings);
        let (aliases, plain): (Vec<_>, Vec<_>) =
            settings.models.iter().enumerate().partition(|(_, rule)| !rule.targets.is_empty());
        let mut patterns = Vec::new();
        // Aliases come last, because they resolve to the results of other rules and of aliases before them.
        for (index, rule) in plain.into_iter().chain(aliases) {
            let mut serving = self.servings_of_rule(rule);
            if !rule.providers.is_empty() {
                serving = self.restricted(&serving, rule);
            }
            if serving.is_empty() {
                continue;
            }
            let model = Model { serving, rule: Some(index) };
            if !rule.targets.is_empty() && glob::is_pattern(&rule.name) {
                patterns.push((Box::from(&*rule.name), model));
            } else {
                self.models.insert(Box::from(&*rule.name), model);
            }
        }
        // Last, because a pattern must not match the targets of other aliases.
        patterns.sort_by_key(|(pattern, _): &(Box<str>, Model)| Reverse(glob::literals(pattern)));
        self.patterns = patterns;
    }

    fn servings_of_rule(&self, rule: &ModelRule) -> Vec<Serving> {
        if rule.targets.is_empty() {
            return self.resolve(&rule.name, 0, None);
        }
        let ranked = rule.targets.iter().zip(0..=u8::MAX);
        without_duplicates(
            ranked.flat_map(|(target, rank)| self.resolve(target, rank, Some(&rule.name))).collect(),
        )
    }

    /// The providers of `target`, which the client calls `alias`.
    fn resolve(&self, target: &str, rank: u8, alias: Option<&str>) -> Vec<Serving> {
        let renamed = |candidate: Candidate<'_>| Serving {
            provider: candidate.provider,
            model: Some(candidate.model).filter(|model| alias.is_some() || *model != target).map(Arc::from),
            stats: Arc::clone(candidate.stats),
            rank,
            translate: candidate.translate,
        };
        self.candidates(target, 0)
            .map_or_else(Vec::new, |(order, _)| order.iter().copied().map(renamed).collect())
    }

    /// A rule's providers, in its order. One that does not list the model is kept, because the configuration
    /// names it.
    fn restricted(&self, serving: &[Serving], rule: &ModelRule) -> Vec<Serving> {
        let mut restricted = Vec::new();
        for name in &rule.providers {
            if restricted.iter().any(|known: &Serving| self.is_named(known.provider, name)) {
                continue;
            }
            let mut providers = self.providers.iter().enumerate();
            let Some((index, provider)) = providers.find(|(_, provider)| provider.name == *name) else {
                continue;
            };
            let known = restricted.len();
            restricted.extend(serving.iter().filter(|serving| serving.provider == index).cloned());
            if restricted.len() == known {
                let stats = self.registry.candidate(name, &provider.base, Some(&rule.name));
                restricted.push(Serving { provider: index, model: None, stats, rank: 0, translate: None });
            }
        }
        restricted
    }

    fn is_named(&self, index: usize, name: &str) -> bool {
        self.providers.get(index).is_some_and(|provider| &*provider.name == name)
    }

    /// The same catalogue with another list for one provider. The statistics stay.
    #[must_use]
    pub fn with_listing(&self, index: usize, listing: Listing, details: Arc<ModelDetails>) -> Self {
        let mut providers = self.providers.clone();
        if let Some(provider) = providers.get_mut(index) {
            (provider.listing, provider.details) = (listing, details);
        }
        Self::new(providers, self.supported.clone(), Arc::clone(&self.settings), &self.registry)
    }

    /// Whether a provider has this name.
    #[must_use]
    pub fn is_provider(&self, name: &str) -> bool {
        self.providers.iter().any(|provider| &*provider.name == name)
    }

    /// Whether the configuration lists that provider's models.
    #[must_use]
    pub fn is_configured(&self, index: usize) -> bool {
        self.providers.get(index).is_some_and(|provider| matches!(provider.listing, Listing::Configured(_)))
    }

    /// The list that was fetched from this provider. `None`: there is none.
    #[must_use]
    pub fn fetched(&self, index: usize) -> Option<&Listing> {
        let listing = &self.providers.get(index)?.listing;
        matches!(listing, Listing::Fetched(_)).then_some(listing)
    }

    /// The other fields of the list of this provider.
    #[must_use]
    pub fn details(&self, index: usize) -> Option<&Arc<ModelDetails>> {
        self.providers.get(index).map(|provider| &provider.details)
    }

    #[must_use]
    pub const fn settings(&self) -> &Arc<RoutingSettings> {
        &self.settings
    }

    #[must_use]
    pub const fn registry(&self) -> &StatsRegistry {
        &self.registry
    }

    /// The candidates of a request, in order.
    ///
    /// # Errors
    /// [`NoPlan::Unknown`]: no provider serves the model, or it is not offered. [`NoPlan::AllResting`]: the
    /// configuration refuses requests while all candidates are tripped or resting.
    pub fn plan<'a>(
        &'a self,
        request: &PlanRequest<'a>,
        now: Moment,
        rng: &mut Rng,
    ) -> Result<Plan<'a>, NoPlan> {
        self.plan_for(request, || None, now, rng)
    }

    /// As [`Catalog::plan`]. `maker` finds the provider that made a thing in the request which no other
    /// understands (`None`: any will do); not called where there is no choice.
    ///
    /// # Errors
    /// As [`Catalog::plan`].
    pub fn plan_for<'a>(
        &'a self,
        request: &PlanRequest<'a>,
        maker: impl FnOnce() -> Option<OriginMaker>,
        now: Moment,
        rng: &mut Rng,
    ) -> Result<Plan<'a>, NoPlan> {
        let found = if request.fallback_models.is_empty() {
            self.candidates(request.model, 0)
        } else {
            self.candidates_of_list(request)
        };
        let unknown = || NoPlan::Unknown(UnknownModel { similar: self.similar_names(request.model) });
        let (mut candidates, rule) = found.ok_or_else(unknown)?;
        self.keep_maker(&mut candidates, maker);
        self.choose_endpoints(&mut candidates, request, now);
        self.keep_having(&mut candidates, now)?;
        if self.settings.all_tripped == AllTripped::Refuse {
            self.refuse_if_all_closed(&candidates, now)?;
        }
        let of_rule = || self.settings.models.get(rule?)?.strategy;
        let strategy = request.strategy.or_else(of_rule).unwrap_or(self.settings.strategy);
        let is_first_race = self.is_first_race(strategy, &candidates);
        let width = self.settings.strategy_defaults.width;
        let strategy = if is_first_race { Strategy::Race { width } } else { strategy };
        let session = request.session.filter(|_| self.settings.sticky.is_on());
        let PlanRequest { kind, endpoint, caller, .. } = *request;
        let by = SortBy { strategy, session, kind, endpoint, settings: &self.settings, now };
        order::arrange(&mut candidates, &by, rng);
        self.want_lists(&candidates);
        Ok(Plan { candidates, strategy, is_first_race, kind, endpoint, caller, rule })
    }

    /// A model that no list has may be newer than the lists, so these are read again soon.
    fn want_lists(&self, candidates: &[Candidate<'_>]) {
        for candidate in candidates.iter().filter(|candidate| candidate.stats.model().is_none()) {
            if self.fetched(candidate.provider).is_some() {
                candidate.stats.provider().want_list();
            }
        }
    }

    /// Leaves the candidates of the request's maker, if it is one of them: if it fails, no other can help.
    fn keep_maker(&self, candidates: &mut CandidateOrder<'_>, maker: impl FnOnce() -> Option<OriginMaker>) {
        if let CandidateOrder::Many(candidates) = candidates
            && candidates.len() > 1
            && let Some(maker) = maker()
        {
            let made = |candidate: &Candidate<'_>| self.is_maker(candidate.provider, maker);
            if candidates.iter().any(made) {
                candidates.retain(made);
            }
        }
    }

    /// Whether that provider is this maker.
    #[must_use]
    pub fn is_maker(&self, provider: usize, maker: OriginMaker) -> bool {
        self.providers.get(provider).is_some_and(|provider| OriginMaker::of(&provider.name) == maker)
    }

    /// `adaptive` races until the candidates have served `first_races` requests, so that all of them are
    /// measured (S3.3).
    fn is_first_race(&self, strategy: Strategy, candidates: &[Candidate<'_>]) -> bool {
        let races = u64::from(self.settings.adaptive.first_races);
        let requested = |candidate: &Candidate<'_>| {
            let (won, failed) = candidate.stats.totals();
            won + failed
        };
        strategy == Strategy::Adaptive
            && candidates.len() > 1
            && candidates.iter().map(requested).sum::<u64>() < races
    }

    /// Checks that a provider serves that name.
    ///
    /// # Errors
    /// [`UnknownModel`], with similar names.
    pub fn check_model(&self, requested: &str) -> Result<(), UnknownModel> {
        match self.candidates(requested, 0) {
            Some(_) => Ok(()),
            None => Err(UnknownModel { similar: self.similar_names(requested) }),
        }
    }

    /// The model's name at `provider`, if a list has it. `None`: no list has it, so only the client's word is
    /// known.
    #[must_use]
    pub fn listed_name<'a>(&'a self, requested: &'a str, provider: &str) -> Option<&'a str> {
        let (order, _) = self.candidates(requested, 0)?;
        let of_provider = |candidate: &&Candidate<'_>| {
            self.providers.get(candidate.provider).is_some_and(|p| &*p.name == provider)
        };
        let candidate = order.iter().find(of_provider)?;
        candidate.stats.model().map(|_| candidate.model)
    }

    /// Every candidate with statistics, with its provider's name; unlisted ones only if they were used.
    #[must_use]
    pub fn tracked(&self) -> Vec<(&str, &CandidateStats)> {
        let open = self.unlisted_stats.iter().map(|(stats, _)| stats).enumerate();
        let listed = self.models.values().flat_map(|model| &model.serving);
        let all = listed.map(|serving| (serving.provider, &serving.stats)).chain(open);
        let mut tracked: Vec<(&str, &CandidateStats)> = all
            .filter_map(|(index, stats)| Some((&*self.providers.get(index)?.name, &**stats)))
            .filter(|(_, stats)| stats.model().is_some() || stats.is_used())
            .collect();
        tracked.sort_by_key(|(provider, stats)| (*provider, stats.model(), stats.id()));
        tracked.dedup_by(|next, kept| std::ptr::eq(next.1, kept.1));
        tracked
    }

    /// The candidates of a list of models, those of the first name first.
    fn candidates_of_list<'a>(
        &'a self,
        request: &PlanRequest<'a>,
    ) -> Option<(CandidateOrder<'a>, Option<usize>)> {
        let (mut all, mut rule) = (Vec::new(), None);
        let names = std::iter::once(request.model).chain(request.fallback_models.iter().map(|name| &**name));
        let mut group = 0;
        for name in names {
            let Some((order, of)) = self.candidates(name, group) else { continue };
            rule = rule.or(of);
            for candidate in order.iter() {
                // An alias has a group for each of its targets.
                group = group.max(candidate.group.saturating_add(1));
                let is_same = |known: &Candidate<'_>| {
                    (known.provider, known.model) == (candidate.provider, candidate.model)
                };
                if !all.iter().any(is_same) {
                    all.push(*candidate);
                }
            }
        }
        all.truncate(MAX_CANDIDATES);
        (!all.is_empty()).then_some((CandidateOrder::Many(all), rule))
    }

    /// The candidates of one name. A provider's name before the slash takes precedence over a model of
    /// another provider that has the same name, because the configuration chose it; only a rule for the whole
    /// name is more specific. The prefix `models/` is Gemini's: its list has it, its chat endpoint does not.
    fn candidates<'a>(
        &'a self,
        requested: &'a str,
        group: u8,
    ) -> Option<(CandidateOrder<'a>, Option<usize>)> {
        let known = self.models.get(requested);
        if let Some(model) = known.filter(|model| model.rule.is_some()) {
            return Some(self.candidates_of(model, requested, group));
        }
        let named = requested.contains('/').then(|| self.named_provider(requested)).flatten();
        if let Some(order) = named.and_then(|(index, model)| self.prefixed(index, model, group)) {
            return Some((order, None));
        }
        if let Some(model) = self.alias_pattern(requested).or(known) {
            return Some(self.candidates_of(model, requested, group));
        }
        if named.is_some() {
            return None;
        }
        match requested.strip_prefix(GEMINI_PREFIX) {
            // Once, because the length of a client's name must not become the depth of the stack.
            Some(model) if !model.is_empty() && !model.starts_with(GEMINI_PREFIX) => {
                self.candidates(model, group)
            }
            Some(_) | None => self.unlisted(requested, group).map(|order| (order, None)),
        }
    }

    fn candidates_of<'a>(
        &'a self,
        model: &'a Model,
        requested: &'a str,
        group: u8,
    ) -> (CandidateOrder<'a>, Option<usize>) {
        let rule = model.rule.and_then(|index| self.settings.models.get(index));
        let candidate = |serving: &'a Serving| {
            let group = group.saturating_add(serving.rank);
            let name = serving.model.as_deref().unwrap_or(requested);
            let translate = rule.and_then(|rule| rule.translate).or(serving.translate);
            Candidate { translate, ..self.candidate(serving.provider, name, &serving.stats, group) }
        };
        let order = match model.serving.as_slice() {
            [one] => CandidateOrder::One(candidate(one)),
            many => CandidateOrder::Many(many.iter().take(MAX_CANDIDATES).map(candidate).collect()),
        };
        (order, model.rule)
    }

    fn alias_pattern(&self, requested: &str) -> Option<&Model> {
        self.patterns.iter().find(|(pattern, _)| glob::matches(pattern, requested)).map(|(_, model)| model)
    }

    fn candidate<'a>(
        &self,
        provider: usize,
        model: &'a str,
        stats: &'a Arc<CandidateStats>,
        group: u8,
    ) -> Candidate<'a> {
        let region_rank = self.unlisted_stats.get(provider).map_or(0, |(_, region_rank)| *region_rank);
        let weight = self.providers.get(provider).map_or(1, |provider| provider.weight.max(1));
        let endpoint = Endpoint::ChatCompletions;
        let alternatives = Alternatives::default();
        let translate = None;
        Candidate { provider, model, stats, endpoint, alternatives, translate, group, region_rank, weight }
    }

    /// The provider of `provider/model`, and the model.
    fn named_provider<'a>(&self, requested: &'a str) -> Option<(usize, &'a str)> {
        let named = |provider: &RoutedProvider| requested.strip_prefix(&*provider.name)?.strip_prefix('/');
        let mut providers = self.providers.iter().enumerate();
        let (index, model) = providers.find_map(|(index, provider)| Some((index, named(provider)?)))?;
        Some((index, model.strip_prefix(GEMINI_PREFIX).filter(|rest| !rest.is_empty()).unwrap_or(model)))
    }

    /// The candidate of a model at a named provider. A fetched list does not exclude the models that it
    /// leaves out.
    fn prefixed<'a>(&'a self, index: usize, model: &'a str, group: u8) -> Option<CandidateOrder<'a>> {
        if model.is_empty() {
            return None;
        }
        let listed = self.models.get(model).and_then(|known| {
            known.serving.iter().find(|serving| serving.provider == index && serving.model.is_none())
        });
        let stats = match (listed, &self.providers.get(index)?.listing) {
            (Some(serving), _) => &serving.stats,
            (None, Listing::Configured(_)) => return None,
            (None, Listing::Fetched(_) | Listing::Unknown) if self.is_offered(index, model) => {
                &self.unlisted_stats.get(index)?.0
            }
            (None, Listing::Fetched(_) | Listing::Unknown) => return None,
        };
        let rule = self.models.get(model).and_then(|known| self.settings.models.get(known.rule?));
        let translate = rule.and_then(|rule| rule.translate);
        let candidate = self.candidate(index, model, stats, group);
        Some(CandidateOrder::One(Candidate { translate, ..candidate }))
    }

    /// The candidates of a model that no list has. A list that a provider gave itself does not exclude: it
    /// leaves out aliases, new models and variants. Providers with a variant of the name in their list come
    /// first, then those without a list.
    fn unlisted<'a>(&'a self, requested: &'a str, group: u8) -> Option<CandidateOrder<'a>> {
        let mut open: Vec<usize> = (0..self.providers.len())
            .filter(|index| !self.is_configured(*index) && self.is_offered(*index, requested))
            .collect();
        open.sort_by_key(|index| (!self.lists_variant(*index, requested), self.fetched(*index).is_some()));
        let candidate =
            |index: usize| Some(self.candidate(index, requested, &self.unlisted_stats.get(index)?.0, group));
        let mut candidates: Vec<_> = open.into_iter().filter_map(candidate).take(MAX_CANDIDATES).collect();
        match candidates.len() {
            0 => None,
            1 => candidates.pop().map(CandidateOrder::One),
            _ => Some(CandidateOrder::Many(candidates)),
        }
    }

    /// Whether the provider's list has the name with another tag or date: `llama3` and `llama3:latest`.
    fn lists_variant(&self, index: usize, requested: &str) -> bool {
        let extends = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.starts_with([':', '-', '@']))
        };
        self.providers.get(index).is_some_and(|provider| {
            provider
                .listing
                .models()
                .iter()
                .any(|listed| extends(listed, requested) || extends(requested, listed))
        })
    }

    fn refuse_if_all_closed(&self, candidates: &[Candidate<'_>], now: Moment) -> Result<(), NoPlan> {
        let mut first = None;
        for candidate in candidates {
            match candidate.stats.admission(candidate.endpoint, now) {
                Admission::Open | Admission::Probe => return Ok(()),
                Admission::Closed { until } => {
                    first = Some(first.map_or(until, |first: Moment| first.min(until)))
                }
            }
        }
        first.map_or(Ok(()), |until| Err(NoPlan::AllResting { retry_after: until.since(now) }))
    }

    fn is_offered(&self, index: usize, model: &str) -> bool {
        if self.supported.is_empty() {
            return true;
        }
        let prefixed = self.providers.get(index).map(|provider| format!("{}/{model}", provider.name));
        self.supported.iter().any(|pattern| {
            pattern.is_match(model) || prefixed.as_ref().is_some_and(|name| pattern.is_match(name))
        })
    }

    /// Offered names that are similar to `requested`. Length and number of the compared names are bounded.
    fn similar_names(&self, requested: &str) -> Vec<String> {
        if requested.len() > MAX_COMPARED_LENGTH {
            return Vec::new();
        }
        let mut scored: Vec<(f64, String)> = self
            .offered()
            .into_iter()
            .filter(|offered| offered.model.len() <= MAX_COMPARED_LENGTH)
            .take(MAX_COMPARED_NAMES)
            .map(|offered| (strsim::jaro_winkler(requested, offered.model), offered.model.to_owned()))
            .filter(|(score, _)| *score >= MIN_SIMILARITY)
            .collect();
        scored.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
        scored.into_iter().take(MAX_SUGGESTIONS).map(|(_, model)| model).collect()
    }

    /// The merged list: each model once, in the providers' order, then the configuration's own names (S0.8,
    /// S2.4).
    #[must_use]
    pub fn offered(&self) -> Vec<OfferedModel<'_>> {
        let listed =
            self.providers.iter().flat_map(|provider| provider.listing.models()).map(|model| &**model);
        let ruled = self.settings.models.iter().map(|rule| &*rule.name);
        let mut seen = std::collections::HashSet::new();
        listed
            .chain(ruled)
            .filter(|model| seen.insert(*model))
            .filter_map(|model| {
                let serving = &self.models.get(model)?.serving;
                let mut providers: Vec<&str> = Vec::new();
                for serving in serving {
                    let name = &*self.providers.get(serving.provider)?.name;
                    if !providers.contains(&name) {
                        providers.push(name);
                    }
                }
                let details = |serving: &Serving| {
                    let name = serving.model.as_deref().unwrap_or(model);
                    self.providers.get(serving.provider)?.details.of(name)
                };
                Some(OfferedModel { model, providers, details: serving.iter().find_map(details) })
            })
            .collect()
    }
}

impl Listing {
    fn models(&self) -> &[Box<str>] {
        match self {
            Self::Unknown => &[],
            Self::Fetched(models) | Self::Configured(models) => models,
        }
    }

    /// Whether both have the same models, in any order.
    #[must_use]
    pub fn has_same_models(&self, other: &Self) -> bool {
        let sorted = |listing: &Self| {
            let mut models = listing.models().to_vec();
            models.sort_unstable();
            models
        };
        self == other || sorted(self) == sorted(other)
    }
}

/// The index of its region in the list of regions; unknown regions come last.
fn region_rank(provider: &RoutedProvider, settings: &RoutingSettings) -> u8 {
    let place = settings.regions.iter().position(|region| Some(region) == provider.region.as_ref());
    place.unwrap_or(settings.regions.len()).try_into().unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
