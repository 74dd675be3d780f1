//! A condition that lasts, such as an outage: its log line is written once when it begins and once when it
//! ends, however often it is observed. The line and its level belong to the caller.

/// Whether the condition holds. Begins as not holding.
#[derive(Debug, Default)]
pub struct Episode(bool);

impl Episode {
    #[must_use]
    pub const fn new() -> Self {
        Self(false)
    }

    /// The condition is observed. True if it did not hold before: the time to log its beginning.
    pub const fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }

    /// The condition is over. True if it held: the time to log its end.
    pub const fn end(&mut self) -> bool {
        std::mem::replace(&mut self.0, false)
    }

    #[must_use]
    pub const fn holds(&self) -> bool {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Episode;

    #[test]
    fn begins_once_and_ends_once() {
        let mut episode = Episode::new();
        assert!(!episode.end() && !episode.holds());
        assert!(episode.begin() && !episode.begin() && episode.holds());
        assert!(episode.end() && !episode.end());
    }
}
