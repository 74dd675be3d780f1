//! The background task that passes events between replicas, for `/events?scope=cluster`. A replica publishes
//! its events only while another one has such a subscriber, and reads those of the others only while it has
//! one itself. Events are numbered, so that a reader notices those that are missing; nothing is repeated.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use super::{
    background::{Background, BackgroundTask},
    running_relay::WantedViews,
};
use crate::{
    cluster::{ChannelPlace, RedisFault, ReplicaChannel},
    exchange::running_view::RunningScope,
    telemetry::{
        Telemetry,
        events::{EventTap, Owner, TappedEvent},
    },
};

/// Between two rounds while events pass, and while none do.
const BUSY_INTERVAL: Duration = Duration::from_millis(100);
/// Also between two signs of life of a listener: others publish from then on.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Events of one replica in a round; further ones wait, as many as for any subscriber.
const MAX_PER_ROUND: usize = 100;
/// A longer event is left out.
const MAX_EVENT: usize = 16 * 1024;
/// Replicas whose numbers are known.
const MAX_REPLICAS: usize = 256;

/// The topic of a view of all keys' running requests; that of one key's is its id.
const ALL_KEYS: &str = "";

/// Dropping it ends the task.
#[derive(Debug)]
pub(super) struct RunningEventRelay {
    stop: oneshot::Sender<()>,
    task: BackgroundTask,
}

/// Starts the task. Also returns the views of running requests that other replicas want.
///
/// # Errors
/// The background runtime has ended.
pub(super) fn start(
    telemetry: Telemetry,
    channel: ReplicaChannel,
    background: &Background,
) -> io::Result<(RunningEventRelay, WantedViews)> {
    let (stop, stopped) = oneshot::channel();
    let (views, wanted) = watch::channel(Arc::default());
    telemetry.bus.set_missing(None);
    let relay = EventRelay {
        place: telemetry.instance.place(),
        telemetry,
        channel,
        tap: None,
        sent: 0,
        signed: None,
        listening: None,
        views,
    };
    let task = background.spawn("events", move || async move {
        tokio::select! {
            () = relay.run() => {}
            // Also ends when the sender is gone.
            _ = stopped => {}
        }
    })?;
    Ok((RunningEventRelay { stop, task }, wanted))
}

impl RunningEventRelay {
    pub(super) fn stop(self) {
        drop(self.stop);
        self.task.join();
    }
}

/// An event on its way to other replicas.
#[derive(Debug, Deserialize, Serialize)]
struct EventLine {
    /// The replica, with a mark of its run, and its name.
    place: String,
    instance: String,
    /// The number among those of this run.
    number: u64,
    /// The key whose event it is. `None`: the operator's.
    key: Option<String>,
    text: String,
}

/// The numbers of the last events, by the replica's place.
type LastNumbers = HashMap<String, u64>;

struct EventRelay {
    place: String,
    telemetry: Telemetry,
    channel: ReplicaChannel,
    /// Events of this replica, while another one listens.
    tap: Option<EventTap>,
    sent: u64,
    /// When this replica last said whether it listens, and what it said.
    signed: Option<(Instant, bool)>,
    listening: Option<(ChannelPlace, LastNumbers)>,
    /// The views that other replicas want.
    views: watch::Sender<Arc<[RunningScope]>>,
}

impl EventRelay {
    async fn run(mut self) {
        let bus = self.telemetry.bus.clone();
        loop {
            let listens = bus.has_cluster_subscribers();
            match self.round(listens).await {
                Ok(()) if listens => bus.set_missing(None),
                Ok(()) => {}
                Err(fault) => {
                    // Afterwards it begins anew.
                    (self.tap, self.signed, self.listening) = (None, None, None);
                    self.want(Arc::default());
                    if listens {
                        bus.set_missing(Some(format!("Redis: {fault}").into()));
                    }
                }
            }
            let is_busy = listens || self.tap.is_some();
            tokio::select! {
                () = sleep(if is_busy { BUSY_INTERVAL } else { IDLE_INTERVAL }) => {}
                () = bus.cluster_subscribed() => {}
            }
        }
    }

