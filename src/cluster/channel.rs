//! Lines that replicas pass to each other while at least one of them listens: a bounded list in Redis, which
//! forgets the oldest lines and ends by itself. A replica that does not listen asks once in a while whether
//! another one does; that is all it costs then. All keys of a channel are in one slot of a cluster.

use std::time::Duration;

use redis::Value;

use super::{RedisClient, RedisFault, RedisScript};

/// A replica that has not said for so long that it listens does not count.
const LISTENER_LIFE: Duration = Duration::from_secs(3);
/// Lines that are kept, and for how long after the last one.
const MAX_LINES: usize = 1000;
const LINE_LIFE: Duration = Duration::from_secs(10);
/// Topics of a replica, and of all others together: the first ones in order, so that the empty one is never
/// left out.
const MAX_TOPICS: usize = 16;
/// Lines that are read at once.
const MAX_READ: usize = 500;

/// KEYS: the listeners. ARGV: the replica, its life as a listener (0: it does not listen), and the topics
/// that it wants. The number of other listeners, and their topics. A topic is a field of its own, behind a
/// line break and the replica.
const SIGN: &str = "\
local time = redis.call('TIME')
local now, found = time[1] * 1000 + math.floor(time[2] / 1000), {'0'}
local own, count = '\\n' .. ARGV[1] .. '\\n', 0
local listeners = redis.call('HGETALL', KEYS[1])
for i = 1, #listeners, 2 do
  local field = listeners[i]
  local is_topic = string.sub(field, 1, 1) == '\\n'
  if field ~= ARGV[1] and string.sub(field, 1, #own) ~= own then
    if tonumber(listeners[i + 1]) <= now then
      redis.call('HDEL', KEYS[1], field)
    elseif is_topic then
      found[#found + 1] = string.sub(field, string.find(field, '\\n', 2, true) + 1)
    else
      count = count + 1
    end
  end
end
found[1] = tostring(count)
if tonumber(ARGV[2]) > 0 then
  local ends = string.format('%.0f', now + tonumber(ARGV[2]))
  redis.call('HSET', KEYS[1], ARGV[1], ends)
  for i = 3, #ARGV do redis.call('HSET', KEYS[1], own .. ARGV[i], ends) end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif #listeners > 0 then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return found";
/// KEYS: the lines. ARGV: how many are kept, for how long, and the new ones.
const PUT: &str = "\
for i = 3, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', 'l', ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";
/// KEYS: the lines. ARGV: the id of the last line that was read (empty: begin behind the last one), how many
/// to read. The id of the last line, and the lines after the given one.
const READ: &str = "\
local after = ARGV[1]
if after == '' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  return {last[1] and last[1][1] or '0-0'}
end
local answer = {after}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[2])) do
  answer[1] = entry[1]
  answer[#answer + 1] = entry[2][2]
end
return answer";

/// Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct ReplicaChannel {
    client: RedisClient,
    listeners: String,
    lines: String,
}

/// The other replicas that listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherListeners {
    pub count: usize,
    /// The topics that they want, each once.
    pub topics: Vec<String>,
}

/// Where a listener has read to.
#[derive(Clone, Debug, Default)]
pub struct ChannelPlace(Vec<u8>);

impl ReplicaChannel {
    /// `prefix`: of all keys; `name`: of this channel.
    #[must_use]
    pub fn new(client: RedisClient, prefix: &str, name: &str) -> Self {
        let listeners = format!("{prefix}1:{{{name}}}");
        Self { client, lines: format!("{listeners}:lines"), listeners }
    }

    /// Says whether the replica `me` listens and which topics it wants, and returns what the others have
    /// said. To be said again every second.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn sign(
        &self,
        me: &str,
        listens: bool,
        topics: Vec<Vec<u8>>,
    ) -> Result<OtherListeners, RedisFault> {
        let life = if listens { LISTENER_LIFE } else { Duration::ZERO };
        let mut args = vec![me.as_bytes().to_vec(), life.as_millis().to_string().into_bytes()];
        args.extend(bounded(topics));
        let answer = self.client.run(&RedisScript::new(SIGN), &self.listeners, &args).await?;
        let mut said = texts(answer)?.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned());
        let count = said.next().and_then(|count| count.parse().ok()).ok_or(RedisFault::Form)?;
        Ok(OtherListeners { count, topics: bounded(said.collect()) })
    }

    /// Appends lines. Beyond the bound the oldest of all are gone.
    ///
    /// # Errors
    /// As [`RedisClient::call`]; the lines may have arrived all the same.
    pub async fn put(&self, lines: Vec<Vec<u8>>) -> Result<(), RedisFault> {
        let mut args =
            vec![MAX_LINES.to_string().into_bytes(), LINE_LIFE.as_millis().to_string().into_bytes()];
        args.extend(lines);
        self.client.run(&RedisScript::new(PUT), &self.lines, &args).await.map(|_| ())
    }

    /// The lines that came after this place, which moves behind them. A new place is behind the last line.
    ///
    /// # Errors
    /// As [`RedisClient::call`].
    pub async fn read(&self, place: &mut ChannelPlace) -> Result<Vec<Vec<u8>>, RedisFault> {
        let args = [place.0.clone(), MAX_READ.to_string().into_bytes()];
        let answer = self.client.run(&RedisScript::new(READ), &self.lines, &args).await?;
        let mut texts = texts(answer)?.into_iter();
        place.0 = texts.next().ok_or(RedisFault::Form)?;
        Ok(texts.collect())
    }
}

/// The topics that are passed on, each once.
fn bounded<T: Ord>(mut topics: Vec<T>) -> Vec<T> {
    topics.sort_unstable();
    topics.dedup();
    topics.truncate(MAX_TOPICS);
    topics
}

fn texts(answer: Value) -> Result<Vec<Vec<u8>>, RedisFault> {
    let Value::Array(values) = answer else { return Err(RedisFault::Form) };
    let text = |value| if let Value::BulkString(bytes) = value { Some(bytes) } else { None };
    Ok(values.into_iter().map_while(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The empty topic is the operator's, the others are those of keys.
    #[test]
    fn the_empty_topic_is_kept_however_many_others_there_are() {
        let mut topics: Vec<String> = (0..40).map(|number| format!("key-{:02}", number % 20)).collect();
        topics.push(String::new());
        let kept = bounded(topics);
        assert_eq!((kept.len(), &*kept[0], &*kept[1], &*kept[15]), (MAX_TOPICS, "", "key-00", "key-14"));
    }
}
