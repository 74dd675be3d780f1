//! Documents that replicas put up for each other, each with a life: a dead replica's is gone by itself. An
//! index has the times at which they were put up, by the server's clock. All keys of a board are in one slot
//! of a cluster.

use std::time::Duration;

use redis::Value;

use super::{RedisClient, RedisFault, RedisScript};

/// A document that is not put up again is gone after this time.
pub const DOCUMENT_LIFE: Duration = Duration::from_secs(10);
/// The index itself outlives its entries, whose age it knows.
const INDEX_LIFE: Duration = Duration::from_secs(60);
/// Documents that are read at once; further ones are left out.
const MAX_DOCUMENTS: usize = 128;

/// KEYS: the index. ARGV: the place, the index's life. Notes when the place was put up.
const NOTE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";
/// KEYS: the index. ARGV: the life of a document. The places, each with its age; removes those without one.
const LIST: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local records, found = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #records, 2 do
  local age = now - tonumber(records[i + 1])
  if age > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], records[i])
  else
    found[#found + 1] = records[i]
    found[#found + 1] = string.format('%.0f', math.max(age, 0))
  end
end
return found";

/// Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct DocumentBoard {
    client: RedisClient,
    index: String,
}

/// A document that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedDocument {
    pub place: String,
    /// Since it was put up.
    pub age: Duration,
    pub bytes: Vec<u8>,
}

impl DocumentBoard {
    /// `prefix`: of all keys; `name`: of this board.
    #[must_use]
    pub fn new(client: RedisClient, prefix: &str, name: &str) -> Self {
        Self { client, index: format!("{prefix}1:{{{name}}}") }
    }

    fn key(&self, place: &str) -> String {
        format!("{}:{place}", self.index)
    }

    /// Puts a document up, in the place of the one before.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn put(&self, place: &str, document: &[u8]) -> Result<(), RedisFault> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(place)).arg(document).arg("PX").arg(millis(DOCUMENT_LIFE));
        self.client.call(&set).await?;
        let args = [place.as_bytes().to_vec(), millis(INDEX_LIFE).to_string().into_bytes()];
        self.client.run(&RedisScript::new(NOTE), &self.index, &args).await.map(|_| ())
    }

    /// Takes a document down.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn take_down(&self, place: &str) -> Result<(), RedisFault> {
        let (mut remove, mut forget) = (redis::cmd("DEL"), redis::cmd("HDEL"));
        remove.arg(self.key(place));
        forget.arg(&self.index).arg(place);
        self.client.call(&forget).await?;
        self.client.call(&remove).await.map(|_| ())
    }

    /// The documents that are up, except the one in the place `but`.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn read(&self, but: &str) -> Result<Vec<PostedDocument>, RedisFault> {
        let args = [millis(DOCUMENT_LIFE).to_string().into_bytes()];
        let Value::Array(listed) = self.client.run(&RedisScript::new(LIST), &self.index, &args).await? else {
            return Err(RedisFault::Form);
        };
        let mut found = Vec::new();
        for pair in listed.chunks_exact(2).take(MAX_DOCUMENTS) {
            let [place, age] = pair else { continue };
            let (Some(place), Some(age)) = (text(place), text(age)) else { continue };
            if place == but {
                continue;
            }
            let mut get = redis::cmd("GET");
            get.arg(self.key(place));
            // A document may end between the two calls.
            if let Value::BulkString(bytes) = self.client.call(&get).await? {
                let age = Duration::from_millis(age.parse().unwrap_or(0));
                found.push(PostedDocument { place: place.to_owned(), age, bytes });
            }
        }
        Ok(found)
    }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::BulkString(bytes) = value { str::from_utf8(bytes).ok() } else { None }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
