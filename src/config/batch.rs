//! `batch`: the bounds of requests that come many in one.

use super::{scalar, section::Section};
use crate::batch::BatchSettings;

pub(super) fn read(section: &mut Section<'_, '_, '_>, batch: &mut BatchSettings) {
    section.set("max_items", &mut batch.max_items, scalar::integer(1..=100_000));
    section.set("max_concurrency", &mut batch.max_concurrency, scalar::integer(1..=10_000));
    section.set("max_response_bytes", &mut batch.max_response_bytes, scalar::size(1..=1 << 40));
}
