//! The known word nearest to a misspelt one. Case and separators do not count, so `baseUrl` and `base-url` find
//! `base_url`.

/// Longer words are not compared: nobody means them, and the comparison is quadratic.
const LONGEST: usize = 64;

/// `None`: nothing is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    if word.len() > LONGEST {
        return None;
    }
    let word = plain(word);
    let reach = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

fn plain(word: &str) -> String {
    word.chars()
        .filter(|letter| !matches!(letter, '_' | '-' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["base_url", "api_key", "headers"];
        for (word, found) in [
            ("baseUrl", Some("base_url")),
            ("base-url", Some("base_url")),
            ("apikey", Some("api_key")),
            ("api_kye", Some("api_key")),
            ("header", Some("headers")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known).as_deref(), found, "{word}");
        }
        assert_eq!(nearest(&"base_url".repeat(1000), known), None);
    }
}
