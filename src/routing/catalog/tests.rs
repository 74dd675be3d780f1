//! Catalogues: names, aliases, lists, rules, regions. Each test builds a catalogue and checks the planned
//! candidates, in order.
//!
//! Statistics have no part in them, except that names share them.

use std::time::Duration;

use regex::Regex;

use super::*;
use crate::routing::{ResponseKind, Strategy, settings::BreakerSettings};

fn list(models: &[&str]) -> Vec<Box<str>> {
    models.iter().map(|model| (*model).into()).collect()
}

fn served(name: &str, listing: Listing) -> RoutedProvider {
    RoutedProvider {
        name: name.into(),
        base: name.into(),
        listing,
        weight: 1,
        region: None,
        dialects: None,
        known: None,
        translate: None,
        details: Arc::default(),
    }
}

fn catalog(supported: &[&str]) -> Catalog {
    let supported = supported.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
    Catalog::new(
        vec![
            served("one", Listing::Configured(list(&["gpt-4o", "shared"]))),
            served("two", Listing::Fetched(list(&["shared", "deepseek-chat", "org/model"]))),
        ],
        supported,
        Arc::default(),
        &StatsRegistry::default(),
    )
}

fn ruled(models: Vec<ModelRule>) -> Catalog {
    let settings = RoutingSettings { models, ..RoutingSettings::default() };
    Catalog::new(catalog(&[]).providers, Vec::new(), settings.into(), &StatsRegistry::default())
}

/// The candidates of a request: provider index and model name.
fn planned(catalog: &Catalog, request: &PlanRequest<'_>) -> Vec<(usize, String)> {
    let Ok(plan) = catalog.plan(request, Moment(1), &mut Rng::new(1)) else { return Vec::new() };
    plan.candidates().iter().map(|candidate| (candidate.provider, candidate.model.to_owned())).collect()
}

