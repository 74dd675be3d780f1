//! The state of the screen: the last view, its order, the words that filter it, the row that is chosen, the
//! rates. Knows nothing of terminals.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
};

use tokio::time::{Duration, Instant};

use super::{
    feed::FeedNews,
    view::{EndedRequest, TopRow, TopSums, TopView},
};

/// Rates are averages of so long.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Requests that ended, for the one that is looked at.
const MAX_ENDED: usize = 256;

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortKey {
    /// As the gateway orders them.
    Urgency,
    Age,
    FirstToken,
    Tokens,
    Rate,
    Added,
    Key,
    Model,
    Provider,
}

impl SortKey {
    pub(super) const ALL: [Self; 9] = [
        Self::Urgency,
        Self::Age,
        Self::FirstToken,
        Self::Tokens,
        Self::Rate,
        Self::Added,
        Self::Key,
        Self::Model,
        Self::Provider,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Urgency => "stalled first",
            Self::Age => "age",
            Self::FirstToken => "first token",
            Self::Tokens => "tokens",
            Self::Rate => "rate",
            Self::Added => "added",
            Self::Key => "key",
            Self::Model => "model",
            Self::Provider => "provider",
        }
    }

    /// So many keys further, around.
    pub(super) fn next(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|key| *key == self).unwrap_or_default();
        Self::ALL.iter().copied().cycle().nth(at + by).unwrap_or(self)
    }

    /// Figures: the greatest first, unknown ones last. Names: by their letters.
    fn compare(self, a: &TopRow, b: &TopRow) -> Ordering {
        match self {
            Self::Urgency => Ordering::Equal,
            Self::Age => b.age_us.cmp(&a.age_us),
            Self::FirstToken => b.ttft_us.cmp(&a.ttft_us),
            Self::Tokens => b.tokens_out.cmp(&a.tokens_out),
            Self::Rate => b.tokens_per_s.unwrap_or(-1.0).total_cmp(&a.tokens_per_s.unwrap_or(-1.0)),
            Self::Added => b.added_max_ns.cmp(&a.added_max_ns),
            Self::Key => a.principal.cmp(&b.principal),
            Self::Model => a.model_asked.cmp(&b.model_asked),
            Self::Provider => a.provider.cmp(&b.provider),
        }
    }
}

/// Whether the gateway answers.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    Connecting,
    Live,
    Away { reason: String, again: Instant },
}

/// Which part of the screen has the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    List,
    /// The filter is typed.
    Filter,
    /// One request is looked at.
    Detail,
}

#[derive(Debug)]
pub(super) struct TopState {
    pub(super) url: String,
    pub(super) reach: Reach,
    pub(super) view: TopView,
    pub(super) filter: String,
    pub(super) sort: SortKey,
    pub(super) is_reversed: bool,
    pub(super) is_paused: bool,
    pub(super) focus: Focus,
    /// The place of the chosen row, and its request.
    pub(super) chosen: usize,
    chosen_id: Option<String>,
    /// Rows that the list has room for.
    pub(super) page: usize,
    /// The request that is looked at, as it was seen last, and whether it runs.
    pub(super) detail: Option<(TopRow, bool)>,
    ended: VecDeque<EndedRequest>,
    /// By the replica.
    sums: BTreeMap<String, VecDeque<(Instant, TopSums)>>,
    pub(super) lost: u64,
}

