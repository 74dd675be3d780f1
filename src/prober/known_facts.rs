//! The facts of providers and models as all replicas have them, and the changes between two reports. Pure:
//! time is an argument.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use crate::{base::Moment, routing::SharedFact};

/// Facts that all replicas may have. Clients choose names of models, so they are bounded.
pub(super) const MAX_FACTS: usize = 4096;
/// Ends of one pause that differ by less are the same: each replica counts from its own clock.
const SAME: Duration = Duration::from_millis(250);
/// The fact that a provider's list of models has been read and can be had; and how its field ends.
pub(super) const LISTED: &str = "listed";
const LISTED_END: &str = r#""listed"]"#;

/// The facts as all replicas have them.
#[derive(Debug, Default)]
pub(super) struct KnownFacts {
    /// The number of the last change.
    pub(super) last: u64,
    ends: HashMap<String, Moment>,
    /// Those that held here at the last report: only they can end here. A replica may not know the provider.
    held: HashSet<String>,
    /// Those that held here and whose end the others may not have, because no answer came since.
    unsure: HashMap<String, Moment>,
    /// How long a provider's list of models is kept.
    pub(super) refresh: Duration,
}

impl KnownFacts {
    /// The next report has all facts that hold here, and the early ends of those that held: the others may
    /// know none of them.
    pub(super) fn clear(&mut self) {
        let mut unsure = std::mem::take(&mut self.unsure);
        unsure.extend(self.ends.drain().filter(|(field, _)| self.held.contains(field)));
        *self = Self { refresh: self.refresh, unsure, ..Self::default() };
    }

    /// Whether the end of a fact here need not be reported: it is known, or that of a newer list is.
    fn is_known(&self, field: &str, until: Moment) -> bool {
        self.ends.get(field).is_some_and(|known| {
            if field.ends_with(LISTED_END) {
                until.since(*known) < same_list(self.refresh)
            } else {
                known.since(until).max(until.since(*known)) < SAME
            }
        })
    }

    /// What to report, if these are the facts here: new ones, those with another end, and those that ended
    /// before their time.
    pub(super) fn changes(
        &mut self,
        current: BTreeMap<String, Moment>,
        now: Moment,
    ) -> Vec<(String, Duration)> {
        let mut changes = Vec::new();
        let is_over = |field: &String, until: &Moment| {
            *until > now + SAME && !current.contains_key(field) && self.held.contains(field)
        };
        let over = self.ends.iter().filter(|(field, until)| is_over(field, until));
        self.unsure.extend(over.map(|(field, until)| (field.clone(), *until)));
        self.unsure.retain(|field, until| *until > now + SAME && !current.contains_key(field));
        changes.extend(self.unsure.keys().map(|field| (field.clone(), Duration::ZERO)));
        let held = std::mem::replace(&mut self.held, current.keys().cloned().collect());
        let is_kept = |field: &String| current.contains_key(field) || !held.contains(field);
        self.ends.retain(|field, until| *until > now && is_kept(field));
        for (field, until) in current {
            if !self.is_known(&field, until) {
                changes.push((field.clone(), until.since(now)));
                self.ends.insert(field, until);
            }
        }
        changes.truncate(MAX_FACTS);
        changes
    }

    /// Takes in an answer; returns the facts that are news here. Redis that has lost its hash has a smaller
    /// number: then all is reported anew.
    pub(super) fn take_in(
        &mut self,
        last: u64,
        news: Vec<(String, Duration)>,
        now: Moment,
    ) -> Vec<(String, Duration)> {
        if last < self.last {
            self.clear();
            return Vec::new();
        }
        self.last = last;
        self.unsure.clear();
        let mut learned = Vec::new();
        for (field, left) in news {
            let until = now + left;
            // Of two replicas that had the same turn at once, the one that reported first leaves the next to
            // the other.
            let is_own = !is_turn(&field) && self.is_known(&field, until);
            if left.is_zero() {
                self.ends.remove(&field);
            } else {
                self.ends.insert(field.clone(), until);
            }
            if !is_own {
                learned.push((field, left));
            }
        }
        learned
    }
}

/// Ends of lists that differ by less are of one reading, or of two that were no turns: the next one is made
/// when the first of them ends, for all.
pub(super) fn same_list(refresh: Duration) -> Duration {
    (refresh / 8).max(SAME)
}

/// The name of a fact: the provider's identity, the model's name unless the fact concerns all models, the
/// fact.
pub(super) fn field(provider: &str, model: Option<&str>, fact: &str) -> String {
    serde_json::json!([provider, model, fact]).to_string()
}

/// The parts of such a name. `None`: it is none.
pub(super) fn parts(field: &str) -> Option<(String, Option<String>, String)> {
    serde_json::from_str(field).ok()
}

