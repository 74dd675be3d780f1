//! Bytes under a name, each with a life: caches that replicas share. Reading is bounded in bytes, because a
//! value may be anyone's.

use std::time::Duration;

use redis::Value;

use super::{RedisClient, RedisFault, board::millis};

/// Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct ValueShelf {
    client: RedisClient,
    /// Begins the name of each value.
    start: String,
}

impl ValueShelf {
    /// `prefix`: of all keys; `name`: of this shelf.
    #[must_use]
    pub fn new(client: RedisClient, prefix: &str, name: &str) -> Self {
        Self { client, start: format!("{prefix}1:{name}:") }
    }

    /// Whether a connection is open.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.client.is_up()
    }

    /// The value of this name; of a longer one than `max_size` its first bytes, one more than those. Empty:
    /// there is none.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn get(&self, name: &str, max_size: usize) -> Result<Vec<u8>, RedisFault> {
        let mut get = redis::cmd("GETRANGE");
        get.arg(self.key(name)).arg(0).arg(max_size);
        let Value::BulkString(bytes) = self.client.call(&get).await? else { return Err(RedisFault::Form) };
        Ok(bytes)
    }

    /// Puts a value in the place of an earlier one.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn put(&self, name: &str, value: &[u8], life: Duration) -> Result<(), RedisFault> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(name)).arg(value).arg("PX").arg(millis(life).max(1));
        self.client.call(&set).await.map(|_| ())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.start)
    }
}
