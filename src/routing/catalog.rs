//! Which provider serves which model. A client names a model plainly or as `provider/model` (S2.3), by an alias, or as a
//! list; a provider whose list is not known is asked when nobody's list has the model. Everything that can be is looked
//! up when the catalogue is built; a request looks into one map.

use std::{collections::HashMap, sync::Arc};

use regex::Regex;

use super::{
    candidate_stats::{Admission, CandidateStats},
    order::{self, SortBy},
    plan::{Candidate, CandidateOrder, MOST_CANDIDATES, NoPlan, Plan, PlanRequest, UnknownModel},
    settings::{AllTripped, ModelRule, RoutingSettings},
    stats_registry::StatsRegistry,
    strategy::Strategy,
};
use crate::base::{Moment, Rng};

/// How many near misses an unknown model's error names.
const NEAR_MISSES: usize = 3;
/// Bytes of a name that is compared, and names that are.
const LONGEST_NAME: usize = 80;
const MOST_COMPARED: usize = 2000;
/// How alike they must be.
const NEAR: f64 = 0.7;

/// What is known of a provider's models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// It was not asked, or did not say.
    #[default]
    Unknown,
    /// It said so itself; it may serve more (aliases, fine-tunes).
    Fetched(Vec<Box<str>>),
    /// The configuration says so: these and no others.
    Configured(Vec<Box<str>>),
}

/// A provider as far as the choice of candidates is concerned.
#[derive(Clone, Debug)]
pub struct Served {
    pub name: Arc<str>,
    /// Its base URL: with the name, what its records are kept under.
    pub base: Box<str>,
    pub listing: Listing,
    /// For the strategy `weighted`; at least 1.
    pub weight: u32,
    pub region: Option<Arc<str>>,
}

/// Providers by index, in order of preference.
#[derive(Clone, Debug)]
pub struct Catalog {
    providers: Vec<Served>,
    /// For each provider: the record of what nobody listed, and how far away it is.
    open: Vec<(Arc<CandidateStats>, u8)>,
    models: HashMap<Box<str>, Model>,
    settings: Arc<RoutingSettings>,
    supported: Vec<Regex>,
    records: StatsRegistry,
}

/// A name that can be asked for.
#[derive(Clone, Debug, Default)]
struct Model {
    serving: Vec<Serving>,
    rule: Option<usize>,
}

/// Who serves it. `model`: its name there, if that is another one.
#[derive(Clone, Debug)]
struct Serving {
    provider: usize,
    model: Option<Arc<str>>,
    record: Arc<CandidateStats>,
    rank: u8,
}

/// A model of the merged list, with the providers that serve it.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered<'a> {
    pub model: &'a str,
    pub providers: Vec<&'a str>,
}

/// Each candidate once, where it stands first.
fn once(all: Vec<Serving>) -> Vec<Serving> {
    let mut kept: Vec<Serving> = Vec::with_capacity(all.len());
    for serving in all {
        if !kept.iter().any(|known| (known.provider, &known.model) == (serving.provider, &serving.model)) {
            kept.push(serving);
        }
    }
    kept
}

impl Catalog {
    /// `supported`: a model is offered if any expression matches its plain or prefixed name; empty: all are (S2.5).
    #[must_use]
    pub fn new(
        providers: Vec<Served>,
        supported: Vec<Regex>,
        settings: Arc<RoutingSettings>,
        records: &StatsRegistry,
    ) -> Self {
        let open = providers
            .iter()
            .map(|provider| {
                let record = records.candidate(&provider.name, &provider.base, None);
                (record, distance(provider, &settings))
            })
            .collect();
        let records = records.clone();
        let mut catalog = Self { providers, open, models: HashMap::new(), settings, supported, records };
        catalog.list();
        catalog.rule();
        catalog
    }

    fn list(&mut self) {
        for (index, provider) in self.providers.iter().enumerate() {
            for model in provider.listing.models() {
                if !self.is_offered(index, model) {
                    continue;
                }
                let serving = &mut self.models.entry(model.clone()).or_default().serving;
                if serving.iter().all(|known| known.provider != index) {
                    let record = self.records.candidate(&provider.name, &provider.base, Some(model));
                    serving.push(Serving { provider: index, model: None, record, rank: 0 });
                }
            }
        }
    }

