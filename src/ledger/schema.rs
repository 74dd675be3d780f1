//! The ledger's tables. `requests` has a row per request until its retention is over. `rollups` has sums over
//! hours and days, for ever: days, so that a query over a month reads thirty rows and not 720; and hours over
//! all models, providers and keys (a negative span), so that a month by hours reads 720. Both tables are
//! written in one transaction, so every row is counted in both spans exactly once.
//!
//! A released step is never changed; a change is a new step. A step of [`SCHEMA`] shuts out every version
//! before it. A column that those versions can do without is a step of `ADDITIONS`, whose version they do not
//! read: gateways of both versions share the database during an upgrade, and one may go back.

use crate::database::Schema;

pub(super) const SCHEMA: Schema = Schema { part: "ledger", steps: &[&[REQUESTS, ROLLUPS]] };

/// Columns that are null, or have a default, in rows of a version that does not know them.
const ADDITIONS: Schema = Schema {
    part: "ledger_additions",
    steps: &[
        &[
            "ALTER TABLE requests ADD COLUMN dialects TEXT",
            "ALTER TABLE rollups ADD COLUMN translated BIGINT NOT NULL DEFAULT 0",
        ],
        &[
            "ALTER TABLE requests ADD COLUMN reuse TEXT",
            "ALTER TABLE requests ADD COLUMN tokens_saved BIGINT",
            "ALTER TABLE rollups ADD COLUMN reused BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE rollups ADD COLUMN tokens_saved BIGINT NOT NULL DEFAULT 0",
        ],
    ],
};

/// The ledger's tables, in the order in which they are migrated.
pub const SCHEMAS: [&Schema; 2] = [&SCHEMA, &ADDITIONS];

const REQUESTS: &str = "CREATE TABLE requests (
    id {blob} PRIMARY KEY NOT NULL, at BIGINT NOT NULL,
    request_id TEXT, principal TEXT, key_id TEXT, model_asked TEXT, model TEXT, path TEXT, dialect TEXT,
    provider TEXT, provider_kind TEXT, region TEXT, strategy TEXT, attempts BIGINT, wasted BIGINT,
    wasted_tokens BIGINT, mode TEXT,
    status BIGINT, outcome TEXT, fault TEXT, fault_side TEXT, phase TEXT,
    first_byte_us BIGINT, ttft_us BIGINT, total_us BIGINT, queue_us BIGINT, upstream_us BIGINT,
    added_first_ns BIGINT, added_p50_ns BIGINT, added_p99_ns BIGINT, added_max_ns BIGINT,
    frames BIGINT, events BIGINT, request_bytes BIGINT, bytes BIGINT, digest_up TEXT, digest_down TEXT,
    tokens_in BIGINT, tokens_out BIGINT, tokens_cached BIGINT, tokens_reasoning BIGINT, usage_source TEXT,
    cost BIGINT, client TEXT, user_agent TEXT, trace_id TEXT)";

const ROLLUPS: &str = "CREATE TABLE rollups (
    span BIGINT NOT NULL, start BIGINT NOT NULL,
    model TEXT NOT NULL, provider TEXT NOT NULL, principal TEXT NOT NULL, key_id TEXT NOT NULL, outcome TEXT NOT NULL,
    requests BIGINT NOT NULL, attempts BIGINT NOT NULL, wasted BIGINT NOT NULL,
    tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL, tokens_cached BIGINT NOT NULL,
    tokens_reasoning BIGINT NOT NULL, estimated BIGINT NOT NULL, cost BIGINT NOT NULL, unpriced BIGINT NOT NULL,
    request_bytes BIGINT NOT NULL, bytes BIGINT NOT NULL, frames BIGINT NOT NULL,
    ttft_count BIGINT NOT NULL, ttft_us BIGINT NOT NULL, total_us BIGINT NOT NULL,
    queue_us BIGINT NOT NULL, upstream_us BIGINT NOT NULL,
    ttft_00 BIGINT NOT NULL, ttft_01 BIGINT NOT NULL, ttft_02 BIGINT NOT NULL, ttft_03 BIGINT NOT NULL,
    ttft_04 BIGINT NOT NULL, ttft_05 BIGINT NOT NULL, ttft_06 BIGINT NOT NULL, ttft_07 BIGINT NOT NULL,
    ttft_08 BIGINT NOT NULL, ttft_09 BIGINT NOT NULL, ttft_10 BIGINT NOT NULL, ttft_11 BIGINT NOT NULL,
    ttft_12 BIGINT NOT NULL, ttft_13 BIGINT NOT NULL, ttft_14 BIGINT NOT NULL, ttft_15 BIGINT NOT NULL,
    ttft_16 BIGINT NOT NULL, ttft_17 BIGINT NOT NULL, ttft_18 BIGINT NOT NULL, ttft_19 BIGINT NOT NULL,
    total_00 BIGINT NOT NULL, total_01 BIGINT NOT NULL, total_02 BIGINT NOT NULL, total_03 BIGINT NOT NULL,
    total_04 BIGINT NOT NULL, total_05 BIGINT NOT NULL, total_06 BIGINT NOT NULL, total_07 BIGINT NOT NULL,
    total_08 BIGINT NOT NULL, total_09 BIGINT NOT NULL, total_10 BIGINT NOT NULL, total_11 BIGINT NOT NULL,
    total_12 BIGINT NOT NULL, total_13 BIGINT NOT NULL, total_14 BIGINT NOT NULL, total_15 BIGINT NOT NULL,
    total_16 BIGINT NOT NULL, total_17 BIGINT NOT NULL, total_18 BIGINT NOT NULL, total_19 BIGINT NOT NULL,
    PRIMARY KEY (span, start, model, provider, principal, key_id, outcome)) {clustered}";
