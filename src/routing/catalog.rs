//! Which provider serves which model. A client names a model plainly or as `provider/model` (S2.3); a provider whose
//! list is not known is asked when nobody's list has the model.

use std::{collections::HashMap, sync::Arc};

use regex::Regex;

/// How many near misses an unknown model's error names.
const NEAR_MISSES: usize = 3;
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

#[derive(Clone, Debug)]
pub struct Served {
    pub name: Arc<str>,
    pub listing: Listing,
}

/// Providers by index, in order of preference.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    providers: Vec<Served>,
    by_model: HashMap<Box<str>, Vec<usize>>,
    supported: Vec<Regex>,
}

/// Who may serve a request, in order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    pub providers: Vec<usize>,
    /// The model's name there.
    pub model: &'a str,
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

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A model of the merged list, with the providers that serve it.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered<'a> {
    pub model: &'a str,
    pub providers: Vec<&'a str>,
}

impl Catalog {
    /// `supported`: a model is offered if any expression matches its plain or prefixed name; empty: all are (S2.5).
    #[must_use]
    pub fn new(providers: Vec<Served>, supported: Vec<Regex>) -> Self {
        let mut by_model: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, provider) in providers.iter().enumerate() {
            for model in provider.listing.models() {
                let serving = by_model.entry(model.clone()).or_default();
                if !serving.contains(&index) {
                    serving.push(index);
                }
            }
        }
        Self { providers, by_model, supported }
    }

    /// The same with another list for one provider.
    #[must_use]
    pub fn with_listing(&self, index: usize, listing: Listing) -> Self {
        let mut providers = self.providers.clone();
        if let Some(provider) = providers.get_mut(index) {
            provider.listing = listing;
        }
        Self::new(providers, self.supported.clone())
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

    /// Who may serve `asked`.
    ///
    /// # Errors
    /// Nobody, or it is not offered.
    pub fn find<'a>(&self, asked: &'a str) -> Result<Plan<'a>, UnknownModel> {
        let plan = self.plain(asked).or_else(|| self.prefixed(asked)).or_else(|| self.unlisted(asked));
        plan.ok_or_else(|| UnknownModel { near: self.near(asked) })
    }

    fn plain<'a>(&self, asked: &'a str) -> Option<Plan<'a>> {
        let serving = self.by_model.get(asked)?.iter().copied();
        self.plan(serving, asked)
    }

    /// `provider/model`. A list that the provider gave itself does not exclude what it leaves out.
    fn prefixed<'a>(&self, asked: &'a str) -> Option<Plan<'a>> {
        let named = |provider: &Served| {
            asked
                .strip_prefix(&*provider.name)
                .and_then(|rest| rest.strip_prefix('/'))
                .filter(|rest| !rest.is_empty())
        };
        let (index, model) = self
            .providers
            .iter()
            .enumerate()
            .find_map(|(index, provider)| Some((index, named(provider)?)))?;
        let excluded = match &self.providers.get(index)?.listing {
            Listing::Configured(models) => !models.iter().any(|known| **known == *model),
            Listing::Fetched(_) | Listing::Unknown => false,
        };
        if excluded { None } else { self.plan(std::iter::once(index), model) }
    }

    fn unlisted<'a>(&self, asked: &'a str) -> Option<Plan<'a>> {
        let unknown = |(_, provider): &(usize, &Served)| provider.listing == Listing::Unknown;
        let open = self.providers.iter().enumerate().filter(unknown).map(|(index, _)| index);
        self.plan(open, asked)
    }

    fn plan<'a>(&self, serving: impl Iterator<Item = usize>, model: &'a str) -> Option<Plan<'a>> {
        let providers: Vec<usize> = serving.filter(|index| self.is_offered(*index, model)).collect();
        (!providers.is_empty()).then_some(Plan { providers, model })
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

    fn near(&self, asked: &str) -> Vec<String> {
        let mut scored: Vec<(f64, String)> = self
            .offered()
            .into_iter()
            .map(|offered| (strsim::jaro_winkler(asked, offered.model), offered.model.to_owned()))
            .filter(|(score, _)| *score >= NEAR)
            .collect();
        scored.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
        scored.into_iter().take(NEAR_MISSES).map(|(_, model)| model).collect()
    }

    /// The merged list: each model once, in the providers' order (S0.8, S2.4).
    #[must_use]
    pub fn offered(&self) -> Vec<Offered<'_>> {
        let mut offered: Vec<Offered<'_>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, provider) in self.providers.iter().enumerate() {
            for model in provider.listing.models().iter().filter(|model| self.is_offered(index, model)) {
                let place = *places.entry(model).or_insert_with(|| {
                    offered.push(Offered { model, providers: Vec::new() });
                    offered.len() - 1
                });
                if let Some(entry) = offered.get_mut(place)
                    && !entry.providers.contains(&&*provider.name)
                {
                    entry.providers.push(&provider.name);
                }
            }
        }
        offered
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(models: &[&str]) -> Vec<Box<str>> {
        models.iter().map(|model| (*model).into()).collect()
    }

    fn catalog(supported: &[&str]) -> Catalog {
        let served = |name: &str, listing| Served { name: name.into(), listing };
        let supported = supported.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
        Catalog::new(
            vec![
                served("one", Listing::Configured(list(&["gpt-4o", "shared"]))),
                served("two", Listing::Fetched(list(&["shared", "deepseek-chat", "org/model"]))),
            ],
            supported,
        )
    }

    fn plan(catalog: &Catalog, asked: &str) -> Option<(Vec<usize>, String)> {
        catalog.find(asked).ok().map(|plan| (plan.providers, plan.model.to_owned()))
    }

    #[test]
    fn finds_plain_and_prefixed_names() {
        let catalog = catalog(&[]);
        assert_eq!(plan(&catalog, "shared"), Some((vec![0, 1], "shared".into())));
        assert_eq!(plan(&catalog, "two/shared"), Some((vec![1], "shared".into())));
        assert_eq!(plan(&catalog, "org/model"), Some((vec![1], "org/model".into())));
        assert_eq!(plan(&catalog, "two/org/model"), Some((vec![1], "org/model".into())));
        assert_eq!(plan(&catalog, "two/fine-tuned"), Some((vec![1], "fine-tuned".into())));
        assert_eq!(plan(&catalog, "one/fine-tuned"), None);
        assert_eq!(plan(&catalog, "one/"), None);
    }

    #[test]
    fn an_unknown_list_is_asked_last() {
        let mut providers = catalog(&[]).providers;
        providers.push(Served { name: "three".into(), listing: Listing::Unknown });
        let catalog = Catalog::new(providers, vec![]);
        assert_eq!(plan(&catalog, "gpt-4o"), Some((vec![0], "gpt-4o".into())));
        assert_eq!(plan(&catalog, "anything"), Some((vec![2], "anything".into())));
    }

    #[test]
    fn names_near_misses() {
        assert_eq!(catalog(&[]).find("gpt4o").unwrap_err().near, ["gpt-4o"]);
        assert_eq!(catalog(&[]).find("zzz").unwrap_err().near, Vec::<String>::new());
    }

    #[test]
    fn offers_only_supported_models_and_each_once() {
        let all: Vec<_> = catalog(&[])
            .offered()
            .iter()
            .map(|entry| (entry.model.to_owned(), entry.providers.len()))
            .collect();
        assert_eq!(all.len(), 4);
        assert!(all.contains(&("shared".into(), 2)));
        let some = catalog(&["^two/", "^gpt-"]);
        assert_eq!(plan(&some, "shared"), Some((vec![1], "shared".into())));
        assert_eq!(plan(&some, "one/shared"), None);
        assert_eq!(some.offered().len(), 4);
    }
}