    /// Applies what the configuration says of single models.
    fn rule(&mut self) {
        let settings = Arc::clone(&self.settings);
        let (aliases, plain): (Vec<_>, Vec<_>) =
            settings.models.iter().enumerate().partition(|(_, rule)| !rule.stands_for.is_empty());
        // An alias stands for what the others' rules have made of them, and for aliases before it.
        for (index, rule) in plain.into_iter().chain(aliases) {
            let mut serving = self.serving(rule);
            if !rule.providers.is_empty() {
                serving = self.chosen(&serving, rule);
            }
            if !serving.is_empty() {
                self.models.insert(Box::from(&*rule.name), Model { serving, rule: Some(index) });
            }
        }
    }

    fn serving(&self, rule: &ModelRule) -> Vec<Serving> {
        if rule.stands_for.is_empty() {
            return self.resolve(&rule.name, 0, None);
        }
        let ranked = rule.stands_for.iter().zip(0..=u8::MAX);
        once(ranked.flat_map(|(target, rank)| self.resolve(target, rank, Some(&rule.name))).collect())
    }

    /// Who serves `target`, which is `alias` to the client.
    fn resolve(&self, target: &str, rank: u8, alias: Option<&str>) -> Vec<Serving> {
        let renamed = |candidate: Candidate<'_>| Serving {
            provider: candidate.provider,
            model: Some(candidate.model).filter(|model| alias.is_some() || *model != target).map(Arc::from),
            record: Arc::clone(candidate.record),
            rank,
        };
        self.candidates(target, 0)
            .map_or_else(Vec::new, |(line, _)| line.iter().copied().map(renamed).collect())
    }

    /// A rule's providers, in its order. One that lists no such model is taken at the configuration's word.
    fn chosen(&self, serving: &[Serving], rule: &ModelRule) -> Vec<Serving> {
        let mut chosen = Vec::new();
        for name in &rule.providers {
            if chosen.iter().any(|known: &Serving| self.is_named(known.provider, name)) {
                continue;
            }
            let mut providers = self.providers.iter().enumerate();
            let Some((index, provider)) = providers.find(|(_, provider)| provider.name == *name) else {
                continue;
            };
            let known = chosen.len();
            chosen.extend(serving.iter().filter(|serving| serving.provider == index).cloned());
            if chosen.len() == known {
                let record = self.records.candidate(name, &provider.base, Some(&rule.name));
                chosen.push(Serving { provider: index, model: None, record, rank: 0 });
            }
        }
        chosen
    }

    fn is_named(&self, index: usize, name: &str) -> bool {
        self.providers.get(index).is_some_and(|provider| &*provider.name == name)
    }

    /// The same with another list for one provider. Records stay.
    #[must_use]
    pub fn with_listing(&self, index: usize, listing: Listing) -> Self {
        let mut providers = self.providers.clone();
        if let Some(provider) = providers.get_mut(index) {
            provider.listing = listing;
        }
        Self::new(providers, self.supported.clone(), Arc::clone(&self.settings), &self.records)
    }

    /// Whether the configuration lists that provider's models.
    #[must_use]
    pub fn is_configured(&self, index: usize) -> bool {
        self.providers.get(index).is_some_and(|provider| matches!(provider.listing, Listing::Configured(_)))
    }

    /// The list that this provider gave itself.
    #[must_use]
    pub fn fetched(&self, index: usize) -> Option<&Listing> {
        let listing = &self.providers.get(index)?.listing;
        matches!(listing, Listing::Fetched(_)).then_some(listing)
    }

    #[must_use]
    pub fn settings(&self) -> &RoutingSettings {
        &self.settings
    }

    #[must_use]
    pub const fn records(&self) -> &StatsRegistry {
        &self.records
    }

    /// Who may serve what is asked for, in order.
    ///
    /// # Errors
    /// Nobody, or it is not offered.
    pub fn plan<'a>(
        &'a self,
        ask: &PlanRequest<'a>,
        now: Moment,
        dice: &mut Rng,
    ) -> Result<Plan<'a>, NoPlan> {
        let found = if ask.others.is_empty() { self.candidates(ask.model, 0) } else { self.several(ask) };
        let unknown = || NoPlan::Unknown(UnknownModel { near: self.near(ask.model) });
        let (mut candidates, rule) = found.ok_or_else(unknown)?;
        if self.settings.all_tripped == AllTripped::Refuse {
            self.refuse(&candidates, now)?;
        }
        let of_rule = || self.settings.models.get(rule?)?.strategy;
        let strategy = ask.strategy.or_else(of_rule).unwrap_or(self.settings.strategy);
        let strategy = self.at_first(strategy, &candidates);
        let session = ask.session.filter(|_| self.settings.sticky.is_on());
        let by = SortBy { strategy, session, manner: ask.manner, settings: &self.settings, now };
        order::arrange(&mut candidates, &by, dice);
        Ok(Plan { candidates, strategy, manner: ask.manner, rule })
    }

    /// `adaptive` races until the candidates were measured so often (S3.3), if that is configured.
    fn at_first(&self, strategy: Strategy, candidates: &[Candidate<'_>]) -> Strategy {
        let races = u64::from(self.settings.adaptive.first_races);
        if strategy != Strategy::Adaptive || races == 0 {
            return strategy;
        }
        let asked = |candidate: &Candidate<'_>| {
            let (won, failed) = candidate.record.totals();
            won + failed
        };
        let all: u64 = candidates.iter().map(asked).sum();
        if all < races { Strategy::Race { width: self.settings.figures.width } } else { strategy }
    }

    /// Whether anybody may serve that name.
    ///
    /// # Errors
    /// Nobody; what is spelt alike.
    pub fn knows(&self, asked: &str) -> Result<(), UnknownModel> {
        match self.candidates(asked, 0) {
            Some(_) => Ok(()),
            None => Err(UnknownModel { near: self.near(asked) }),
        }
    }

    /// The model's name as a list has it. `None`: nobody lists it, and the client's word is all there is.
    #[must_use]
    pub fn listed<'a>(&'a self, asked: &'a str, provider: &str) -> Option<&'a str> {
        let (line, _) = self.candidates(asked, 0)?;
        let of_provider = |candidate: &&Candidate<'_>| {
            self.providers.get(candidate.provider).is_some_and(|p| &*p.name == provider)
        };
        let candidate = line.iter().find(of_provider)?;
        candidate.record.model().map(|_| candidate.model)
    }

    /// Every candidate there is a record of, with its provider's name.
    #[must_use]
    pub fn tracked(&self) -> Vec<(&str, &CandidateStats)> {
        let open = self.open.iter().map(|(record, _)| record).enumerate();
        let listed = self.models.values().flat_map(|model| &model.serving);
        let all = listed.map(|serving| (serving.provider, &serving.record)).chain(open);
        let mut tracked: Vec<(&str, &CandidateStats)> = all
            .filter_map(|(index, record)| Some((&*self.providers.get(index)?.name, &**record)))
            .filter(|(_, record)| record.model().is_some() || record.is_used())
            .collect();
        tracked.sort_by_key(|(provider, record)| (*provider, record.model(), record.id()));
        tracked.dedup_by(|next, kept| std::ptr::eq(next.1, kept.1));
        tracked
    }

    /// The candidates of a list of models, those of the first name first.
    fn several<'a>(&'a self, ask: &PlanRequest<'a>) -> Option<(CandidateOrder<'a>, Option<usize>)> {
        let (mut all, mut rule) = (Vec::new(), None);
        let names = std::iter::once(ask.model).chain(ask.others.iter().map(|name| &**name));
        let mut group = 0;
        for name in names {
            let Some((line, of)) = self.candidates(name, group) else { continue };
            rule = rule.or(of);
            for candidate in line.iter() {
                // An alias has several groups of its own.
                group = group.max(candidate.group.saturating_add(1));
                let is_same = |known: &Candidate<'_>| {
                    (known.provider, known.model) == (candidate.provider, candidate.model)
                };
                if !all.iter().any(is_same) {
                    all.push(*candidate);
                }
            }
        }
        all.truncate(MOST_CANDIDATES);
        (!all.is_empty()).then_some((CandidateOrder::Many(all), rule))
    }

    /// The candidates of one name.
    fn candidates<'a>(&'a self, asked: &'a str, group: u8) -> Option<(CandidateOrder<'a>, Option<usize>)> {
        if let Some(model) = self.models.get(asked) {
            let candidate = |serving: &'a Serving| {
                let group = group.saturating_add(serving.rank);
                self.candidate(
                    serving.provider,
                    serving.model.as_deref().unwrap_or(asked),
                    &serving.record,
                    group,
                )
            };
            let line = match model.serving.as_slice() {
                [one] => CandidateOrder::One(candidate(one)),
                many => CandidateOrder::Many(many.iter().take(MOST_CANDIDATES).map(candidate).collect()),
            };
            return Some((line, model.rule));
        }
        let line = self.prefixed(asked, group).or_else(|| self.unlisted(asked, group))?;
        Some((line, None))
    }

    fn candidate<'a>(
        &self,
        provider: usize,
        model: &'a str,
        record: &'a Arc<CandidateStats>,
        group: u8,
    ) -> Candidate<'a> {
        let distance = self.open.get(provider).map_or(0, |(_, distance)| *distance);
        let weight = self.providers.get(provider).map_or(1, |provider| provider.weight.max(1));
        Candidate { provider, model, record, group, distance, weight }
    }

    /// `provider/model`. A list that the provider gave itself does not exclude what it leaves out.
    fn prefixed<'a>(&'a self, asked: &'a str, group: u8) -> Option<CandidateOrder<'a>> {
        let named = |provider: &Served| {
            asked
                .strip_prefix(&*provider.name)
                .and_then(|rest| rest.strip_prefix('/'))
                .filter(|rest| !rest.is_empty())
        };
        let mut providers = self.providers.iter().enumerate();
        let (index, model) = providers.find_map(|(index, provider)| Some((index, named(provider)?)))?;
        let listed = self.models.get(model).and_then(|known| {
            known.serving.iter().find(|serving| serving.provider == index && serving.model.is_none())
        });
        let record = match (listed, &self.providers.get(index)?.listing) {
            (Some(serving), _) => &serving.record,
            (None, Listing::Configured(_)) => return None,
            (None, Listing::Fetched(_) | Listing::Unknown) if self.is_offered(index, model) => {
                &self.open.get(index)?.0
            }
            (None, Listing::Fetched(_) | Listing::Unknown) => return None,
        };
        Some(CandidateOrder::One(self.candidate(index, model, record, group)))
    }

    fn unlisted<'a>(&'a self, asked: &'a str, group: u8) -> Option<CandidateOrder<'a>> {
        let unknown = |index: &usize| {
            self.providers.get(*index).is_some_and(|provider| provider.listing == Listing::Unknown)
        };
        let mut open =
            (0..self.providers.len()).filter(unknown).filter(|index| self.is_offered(*index, asked));
        let candidate = |index: usize| Some(self.candidate(index, asked, &self.open.get(index)?.0, group));
        let first = open.next().and_then(candidate)?;
        let mut rest = open.filter_map(candidate).take(MOST_CANDIDATES - 1).peekable();
        Some(match rest.peek() {
            None => CandidateOrder::One(first),
            Some(_) => CandidateOrder::Many(std::iter::once(first).chain(rest).collect()),
        })
    }

    fn refuse(&self, candidates: &[Candidate<'_>], now: Moment) -> Result<(), NoPlan> {
        let mut first = None;
        for candidate in candidates {
            match candidate.record.admission(now) {
                Admission::Open | Admission::Probe => return Ok(()),
                Admission::Closed { until } => {
                    first = Some(first.map_or(until, |first: Moment| first.min(until)))
                }
            }
        }
        first.map_or(Ok(()), |until| Err(NoPlan::Nobody { after: until.since(now) }))
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

    /// Names are compared that are no longer than names are, and not without end.
    fn near(&self, asked: &str) -> Vec<String> {
        if asked.len() > LONGEST_NAME {
            return Vec::new();
        }
        let mut scored: Vec<(f64, String)> = self
            .offered()
            .into_iter()
            .filter(|offered| offered.model.len() <= LONGEST_NAME)
            .take(MOST_COMPARED)
            .map(|offered| (strsim::jaro_winkler(asked, offered.model), offered.model.to_owned()))
            .filter(|(score, _)| *score >= NEAR)
            .collect();
        scored.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
        scored.into_iter().take(NEAR_MISSES).map(|(_, model)| model).collect()
    }

    /// The merged list: each model once, in the providers' order, then what the configuration adds (S0.8, S2.4).
    #[must_use]
    pub fn offered(&self) -> Vec<Offered<'_>> {
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
                Some(Offered { model, providers })
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
}

/// The place of its region in the list of regions; unknown ones come last.
fn distance(provider: &Served, settings: &RoutingSettings) -> u8 {
    let place = settings.regions.iter().position(|region| Some(region) == provider.region.as_ref());
    place.unwrap_or(settings.regions.len()).try_into().unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