    async fn round(&mut self, listens: bool) -> Result<(), RedisFault> {
        if self.signed.is_none_or(|(at, said)| said != listens || at.elapsed() >= IDLE_INTERVAL) {
            let wanted = self.telemetry.bus.running.keys_of_all();
            let topics = wanted.iter().map(|key| key.as_deref().unwrap_or(ALL_KEYS).as_bytes().to_vec());
            let others = self.channel.sign(&self.place, listens, topics.collect()).await?;
            self.signed = Some((Instant::now(), listens));
            match others.count {
                0 => self.tap = None,
                _ if self.tap.is_none() => self.tap = Some(self.telemetry.bus.tap()),
                _ => {}
            }
            self.want(others.topics.iter().map(|key| (key != ALL_KEYS).then(|| Arc::from(&**key))).collect());
        }
        self.publish().await?;
        if listens {
            self.read().await
        } else {
            self.listening = None;
            Ok(())
        }
    }

    fn want(&self, views: Arc<[RunningScope]>) {
        self.views.send_if_modified(|known| {
            let is_news = *known != views;
            *known = views;
            is_news
        });
    }

    async fn publish(&mut self) -> Result<(), RedisFault> {
        let Some(tap) = &mut self.tap else { return Ok(()) };
        let mut lines = Vec::new();
        while lines.len() < MAX_PER_ROUND
            && let Some(event) = tap.try_next()
        {
            let (owner, bytes) = match event {
                TappedEvent::Event(owner, bytes) => (owner, bytes),
                TappedEvent::Lost(count) => {
                    self.sent = self.sent.saturating_add(count);
                    continue;
                }
            };
            self.sent = self.sent.saturating_add(1);
            let key = match owner {
                Owner::Key(key) => Some(key.to_string()),
                Owner::Operator => None,
            };
            let line = EventLine {
                place: self.place.clone(),
                instance: self.telemetry.instance.name().to_owned(),
                number: self.sent,
                key,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            };
            let line = serde_json::to_vec(&line).unwrap_or_default();
            if (1..=MAX_EVENT).contains(&line.len()) {
                lines.push(line);
            }
        }
        if lines.is_empty() { Ok(()) } else { self.channel.put(lines).await }
    }

    async fn read(&mut self) -> Result<(), RedisFault> {
        let (place, last) = self.listening.get_or_insert_default();
        for line in self.channel.read(place).await? {
            // Another version's, or not an event.
            let Ok(line) = serde_json::from_slice::<EventLine>(&line) else { continue };
            let is_whole = line.text.starts_with("event: ") && line.text.ends_with("\n\n");
            if line.place == self.place || !is_whole {
                continue;
            }
            let bus = &self.telemetry.bus;
            let lost = missing(last, &line);
            if lost > 0 {
                bus.lose_elsewhere(&line.instance, lost);
            }
            let owner = line.key.map_or(Owner::Operator, |key| Owner::Key(Arc::from(key)));
            bus.pass_on(owner, line.text.into());
        }
        Ok(())
    }
}

/// The events of this replica that are missing before this one.
fn missing(last: &mut LastNumbers, line: &EventLine) -> u64 {
    let before = last.insert(line.place.clone(), line.number);
    if last.len() > MAX_REPLICAS {
        last.retain(|place, _| *place == line.place);
    }
    before.map_or(0, |before| line.number.saturating_sub(before).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_events_are_counted_by_replica() {
        let mut last = LastNumbers::new();
        let mut missing = |place: &str, number| {
            let line = EventLine {
                place: place.to_owned(),
                instance: String::new(),
                number,
                key: None,
                text: String::new(),
            };
            missing(&mut last, &line)
        };
        assert_eq!([missing("a", 7), missing("b", 1), missing("a", 8), missing("a", 12)], [0, 0, 0, 3]);
        assert_eq!([missing("b", 2), missing("a", 3)], [0, 0]);
    }
}
