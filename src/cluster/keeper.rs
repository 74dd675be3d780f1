//! Opens the connections to a Redis server, watches them, and opens them again after a cut. The log has one
//! line when an outage begins and one when it ends, and one warning about a server that may forget limits.
//! Sentinels are asked for the master before each try, and once in a while afterwards. Invariant: a server
//! counts as up only after it has taken a write.

use std::{convert::Infallible, time::Duration};

use redis::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{
    RedisAuthority, RedisClient, RedisFault, RedisUrl,
    link::{CONNECT_TIMEOUT, RedisLink},
    sentinel,
};
use crate::base::{Episode, Rng};

/// Between two looks at a connection; one that answered calls meanwhile is not asked.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Between two questions to sentinels whether the master is still the one.
const MASTER_INTERVAL: Duration = Duration::from_secs(3);
/// Before the second try to connect; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// All connections of a pool, and the first write.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the key lives that proves that a server takes writes.
const PROOF_LIFE_MS: u64 = 60_000;

#[derive(Debug)]
pub struct RedisKeeper {
    pub client: RedisClient,
    pub url: RedisUrl,
    pub authority: Option<RedisAuthority>,
    /// Connections to one server.
    pub connections: usize,
    /// The name of the key that is written as a proof.
    pub proof: String,
    /// In the log's words: `limits`, `cache`.
    pub purpose: &'static str,
    /// It must not forget keys, so a policy that does is warned about.
    pub keeps_limits: bool,
}

impl RedisKeeper {
    /// Keeps the connections open, until it is dropped.
    pub async fn run(self) -> Infallible {
        let (mut outage, mut rng, mut tries, mut is_warned) = (Episode::new(), Rng::random(), 0_u32, false);
        let purpose = self.purpose;
        loop {
            let opened = timeout(OPEN_TIMEOUT, self.open()).await.unwrap_or(Err(RedisFault::Late));
            let opened = opened.map(|link| self.client.set_link(link));
            self.client.note_tried();
            match opened {
                Ok(()) => {
                    if outage.end() {
                        tracing::info!(purpose, "Redis answers again");
                    }
                    if self.keeps_limits && !is_warned {
                        is_warned = self.warn_of_evictions().await;
                    }
                    tries = 0;
                    self.watch().await;
                }
                Err(error) if outage.begin() => {
                    tracing::warn!(purpose, server = %self.url, %error, "Redis is away");
                }
                Err(_) => {}
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(5)).min(MAX_PAUSE);
            tries += 1;
            // Replicas that lost it at once do not all come back at once.
            sleep(rng.jitter(pause)).await;
        }
    }

    /// Connections that have taken a write.
    async fn open(&self) -> Result<RedisLink, RedisFault> {
        let link = RedisLink::open(&self.url, self.authority.as_ref(), self.connections).await?;
        timeout(CONNECT_TIMEOUT, link.send(&self.proof())).await.unwrap_or(Err(RedisFault::Late))?;
        Ok(link)
    }

    fn proof(&self) -> redis::Cmd {
        let mut command = redis::cmd("SET");
        command.arg(&self.proof).arg(1).arg("PX").arg(PROOF_LIFE_MS);
        command
    }

    /// Returns when the connection is gone.
    async fn watch(&self) {
        let (generation, mut asked_at) = (self.client.generation(), Instant::now());
        loop {
            let before = self.client.answered();
            tokio::select! {
                () = self.client.lost() => return,
                () = sleep(WATCH_INTERVAL) => {}
            }
            if asked_at.elapsed() >= MASTER_INTERVAL {
                asked_at = Instant::now();
                if self.has_other_master().await {
                    self.client.drop_link(generation);
                    continue;
                }
            }
            if self.client.answered() != before {
                continue;
            }
            let is_gone = |answer: Result<Value, RedisFault>| {
                answer.is_err_and(|fault| !matches!(fault, RedisFault::Crowded))
            };
            if is_gone(self.client.call(&self.proof()).await)
                && is_gone(self.client.call(&self.proof()).await)
            {
                self.client.drop_link(generation);
            }
        }
    }

    /// More than half of the sentinels name another server than the one that is connected. A former master
    /// that they cannot reach does not know of it.
    async fn has_other_master(&self) -> bool {
        let (Some(service), Some(own)) = (self.url.service(), self.client.master()) else { return false };
        let named = sentinel::master_of(&self.url, service, self.authority.as_ref(), Some(&own)).await;
        named.is_ok_and(|place| place != own)
    }

    /// Warns if the server forgets keys when its memory is full. True: it was possible to tell.
    async fn warn_of_evictions(&self) -> bool {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("maxmemory*");
        let Ok(answer) = self.client.call(&command).await else { return false };
        let mut words = Vec::new();
        texts(&answer, &mut words);
        let value = |name: &str| {
            let at = words.iter().position(|word| word == name)?;
            words.get(at + 1).map(String::as_str)
        };
        let policy = value("maxmemory-policy").unwrap_or("noeviction");
        if policy != "noeviction" && value("maxmemory").is_some_and(|size| size != "0") {
            tracing::warn!(
                server = %self.url,
                policy,
                "this Redis forgets limits when its memory is full: name another one for \"redis\".\"limits\", \
                 with maxmemory-policy noeviction"
            );
        }
        true
    }
}

/// All texts of an answer, in order.
fn texts(value: &Value, found: &mut Vec<String>) {
    if let Value::BulkString(bytes) = value {
        found.push(String::from_utf8_lossy(bytes).into_owned());
    } else if let Value::SimpleString(text) = value {
        found.push(text.clone());
    } else if let Value::Array(values) = value {
        values.iter().for_each(|value| texts(value, found));
    } else if let Value::Map(pairs) = value {
        for (key, value) in pairs {
            texts(key, found);
            texts(value, found);
        }
    }
}
