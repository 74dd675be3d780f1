//! Runs a plan: one thread, one runtime, as many tasks as streams. A task takes the next slot of the
//! schedule, sends the request, reads the answer to its end and takes another slot. At the end of the run,
//! tasks in flight are dropped.

use std::{cell::RefCell, future::poll_fn, io, rc::Rc, time::Duration};

use http::Method;
use tokio::{
    runtime::{Builder, LocalOptions},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    clock::{LoadInstant, thread_cpu},
    plan::LoadPlan,
    report::LoadReport,
    request::LoadRequest,
    schedule::{Schedule, count_from},
    totals::{ErrorClass, LoadTotals},
};
use crate::{
    base::{DeadlineKind, Deadlines, HeaderFields, spawn::Tasks},
    telemetry::WorkerGauges,
    upstream::{Deadline, JSON, PoolSettings, Request, SharedPools, Upstream},
    wire::provider_error,
};

/// Between two calls of `on_progress`.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How long the answer to the first request is read.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of its error.
const MAX_ERROR: usize = 16 * 1024;
/// Pause of a stream after a failure, so that a closed port is not flooded.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub elapsed: Duration,
    pub completed: u64,
    pub failed: u64,
    pub events: u64,
}

/// Runs a plan to its end on this thread. `on_progress` is called about ten times a second.
///
/// # Errors
/// The system has no runtime. Failed requests are counted, not returned.
pub fn run(plan: &LoadPlan, mut on_progress: impl FnMut(Progress)) -> io::Result<LoadReport> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    Ok(runtime.block_on(drive(plan, &mut on_progress)))
}

/// Sends one request of the plan, so that a run does not consist of failures that have one reason.
///
/// # Errors
/// Why it failed, in words: the fault, or the status and the error's message.
pub fn try_once(plan: &LoadPlan) -> io::Result<Result<(), String>> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    Ok(runtime.block_on(first_request(plan)))
}

async fn first_request(plan: &LoadPlan) -> Result<(), String> {
    let LoadPlan { target, dialect, body, stream, .. } = plan;
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let headers = HeaderFields::new();
    let accept = if *stream { "text/event-stream" } else { "application/json" };
    let request =
        Request { method: Method::POST, path: dialect.path(), headers: &headers, accept, content_type: JSON };
    let deadline = Deadline::new(DeadlineKind::FirstToken, Deadlines::default().first_token);
    let sent = upstream.send(target, &request, body.clone().into(), deadline).await;
    let mut response = sent.map_err(|fault| format!("{}: {fault}", target.base))?;
    let mut text = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = poll_fn(|cx| response.body.poll_frame(cx)).await {
            if text.len() < MAX_ERROR {
                text.extend_from_slice(&frame);
            }
        }
    };
    // A long answer is cut: it was seen that there is one.
    let _ = timeout(FIRST_ANSWER_TIMEOUT, read).await;
    if response.status.is_success() {
        return Ok(());
    }
    let message = provider_error::read(&text).message.map(str::to_owned);
    let message =
        message.or_else(|| Some(String::from_utf8_lossy(&text).lines().next()?.chars().take(200).collect()));
    let message = message.filter(|message| !message.is_empty()).map(|message| format!(": {message}"));
    Err(format!("{} answered {}{}", target.base, response.status, message.unwrap_or_default()))
}

async fn drive(plan: &LoadPlan, on_progress: &mut dyn FnMut(Progress)) -> LoadReport {
    let start = LoadInstant::now();
    let run = Rc::new(LoadRun::new(plan.clone(), start));
    let tasks = Tasks::new();
    let mut streams: Vec<_> =
        (0..plan.streams.get()).map(|index| tasks.spawn(Rc::clone(&run).work(index))).collect();
    let (mut counted_from, mut cpu_before) = (start, thread_cpu());
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut warm = plan.warmup.is_zero();
    let warmed_up = sleep(plan.warmup);
    tokio::pin!(warmed_up);
    let ended = sleep(plan.bound.duration);
    tokio::pin!(ended);
    {
        let all = join(&mut streams);
        tokio::pin!(all);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => break,
                () = &mut all => break,
                () = &mut warmed_up, if !warm => {
                    warm = true;
                    run.totals.borrow_mut().forget();
                    (counted_from, cpu_before) = (LoadInstant::now(), thread_cpu());
                }
                _ = ticks.tick() => on_progress(run.progress()),
            }
        }
    }
    let counted = Duration::from_nanos(LoadInstant::now().since(counted_from));
    let cpu = thread_cpu().saturating_sub(cpu_before);
    let report = LoadReport::new(plan, &run.totals.borrow(), counted, cpu);
    streams.iter().for_each(JoinHandle::abort);
    join(&mut streams).await;
    report
}

/// Waits for all streams; a cut stream counts as ended.
async fn join(streams: &mut [JoinHandle<()>]) {
    for stream in streams.iter_mut().filter(|stream| !stream.is_finished()) {
        drop(stream.await);
    }
}

struct LoadRun {
    plan: LoadPlan,
    start: LoadInstant,
    upstream: Upstream,
    schedule: Schedule,
    totals: RefCell<LoadTotals>,
}

impl LoadRun {
    fn new(plan: LoadPlan, start: LoadInstant) -> Self {
        let connections = plan.streams.get() as usize;
        let pool = PoolSettings {
            max_connections: connections,
            max_keepalive: connections,
            keepalive_expiry: plan.bound.duration,
            ..PoolSettings::default()
        };
        let upstream = Upstream::new(SharedPools::default(), pool, WorkerGauges::default());
        let schedule = Schedule::new(plan.arrival, plan.bound.requests, start);
        Self { plan, start, upstream, schedule, totals: RefCell::default() }
    }

