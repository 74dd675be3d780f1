//! One batch, from its lease to its end. Items run side by side, each a completion of the batch's key without
//! its secret; an answer is stored when it comes. Killed at any point, the batch goes on elsewhere: items
//! with an answer are not asked again, those without are.

use std::{cell::Cell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    headroom::has_room,
    line::AnswerLine,
    settings::BatchSettings,
    store::{BatchJob, BatchStatus, BatchStore, unix_now},
    validate::validate,
    verdict::{Verdict, verdict},
};
use crate::{
    auth::Principal,
    base::{Endpoint, Episode, HeaderFields, RequestId, id::IdSource, spawn::TaskSet},
    database::DatabaseError,
    exchange::ClientInfo,
    proxy::{Gateway, SingleRequest},
    telemetry::BatchGauges,
    wire::batch_item,
};

/// Between two looks whether the key's limits leave room.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);
/// OpenAI's words.
const EXPIRED: &str = "This request could not be executed before the completion window expired.";
/// Between two attempts to store an answer.
const STORE_INTERVAL: Duration = Duration::from_secs(1);

/// The endpoints of items, by the paths that batches name.
pub const ENDPOINTS: [(&str, Endpoint); 4] = [
    ("/v1/chat/completions", Endpoint::ChatCompletions),
    ("/v1/responses", Endpoint::Responses),
    ("/v1/embeddings", Endpoint::Embeddings),
    ("/v1/completions", Endpoint::Completions),
];