impl TopState {
    pub(super) fn new(url: String, filter: &str) -> Self {
        Self {
            url,
            reach: Reach::Connecting,
            view: TopView::default(),
            filter: filter.to_owned(),
            sort: SortKey::Urgency,
            is_reversed: false,
            is_paused: false,
            focus: Focus::List,
            chosen: 0,
            chosen_id: None,
            page: 1,
            detail: None,
            ended: VecDeque::new(),
            sums: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Takes news of the gateway.
    pub(super) fn take(&mut self, news: FeedNews) {
        match news {
            FeedNews::Live => self.reach = Reach::Live,
            FeedNews::View(view) => self.take_view(view),
            FeedNews::Sums(sums) => {
                let now = Instant::now();
                let own = self.sums.entry(sums.instance.clone()).or_default();
                own.push_back((now, sums));
                while own.get(1).is_some_and(|(at, _)| *at + RATE_WINDOW <= now) {
                    own.pop_front();
                }
            }
            FeedNews::Ended(request) => {
                if self.ended.len() >= MAX_ENDED {
                    self.ended.pop_front();
                }
                self.ended.push_back(request);
            }
            FeedNews::Lost(count) => self.lost += count,
            FeedNews::Away { reason, again } => {
                self.reach = Reach::Away { reason, again: Instant::now() + again };
                self.view.rows.clear();
                self.sums.clear();
                self.detail_ends();
            }
            FeedNews::Refused(reason) => self.reach = Reach::Away { reason, again: Instant::now() },
        }
    }

    fn take_view(&mut self, view: TopView) {
        if self.is_paused {
            return;
        }
        // Sums of replicas that have gone count no more.
        let gone = |name: &str| {
            let is_in = |view: &TopView| view.replicas.iter().any(|replica| replica.instance == name);
            is_in(&self.view) && !is_in(&view)
        };
        let gone: Vec<String> = self.sums.keys().filter(|name| gone(name)).cloned().collect();
        self.sums.retain(|name, _| !gone.contains(name));
        self.view = view;
        if let Some((detail, runs)) = &mut self.detail {
            let found = self.view.rows.iter().find(|row| row.request_id == detail.request_id);
            *runs = found.is_some();
            if let Some(row) = found {
                detail.clone_from(row);
            }
        }
        self.follow_choice();
    }

    fn detail_ends(&mut self) {
        if let Some((_, runs)) = &mut self.detail {
            *runs = false;
        }
    }

    /// The rows that have the words of the filter, in order.
    pub(super) fn shown(&self) -> Vec<&TopRow> {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let mut rows: Vec<&TopRow> = self.view.rows.iter().filter(|row| has_words(row, &words)).collect();
        rows.sort_by(|a, b| self.sort.compare(a, b));
        if self.is_reversed {
            rows.reverse();
        }
        rows
    }

    /// The chosen request keeps its mark where its row moves.
    pub(super) fn follow_choice(&mut self) {
        let rows = self.shown();
        let at = rows.iter().position(|row| Some(&row.request_id) == self.chosen_id.as_ref());
        let chosen = at.unwrap_or(self.chosen).min(rows.len().saturating_sub(1));
        let id = rows.get(chosen).map(|row| row.request_id.clone());
        // Nothing has been chosen by the user as long as the first row is.
        (self.chosen, self.chosen_id) = (chosen, id.filter(|_| chosen > 0));
    }

    pub(super) fn choose(&mut self, place: usize) {
        let rows = self.shown();
        let place = place.min(rows.len().saturating_sub(1));
        let id = rows.get(place).map(|row| row.request_id.clone());
        (self.chosen, self.chosen_id) = (place, id);
    }

    /// Looks at the chosen request.
    pub(super) fn open(&mut self) {
        let row = self.shown().get(self.chosen).map(|row| (*row).clone());
        if let Some(row) = row {
            (self.detail, self.focus) = (Some((row, true)), Focus::Detail);
        }
    }

    /// How the request that is looked at ended, if that is known.
    pub(super) fn end_of_detail(&self) -> Option<&EndedRequest> {
        let (row, _) = self.detail.as_ref()?;
        self.ended.iter().rev().find(|ended| ended.request_id == row.request_id)
    }

    /// Whether the view is of several replicas.
    pub(super) fn has_replicas(&self) -> bool {
        self.view.replicas.len() > 1
    }

    /// Requests and tokens per second, of all replicas that are shown. `None`: the key sees no sums.
    pub(super) fn rates(&self) -> Option<(f64, f64)> {
        let each = self.sums.values().filter_map(|sums| {
            let ((first_at, first), (_, last)) = (sums.front()?, sums.back()?);
            let seconds = first_at.elapsed().as_secs_f64().max(1.0);
            let rate = |a: u64, b: u64| b.saturating_sub(a) as f64 / seconds;
            Some((rate(first.requests, last.requests), rate(first.tokens.output, last.tokens.output)))
        });
        each.reduce(|(requests, tokens), (more, more_tokens)| (requests + more, tokens + more_tokens))
    }

    /// The last sums of a gateway that is alone. A replica says its own only when they have changed, so that
    /// those of several are not known together.
    pub(super) fn sums_of_one(&self) -> Option<&TopSums> {
        let sums = self.sums.get(&self.view.instance).filter(|_| !self.has_replicas())?;
        sums.back().map(|(_, sums)| sums)
    }
}

fn has_words(row: &TopRow, words: &[String]) -> bool {
    let texts = [
        &row.request_id,
        &row.instance,
        &row.principal,
        &row.model_asked,
        &row.provider,
        &row.path,
        &row.phase,
        &row.state,
    ];
    let all = texts.map(|text| text.to_lowercase()).join(" ");
    words.iter().all(|word| all.contains(word))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::top::view::TopReplica;

    /// A view of these requests: id, state, model, tokens.
    pub(in crate::cli::top) fn view(rows: &[(&str, &str, &str, u64)]) -> TopView {
        let row = |(id, state, model, tokens): &(&str, &str, &str, u64)| TopRow {
            request_id: (*id).to_owned(),
            state: (*state).to_owned(),
            phase: "mid_stream".to_owned(),
            model_asked: (*model).to_owned(),
            provider: "demo".to_owned(),
            tokens_out: *tokens,
            ..TopRow::default()
        };
        TopView { requests: rows.len() as u64, rows: rows.iter().map(row).collect(), ..TopView::default() }
    }

    fn ids(state: &TopState) -> Vec<&str> {
        state.shown().iter().map(|row| row.request_id.as_str()).collect()
    }

    #[tokio::test]
    async fn rows_are_sorted_and_filtered_and_the_choice_moves_with_its_row() {
        let mut state = TopState::new(String::new(), "");
        let (a, b, c) = (("a", "stalled", "m-1", 5), ("b", "running", "m-2", 9), ("c", "running", "M-1", 7));
        state.take(FeedNews::View(view(&[a, b, c])));
        assert_eq!(ids(&state), ["a", "b", "c"]);
        state.choose(2);
        state.sort = SortKey::Tokens;
        state.follow_choice();
        assert_eq!((ids(&state), state.chosen), (vec!["b", "c", "a"], 1));
        state.is_reversed = true;
        state.take(FeedNews::View(view(&[c, b, a])));
        assert_eq!((ids(&state), state.chosen), (vec!["a", "c", "b"], 1));
        state.filter = "m-1 running".to_owned();
        state.follow_choice();
        assert_eq!((ids(&state), state.chosen), (vec!["c"], 0));
        state.filter = "nothing".to_owned();
        state.follow_choice();
        state.open();
        assert!(ids(&state).is_empty() && state.detail.is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_looked_at_stays_when_it_has_ended() {
        let mut state = TopState::new(String::new(), "");
        state.take(FeedNews::View(view(&[("a", "running", "m", 5)])));
        state.open();
        state.take(FeedNews::View(view(&[("a", "running", "m", 6)])));
        assert_eq!(state.detail.as_ref().map(|(row, runs)| (row.tokens_out, *runs)), Some((6, true)));
        state.take(FeedNews::View(view(&[])));
        let ended =
            EndedRequest { request_id: "a".to_owned(), outcome: "ok".to_owned(), ..EndedRequest::default() };
        state.take(FeedNews::Ended(ended));
        assert_eq!(state.detail.as_ref().map(|(row, runs)| (row.tokens_out, *runs)), Some((6, false)));
        assert_eq!(state.end_of_detail().unwrap().outcome, "ok");
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_averages_of_ten_seconds() {
        let mut state = TopState::new(String::new(), "");
        assert!(state.rates().is_none());
        for requests in [0, 10, 110] {
            let sums = TopSums { requests, ..TopSums::default() };
            state.take(FeedNews::Sums(sums));
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert_eq!(state.rates().map(|(requests, _)| requests.round()), Some(5.0));
        assert_eq!(state.sums_of_one().map(|sums| sums.requests), Some(110));
        let replicas = ["", "two"].map(|name| TopReplica { instance: name.to_owned() });
        state.take(FeedNews::View(TopView { replicas: replicas.to_vec(), ..view(&[]) }));
        for requests in [0, 100] {
            let sums = TopSums { requests, instance: "two".to_owned(), ..TopSums::default() };
            state.take(FeedNews::Sums(sums));
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert_eq!(state.rates().map(|(requests, _)| requests.round()), Some(8.0), "of both");
        assert!(state.sums_of_one().is_none());
        state.take(FeedNews::View(TopView { replicas: replicas[..1].to_vec(), ..view(&[]) }));
        assert_eq!(state.rates().map(|(requests, _)| requests.round()), Some(3.0), "the other has gone");
    }

    #[test]
    fn each_key_follows_the_one_before() {
        let mut key = SortKey::Urgency;
        for expected in SortKey::ALL.into_iter().skip(1).chain([SortKey::Urgency]) {
            key = key.next(1);
            assert_eq!(key, expected);
        }
        assert_eq!(key.next(SortKey::ALL.len() - 1), SortKey::Provider);
    }
}
