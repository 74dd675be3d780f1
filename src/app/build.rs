//! Settings become the first snapshot. May fail; nothing has been started yet.

use crate::{
    auth::Tokens,
    config::{ProviderSettings, Settings},
    proxy::{Provider, Snapshot},
    routing::{Catalog, Health, Listing, Served},
};

pub(super) fn snapshot(settings: &Settings) -> Snapshot {
    let catalog =
        Catalog::new(settings.providers.iter().map(served).collect(), settings.supported_models.clone());
    Snapshot {
        tokens: Tokens::new(&settings.tokens),
        catalog,
        providers: settings.providers.iter().map(provider).collect(),
        stream: settings.stream,
        limits: settings.limits,
        failover: settings.failover,
    }
}

fn served(provider: &ProviderSettings) -> Served {
    let listing = match &provider.models {
        Some(models) => Listing::Configured(models.iter().map(|model| model.as_str().into()).collect()),
        None => Listing::Unknown,
    };
    Served { name: provider.target.name.clone(), listing }
}

fn provider(provider: &ProviderSettings) -> Provider {
    Provider { target: provider.target.clone().into(), health: Health::default() }
}