pub(super) struct JobContext {
    pub(super) store: Rc<BatchStore>,
    pub(super) gateway: Rc<Gateway>,
    pub(super) settings: BatchSettings,
    pub(super) gauges: BatchGauges,
    pub(super) runner: Rc<str>,
    /// Items of all batches.
    pub(super) places: Rc<Semaphore>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why a batch begins no further item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobEnd {
    /// All have an answer.
    Done,
    Cancelled,
    Expired,
    /// The process stops.
    Stopped,
    /// Another replica runs it.
    Lost,
}

/// A batch that runs.
struct RunningJob {
    context: JobContext,
    job: BatchJob,
    endpoint: (&'static str, Endpoint),
    /// No item is asked for before.
    pause: Cell<Option<Instant>>,
    /// True: items that wait give up.
    ending: watch::Sender<bool>,
}

/// Runs one batch, whose lease this replica holds.
pub(super) async fn run_job(context: JobContext, id: String, owner: String) {
    let (store, runner) = (Rc::clone(&context.store), Rc::clone(&context.runner));
    let _running = context.gauges.running().hold();
    match drive(context, &id, &owner).await {
        Ok(JobEnd::Lost) => tracing::info!(batch = id, "batch: another gateway runs it"),
        Ok(JobEnd::Stopped) => drop(store.give_back(&id, &runner).await),
        Ok(end) => tracing::info!(batch = id, end = ?end, "batch ended"),
        // Its lease runs out, and then it goes on, here or elsewhere.
        Err(error) => tracing::warn!(batch = id, %error, "batch: the database fails"),
    }
}

async fn drive(context: JobContext, id: &str, owner: &str) -> Result<JobEnd, DatabaseError> {
    let store = Rc::clone(&context.store);
    let Some(mut job) = store.job(owner, id).await? else { return Ok(JobEnd::Lost) };
    let (runner, gauges) = (Rc::clone(&context.runner), context.gauges.clone());
    if job.status == BatchStatus::Validating {
        match validate(&store, &job).await? {
            Ok(total) => {
                let step = (BatchStatus::Validating, BatchStatus::InProgress);
                store.advance((id, &runner), step, Some(total)).await?;
            }
            Err(mistakes) => {
                store.fail(id, &runner, &Value::from(mistakes).to_string()).await?;
                gauges.count_end(BatchStatus::Failed.as_str());
                return Ok(JobEnd::Done);
            }
        }
        // Its key may have cancelled it meanwhile.
        let Some(now) = store.job(owner, id).await? else { return Ok(JobEnd::Lost) };
        job = now;
    }
    let keep = i64::try_from(context.settings.keep.as_secs()).unwrap_or(i64::MAX);
    let Some(endpoint) = ENDPOINTS.into_iter().find(|(path, _)| *path == job.endpoint) else {
        store.finish(&job, &runner, BatchStatus::Failed, keep).await?;
        gauges.count_end(BatchStatus::Failed.as_str());
        return Ok(JobEnd::Done);
    };
    let running =
        RunningJob { context, job, endpoint, pause: Cell::new(None), ending: watch::Sender::new(false) };
    let running = Rc::new(running);
    let end = match running.job.status == BatchStatus::Cancelling {
        true => JobEnd::Cancelled,
        false => Rc::clone(&running).items().await?,
    };
    let job = &running.job;
    let status = match end {
        JobEnd::Done => {
            let step = (BatchStatus::InProgress, BatchStatus::Finalizing);
            if store.advance((id, &runner), step, None).await? || job.status == BatchStatus::Finalizing {
                BatchStatus::Completed
            } else if store.job(owner, id).await?.is_some_and(|now| now.status == BatchStatus::Cancelling) {
                // Its key has cancelled it meanwhile.
                BatchStatus::Cancelled
            } else {
                return Ok(JobEnd::Lost);
            }
        }
        JobEnd::Cancelled => BatchStatus::Cancelled,
        JobEnd::Expired => {
            running.expire_rest().await?;
            BatchStatus::Expired
        }
        JobEnd::Stopped | JobEnd::Lost => return Ok(end),
    };
    store.finish(job, &runner, status, keep).await?;
    gauges.count_end(status.as_str());
    Ok(end)
}

impl RunningJob {
    /// Runs the items that have no answer, until all have one or there is a reason to end.
    async fn items(self: Rc<Self>) -> Result<JobEnd, DatabaseError> {
        let (context, store) = (&self.context, &self.context.store);
        let width = usize::try_from(context.settings.max_concurrency).unwrap_or(1);
        let mut tick = interval(context.settings.lease / 3);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stop, mut news) = (context.stop.clone(), store.news());
        let (mut next, mut after, mut is_read) = (VecDeque::new(), 0, false);
        let (mut items, mut unsure): (TaskSet<i64, ()>, _) = (TaskSet::default(), Episode::new());
        let (mut end, mut renewed, mut is_due) = (None, Instant::now(), false);
        loop {
            // Without a sign of the database, another replica may hold the lease by now.
            let is_sure = renewed.elapsed() < context.settings.lease;
            if is_sure {
                unsure.end();
            } else if unsure.begin() {
                tracing::warn!(
                    batch = self.job.id,
                    "batch: its lease cannot be renewed, and no further item begins"
                );
            }
            while end.is_none() && is_sure && items.len() < width {
                if next.is_empty() && !is_read {
                    match store.unanswered(&self.job.input, &self.job.id, after).await {
                        Ok(found) => next.extend(found),
                        Err(error) if items.is_empty() => return Err(error),
                        Err(_) => break,
                    }
                    after = next.back().copied().unwrap_or(after);
                    is_read = next.is_empty();
                }
                let Some(number) = next.pop_front() else { break };
                items.spawn(number, Rc::clone(&self).item(number));
            }
            let is_done = next.is_empty() && is_read;
            if items.is_empty()
                && let Some(end) = end.or(if is_done { Some(JobEnd::Done) } else { None })
            {
                return Ok(end);
            }
            tokio::select! {
                Some((number, ended)) = items.next() => if ended.is_none() {
                    // Its task panicked, which was logged.
                    self.give_up(number, ("internal_error", "the gateway failed at this item")).await?;
                },
                _ = stop.wait_for(|stop| *stop), if end.is_none() => end = Some(JobEnd::Stopped),
                _ = tick.tick() => is_due = true,
                Ok(()) = news.changed() => is_due = true,
            }
            if std::mem::take(&mut is_due) {
                // After an error the items under way go on: their answers wait for the database.
                if let Ok(found) = self.look().await {
                    renewed = Instant::now();
                    end = end.or(found);
                }
            }
            match end {
                None => {}
                // The items end with their set.
                Some(JobEnd::Lost) => return Ok(JobEnd::Lost),
                Some(end) if !self.ending.send_replace(true) => {
                    tracing::debug!(id = self.job.id, ?end, "batch begins no further item");
                }
                Some(_) => {}
            }
        }
    }

    /// Renews the lease, and looks for a reason to end.
    async fn look(&self) -> Result<Option<JobEnd>, DatabaseError> {
        let Self { context, job, .. } = self;
        let store = &context.store;
        if !store.lease(&job.id, &context.runner, context.settings.lease).await? {
            return Ok(Some(JobEnd::Lost));
        }
        Ok(match store.job(&job.owner, &job.id).await? {
            None => Some(JobEnd::Lost),
            Some(now) if now.status == BatchStatus::Cancelling => Some(JobEnd::Cancelled),
            Some(now) if now.expires <= unix_now() => Some(JobEnd::Expired),
            Some(_) => None,
        })
    }

