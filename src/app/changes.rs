//! The differences between two configurations, as a reload reports them: names and keys, never values that
//! may be secret. Also names the keys that a reload cannot apply.
//!
//! [`Changes::between`] takes the settings apart without `..`: a new setting must say here which kind it is.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    config::{ProviderSettings, Settings},
    telemetry::LogSettings,
};

#[derive(Debug, Default, Serialize)]
pub(super) struct Changes {
    providers: NameChanges,
    /// The order of those that stay.
    provider_order: bool,
    tokens: NameChanges,
    supported_models: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_level: Option<String>,
    /// Other keys of the file with new values, which are in force.
    settings: Vec<&'static str>,
    /// Keys with new values that only a restart applies.
    restart_needed: Vec<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct NameChanges {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

/// The names in a configuration that is in force.
#[derive(Debug, Serialize)]
pub(super) struct LoadedNames<'a> {
    providers: Vec<&'a str>,
    tokens: Vec<&'a str>,
    supported_models: Vec<&'a str>,
    log_level: &'static str,
}

impl Changes {
    /// From `old`, which is in force, to `new`.
    pub(super) fn between(old: &Settings, new: &Settings) -> Self {
        let Settings {
            file: _,
            digest: _,
            shown: _,
            notes: _,
            watch,
            listen,
            admin_listen,
            workers,
            log,
            providers,
            tokens,
            supported_models,
            instance,
            limits,
            pool,
            stream,
            compression,
            cache,
            failover,
            routing,
            commits,
            health,
            state_file,
            database,
            redis,
            when_alone,
            ledger,
            batch,
            prices,
            trusted_proxies,
            telemetry,
            otel,
        } = new;
        let patterns = |models: &[regex::Regex]| -> Vec<String> {
            models.iter().map(|pattern| pattern.as_str().to_owned()).collect()
        };
        // A key belongs in the first list if a reload applies it, and in the second if only a restart does.
        let live = [
            ("streaming", *stream != old.stream),
            ("compression", *compression != old.compression),
            ("cache", *cache != old.cache),
            ("max_connections", pool.max_connections != old.pool.max_connections),
            ("max_keepalive_connections", pool.max_keepalive != old.pool.max_keepalive),
            ("keepalive_expiry", pool.keepalive_expiry != old.pool.keepalive_expiry),
            ("http2_ping", pool.http2_ping != old.pool.http2_ping),
            ("failover", *failover != old.failover),
            ("routing", *routing != old.routing || *commits != old.commits),
            ("telemetry", *telemetry != old.telemetry),
            ("prices", *prices != old.prices),
            ("trusted_proxies", *trusted_proxies != old.trusted_proxies),
            ("limits", *limits != old.limits),
            ("health", *health != old.health),
        ];
        let at_start = [
            ("host", listen.host != old.listen.host),
            ("port", listen.port != old.listen.port),
            ("tls", listen.tls != old.listen.tls),
            ("watch", *watch != old.watch),
            ("admin_listen", *admin_listen != old.admin_listen),
            ("workers", *workers != old.workers),
            ("instance", *instance != old.instance),
            ("log.format", log.format != old.log.format),
            ("log.file", log.file != old.log.file),
            ("otel", *otel != old.otel),
            ("state_file", *state_file != old.state_file),
            ("database", *database != old.database),
            ("redis", *redis != old.redis),
            ("limits.when_alone", *when_alone != old.when_alone),
            ("ledger", *ledger != old.ledger),
            ("batch", *batch != old.batch),
        ];
        let order = |these: &[ProviderSettings], others: &[ProviderSettings]| -> Vec<Arc<str>> {
            let names = these.iter().map(|provider| &provider.target.name);
            names.filter(|name| others.iter().any(|other| other.target.name == **name)).cloned().collect()
        };
        let keys = |which: &[(&'static str, bool)]| {
            which.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
        };
        Self {
            providers: NameChanges::between(&old.providers, providers, |provider| &provider.target.name),
            provider_order: order(&old.providers, providers) != order(providers, &old.providers),
            tokens: NameChanges::between(&old.tokens, tokens, |token| &token.description),
            supported_models: patterns(supported_models) != patterns(&old.supported_models),
            log_level: (log.level != old.log.level).then(|| format!("{} to {}", old.log.level, log.level)),
            settings: keys(&live),
            restart_needed: keys(&at_start),
        }
    }

    /// Nothing differs.
    pub(super) fn is_empty(&self) -> bool {
        let Self { providers, provider_order, tokens, supported_models, log_level, settings, restart_needed } =
            self;
        [providers, tokens].iter().all(|names| names.is_empty())
            && !provider_order
            && !supported_models
            && log_level.is_none()
            && settings.is_empty()
            && restart_needed.is_empty()
    }

    pub(super) fn needs_restart(&self) -> Option<String> {
        (!self.restart_needed.is_empty()).then(|| self.restart_needed.join(", "))
    }
}

impl NameChanges {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Pairs entries that differ by name, which several may share; lists them in the order of the file.
    fn between<T: PartialEq>(old: &[T], new: &[T], name: impl Fn(&T) -> &str) -> Self {
        let mut gone: Vec<&T> = old.iter().filter(|one| !new.contains(one)).collect();
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        for one in new.iter().filter(|one| !old.contains(one)) {
            let list = match gone.iter().position(|old| name(old) == name(one)) {
                Some(namesake) => {
                    gone.remove(namesake);
                    &mut changed
                }
                None => &mut added,
            };
            list.push(name(one).to_owned());
        }
        Self { added, removed: gone.into_iter().map(|one| name(one).to_owned()).collect(), changed }
    }
}

impl<'a> LoadedNames<'a> {
    pub(super) fn of(settings: &'a Settings) -> Self {
        Self {
            providers: settings.providers.iter().map(|provider| &*provider.target.name).collect(),
            tokens: settings.tokens.iter().map(|token| token.description.as_str()).collect(),
            supported_models: settings.supported_models.iter().map(regex::Regex::as_str).collect(),
            log_level: settings.log.level.as_str(),
        }
    }
}

/// The settings in force after a reload to `new`: all of them except those that only a restart applies.
pub(super) fn in_force(new: Settings, old: &Settings) -> Settings {
    let old = old.clone();
    Settings {
        watch: old.watch,
        listen: old.listen,
        admin_listen: old.admin_listen,
        workers: old.workers,
        instance: old.instance,
        log: LogSettings { level: new.log.level, ..old.log },
        state_file: old.state_file,
        database: old.database,
        redis: old.redis,
        when_alone: old.when_alone,
        ledger: old.ledger,
        batch: old.batch,
        otel: old.otel,
        ..new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_name_are_told_apart() {
        let changes = |old: &[&'static str], new: &[&'static str]| {
            let changes = NameChanges::between(old, new, |one| one.split('|').next().unwrap());
            [changes.added, changes.removed, changes.changed].map(|names| names.join(" "))
        };
        assert_eq!(changes(&["a|1", "a|2"], &["a|2"]), ["", "a", ""]);
        assert_eq!(changes(&["a|1"], &["a|1", "a|2"]), ["a", "", ""]);
        assert_eq!(changes(&["a|1", "a|2", "b|1"], &["a|1", "a|3", "c|1"]), ["c", "b", "a"]);
        assert_eq!(changes(&["a|1", "a|2"], &["a|2", "a|1"]), ["", "", ""]);
    }
}
