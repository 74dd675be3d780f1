//! Which of several servers is the master, as sentinels say it. All are asked at once, and the answer of most
//! is taken, so that one that is cut off from the others is outvoted and one that is dead delays nothing.

use std::{path::Path, time::Duration};

use redis::{AsyncConnectionConfig, Client, Value};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{RedisFault, RedisUrl, address::SentinelService, dial};
use crate::base::spawn::TaskSet;

/// For the connection to a sentinel and its answer.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);

/// The place of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MasterPlace {
    pub(super) host: String,
    pub(super) port: u16,
}

impl MasterPlace {
    /// A number that another place does not have, so that replicas notice another master. Below 2^40, which
    /// is in the past as a time in milliseconds; never 0.
    pub(super) fn mark(&self) -> u64 {
        let digest = Sha256::digest(format!("{}:{}", self.host, self.port));
        digest.iter().take(5).fold(0, |sum, byte| sum << 8 | u64::from(*byte)).max(1)
    }
}

/// The place of the master.
///
/// # Errors
/// No sentinel answers, or none knows the name.
pub(super) async fn master_of(
    url: &RedisUrl,
    service: &SentinelService,
    authority: Option<&Path>,
) -> Result<MasterPlace, RedisFault> {
    let sentinels = url.infos().ok_or(RedisFault::Form)?;
    let (count, mut asked) = (sentinels.len(), TaskSet::default());
    for info in sentinels {
        let client = dial::client(info, authority.map(dial::certificates).transpose()?)?;
        let name = service.name.clone();
        asked.spawn((), async move {
            timeout(SENTINEL_TIMEOUT, ask(client, &name)).await.unwrap_or(Err(RedisFault::Late))
        });
    }
    let (mut votes, mut fault): (Vec<(MasterPlace, usize)>, _) = (Vec::new(), None);
    while let Some((_, answer)) = asked.next().await {
        match answer {
            Some(Ok(place)) => {
                let at = votes.iter().position(|(other, _)| *other == place).unwrap_or(votes.len());
                if at == votes.len() {
                    votes.push((place, 0));
                }
                votes[at].1 += 1;
                // The others cannot change it.
                if votes[at].1 * 2 > count {
                    break;
                }
            }
            Some(Err(RedisFault::NoMaster)) => fault = Some(RedisFault::NoMaster),
            Some(Err(other)) => {
                fault.get_or_insert_with(|| RedisFault::NoSentinel(Box::new(other)));
            }
            None => {}
        }
    }
    let chosen = votes.into_iter().max_by_key(|(_, count)| *count);
    chosen.map(|(place, _)| place).ok_or_else(|| fault.unwrap_or(RedisFault::NoMaster))
}

async fn ask(client: Client, name: &str) -> Result<MasterPlace, RedisFault> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(SENTINEL_TIMEOUT))
        .set_response_timeout(Some(SENTINEL_TIMEOUT));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer: Value = command.query_async(&mut connection).await?;
    if answer == Value::Nil {
        return Err(RedisFault::NoMaster);
    }
    if let Value::Array(words) = answer {
        place(&words).ok_or(RedisFault::Form)
    } else {
        Err(RedisFault::Form)
    }
}

fn place(words: &[Value]) -> Option<MasterPlace> {
    let [Value::BulkString(host), Value::BulkString(port)] = words else { return None };
    let [host, port] = [host, port].map(|word| str::from_utf8(word).ok());
    Some(MasterPlace { host: host?.to_owned(), port: port?.parse().ok()? })
}
