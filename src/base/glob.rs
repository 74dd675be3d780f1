//! Patterns for names: `*` matches any bytes, also none, and `?` matches one byte. No classes, no escapes: a
//! name that holds `*` or `?` itself cannot be matched exactly.

/// Whether the pattern matches the whole name. Time is linear in practice and at most pattern times name,
/// because backtracking only extends the last star by one byte.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut position) = (0, 0);
    let mut star = None;
    while let Some(&found) = name.get(position) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, position));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == found => {
                at += 1;
                position += 1;
            }
            Some(_) | None => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, position) = (after, from + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

/// Whether the name holds `*` or `?`.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    literals(name) < name.len()
}

/// Bytes of the pattern besides `*` and `?`; the pattern with the most is the most specific.
#[must_use]
pub fn literals(pattern: &str) -> usize {
    pattern.bytes().filter(|byte| !matches!(byte, b'*' | b'?')).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_name() {
        for (pattern, name, expected) in [
            ("gpt-*", "gpt-4o", true),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "chatgpt-4o", false),
            ("gpt-4", "gpt-4o", false),
            ("*4*mini", "gpt-4o-mini", true),
            ("*4*mini", "gpt-4o-mini-2", false),
            ("gpt-4?", "gpt-4o", true),
            ("gpt-4?", "gpt-4", false),
            ("*", "", true),
            ("", "a", false),
            ("a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_star_is_anything(pattern in "[ab*?]{0,6}", name in "[ab]{0,6}") {
            let expression = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            prop_assert_eq!(matches(&pattern, &name), regex::Regex::new(&expression).unwrap().is_match(&name));
        }
    }
}
