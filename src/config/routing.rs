//! The keys of `routing`, `models` and `aliases`, and the switches of S3.4 in the file and in the
//! environment. Names of providers are checked, so providers are read first. The `routing` room owns the
//! settings and their defaults.

use std::sync::Arc;

use super::{
    document::Value,
    env::Env,
    problem::{Problem, ValueError},
    scalar,
    section::{Located, Section, shown_key},
    settings::{COMMIT_POINTS, ProviderSettings, Settings},
    suggestion::nearest,
};
use crate::{
    base::time::duration,
    routing::{
        RoutingSettings, Strategy,
        settings::{AllTripped, ModelRule, Sticky},
        strategy::{HedgeDelay, MAX_WIDTH},
    },
};

const STICKY: [(&str, Sticky); 3] =
    [("session", Sticky::Session), ("prefix", Sticky::Prefix), ("off", Sticky::Off)];

const ALL_TRIPPED: [(&str, AllTripped); 2] =
    [("try_least_bad", AllTripped::TryLeastBad), ("refuse", AllTripped::Refuse)];

const RETRIES: [(&str, bool); 2] = [("always", false), ("safe", true)];

/// Reads the keys at the top of the file. Must be called after the providers have been read.
pub(super) fn read(root: &mut Section<'_, '_, '_>, settings: &mut Settings) {
    let mut strategy = None;
    root.section("routing", |section| {
        // These come first, because a strategy without an argument uses them.
        race(section, &mut settings.routing);
        hedge(section, &mut settings.routing);
        strategy = section.read("strategy", self::strategy(&settings.routing));
        settings.routing.client_strategies = permissions(section, "client_strategies");
        other_sections(section, &mut settings.routing);
    });
    settings.routing.strategy = strategy.unwrap_or_default();
    if let Some(parallel) = root.read("enable_parallel_endpoints", scalar::boolean) {
        if strategy.is_some() {
            root.report("enable_parallel_endpoints", "is also said by routing.strategy");
        }
        set_parallel(&mut settings.routing, parallel);
    }
    root.set("parallel_timeout", &mut settings.routing.race.timeout, scalar::duration);
    if let Some(mut field) = root.field("endpoint_priority") {
        let names = known_providers(&mut field, &settings.providers);
        move_to_front(&mut settings.providers, &names);
    }
    if let Some(mut field) = root.field("models") {
        models(&mut field, settings);
    }
    if let Some(mut field) = root.field("aliases") {
        aliases(&mut field, settings);
    }
}

fn strategy(routing: &RoutingSettings) -> impl FnOnce(&Value) -> Result<Strategy, ValueError> {
    const WORDS: [&str; 5] = ["race", "hedge", "priority", "weighted", "adaptive"];
    let defaults = routing.strategy_defaults;
    move |value| {
        let text = scalar::text(value)?;
        Strategy::parse(text, defaults, duration::parse).ok_or_else(|| ValueError {
            message: format!(
                "expected one of {}, or as \"race:2\", \"hedge:p95\", \"hedge:300ms\"",
                WORDS.join(", ")
            ),
            suggestion: nearest(text, WORDS),
        })
    }
}

/// The strategies that a client may choose. `None`: the key is absent.
pub(super) fn permissions(section: &mut Section<'_, '_, '_>, key: &'static str) -> Option<Vec<String>> {
    let mut field = section.field(key)?;
    let mut permitted = Vec::new();
    field.items(|mut item| {
        permitted.extend(item.read(|value| {
            let text = scalar::text(value)?;
            let error = "expected \"race\", \"race:3\" (up to three at once), \"hedge\", \"priority\", \"weighted\" \
                         or \"adaptive\"";
            Strategy::is_permission(text).then(|| text.to_owned()).ok_or_else(|| error.into())
        }));
    });
    Some(permitted)
}

fn race(section: &mut Section<'_, '_, '_>, routing: &mut RoutingSettings) {
    section.section("race", |section| {
        section.set("width", &mut routing.strategy_defaults.width, scalar::integer(2..=u64::from(MAX_WIDTH)));
        section.set("max_races", &mut routing.race.max_races, scalar::integer(0..=1_000_000));
        section.set("timeout", &mut routing.race.timeout, scalar::duration);
    });
}

