//! The way from a viewer to the workers' running requests. A reader asks all workers at once; each reads its
//! own table between its other work and answers. Readings are one at a time, and readers that wait for their
//! turn share the next one, if they want the same requests: however many read, each worker looks through its
//! table ten times a second at most.

use std::{
    rc::Rc,
    sync::{Arc, Mutex as StdMutex, PoisonError},
};

use tokio::{
    sync::{Mutex, mpsc, watch},
    task::yield_now,
    time::{Duration, Instant, sleep_until, timeout_at},
};

use super::{
    queue::CompletionQueue,
    replica_views::ReplicaViews,
    running::RunningTable,
    running_view::{RunningScope, RunningView},
};

/// Between two readings.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// For the answers of all workers.
const PATIENCE: Duration = Duration::from_millis(100);
/// Requests that a worker looks at before it turns to other work.
const STRIDE: usize = 512;

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct RunningBoard(Arc<BoardState>);

#[derive(Debug, Default)]
struct BoardState {
    asks: watch::Sender<Option<RunningAsk>>,
    last: Mutex<Option<RunningReading>>,
    /// As they were read last, while a viewer wants them.
    others: StdMutex<Arc<[ReplicaViews]>>,
}

#[derive(Clone, Debug)]
struct RunningAsk {
    scopes: Arc<[RunningScope]>,
    reply: mpsc::Sender<WorkerReading>,
}

/// The views of one worker, in the order of the scopes, and the time that reading took.
type WorkerReading = (Vec<RunningView>, Duration);

/// The views of all workers.
#[derive(Clone, Debug)]
pub struct RunningReading {
    scopes: Arc<[RunningScope]>,
    /// In the order of the scopes.
    pub views: Vec<RunningView>,
    /// The time of the worker that took the longest.
    pub took: Duration,
    at: Instant,
}