    fn progress(&self) -> Progress {
        let totals = self.totals.borrow();
        Progress {
            elapsed: Duration::from_nanos(LoadInstant::now().since(self.start)),
            completed: totals.completed,
            failed: totals.failed(),
            events: totals.events,
        }
    }

    /// One stream after another. The first streams begin spread ended half of the warm-up, not all at once.
    async fn work(self: Rc<Self>, index: u32) {
        sleep(self.plan.warmup / 2 * index / self.plan.streams.get()).await;
        while let Some(slot) = self.schedule.take() {
            let from = self.wait(slot).await;
            if self.ask(from).await.is_none() {
                sleep(RETRY_INTERVAL).await;
            }
        }
    }

    /// Waits until a slot is due; returns the time from which its latency counts.
    async fn wait(&self, slot: u64) -> LoadInstant {
        let asked = LoadInstant::now();
        let Some(due) = self.schedule.due(slot) else { return asked };
        if due > asked {
            sleep(Duration::from_nanos(due.since(asked))).await;
        }
        let sent = LoadInstant::now();
        self.totals.borrow_mut().lag.record(sent.since(due));
        count_from(due, asked, sent)
    }

    /// One request and its answer. `None`: it failed.
    async fn ask(&self, from: LoadInstant) -> Option<()> {
        self.totals.borrow_mut().started += 1;
        match self.exchange(from).await {
            Ok(()) => Some(()),
            Err(class) => {
                self.totals.borrow_mut().fail(class);
                None
            }
        }
    }

    async fn exchange(&self, from: LoadInstant) -> Result<(), ErrorClass> {
        let LoadPlan { target, dialect, body, stream, .. } = &self.plan;
        let headers = HeaderFields::new();
        let request = LoadRequest {
            target,
            dialect: *dialect,
            path: dialect.path(),
            headers: &headers,
            body: body.clone(),
            first_token_timeout: Deadlines::default().first_token,
            stream: *stream,
        };
        let answered = request.perform(&self.upstream, from, &self.totals).await;
        let mut totals = self.totals.borrow_mut();
        let answer = answered.map_err(|fault| ErrorClass::from(&fault))?;
        if !answer.status.is_success() {
            return Err(ErrorClass::Status);
        }
        totals.finish(answer.outcome, LoadInstant::now().since(from), *stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        demo::{self, ReplaySpeed},
        load::{Arrival, LoadLimit, Prompt},
        upstream::{BaseUrl, Protocol, Target},
        wire::Dialect,
    };

    fn plan(base: &str, model: &str, stream: bool) -> LoadPlan {
        let target =
            Target { protocol: Protocol::Http1, ..Target::plain("bench", BaseUrl::parse(base).unwrap()) };
        let prompt = Prompt { model: model.into(), text: "hi".into(), max_tokens: 16, stream };
        LoadPlan {
            target,
            dialect: Dialect::ChatCompletions,
            body: prompt.body(Dialect::ChatCompletions),
            stream,
            streams: NonZeroU32::new(4).unwrap(),
            arrival: Arrival::Closed,
            bound: LoadLimit { duration: Duration::from_secs(20), requests: Some(9) },
            warmup: Duration::ZERO,
        }
    }

    #[test]
    fn counts_every_stream_of_the_demo_provider() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let report = run(&plan(&demo.base_url(), "demo-text", true), |_| {}).unwrap();
        assert_eq!((report.requests.started, report.requests.completed), (9, 9));
        assert_eq!((report.requests.without_done, report.statuses[&200]), (0, 9));
        assert_eq!(report.events % 9, 0, "every stream is the same");
        assert!(report.events / 9 > 100 && report.coalesced_share > 0.0, "{report:?}");
        let (first, token, total) =
            (report.ttfb_us.unwrap(), report.ttft_us.unwrap(), report.total_us.unwrap());
        assert_eq!((first.count, token.count, total.count), (9, 9, 9));
        assert!(first.p50 <= token.p50 && token.p50 <= total.p50);
        assert_eq!(report.gap_us.unwrap().count, report.events - 9);
    }

    #[test]
    fn whole_answers_have_no_events() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let report = run(&plan(&demo.base_url(), "demo-text", false), |_| {}).unwrap();
        assert_eq!((report.requests.completed, report.events, report.ttft_us), (9, 0, None));
        assert!(report.bytes > 9 * 500);
    }

    /// CASES F13.
    #[test]
    fn the_first_request_says_why_it_failed() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let first = |base: &str, model| try_once(&plan(base, model, true)).unwrap();
        assert_eq!(first(&demo.base_url(), "demo-text"), Ok(()));
        let refused = first(&demo.base_url(), "gpt").unwrap_err();
        assert!(refused.contains(" answered 404 Not Found: ") && refused.contains("gpt"), "{refused}");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = first(&format!("http://{closed}"), "x").unwrap_err();
        assert!(
            refused.starts_with(&format!("http://{closed}/v1: ")) && refused.contains("refused"),
            "{refused}"
        );
    }

    #[test]
    fn failures_are_counted_by_class() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let errors = |base: &str, model| {
            let report = run(&plan(base, model, true), |_| {}).unwrap();
            assert_eq!((report.requests.completed, report.requests.failed), (0, 9));
            report.errors
        };
        assert_eq!(errors(&demo.base_url(), "demo-error"), [("error_event".to_owned(), 9)].into());
        assert_eq!(errors(&demo.base_url(), "gpt"), [("status".to_owned(), 9)].into());
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(errors(&format!("http://{closed}"), "x"), [("unreachable".to_owned(), 9)].into());
    }
}
