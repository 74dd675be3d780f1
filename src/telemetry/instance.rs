//! The name of this replica among those that share a Redis. A restart makes another one of it.

use std::sync::Arc;

use crate::base::Rng;

/// The longest name.
pub const MAX_NAME: usize = 64;
/// Without the name of a host.
const NAMELESS: &str = "thalweg";
/// Linux has the host's name here, of a container that of the container.
const HOST_FILE: &str = "/proc/sys/kernel/hostname";

/// Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    name: Arc<str>,
    run: Arc<str>,
}

impl Default for Instance {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Instance {
    /// With the configured name, or with that of the host and a random end.
    #[must_use]
    pub fn new(name: Option<&str>) -> Self {
        let mut rng = Rng::random();
        let name =
            name.map_or_else(|| format!("{}-{:06x}", cleaned(&host()), rng.roll() >> 40), str::to_owned);
        Self { name: name.into(), run: format!("{:08x}", rng.roll() >> 32).into() }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name with a mark of this run: two replicas with the same name are told apart.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.name, self.run)
    }
}

/// Whether a text may be a name: letters, digits, `.`, `_` and `-`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(fits)
}

const fn fits(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The name of this host; empty if it is not known.
#[must_use]
pub fn host() -> String {
    let written = std::fs::read_to_string(HOST_FILE).ok();
    let name = written.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    name.trim().to_owned()
}

/// The name of a host with room for an end.
fn cleaned(host: &str) -> String {
    let host: String = host.bytes().filter(|byte| fits(*byte)).map(char::from).take(MAX_NAME - 8).collect();
    if host.is_empty() { NAMELESS.to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_is_another_instance() {
        let (one, two) = (Instance::new(None), Instance::new(None));
        assert!(one != two && is_name(one.name()) && is_name(two.name()), "{one:?} {two:?}");
        let named = [Instance::new(Some("a")), Instance::new(Some("a"))];
        assert_eq!([named[0].name(), named[1].name()], ["a", "a"]);
        assert_ne!(named[0].place(), named[1].place());
        assert_eq!((cleaned("a b{c}é.d"), cleaned("{}")), ("abc.d".to_owned(), NAMELESS.to_owned()));
        assert_eq!(cleaned(&"x".repeat(300)).len(), MAX_NAME - 8);
        assert!(is_name("pod-7.eu_1") && !is_name("") && !is_name("a b") && !is_name(&"x".repeat(65)));
    }
}