impl RunningBoard {
    /// The views of the other replicas.
    #[must_use]
    pub fn others(&self) -> Arc<[ReplicaViews]> {
        Arc::clone(&self.0.others.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_others(&self, views: Arc<[ReplicaViews]>) {
        *self.0.others.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// Answers readers with the requests of one worker, until it is dropped.
    pub async fn answer(self, requests: Rc<CompletionQueue>) {
        let mut asks = self.0.asks.subscribe();
        while asks.changed().await.is_ok() {
            let Some(ask) = asks.borrow_and_update().clone() else { continue };
            // An error means that the reader has gone.
            let _ = ask.reply.try_send(read(requests.running(), &ask.scopes).await);
        }
    }

    /// The running requests of these scopes, from all workers that answer in time, and the number of the
    /// others.
    pub async fn read(&self, scopes: Arc<[RunningScope]>) -> RunningReading {
        let asked = Instant::now();
        let mut last = self.0.last.lock().await;
        if let Some(last) = &*last {
            if last.at >= asked && last.scopes == scopes {
                return last.clone();
            }
            sleep_until(last.at + MIN_INTERVAL).await;
        }
        let workers = self.0.asks.receiver_count();
        let (reply, mut replies) = mpsc::channel(workers.max(1));
        self.0.asks.send_replace(Some(RunningAsk { scopes: Arc::clone(&scopes), reply }));
        let at = Instant::now();
        let mut reading = RunningReading {
            views: vec![RunningView::default(); scopes.len()],
            scopes,
            took: Duration::ZERO,
            at,
        };
        let mut missing = workers;
        while missing > 0 {
            let Ok(Some((views, took))) = timeout_at(at + PATIENCE, replies.recv()).await else { break };
            missing -= 1;
            reading.took = reading.took.max(took);
            for (all, own) in reading.views.iter_mut().zip(views) {
                all.merge(own);
            }
        }
        reading.views.iter_mut().for_each(|view| view.add_missing(missing));
        // A worker that is late has nothing to answer any more.
        self.0.asks.send_if_modified(|ask| {
            *ask = None;
            false
        });
        *last = Some(reading.clone());
        reading
    }
}

async fn read(table: &RunningTable, scopes: &[RunningScope]) -> WorkerReading {
    let mut views = vec![RunningView::default(); scopes.len()];
    let (mut took, mut reading) = (Duration::ZERO, table.reading());
    loop {
        let now = Instant::now();
        let has_more = table.look(&mut reading, STRIDE, |request, facts| {
            for (scope, view) in scopes.iter().zip(&mut views) {
                if facts.route.endpoint().is_some() && (scope.is_none() || *scope == facts.key_id) {
                    view.add(now, request, facts);
                }
            }
        });
        took += now.elapsed();
        if !has_more {
            break;
        }
        yield_now().await;
    }
    for (scope, view) in scopes.iter().zip(&mut views) {
        if scope.is_none() {
            view.add_placeless(table.placeless());
        }
    }
    (views, took)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use serde_json::Value;

    use super::*;
    use crate::{
        base::{Endpoint, Stage, id::IdSource},
        exchange::{AttemptStage, Completion, PassedText, RequestRecord, RequestRoute, StreamProgress},
    };

    const ROUTE: RequestRoute =
        RequestRoute::Completion { template: "/v1/chat/completions", endpoint: Endpoint::ChatCompletions };

    struct Bench {
        queue: Rc<CompletionQueue>,
        ids: IdSource,
        board: RunningBoard,
    }

    impl Bench {
        /// A request of `key` that came so long ago.
        fn request(&mut self, key: &str, age: u64) -> Completion {
            let started = Instant::now().checked_sub(Duration::from_secs(age)).unwrap();
            let mut record = RequestRecord::new(self.ids.make(), started, ROUTE);
            record.key_id = Some(key.into());
            record.model = Some(format!("{key}-{age}").into());
            let completion = Completion::new(record, Rc::clone(&self.queue));
            completion.show();
            completion
        }

        /// The views, as they are shown.
        async fn read(&self, scopes: &[Option<&str>]) -> Vec<Value> {
            let scopes = scopes.iter().map(|scope| scope.map(Arc::from)).collect();
            let mut reading = tokio::select! {
                biased;
                () = self.board.clone().answer(Rc::clone(&self.queue)) => unreachable!(),
                reading = self.board.read(scopes) => reading,
            };
            reading.views.iter_mut().map(|view| serde_json::from_str(&view.json()).unwrap()).collect()
        }
    }

    fn bench() -> Bench {
        let queue = Rc::default();
        Bench { queue, ids: IdSource::default(), board: RunningBoard::default() }
    }

    fn models(view: &Value) -> Vec<&str> {
        view["rows"].as_array().unwrap().iter().map(|row| row["model_asked"].as_str().unwrap()).collect()
    }

    /// A frame that came so many seconds ago, with the first token so many seconds after the request.
    fn stream(completion: &Completion, ago: u64, first: u64) {
        let last = Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
        let mut text = PassedText::default();
        (0..40).for_each(|_| text.note_text(1));
        let first = Some(Duration::from_secs(first));
        completion.running().note(StreamProgress { text, last }, first);
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_streams_come_first_then_those_that_wait_then_the_oldest() {
        tokio::time::advance(Duration::from_secs(1000)).await;
        let mut bench = bench();
        let own = [("a", 1), ("a", 9), ("b", 30), ("a", 20), ("a", 100), ("a", 50)];
        let requests: Vec<_> = own.iter().map(|(key, age)| bench.request(key, *age)).collect();
        stream(&requests[2], 3, 1);
        stream(&requests[3], 8, 1);
        stream(&requests[4], 0, 20);
        requests[5].running().stage().set(Stage::FirstToken);
        let views = bench.read(&[None, Some("b"), Some("c")]).await;
        assert_eq!(models(&views[0]), ["a-20", "b-30", "a-50", "a-9", "a-100", "a-1"]);
        assert_eq!(models(&views[1]), ["b-30"]);
        assert!(models(&views[2]).is_empty());
        let sums = |name: &str| views[0][name].as_u64().unwrap();
        assert_eq!(["requests", "stalled", "waiting", "tokens_out", "left_out"].map(sums), [6, 2, 2, 120, 0]);
        let row = |place: usize| &views[0]["rows"][place];
        assert_eq!((&row(0)["state"], &row(0)["phase"]), (&"stalled".into(), &"mid_stream".into()));
        assert_eq!((&row(2)["state"], &row(2)["phase"]), (&"waiting".into(), &"before_first_token".into()));
        assert_eq!((&row(4)["tokens_out"], &row(4)["tokens_per_s"]), (&40.into(), &0.5.into()));
        drop(requests);
        tokio::time::advance(MIN_INTERVAL).await;
        assert_eq!(bench.read(&[None, Some("b"), Some("c")]).await[0]["requests"], 0);
    }

    /// However many run, the rows are as many, the first ones, and the sums are of all.
    #[tokio::test(start_paused = true)]
    async fn rows_are_bounded_and_slots_are_used_again() {
        tokio::time::advance(Duration::from_secs(10_000)).await;
        // The clock of a paused runtime runs ahead where a reader yields.
        tokio::time::resume();
        let mut bench = bench();
        for _ in 0..2 {
            let requests: Vec<_> = (0..3000_u64).map(|age| bench.request("a", age * 7919 % 3000)).collect();
            let view = bench.read(&[None]).await.remove(0);
            let rows = models(&view);
            assert_eq!((rows.len(), rows[0], rows[99]), (100, "a-2999", "a-2900"));
            assert_eq!((&view["requests"], &view["left_out"]), (&3000.into(), &2900.into()));
            drop(requests);
            let none = bench.read(&[None, Some("b")]).await.remove(0);
            assert_eq!(none["requests"], 0);
        }
    }

    /// A worker that is stopped, or busy for long.
    #[tokio::test(start_paused = true)]
    async fn workers_that_do_not_answer_are_counted() {
        let mut bench = bench();
        let _request = bench.request("a", 0);
        for missing in 0..3 {
            let _stopped: Vec<_> = (0..missing).map(|_| bench.board.0.asks.subscribe()).collect();
            tokio::time::advance(MIN_INTERVAL).await;
            for view in bench.read(&[None, Some("b")]).await {
                assert_eq!(view["workers_missing"], missing, "{view}");
            }
        }
        let mut unknown = RunningView::default();
        unknown.add_missing(1);
        assert!(!unknown.is_empty(), "its requests are not known");
    }

    /// The attempt that began last, among those that run.
    #[tokio::test(start_paused = true)]
    async fn a_row_shows_one_attempt_with_its_provider() {
        let mut bench = bench();
        let request = bench.request("a", 0);
        let running = request.running();
        let shown = async || {
            tokio::time::advance(MIN_INTERVAL).await;
            let view = bench.read(&[None]).await.remove(0);
            ["provider", "phase"].map(|name| view["rows"][0][name].as_str().unwrap_or_default().to_owned())
        };
        running.stage().set(Stage::Intake);
        assert_eq!(shown().await, ["", "request"]);
        let first = AttemptStage::new(running, &"p0".into());
        first.cell().set(Stage::Head);
        assert_eq!(shown().await, ["p0", "before_head"]);
        let hedge = AttemptStage::new(running, &"p1".into());
        assert_eq!(shown().await, ["p1", "pool"]);
        hedge.cell().set(Stage::FirstToken);
        assert_eq!(shown().await, ["p1", "before_first_token"]);
        drop(hedge);
        assert_eq!(shown().await, ["p0", "before_head"]);
        let second_hedge = AttemptStage::new(running, &"p2".into());
        drop(first);
        assert_eq!(shown().await, ["p2", "pool"]);
        drop(second_hedge);
        assert_eq!(shown().await, ["p2", "request"], "between two attempts");
        running.show_provider(Some(&"p0".into()));
        assert_eq!(shown().await, ["p0", "request"]);
    }

    /// The places that a burst has left are no work.
    #[test]
    fn a_reader_yields_between_the_places_of_requests_alone() {
        let mut bench = bench();
        let mut requests: Vec<_> = (0..3000).map(|_| bench.request("a", 0)).collect();
        let turns = |bench: &Bench| {
            let (mut reading, mut turns) = (pin!(read(bench.queue.running(), &[None])), 1);
            while reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                turns += 1;
            }
            turns
        };
        assert_eq!(turns(&bench), 3000_usize.div_ceil(STRIDE));
        requests.drain(..2999);
        assert_eq!(turns(&bench), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_at_once_share_a_reading_and_the_next_one_is_a_tenth_of_a_second_later() {
        let mut bench = bench();
        let request = bench.request("a", 0);
        let all = || bench.board.read(Arc::from([None]));
        let readers = async {
            let (first, second) = tokio::join!(all(), all());
            drop(request);
            tokio::time::advance(Duration::from_millis(1)).await;
            [first, second, all().await]
        };
        let mut readings = tokio::select! {
            biased;
            () = bench.board.clone().answer(Rc::clone(&bench.queue)) => unreachable!(),
            readings = readers => readings,
        };
        let times = readings.each_ref().map(|reading| reading.at);
        assert_eq!((times[0], times[1] + MIN_INTERVAL), (times[1], times[2]));
        let runs = readings.each_mut().map(|reading| !reading.views[0].json().contains("\"requests\":0,"));
        assert_eq!(runs, [true, true, false]);
    }
}
