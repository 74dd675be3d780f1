//! The bounds of batches.

use std::time::Duration;

/// The key `batch` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Whether files and batches are kept and run (OpenAI's Batch API); needs a database.
    pub enabled: bool,
    /// Items of one request.
    pub max_items: usize,
    /// Items of one request that run at once, and items of files in all.
    pub max_concurrency: u32,
    /// Bytes of answers that wait for an earlier item's, where a document has them in order.
    pub max_response_bytes: usize,
    /// Lines of a file.
    pub max_requests: usize,
    /// Files of one key, and their bytes.
    pub files_per_key: u64,
    pub bytes_per_key: u64,
    /// For how long files, and batches that have ended, are kept.
    pub keep: Duration,
    /// The time after which another replica goes on with a batch whose own has died.
    pub lease: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            max_items: 1000,
            max_concurrency: 16,
            max_response_bytes: 64 << 20,
            max_requests: 50_000,
            files_per_key: 500,
            bytes_per_key: 1 << 30,
            keep: Duration::from_secs(30 * 24 * 3600),
            lease: Duration::from_secs(15),
        }
    }
}
