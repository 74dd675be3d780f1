//! `batch`: the bounds of requests that come many in one, and whether files of them are kept and run.

use std::time::Duration;

use super::{
    document::Value,
    problem::{Problem, ValueError},
    scalar,
    section::Section,
    settings::Settings,
};
use crate::batch::BatchSettings;

pub(super) fn read(section: &mut Section<'_, '_, '_>, batch: &mut BatchSettings) {
    section.set("enabled", &mut batch.enabled, scalar::boolean);
    section.set("max_items", &mut batch.max_items, scalar::integer(1..=100_000));
    section.set("max_concurrency", &mut batch.max_concurrency, scalar::integer(1..=10_000));
    section.set("max_response_bytes", &mut batch.max_response_bytes, scalar::size(1..=1 << 40));
    section.set("max_requests", &mut batch.max_requests, scalar::integer(1..=1_000_000));
    section.set("files_per_key", &mut batch.files_per_key, scalar::integer(1..=1_000_000));
    section.set("bytes_per_key", &mut batch.bytes_per_key, scalar::size(1..=1 << 50));
    section.set("keep", &mut batch.keep, scalar::duration);
    section.set("lease", &mut batch.lease, lease);
}

/// Leases are whole seconds.
fn lease(value: &Value) -> Result<Duration, ValueError> {
    let lease = scalar::duration(value)?;
    match lease.subsec_nanos() == 0 {
        true => Ok(lease),
        false => Err("expected whole seconds".into()),
    }
}

/// After all sources have been read: files and batches are kept in the database.
pub(super) fn finish(settings: &Settings, problems: &mut Vec<Problem>) {
    if settings.batch.enabled && settings.database.is_none() {
        problems.push(Problem::new("batch.enabled", "files and batches need a `database`"));
    }
}
