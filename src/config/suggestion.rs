//! Finds the known word most similar to a misspelt one. Letter case and separators do not count, so `baseUrl`
//! and `base-url` find `base_url`. A word that is too different gets no suggestion.
//!
//! The Damerau-Levenshtein distance is at most a third of the word, and from 1 to 3.

/// Bytes; longer words are not compared, because no known word is as long and the comparison is quadratic.
const MAX_WORD_LENGTH: usize = 64;

/// `None`: no known word is similar enough.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    if word.len() > MAX_WORD_LENGTH {
        return None;
    }
    let word = normalised(word);
    let max_distance = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &normalised(candidate)), candidate))
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

fn normalised(word: &str) -> String {
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
