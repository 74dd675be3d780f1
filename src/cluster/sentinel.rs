//! Which of several servers is the master, as sentinels say it. All are asked at once, and the answer of most
//! is taken, so that one that is cut off from the others is outvoted and one that is dead delays nothing.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, Value};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{RedisAuthority, RedisFault, RedisUrl, address::SentinelService, dial};
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

/// The places that sentinels have named, and how many name each.
#[derive(Debug)]
struct MasterVotes {
    /// Those that are asked, which may be more than those that answer.
    sentinels: usize,
    places: Vec<(MasterPlace, usize)>,
}

impl MasterVotes {
    fn add(&mut self, place: MasterPlace) {
        match self.places.iter_mut().find(|(other, _)| *other == place) {
            Some((_, count)) => *count += 1,
            None => self.places.push((place, 1)),
        }
    }

    /// The place that more than half of all sentinels name: the others cannot change it.
    fn decided(&self) -> Option<&MasterPlace> {
        self.places.iter().find(|(_, count)| count * 2 > self.sentinels).map(|(place, _)| place)
    }

    /// The master. A `present` one, whose connection is good, stays unless more than half of all sentinels
    /// name another one; otherwise the place that most of those name that answer.
    fn master<'v>(&'v self, present: Option<&'v MasterPlace>) -> Option<&'v MasterPlace> {
        let most = || self.places.iter().max_by_key(|(_, count)| *count).map(|(place, _)| place);
        self.decided().or(present).or_else(most)
    }
}

/// The place of the master. `present`: the one that is connected.
///
/// # Errors
/// No sentinel answers, or none knows the name, and there is no present one.
pub(super) async fn master_of(
    url: &RedisUrl,
    service: &SentinelService,
    authority: Option<&RedisAuthority>,
    present: Option<&MasterPlace>,
) -> Result<MasterPlace, RedisFault> {
    let sentinels = url.infos().ok_or(RedisFault::Form)?;
    let mut votes = MasterVotes { sentinels: sentinels.len(), places: Vec::new() };
    let (mut asked, mut fault) = (TaskSet::default(), None);
    for info in sentinels {
        let client = dial::client(info, authority)?;
        let name = service.name.clone();
        asked.spawn((), async move {
            timeout(SENTINEL_TIMEOUT, ask(client, &name)).await.unwrap_or(Err(RedisFault::Late))
        });
    }
    while let Some((_, answer)) = asked.next().await {
        match answer {
            Some(Ok(place)) => {
                votes.add(place);
                if votes.decided().is_some() {
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
    votes.master(present).cloned().ok_or_else(|| fault.unwrap_or(RedisFault::NoMaster))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> MasterPlace {
        MasterPlace { host: "h".to_owned(), port }
    }

    /// The port of the master where so many sentinels are asked, these ports named, and one is present.
    fn master(sentinels: usize, named: &[u16], present: Option<u16>) -> Option<u16> {
        let mut votes = MasterVotes { sentinels, places: Vec::new() };
        named.iter().for_each(|port| votes.add(place(*port)));
        let present = present.map(place);
        votes.master(present.as_ref()).map(|place| place.port)
    }

    #[test]
    fn a_present_master_is_left_for_a_majority_of_all_sentinels_only() {
        for (sentinels, named, expected) in [
            (3, &[2, 2][..], 2),
            (3, &[2, 2, 1], 2),
            (1, &[2], 2),
            // One alone may be cut off from the others.
            (3, &[2], 1),
            // A tie, also of those that answer.
            (2, &[2, 1], 1),
            (4, &[2, 2, 1, 1], 1),
            (4, &[2, 2], 1),
            (3, &[2, 3, 1], 1),
            (3, &[], 1),
        ] {
            assert_eq!(master(sentinels, named, Some(1)), Some(expected), "{named:?} of {sentinels}");
        }
    }

    #[test]
    fn without_a_present_master_most_answers_decide() {
        assert_eq!(master(5, &[2, 1, 2], None), Some(2));
        assert_eq!(master(3, &[1], None), Some(1));
        assert_eq!(master(3, &[], None), None);
    }
}
