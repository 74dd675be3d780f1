//! What catalogues answer.

use regex::Regex;

use super::*;
use crate::routing::Strategy;

fn list(models: &[&str]) -> Vec<Box<str>> {
    models.iter().map(|model| (*model).into()).collect()
}

fn served(name: &str, listing: Listing) -> Served {
    Served { name: name.into(), base: name.into(), listing, weight: 1, region: None }
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

/// Who would be asked for what.
fn planned(catalog: &Catalog, ask: &PlanRequest<'_>) -> Vec<(usize, String)> {
    let Ok(plan) = catalog.plan(ask, Moment(1), &mut Rng::new(1)) else { return Vec::new() };
    plan.candidates().iter().map(|candidate| (candidate.provider, candidate.model.to_owned())).collect()
}

fn plan(catalog: &Catalog, asked: &str) -> Option<(Vec<usize>, String)> {
    let planned = planned(catalog, &PlanRequest::stream(asked));
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
    let others = [Box::from("one/shared"), Box::from("shared")];
    let ask = PlanRequest { others: &others, ..PlanRequest::stream("shared") };
    let both = [(0, "shared".to_owned()), (1, "shared".to_owned())];
    assert_eq!(planned(&catalog(&[]), &ask), both);
    let rule = |name: &str, stands_for: &[&str], providers: &[&str]| ModelRule {
        name: name.into(),
        stands_for: stands_for.iter().map(|name| (*name).into()).collect(),
        providers: providers.iter().map(|name| (*name).into()).collect(),
        strategy: None,
    };
    let catalog = ruled(vec![
        rule("alias", &["one/shared", "shared"], &[]),
        rule("shared", &[], &["one", "two", "one"]),
    ]);
    for asked in ["alias", "shared"] {
        assert_eq!(planned(&catalog, &PlanRequest::stream(asked)), both, "{asked}");
    }
}

/// What is too long for one bars its group: an alias has several, and what follows it in a list has others.
#[test]
fn names_of_a_list_and_of_an_alias_are_groups_apart() {
    let stands_for = vec!["gpt-4o".into(), "deepseek-chat".into()];
    let catalog = ruled(vec![ModelRule { name: "alias".into(), stands_for, ..ModelRule::default() }]);
    let others = [Box::from("org/model")];
    let ask = PlanRequest { others: &others, ..PlanRequest::stream("alias") };
    let plan = catalog.plan(&ask, Moment(1), &mut Rng::new(1)).unwrap();
    let groups: Vec<u8> = plan.candidates().iter().map(|candidate| candidate.group).collect();
    assert_eq!(groups, [0, 1, 2]);
}

#[test]
fn an_unknown_list_is_asked_last() {
    let mut providers = catalog(&[]).providers;
    providers.push(served("three", Listing::Unknown));
    let catalog = Catalog::new(providers, Vec::new(), Arc::default(), &StatsRegistry::default());
    assert_eq!(plan(&catalog, "gpt-4o"), Some((vec![0], "gpt-4o".into())));
    assert_eq!(plan(&catalog, "anything"), Some((vec![2], "anything".into())));
}

#[test]
fn names_near_misses() {
    assert_eq!(catalog(&[]).knows("gpt4o").unwrap_err().near, ["gpt-4o"]);
    assert_eq!(catalog(&[]).knows("zzz").unwrap_err().near, Vec::<String>::new());
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
        stands_for: vec!["two/deepseek-chat".into(), "shared".into(), "nobody's".into()],
        ..ModelRule::default()
    };
    let catalog = ruled(vec![rule]);
    let expected = [(1, "deepseek-chat".to_owned()), (0, "shared".to_owned()), (1, "shared".to_owned())];
    assert_eq!(planned(&catalog, &PlanRequest::stream("best")), expected);
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
    let mut dice = Rng::new(1);
    let shared = catalog.plan(&PlanRequest::stream("shared"), Moment(1), &mut dice).unwrap();
    assert_eq!((shared.strategy, shared.rule), (Strategy::Adaptive, Some(0)));
    let asked = PlanRequest { strategy: Some(Strategy::Priority), ..PlanRequest::stream("shared") };
    let shared = catalog.plan(&asked, Moment(1), &mut dice).unwrap();
    assert_eq!(shared.strategy, Strategy::Priority);
    assert_eq!(shared.candidates().iter().map(|candidate| candidate.provider).collect::<Vec<_>>(), [1, 0]);
    // The provider's own list does not have it; the configuration says so all the same.
    assert_eq!(plan(&catalog, "gpt-4o"), Some((vec![1], "gpt-4o".into())));
}

#[test]
fn a_list_is_tried_in_order() {
    let others: [Box<str>; 2] = ["unheard-of".into(), "shared".into()];
    let ask = PlanRequest { others: &others, ..PlanRequest::stream("deepseek-chat") };
    let expected = [(1, "deepseek-chat".to_owned()), (0, "shared".to_owned()), (1, "shared".to_owned())];
    assert_eq!(planned(&catalog(&[]), &ask), expected);
    assert_eq!(
        planned(&catalog(&[]), &PlanRequest { others: &others, ..PlanRequest::stream("unknown") }).len(),
        2
    );
}

#[test]
fn the_nearest_region_comes_first() {
    let providers = ["far", "none", "near"].map(|region| Served {
        region: Some(region.into()).filter(|_| region != "none"),
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
    let plan = |asked| catalog.plan(asked, Moment(1), &mut Rng::new(1)).unwrap().candidates()[0].record;
    let (plain, prefixed, unlisted) = (
        PlanRequest::stream("deepseek-chat"),
        PlanRequest::stream("two/deepseek-chat"),
        PlanRequest::stream("two/other"),
    );
    assert!(Arc::ptr_eq(plan(&plain), plan(&prefixed)));
    assert_eq!(plan(&unlisted).model(), None);
}