/// Whether replicas take turns in finding the fact out: a list, or the result of a check. Pauses come by
/// themselves.
fn is_turn(field: &str) -> bool {
    parts(field).is_some_and(|(_, _, fact)| SharedFact::parse(&fact).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Endpoint;

    const NOW: Moment = Moment(1_000_000_000);

    fn facts(all: &[(&str, u64)]) -> BTreeMap<String, Moment> {
        all.iter().map(|(name, secs)| ((*name).to_owned(), NOW + Duration::from_secs(*secs))).collect()
    }

    fn left(all: &[(&str, u64)]) -> Vec<(String, Duration)> {
        all.iter().map(|(name, secs)| ((*name).to_owned(), Duration::from_secs(*secs))).collect()
    }

    #[test]
    fn only_changes_are_reported() {
        let mut known = KnownFacts::default();
        assert_eq!(known.changes(facts(&[("a", 9), ("b", 5)]), NOW), left(&[("a", 9), ("b", 5)]));
        assert_eq!(known.changes(facts(&[("a", 9), ("b", 5)]), NOW), []);
        // Another end, and an early one.
        assert_eq!(known.changes(facts(&[("a", 20)]), NOW), left(&[("b", 0), ("a", 20)]));
        // One that ends by itself is not reported: the others have its end.
        assert_eq!(known.changes(facts(&[]), NOW + Duration::from_secs(20)), []);
    }

    #[test]
    fn what_others_report_is_learned_once_and_not_reported_back() {
        let mut known = KnownFacts::default();
        assert_eq!(known.changes(facts(&[("own", 9)]), NOW), left(&[("own", 9)]));
        let news = left(&[("own", 9), ("other", 4)]);
        assert_eq!(known.take_in(2, news.clone(), NOW), left(&[("other", 4)]));
        assert_eq!(known.take_in(2, news, NOW), []);
        assert_eq!(known.changes(facts(&[("own", 9), ("other", 4)]), NOW), []);
        // An early end is learned, and a longer pause of one's own is reported.
        assert_eq!(known.take_in(3, left(&[("other", 0)]), NOW), left(&[("other", 0)]));
        assert_eq!(known.changes(facts(&[("own", 9), ("other", 8)]), NOW), left(&[("other", 8)]));
    }

    /// A replica that does not have the provider does not end the pauses that the others report of it.
    #[test]
    fn facts_that_do_not_hold_here_are_not_ended() {
        let mut known = KnownFacts::default();
        assert_eq!(known.take_in(1, left(&[("other", 9)]), NOW), left(&[("other", 9)]));
        assert_eq!(known.changes(facts(&[]), NOW), []);
        assert_eq!(known.changes(facts(&[]), NOW), []);
        assert_eq!(known.changes(facts(&[("other", 9)]), NOW), []);
        assert_eq!(known.changes(facts(&[]), NOW), left(&[("other", 0)]));
    }

    #[test]
    fn redis_that_lost_all_is_given_all_again() {
        let mut known = KnownFacts::default();
        let all = [("a", 9), ("b", 5)];
        let _ = known.changes(facts(&all), NOW);
        let _ = known.take_in(7, Vec::new(), NOW);
        assert_eq!(known.take_in(0, Vec::new(), NOW), []);
        assert_eq!(known.changes(facts(&all), NOW), left(&all));
    }

    /// A report without an answer may not have arrived: the next report repeats its early ends.
    #[test]
    fn an_early_end_outlasts_a_lost_answer() {
        let mut known = KnownFacts::default();
        let _ = known.changes(facts(&[("a", 9), ("b", 9)]), NOW);
        let _ = known.take_in(1, Vec::new(), NOW);
        assert_eq!(known.changes(facts(&[("b", 9)]), NOW), left(&[("a", 0)]));
        known.clear();
        let mut ends = known.changes(facts(&[]), NOW);
        ends.sort();
        assert_eq!(ends, left(&[("a", 0), ("b", 0)]));
        known.clear();
        // A fact that holds again is reported with its new end.
        assert_eq!(known.changes(facts(&[("a", 7)]), NOW), left(&[("b", 0), ("a", 7)]));
        let _ = known.take_in(3, Vec::new(), NOW);
        assert_eq!(known.changes(facts(&[("a", 7)]), NOW), []);
    }

    /// A replica that had a turn at the same moment as another one is given the other's result all the same.
    #[test]
    fn results_of_others_are_learned_though_they_are_the_same() {
        for fact in ["alive models", "down", LISTED] {
            let mut known = KnownFacts::default();
            let check = field("p", None, fact);
            assert_eq!(known.changes(facts(&[(&check, 9)]), NOW).len(), 1, "{fact}");
            assert_eq!(known.take_in(1, left(&[(&check, 9)]), NOW), left(&[(&check, 9)]), "{fact}");
        }
        let mut known = KnownFacts::default();
        let pause = field("p", Some("m"), &SharedFact::Trip(Endpoint::ChatCompletions).to_string());
        assert_eq!(known.changes(facts(&[(&pause, 9)]), NOW), left(&[(&pause, 9)]));
        assert_eq!(known.take_in(2, left(&[(&pause, 9)]), NOW), []);
    }

    /// Of a list that was read once, replicas know ends that differ a little; none of them reports it again,
    /// and none reports an older one.
    #[test]
    fn only_a_newer_list_is_reported() {
        let mut known = KnownFacts { refresh: Duration::from_secs(80), ..KnownFacts::default() };
        let list = field("p", None, LISTED);
        assert_eq!(known.changes(facts(&[(&list, 40)]), NOW), left(&[(&list, 40)]));
        for same in [49, 40, 20] {
            assert_eq!(known.changes(facts(&[(&list, same)]), NOW), [], "{same}");
        }
        assert_eq!(known.changes(facts(&[(&list, 50)]), NOW), left(&[(&list, 50)]));
    }
}