fn hedge(section: &mut Section<'_, '_, '_>, routing: &mut RoutingSettings) {
    section.section("hedge", |section| {
        section.set("delay", &mut routing.strategy_defaults.delay, |value| match value {
            Value::Text(text) => HedgeDelay::parse(text, duration::parse)
                .ok_or_else(|| "expected a duration, or a percentile as \"p95\"".into()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
                scalar::duration(value).map(HedgeDelay::Fixed)
            }
        });
        section.set("share", &mut routing.hedge.share, scalar::share);
        section.set("burst", &mut routing.hedge.burst, scalar::integer(1..=10_000));
    });
}

fn other_sections(section: &mut Section<'_, '_, '_>, routing: &mut RoutingSettings) {
    if let Some(mut field) = section.field("retry") {
        retry(&mut field, routing);
    }
    section.section("breaker", |section| {
        let breaker = &mut routing.breaker;
        section.set("failures", &mut breaker.failures, scalar::integer(1..=1_000_000));
        section.set("share", &mut breaker.share, scalar::share);
        section.set("least", &mut breaker.min_requests, scalar::integer(1..=1_000_000));
        section.set("window", &mut breaker.window, scalar::duration);
        section.set("cool_down", &mut breaker.cool_down, scalar::duration);
        section.set("longest_cool_down", &mut breaker.max_cool_down, scalar::duration);
        if breaker.max_cool_down < breaker.cool_down {
            section.report("longest_cool_down", "is shorter than cool_down");
        }
    });
    section.section("adaptive", |section| {
        section.set("exploration", &mut routing.adaptive.exploration, scalar::share);
        section.set("cold_after", &mut routing.adaptive.cold_after, scalar::duration);
        section.set("first_races", &mut routing.adaptive.first_races, scalar::integer(0..=1_000_000));
    });
    section.set("sticky", &mut routing.sticky, |value| match value {
        Value::Bool(true) => Ok(Sticky::Session),
        Value::Bool(false) => Ok(Sticky::Off),
        Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Table(_) => {
            scalar::choice(&STICKY)(value)
        }
    });
    if let Some(mut field) = section.field("regions") {
        routing.regions = names(&mut field);
    }
    if let Some(translate) = section.read("translate", scalar::boolean) {
        routing.native_only = !translate;
    }
    section.set("unknown_responses", &mut routing.unknown_responses, scalar::boolean);
    section.set("all_tripped", &mut routing.all_tripped, scalar::choice(&ALL_TRIPPED));
}

/// `"safe"`, or an object with all options.
fn retry(field: &mut Located<'_, '_, '_>, routing: &mut RoutingSettings) {
    let retry = &mut routing.retry;
    if matches!(field.value, Value::Text(_)) {
        retry.safe = field.read(scalar::choice(&RETRIES)).unwrap_or(retry.safe);
        return;
    }
    field.section(|section| {
        section.set("mode", &mut retry.safe, scalar::choice(&RETRIES));
        section.set("budget", &mut retry.failovers.share, scalar::share);
        section.set("burst", &mut retry.failovers.burst, scalar::integer(0..=1_000_000));
        section.set("repeats", &mut retry.repeats, scalar::integer(0..=10));
        section.set("share", &mut retry.share, scalar::share);
        section.set("least", &mut retry.min_repeats, scalar::integer(0..=1_000_000));
        section.set("pause", &mut retry.pause, scalar::duration);
        section.set("longest_pause", &mut retry.max_pause, scalar::duration);
    });
}

/// The rules of single models: `{"name": {…}}`.
fn models(field: &mut Located<'_, '_, '_>, settings: &mut Settings) {
    each_named(field, |name, field| {
        let routing = &mut settings.routing;
        let defaults = routing.clone();
        let (mut rule, mut aliases) = (ModelRule { name, ..ModelRule::default() }, Vec::new());
        field.section(|section| {
            rule.strategy = section.read("strategy", strategy(&defaults));
            rule.translate = section.read("translate", scalar::boolean);
            if let Some(mut field) = section.field("providers") {
                rule.providers = known_providers(&mut field, &settings.providers);
            }
            if let Some(mut field) = section.field("aliases") {
                aliases = names(&mut field);
            }
            if let Some(is_cached) = section.read("cache", scalar::boolean) {
                let named = std::iter::once(&rule.name).chain(&aliases);
                settings.cache.models.extend(named.map(|name| (Arc::clone(name), is_cached)));
            }
            if let Some(Some(commit)) = section.read("commit", scalar::choice(&COMMIT_POINTS)) {
                let named = std::iter::once(&rule.name).chain(&aliases);
                settings.commits.extend(named.map(|name| (Arc::clone(name), commit)));
            }
        });
        for alias in aliases {
            let targets = vec![Arc::clone(&rule.name)];
            let ModelRule { strategy, translate, .. } = rule;
            let alias = ModelRule { name: alias, targets, strategy, translate, ..ModelRule::default() };
            routing.models.push(alias);
        }
        routing.models.push(rule);
    });
    report_duplicates(field, &settings.routing.models);
}

