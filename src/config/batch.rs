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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{DatabaseSettings, DatabaseUrl};

    #[test]
    fn files_and_batches_need_a_database() {
        let problems = |enabled, database: Option<DatabaseSettings>| {
            let batch = BatchSettings { enabled, ..BatchSettings::default() };
            let mut problems = Vec::new();
            finish(&Settings { batch, database, ..Settings::default() }, &mut problems);
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let database = DatabaseSettings::new(DatabaseUrl::Sqlite("t.db".into()));
        assert!(problems(false, None).is_empty() && problems(true, Some(database)).is_empty());
        assert_eq!(problems(true, None), ["batch.enabled: files and batches need a `database`"]);
        assert!(lease(&Value::Text("1.5s".to_owned())).is_err());
        assert_eq!(lease(&Value::Number(20.0)).ok(), Some(Duration::from_secs(20)));
    }
}
