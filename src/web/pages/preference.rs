//! Whether a request prefers a page to JSON, by its `Accept` (RFC 9110 section 12.5.1). Pure. A browser names
//! HTML and leaves everything else to a wildcard of less weight; a program names JSON, or nothing.

use crate::base::{HeaderFields, field_text};

const HTML: &str = "text/html";
const JSON: &str = "application/json";

/// HTML is named, and weighs more than JSON does.
pub(in crate::web) fn prefers_html(request: &HeaderFields) -> bool {
    let (mut html, mut json) = (0.0_f32, (0_u8, 0.0_f32));
    for (name, weight) in accepted(request) {
        // The most particular member decides.
        let precision = match &*name {
            HTML => {
                html = weight;
                continue;
            }
            JSON => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        if precision >= json.0 {
            json = (precision, weight);
        }
    }
    html > json.1
}

/// The members of `Accept`: name and weight.
pub(in crate::web) fn accepted(request: &HeaderFields) -> impl Iterator<Item = (String, f32)> {
    let values = request.get_all("accept").filter_map(field_text);
    values.flat_map(|value| value.split(',')).map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (name, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_programs_json() {
        let prefers = |value: &'static str| prefers_html(&[("accept", value)].into_iter().collect());
        for browser in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html, */*;q=0.8",
            "TEXT/HTML; charset=utf-8",
            "application/json;q=0.4, text/html;q=0.5",
        ] {
            assert!(prefers(browser), "{browser}");
        }
        for program in [
            "*/*",
            "application/json",
            "application/json, text/html",
            "text/html;q=0.5, application/json",
            "text/html;q=0",
            "text/html;q=nan, */*;q=0.1",
            "text/*",
            "text/html, */*",
            "",
        ] {
            assert!(!prefers(program), "{program}");
        }
        assert!(!prefers_html(&HeaderFields::new()));
    }
}
