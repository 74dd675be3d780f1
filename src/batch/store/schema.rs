//! The tables of files and batches. A line of an input file is a row, and so is an answer: an item is known
//! by its batch and the number of its line, so that it has one answer at most.

use crate::database::Schema;

pub(super) const SCHEMA: Schema = Schema { part: "batch", steps: &[&STEP_1, &STEP_2] };

const STEP_1: [&str; 8] = [
    // `kind`: below 0 of an input file; else of the answers that it has. `state`: 0 while it is uploaded.
    "CREATE TABLE batch_files (id TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, \
     bytes BIGINT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL, kind BIGINT NOT NULL, \
     batch TEXT, state BIGINT NOT NULL)",
    "CREATE INDEX batch_files_owner ON batch_files (owner, created)",
    "CREATE TABLE batch_lines (file TEXT NOT NULL, number BIGINT NOT NULL, bytes BIGINT NOT NULL, \
     text {blob} NOT NULL, PRIMARY KEY (file, number))",
    "CREATE TABLE batch_jobs (id TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL, endpoint TEXT NOT NULL, \
     input TEXT NOT NULL, metadata TEXT, status TEXT NOT NULL, created BIGINT NOT NULL, \
     expires BIGINT NOT NULL, in_progress_at BIGINT, finalizing_at BIGINT, completed_at BIGINT, \
     failed_at BIGINT, expired_at BIGINT, cancelling_at BIGINT, cancelled_at BIGINT, \
     total BIGINT NOT NULL, completed BIGINT, failed BIGINT, output TEXT, errors TEXT, mistakes TEXT, runner TEXT, leased_until BIGINT)",
    "CREATE INDEX batch_jobs_status ON batch_jobs (status, created)",
    "CREATE INDEX batch_jobs_owner ON batch_jobs (owner, created)",
    "CREATE TABLE batch_answers (batch TEXT NOT NULL, number BIGINT NOT NULL, kind BIGINT NOT NULL, \
     bytes BIGINT NOT NULL, text {blob} NOT NULL, PRIMARY KEY (batch, number))",
    "CREATE INDEX batch_answers_kind ON batch_answers (batch, kind, number, bytes)",
];

/// Seconds that the files of a batch's answers are kept. NULL: as the configuration says.
const STEP_2: [&str; 1] = ["ALTER TABLE batch_jobs ADD COLUMN output_keep BIGINT"];