    /// Runs one item: asks until its answer is final, and stores it.
    async fn item(self: Rc<Self>, number: i64) {
        let Some(line) = self.read(number).await else { return };
        if line.trim_ascii().is_empty() {
            return;
        }
        let id = self.id_of(number);
        let Ok(item) = batch_item::read_line(&line) else { return };
        let body = if item.body.is_empty() { Bytes::new() } else { line.slice(item.body) };
        let mut blind = 0;
        let answer = loop {
            let waiting = self.context.gauges.items_waiting().hold();
            let Some(turn) = self.turn().await else { return };
            drop(waiting);
            let Some(principal) = turn.principal else {
                let message = "the key of this batch is not valid any more";
                break AnswerLine::failed(id.as_str(), &item.custom_id, "invalid_api_key", message);
            };
            let request = SingleRequest {
                id: id.clone(),
                headers: HeaderFields::new(),
                client: ClientInfo::default(),
                principal: Some(principal),
                endpoint: self.endpoint.1,
                template: self.endpoint.0,
                body: body.clone(),
            };
            let running = self.context.gauges.items_running().hold();
            let answer = self.context.gateway.single(request).await;
            drop((turn.place, running));
            match verdict(&answer, blind) {
                Verdict::Final => break AnswerLine::of(&item.custom_id, &answer),
                Verdict::Again { after, limited, blind: is_blind } => {
                    let until = Instant::now() + after;
                    if limited {
                        self.pause.set(self.pause.get().max(Some(until)));
                    }
                    blind += u32::from(is_blind);
                    let _waiting = self.context.gauges.items_waiting().hold();
                    if !self.wait_until(until).await {
                        return;
                    }
                }
            }
        };
        self.keep(number, &answer).await;
    }

    /// A place for one item, when the limits leave room. `None`: the batch begins no further one.
    async fn turn(&self) -> Option<ItemTurn<'_>> {
        loop {
            if let Some(until) = self.pause.get().filter(|until| *until > Instant::now()) {
                if !self.wait_until(until).await {
                    return None;
                }
                continue;
            }
            let mut ending = self.ending.subscribe();
            let place = tokio::select! {
                // The semaphore is never closed.
                place = self.context.places.acquire() => place.ok()?,
                _ = ending.wait_for(|ending| *ending) => return None,
            };
            let snapshot = self.context.gateway.snapshot();
            match snapshot.principal(&self.job.owner) {
                None if !snapshot.keys.are_known() => {}
                Some(principal) if !has_room(&snapshot, &principal) => {}
                principal => {
                    let principal = principal.filter(|principal| !principal.has_expired());
                    return Some(ItemTurn { principal, place });
                }
            }
            drop(place);
            if !self.wait_until(Instant::now() + ROOM_INTERVAL).await {
                return None;
            }
        }
    }

    /// False: the batch begins no further item, and the time is not over.
    async fn wait_until(&self, until: Instant) -> bool {
        let mut ending = self.ending.subscribe();
        tokio::select! {
            () = sleep_until(until) => true,
            _ = ending.wait_for(|ending| *ending) => false,
        }
    }

    async fn read(&self, number: i64) -> Option<Bytes> {
        loop {
            match self.context.store.line(&self.job.input, number).await {
                Ok(line) => return line,
                Err(_) if !self.wait_until(Instant::now() + STORE_INTERVAL).await => return None,
                Err(_) => {}
            }
        }
    }

    /// Stores an answer. It is held until the database takes it, and with it the item's place in the batch,
    /// so that a database that is away or full costs no answer and stops the batch.
    async fn keep(&self, number: i64, answer: &AnswerLine) {
        let batch = (self.job.id.as_str(), &*self.context.runner);
        let mut is_logged = false;
        while let Err(error) = self.context.store.answer(batch, number, answer.is_good, &answer.text).await {
            if !std::mem::replace(&mut is_logged, true) {
                tracing::warn!(batch = batch.0, %error, "batch: an answer cannot be stored, and waits");
            }
            sleep(STORE_INTERVAL).await;
        }
        self.context.gauges.count_item(answer.is_good);
    }

    /// The error of each item that has no answer when the batch's time is over.
    async fn expire_rest(&self) -> Result<(), DatabaseError> {
        let store = &self.context.store;
        let mut after = 0;
        loop {
            let numbers = store.unanswered(&self.job.input, &self.job.id, after).await?;
            let Some(last) = numbers.last() else { return Ok(()) };
            after = *last;
            for number in numbers {
                self.give_up(number, ("batch_expired", EXPIRED)).await?;
            }
        }
    }

    /// Stores an error in place of an item's answer. A line that is no item has none.
    async fn give_up(&self, number: i64, (code, message): (&str, &str)) -> Result<(), DatabaseError> {
        let store = &self.context.store;
        let line = store.line(&self.job.input, number).await?.unwrap_or_default();
        let Ok(item) = batch_item::read_line(&line) else { return Ok(()) };
        let answer = AnswerLine::failed(self.id_of(number).as_str(), &item.custom_id, code, message);
        store.answer((&self.job.id, &self.context.runner), number, false, &answer.text).await?;
        self.context.gauges.count_item(false);
        Ok(())
    }

    fn id_of(&self, number: i64) -> RequestId {
        let number = usize::try_from(number).unwrap_or_default();
        let id = RequestId::from_client(self.job.id.as_bytes());
        // The id of a row that another program has written may be none.
        id.unwrap_or_else(|| IdSource::default().make()).part(number)
    }
}

/// A place among the items of all batches, and the key.
struct ItemTurn<'a> {
    principal: Option<Arc<Principal>>,
    place: tokio::sync::SemaphorePermit<'a>,
}
