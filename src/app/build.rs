//! Settings become a snapshot, and the address of the gateway itself for its comparisons. Pure: starts
//! nothing, reads no file, and cannot fail, because the settings are checked. State that a reload keeps is
//! carried over in `reload`.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use crate::{
    auth::{ConfiguredKeys, PageSessions, StoredKeys},
    base::ttl_map::CacheHits,
    cache::{AnswerCache, AnswerKeyBuilder, CachePolicy, FlightRegistry, MakerPlace},
    config::{ProviderSettings, Settings},
    ledger::Prices,
    proxy::{AdminAccess, BodyBounds, Intake, Provider, SecretMask, Snapshot},
    routing::{Catalog, Listing, RoutedProvider, StatsRegistry},
    server::{Listen, ServerLimits},
    upstream::{BaseUrl, Protocol, Target, forwarded_headers::names_a_secret},
};

/// The snapshot of these settings. A candidate that did not change keeps its statistics, which are in
/// `records`.
pub(super) fn snapshot(settings: &Settings, records: &StatsRegistry) -> Snapshot {
    let catalog = Catalog::new(
        settings.providers.iter().map(served).collect(),
        settings.supported_models.clone(),
        settings.routing.clone().into(),
        records,
    );
    Snapshot {
        generation: 0,
        tokens: ConfiguredKeys::new(&settings.tokens),
        keys: StoredKeys::default(),
        sessions: PageSessions::default(),
        catalog,
        providers: settings.providers.iter().map(|provider| joined(provider, records)).collect(),
        stream: settings.stream,
        compression: settings.compression,
        cache: CachePolicy::new(
            settings.cache.clone(),
            settings.tokens.iter().any(|token| token.limits.cache == Some(true)),
        ),
        answers: AnswerCache::new(settings.cache.max_size),
        flights: FlightRegistry::default(),
        pool: settings.pool,
        intake: intake(&settings.limits),
        failover: settings.failover,
        commits: settings.commits.clone(),
        administration: match settings.admin_listen {
            Some(_) => AdminAccess::Apart,
            None => AdminAccess::Beside,
        },
        telemetry: settings.telemetry,
        health: settings.health,
        recalls: CacheHits::default(),
        prices: prices(settings).into(),
        trusted_proxies: settings.trusted_proxies.clone().into(),
    }
}

/// The prices, in which the providers' names are known.
fn prices(settings: &Settings) -> Prices {
    let names = settings.providers.iter().map(|provider| Arc::clone(&provider.target.name));
    settings.prices.clone().with_providers(names)
}

const fn intake(limits: &ServerLimits) -> Intake {
    let ServerLimits { body_size, body_timeout, .. } = *limits;
    let bounds = BodyBounds {
        all: limits.body_memory,
        key: limits.body_memory_per_key,
        unfinished: limits.unfinished_per_key,
    };
    Intake { body_size, body_timeout, bounds }
}

fn served(provider: &ProviderSettings) -> RoutedProvider {
    let listing = match &provider.models {
        Some(models) => Listing::Configured(models.iter().map(|model| model.as_str().into()).collect()),
        None => Listing::Unknown,
    };
    RoutedProvider {
        name: provider.target.name.clone(),
        base: provider.target.base.to_string().into(),
        listing,
        weight: provider.weight,
        region: provider.region.clone(),
        dialects: provider.dialects,
        known: provider.known,
        translate: provider.translate,
        details: Arc::default(),
    }
}

fn joined(provider: &ProviderSettings, records: &StatsRegistry) -> Provider {
    let target = &provider.target;
    let standing = records.provider(&target.name, &target.base.to_string());
    Provider {
        secrets: SecretMask::of(target).into(),
        target: target.clone().into(),
        place: place(provider),
        gemini: provider.gemini.clone().map(Arc::new),
        deadlines: provider.deadlines,
        region: provider.region.clone(),
        include_usage: provider.include_usage,
        standing,
    }
}

/// What tells a provider from others of its name, but for its secrets.
fn place(provider: &ProviderSettings) -> MakerPlace {
    let mut parts = AnswerKeyBuilder::default();
    for target in std::iter::once(&provider.target).chain(&provider.gemini) {
        parts.add(target.base.to_string().as_bytes());
        target.base.public_parameters().for_each(|pair| parts.add(pair.as_bytes()));
        for (name, value) in target.headers.iter().filter(|(name, _)| !names_a_secret(name.as_str())) {
            parts.add(name.as_str().as_bytes());
            parts.add(value.as_bytes());
        }
    }
    parts.finish_place()
}

/// The gateway as a target of its own, for `/streaming-compare`. Under TLS its host is the name that it
/// listens on, because the certificate is for that name, and that certificate is trusted.
pub(super) fn own(listen: &Listen, addresses: &[SocketAddr]) -> Target {
    let address = addresses.first().copied().unwrap_or_else(|| (Ipv4Addr::LOCALHOST, listen.port).into());
    let host = match (listen.tls.is_some(), address.ip()) {
        (true, ip) if ip.is_loopback() || ip.is_unspecified() => "localhost".into(),
        (true, _) => listen.host.as_str().into(),
        (false, ip) if !ip.is_unspecified() => ip.to_string().into(),
        (false, ip) if ip.is_ipv6() => Ipv6Addr::LOCALHOST.to_string().into(),
        (false, _) => Ipv4Addr::LOCALHOST.to_string().into(),
    };
    let (tls, port) = (listen.tls.is_some(), address.port());
    let base = BaseUrl { tls, host, port, path: "/v1".into(), query: None };
    Target {
        protocol: Protocol::Http1,
        ca_file: listen.tls.as_ref().map(|files| files.certificate.clone()),
        ..Target::plain("thalweg", base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::TlsFiles;

    #[test]
    fn a_place_is_an_address_with_its_query_but_for_its_secrets() {
        let place = |query: &str| {
            let base = BaseUrl::parse(&format!("http://h/v1{query}")).unwrap();
            place(&ProviderSettings::plain(Target::plain("p", base)))
        };
        let places = ["", "?tenant=a", "?tenant=b", "?tenant=a&api-version=1"].map(place);
        for (at, one) in places.iter().enumerate() {
            assert!(places[..at].iter().all(|other| one != other), "{at}");
        }
        assert_eq!(place("?tenant=a&key=sk-1"), place("?key=sk-2&tenant=a"));
    }

    #[test]
    fn finds_itself_where_it_listens() {
        let at = |tls, address: &str| {
            let files = TlsFiles { certificate: "c".into(), key: "k".into() };
            let listen =
                Listen { host: "gw.example".into(), port: 0, tls: Option::filter(Some(files), |_| tls) };
            own(&listen, &[address.parse().unwrap()]).base.to_string()
        };
        assert_eq!(at(false, "127.0.0.1:7"), "http://127.0.0.1:7/v1");
        assert_eq!(at(false, "0.0.0.0:7"), "http://127.0.0.1:7/v1");
        assert_eq!(at(false, "[::]:7"), "http://[::1]:7/v1");
        assert_eq!(at(true, "127.0.0.1:7"), "https://localhost:7/v1");
        assert_eq!(at(true, "10.0.0.5:7"), "https://gw.example:7/v1");
    }
}
