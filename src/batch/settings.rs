//! The bounds of batches.

/// The key `batch` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Items of one request.
    pub max_items: usize,
    /// Items of one request that run at once.
    pub max_concurrency: u32,
    /// Bytes of answers that wait for an earlier item's, where a document has them in order.
    pub max_response_bytes: usize,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { max_items: 1000, max_concurrency: 16, max_response_bytes: 64 << 20 }
    }
}
