//! The part of the configuration that settlement reads. The process's snapshot implements it; the snapshot in
//! force when a batch is settled counts, also for requests that began under an earlier one.

use crate::{base::Network, ledger::Prices, telemetry::TelemetrySettings};

pub trait SettlementConfig {
    /// Goes up by one with each reload.
    fn generation(&self) -> u64;

    fn telemetry(&self) -> &TelemetrySettings;

    fn prices(&self) -> &Prices;

    /// Proxies that are trusted to set `X-Forwarded-For`.
    fn trusted_proxies(&self) -> &[Network];

    /// `None`: no provider has this name any more.
    fn provider(&self, name: &str) -> Option<ProviderLabels<'_>>;

    /// The model's name as a list of the provider has it. `None`: no list names it, and only the client's
    /// text is known.
    fn listed_model<'a>(&'a self, model: &'a str, provider: &str) -> Option<&'a str>;
}

/// A provider as rows describe it.
#[derive(Clone, Copy, Debug)]
pub struct ProviderLabels<'a> {
    /// The family of its API: `openai`, `anthropic`, `azure`.
    pub kind: &'static str,
    pub region: Option<&'a str>,
}
