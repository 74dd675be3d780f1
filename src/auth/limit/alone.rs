//! Limits while the shared store is away: each replica decides by itself.

/// How limits hold while the shared store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAlone {
    /// A replica grants its part: the limit divided by the replicas last seen.
    #[default]
    Share,
    /// A replica grants the whole limit by itself.
    Open,
    /// Keys with limits are refused.
    Closed,
}

/// Where a request takes its amounts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitBasis {
    /// The limit itself, counted here.
    Own,
    /// Amounts that the shared store has granted.
    Granted,
    /// The limit divided by this number of replicas.
    Part(u32),
}