/// `{"alias": "provider/model"}`, or a list of them, tried in order.
fn aliases(field: &mut Located<'_, '_, '_>, settings: &mut Settings) {
    each_named(field, |name, field| {
        let targets = match field.value {
            Value::List(_) => names(field),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Table(_) => {
                field.read(scalar::label).map(Arc::from).into_iter().collect()
            }
        };
        if targets.contains(&name) {
            field.report("stands for itself");
        }
        settings.routing.models.push(ModelRule { name, targets, ..ModelRule::default() });
    });
    report_duplicates(field, &settings.routing.models);
}

/// Reads the members of an object with keys chosen by the operator.
fn each_named<'v, 'e>(
    field: &mut Located<'v, '_, 'e>,
    mut read: impl FnMut(Arc<str>, &mut Located<'v, '_, 'e>),
) {
    field.members(|name, mut field| {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            field.report("is no name of a model");
        } else {
            read(name.trim().into(), &mut field);
        }
    });
}

fn report_duplicates(field: &mut Located<'_, '_, '_>, rules: &[ModelRule]) {
    let mut seen = std::collections::HashSet::new();
    if let Some(rule) = rules.iter().find(|rule| !seen.insert(&rule.name)) {
        field.report(format!("says what the model {} is a second time", shown_key(&rule.name)));
    }
}

fn names(field: &mut Located<'_, '_, '_>) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    field.items(|mut item| names.extend(item.read(scalar::label).map(Arc::from)));
    if matches!(field.value, Value::List(items) if items.is_empty()) {
        field.report("names nothing; leave it out");
    }
    names
}

fn known_providers(field: &mut Located<'_, '_, '_>, providers: &[ProviderSettings]) -> Vec<Arc<str>> {
    field.items(|mut item| {
        item.read(|value| known(providers, scalar::text(value)?));
    });
    names(field)
}

fn known(providers: &[ProviderSettings], name: &str) -> Result<(), ValueError> {
    if providers.iter().any(|provider| *provider.target.name == *name) {
        return Ok(());
    }
    Err(ValueError {
        message: "is the name of no provider".to_owned(),
        suggestion: nearest(name, providers.iter().map(|provider| &*provider.target.name)),
    })
}

/// Moves the named providers to the front, in this order.
fn move_to_front(providers: &mut [ProviderSettings], names: &[Arc<str>]) {
    let rank = |provider: &ProviderSettings| names.iter().position(|name| *name == provider.target.name);
    providers.sort_by_key(|provider| rank(provider).unwrap_or(names.len()));
}

/// `true`: race. `false`: the configured strategy, but never a race.
const fn set_parallel(routing: &mut RoutingSettings, parallel: bool) {
    if parallel {
        routing.strategy = Strategy::Race { width: routing.strategy_defaults.width };
    } else if matches!(routing.strategy, Strategy::Race { .. }) {
        routing.strategy = Strategy::Priority;
    }
}

/// S3.4: `ENABLE_PARALLEL_ENDPOINTS`, `PARALLEL_TIMEOUT`, `ENDPOINT_PRIORITY`.
pub(super) fn variables(env: &Env, settings: &mut Settings, problems: &mut Vec<Problem>) {
    const SWITCH: [(&str, bool); 6] =
        [("true", true), ("false", false), ("1", true), ("0", false), ("yes", true), ("no", false)];
    let mut apply = |name: &'static str, apply: &mut dyn FnMut(&str) -> Result<(), ValueError>| {
        if let Some(Err(error)) = env.variable(name).map(apply) {
            problems.push(Problem::new(name, error));
        }
    };
    apply("ENABLE_PARALLEL_ENDPOINTS", &mut |text| {
        scalar::word(text, &SWITCH).map(|parallel| set_parallel(&mut settings.routing, parallel))
    });
    apply("PARALLEL_TIMEOUT", &mut |text| {
        let timeout = duration::parse(text).filter(|timeout| !timeout.is_zero());
        settings.routing.race.timeout = timeout.ok_or("expected seconds, or a duration as \"30s\"")?;
        Ok(())
    });
    apply("ENDPOINT_PRIORITY", &mut |text| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.clone().try_for_each(|name| known(&settings.providers, name))?;
        move_to_front(&mut settings.providers, &names.map(Arc::from).collect::<Vec<_>>());
        Ok(())
    });
}
