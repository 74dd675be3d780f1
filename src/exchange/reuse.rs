//! An answer that no provider was paid for, because an equal request had it before, or has it just now.

/// Where the answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseKind {
    /// The answer cache.
    Cached,
    /// The stream of an equal request under way.
    Coalesced,
}

impl ReuseKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Coalesced => "coalesced",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReusedAnswer {
    pub kind: ReuseKind,
    /// Tokens that the provider counted for the request that paid.
    pub tokens_saved: u64,
}
