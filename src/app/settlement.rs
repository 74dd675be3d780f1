//! Joins settlement and the snapshot, so that requests are settled by the configuration in force. Holds no
//! state.

use crate::{
    base::Network,
    ledger::Prices,
    proxy::Snapshot,
    settlement::{ProviderLabels, SettlementConfig},
    telemetry::TelemetrySettings,
    upstream::KeyHeader,
};

impl SettlementConfig for Snapshot {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }

    fn prices(&self) -> &Prices {
        &self.prices
    }

    fn trusted_proxies(&self) -> &[Network] {
        &self.trusted_proxies
    }

    fn provider(&self, name: &str) -> Option<ProviderLabels<'_>> {
        let provider = self.providers.iter().find(|provider| &*provider.target.name == name)?;
        let kind = match provider.target.key_header {
            KeyHeader::Bearer => "openai",
            KeyHeader::XApiKey => "anthropic",
            KeyHeader::ApiKey => "azure",
            KeyHeader::XGoogApiKey => "gcp.gemini",
        };
        Some(ProviderLabels { kind, region: provider.region.as_deref() })
    }

    fn listed_model<'a>(&'a self, model: &'a str, provider: &str) -> Option<&'a str> {
        self.catalog.listed_name(model, provider)
    }
}
