//! The key `cache`: the answer cache. That it is there turns the cache on.

use super::{scalar, section::Section};
use crate::cache::{CacheSettings, ReplayPace};

const PACES: [(&str, ReplayPace); 2] = [("at_once", ReplayPace::AtOnce), ("recorded", ReplayPace::Recorded)];

pub(super) fn read(section: &mut Section<'_, '_, '_>, cache: &mut CacheSettings) {
    cache.enabled = true;
    section.set("enabled", &mut cache.enabled, scalar::boolean);
    section.set("max_age", &mut cache.max_age, scalar::duration);
    section.set("max_size", &mut cache.max_size, scalar::size(1 << 10..=1 << 40));
    section.set("max_entry_size", &mut cache.max_entry_size, scalar::size(1 << 10..=1 << 30));
    section.set("shared", &mut cache.shared, scalar::boolean);
    section.set("coalesce", &mut cache.coalesce, scalar::boolean);
    section.set("pace", &mut cache.pace, scalar::choice(&PACES));
    if cache.max_entry_size > cache.max_size {
        section.report("max_entry_size", "is larger than max_size");
    }
}
