//! The last comparisons, in memory, each by a number that cannot be guessed: a link to one is the permission
//! to see its figures. Bounded by count and by the number of times in them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::report::CompareReport;

const MAX_RUNS: usize = 64;
/// Times of events in all kept runs: 2 MiB.
const MAX_TIMES: usize = 256 * 1024;

/// Clones share the runs: all workers have them.
#[derive(Clone, Debug, Default)]
pub struct KeptRuns(Arc<Mutex<VecDeque<Arc<CompareReport>>>>);

impl KeptRuns {
    /// Keeps a run; gives it its number. Without randomness the run is not kept.
    pub fn keep(&self, report: &mut CompareReport) {
        let mut number = [0; 16];
        if getrandom::getrandom(&mut number).is_err() {
            return;
        }
        report.id = Some(hex::encode(number));
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push_back(Arc::new(report.clone()));
        while runs.len() > MAX_RUNS || runs.len() > 1 && times(&runs) > MAX_TIMES {
            runs.pop_front();
        }
    }

    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<CompareReport>> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|run| run.id.as_deref() == Some(id)).cloned()
    }
}

fn times(runs: &VecDeque<Arc<CompareReport>>) -> usize {
    runs.iter().flat_map(|run| &run.legs).map(|leg| leg.events_at_us.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::compare::picture::tests::report;

    #[test]
    fn the_oldest_runs_leave() {
        let kept = KeptRuns::default();
        let keep = |events| {
            let mut report = report("m", events);
            kept.keep(&mut report);
            report.id.unwrap()
        };
        let first = keep(1);
        assert_eq!(first.len(), 32);
        assert_eq!(kept.find(&first).unwrap().id, Some(first.clone()));
        let more: Vec<String> = (0..MAX_RUNS).map(|_| keep(1)).collect();
        let last = &more[MAX_RUNS - 1];
        assert!(kept.find(&first).is_none() && kept.clone().find(last).is_some());
        let large: Vec<String> = (0..20).map(|_| keep(4096)).collect();
        assert!(kept.find(last).is_none() && kept.find(&large[0]).is_none());
        assert!(kept.find(&large[19]).is_some() && kept.find("").is_none());
    }
}
