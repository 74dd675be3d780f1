//! The route of a request as its record keeps it. The table from paths to routes is `web`'s; it gives the
//! templates.

use crate::{base::Endpoint, wire::Dialect};

/// The path template of a request that no route answers, for logs and metrics.
pub const UNKNOWN: &str = "other";

/// A route by its path's template, which is never text of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRoute {
    /// An answer of a provider's.
    Completion { template: &'static str, endpoint: Endpoint },
    /// An answer of the gateway itself.
    Page { template: &'static str },
    /// No such path, or not by this method.
    Unknown,
}

impl RequestRoute {
    /// The path's template, for logs, rows, spans and metrics.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::Completion { template, .. } | Self::Page { template } => template,
            Self::Unknown => UNKNOWN,
        }
    }

    /// `None`: not a request for a provider.
    #[must_use]
    pub const fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::Completion { endpoint, .. } => Some(endpoint),
            Self::Page { .. } | Self::Unknown => None,
        }
    }

    /// As [`RequestRoute::endpoint`].
    #[must_use]
    pub fn dialect(self) -> Option<Dialect> {
        self.endpoint().map(Endpoint::dialect)
    }
}
