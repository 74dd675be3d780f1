//! `forward_headers`: the headers that pass besides the built-in ones, for all providers or for one.

use super::section::{Located, Section};
use crate::upstream::{ForwardedHeaders, HeaderPattern};

/// Reads the patterns of both directions; a provider's own replace those of the file.
pub(super) fn read(section: &mut Section<'_, '_, '_>, forwarded: &mut ForwardedHeaders) {
    if let Some(read) = section.section("forward_headers", |section| ForwardedHeaders {
        request: section.field("request").map_or_else(Vec::new, |field| {
            patterns(field, HeaderPattern::is_barred_up, "never goes to a provider")
        }),
        response: section.field("response").map_or_else(Vec::new, |field| {
            patterns(field, HeaderPattern::is_barred_down, "never goes to a client")
        }),
    }) {
        *forwarded = read;
    }
}

fn patterns(
    mut field: Located<'_, '_, '_>,
    is_barred: fn(&HeaderPattern) -> bool,
    reason: &'static str,
) -> Vec<HeaderPattern> {
    let mut patterns = Vec::new();
    field.items(|mut item| {
        patterns.extend(item.read(|value| {
            let pattern = HeaderPattern::parse(super::scalar::text(value)?);
            let pattern = pattern.ok_or("expected a header's name, or the beginning of names and a *")?;
            if is_barred(&pattern) { Err(reason.into()) } else { Ok(pattern) }
        }));
    });
    patterns
}