fn plan(catalog: &Catalog, requested: &str) -> Option<(Vec<usize>, String)> {
    let planned = planned(catalog, &PlanRequest::stream(requested));
    let model = planned.first()?.1.clone();
    Some((planned.into_iter().map(|(provider, _)| provider).collect(), model))
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
fn each_candidate_is_asked_once_however_it_is_named() {
    let fallback_models = [Box::from("one/shared"), Box::from("shared")];
    let request = PlanRequest { fallback_models: &fallback_models, ..PlanRequest::stream("shared") };
    let both = [(0, "shared".to_owned()), (1, "shared".to_owned())];
    assert_eq!(planned(&catalog(&[]), &request), both);
    let rule = |name: &str, targets: &[&str], providers: &[&str]| ModelRule {
        name: name.into(),
        targets: targets.iter().map(|name| (*name).into()).collect(),
        providers: providers.iter().map(|name| (*name).into()).collect(),
        strategy: None,
        translate: None,
    };
    let catalog = ruled(vec![
        rule("alias", &["one/shared", "shared"], &[]),
        rule("shared", &[], &["one", "two", "one"]),
    ]);
    for requested in ["alias", "shared"] {
        assert_eq!(planned(&catalog, &PlanRequest::stream(requested)), both, "{requested}");
    }
}

/// A prompt that is too long for one candidate excludes its group: each target of an alias and each name of a
/// list has its own.
#[test]
fn names_of_a_list_and_of_an_alias_are_groups_apart() {
    let targets = vec!["gpt-4o".into(), "deepseek-chat".into()];
    let catalog = ruled(vec![ModelRule { name: "alias".into(), targets, ..ModelRule::default() }]);
    let fallback_models = [Box::from("org/model")];
    let request = PlanRequest { fallback_models: &fallback_models, ..PlanRequest::stream("alias") };
    let plan = catalog.plan(&request, Moment(1), &mut Rng::new(1)).unwrap();
    let groups: Vec<u8> = plan.candidates().iter().map(|candidate| candidate.group).collect();
    assert_eq!(groups, [0, 1, 2]);
}

#[test]
fn an_unknown_list_is_asked_last() {
    let mut providers = catalog(&[]).providers;
    providers.push(served("three", Listing::Unknown));
    let catalog = Catalog::new(providers, Vec::new(), Arc::default(), &StatsRegistry::default());
    assert_eq!(plan(&catalog, "gpt-4o"), Some((vec![0], "gpt-4o".into())));
    assert_eq!(plan(&catalog, "anything"), Some((vec![2, 1], "anything".into())));
}

#[test]
fn names_near_misses() {
    let providers = vec![served("one", Listing::Configured(list(&["gpt-4o", "shared"])))];
    let catalog = Catalog::new(providers, Vec::new(), Arc::default(), &StatsRegistry::default());
    assert_eq!(catalog.check_model("gpt4o").unwrap_err().similar, ["gpt-4o"]);
    assert_eq!(catalog.check_model("zzz").unwrap_err().similar, Vec::<String>::new());
}

#[test]
fn offers_only_supported_models_and_each_once() {
    let all: Vec<_> =
        catalog(&[]).offered().iter().map(|entry| (entry.model.to_owned(), entry.providers.len())).collect();
    assert_eq!(all.len(), 4);
    assert!(all.contains(&("shared".into(), 2)));
    let some = catalog(&["^two/", "^gpt-"]);
    assert_eq!(plan(&some, "shared"), Some((vec![1], "shared".into())));
    assert_eq!(plan(&some, "one/shared"), None);
    assert_eq!(some.offered().len(), 4);
}

#[test]
fn an_alias_stands_for_others_in_order() {
    let rule = ModelRule {
        name: "best".into(),
        targets: vec!["two/deepseek-chat".into(), "shared".into(), "nobody's".into()],
        ..ModelRule::default()
    };
    let catalog = ruled(vec![rule]);
    // The second provider's own list does not exclude the last name.
    let expected = [(1, "deepseek-chat"), (0, "shared"), (1, "shared"), (1, "nobody's")];
    assert_eq!(
        planned(&catalog, &PlanRequest::stream("best")),
        expected.map(|(at, name)| (at, name.to_owned()))
    );
    let offered = catalog.offered();
    let best = offered.iter().find(|offered| offered.model == "best").unwrap();
    assert_eq!(best.providers, ["two", "one"]);
}

#[test]
fn a_model_may_have_its_own_providers_and_strategy() {
    let rule = ModelRule {
        name: "shared".into(),
        providers: vec!["two".into(), "one".into(), "none".into()],
        strategy: Some(Strategy::Adaptive),
        ..ModelRule::default()
    };
    let only = ModelRule { name: "gpt-4o".into(), providers: vec!["two".into()], ..ModelRule::default() };
    let catalog = ruled(vec![rule, only]);
    let mut rng = Rng::new(1);
    let shared = catalog.plan(&PlanRequest::stream("shared"), Moment(1), &mut rng).unwrap();
    // S3.3: the first requests race, so that all candidates are measured.
    assert_eq!((shared.strategy, shared.rule), (Strategy::Race { width: 3 }, Some(0)));
    assert!(shared.is_first_race);
    let stats = shared.candidates()[0].stats;
    for _ in 0..3 {
        let at = (Endpoint::ChatCompletions, ResponseKind::Stream, 1);
        stats.succeeded(at, Duration::from_secs(1), Moment(1), Moment(1), &BreakerSettings::default());
    }
    let shared = catalog.plan(&PlanRequest::stream("shared"), Moment(1), &mut rng).unwrap();
    assert_eq!((shared.strategy, shared.is_first_race), (Strategy::Adaptive, false));
    let requested = PlanRequest { strategy: Some(Strategy::Priority), ..PlanRequest::stream("shared") };
    let shared = catalog.plan(&requested, Moment(1), &mut rng).unwrap();
    assert_eq!(shared.strategy, Strategy::Priority);
    assert_eq!(shared.candidates().iter().map(|candidate| candidate.provider).collect::<Vec<_>>(), [1, 0]);
    // The fetched list does not have the model, but the configuration names the provider.
    assert_eq!(plan(&catalog, "gpt-4o"), Some((vec![1], "gpt-4o".into())));
}

#[test]
fn a_list_is_tried_in_order() {
    let fallback_models: [Box<str>; 2] = ["unheard-of".into(), "shared".into()];
    let request = PlanRequest { fallback_models: &fallback_models, ..PlanRequest::stream("deepseek-chat") };
    let expected = [(1, "deepseek-chat"), (1, "unheard-of"), (0, "shared"), (1, "shared")];
    assert_eq!(planned(&catalog(&[]), &request), expected.map(|(at, name)| (at, name.to_owned())));
    assert_eq!(
        planned(
            &catalog(&[]),
            &PlanRequest { fallback_models: &fallback_models, ..PlanRequest::stream("unknown") }
        )
        .len(),
        4
    );
}

#[test]
fn the_nearest_region_comes_first() {
    let providers = ["far", "none", "near"].map(|region| RoutedProvider {
        region: Some(region.into()).filter(|_| region != "none"),
        dialects: None,
        details: Arc::default(),
        ..served(region, Listing::Configured(list(&["m"])))
    });
    let settings =
        RoutingSettings { regions: vec!["near".into(), "far".into()], ..RoutingSettings::default() };
    let catalog = Catalog::new(providers.into(), Vec::new(), settings.into(), &StatsRegistry::default());
    assert_eq!(plan(&catalog, "m").unwrap().0, [2, 0, 1]);
}

#[test]
fn a_prefixed_name_shares_the_plain_ones_record() {
    let catalog = catalog(&[]);
    let plan =
        |requested| catalog.plan(requested, Moment(1), &mut Rng::new(1)).unwrap().candidates()[0].stats;
    let (plain, prefixed, unlisted) = (
        PlanRequest::stream("deepseek-chat"),
        PlanRequest::stream("two/deepseek-chat"),
        PlanRequest::stream("two/other"),
    );
    assert!(Arc::ptr_eq(plan(&plain), plan(&prefixed)));
    assert_eq!(plan(&unlisted).model(), None);
}

fn alias(name: &str, target: &str) -> ModelRule {
    ModelRule { name: name.into(), targets: vec![target.into()], ..ModelRule::default() }
}

/// B4: `openai/gpt-4o` is OpenAI's, also where another provider lists a model of that whole name.
#[test]
fn a_providers_name_before_the_slash_takes_precedence() {
    let providers = vec![
        served("openrouter", Listing::Fetched(list(&["openai/gpt-4o", "openai/only-there"]))),
        served("openai", Listing::Configured(list(&["gpt-4o"]))),
    ];
    let settings = RoutingSettings {
        models: vec![alias("best", "openai/gpt-4o"), alias("openai/pinned", "openrouter/openai/gpt-4o")],
        ..RoutingSettings::default()
    };
    let catalog = Catalog::new(providers, Vec::new(), settings.into(), &StatsRegistry::default());
    for asked in ["openai/gpt-4o", "best"] {
        assert_eq!(plan(&catalog, asked), Some((vec![1], "gpt-4o".into())), "{asked}");
    }
    assert_eq!(plan(&catalog, "openrouter/openai/gpt-4o"), Some((vec![0], "openai/gpt-4o".into())));
    // The named provider does not serve it, but another lists exactly this name.
    assert_eq!(plan(&catalog, "openai/only-there"), Some((vec![0], "openai/only-there".into())));
    // A rule for the whole name is more specific.
    assert_eq!(plan(&catalog, "openai/pinned"), Some((vec![0], "openai/gpt-4o".into())));
}

/// B5: the most specific pattern applies, an exact alias before all, and targets are not matched again.
#[test]
fn an_alias_may_be_a_pattern() {
    let catalog = ruled(vec![
        alias("claude-*", "gpt-4o"),
        alias("claude-opus-*", "deepseek-chat"),
        alias("claude-opus-4", "shared"),
        alias("gpt-*", "gpt-4o"),
        alias("*-mini", "claude-x"),
    ]);
    for (asked, expected) in [
        ("claude-sonnet-4-5", "gpt-4o"),
        ("claude-opus-4-1", "deepseek-chat"),
        ("claude-opus-4", "shared"),
        ("gpt-4o", "gpt-4o"),
        ("gpt-5.2", "gpt-4o"),
    ] {
        assert_eq!(plan(&catalog, asked).map(|(_, model)| model), Some(expected.into()), "{asked}");
    }
    assert!(catalog.offered().iter().all(|offered| !offered.model.contains('*')));
}

/// B3: a fetched list leaves out aliases and new models; the provider with a variant comes first.
#[test]
fn a_fetched_list_does_not_exclude() {
    let providers = vec![
        served("cloud", Listing::Fetched(list(&["gpt-4o"]))),
        served("fixed", Listing::Configured(list(&["a"]))),
        served("ollama", Listing::Fetched(list(&["llama3:latest"]))),
    ];
    let catalog = Catalog::new(providers, Vec::new(), Arc::default(), &StatsRegistry::default());
    assert_eq!(plan(&catalog, "llama3"), Some((vec![2, 0], "llama3".into())));
    assert_eq!(plan(&catalog, "gpt-4o-2024-08-06"), Some((vec![0, 2], "gpt-4o-2024-08-06".into())));
    assert_eq!(plan(&catalog, "fixed/b"), None);
}

/// B8: Google's list has `models/` before its names, its chat endpoint has not.
#[test]
fn the_prefix_of_geminis_list_is_removed() {
    let providers = vec![
        served("gemini", Listing::Fetched(list(&["gemini-2.5-flash"]))),
        served("other", Listing::Configured(list(&["models/own"]))),
    ];
    let catalog = Catalog::new(providers, Vec::new(), Arc::default(), &StatsRegistry::default());
    let gemini = Some((vec![0], "gemini-2.5-flash".to_owned()));
    for asked in ["models/gemini-2.5-flash", "gemini/models/gemini-2.5-flash", "gemini-2.5-flash"] {
        assert_eq!(plan(&catalog, asked), gemini, "{asked}");
    }
    assert_eq!(plan(&catalog, "models/own"), Some((vec![1], "models/own".into())));
    let hostile = "models/".repeat(1_000_000);
    assert_eq!(plan(&catalog, &hostile), Some((vec![0], hostile.clone())));
}

#[test]
fn the_maker_is_looked_for_where_there_is_a_choice() {
    let catalog = catalog(&[]);
    let planned = |model: &str, maker: &str| {
        let mut looked = 0;
        let find = || {
            looked += 1;
            Some(OriginMaker::of(maker))
        };
        let plan = catalog.plan_for(&PlanRequest::stream(model), find, Moment(1), &mut Rng::new(1)).unwrap();
        (plan.candidates().iter().map(|candidate| candidate.provider).collect::<Vec<_>>(), looked)
    };
    assert_eq!(planned("shared", "two"), (vec![1], 1));
    assert_eq!(planned("shared", "three"), (vec![0, 1], 1));
    assert_eq!(planned("gpt-4o", "two"), (vec![0], 0));
}
