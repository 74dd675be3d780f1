//! Pauses of providers and models, and results of checks, shared with the other replicas by Redis: one call a
//! round reports the changes since the last one and gets those of the others. There is no subscription,
//! because a subscriber misses everything while it is away, without a sign of it; a hash with a number per
//! change has it all for a replica that comes late. The hash holds names of providers and models, addresses
//! without their queries, and no key.
//!
//! Invariant: a fact that came from another replica is reported again only if it changes here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;

use super::{
    known_facts::{KnownFacts, LISTED, MAX_FACTS, field, parts, same_list},
    model_list::ListedModels,
    runner::Prober,
    state::SavedMethod,
};
use crate::{
    base::Moment,
    cluster::{RedisClient, RedisScript, RedisValue},
    proxy::Snapshot,
    routing::{CandidateStats, CheckMethod, Probe, SharedFact},
};

/// Between two rounds. A pause that one replica learns is known to the others after so long at the most.
const INTERVAL: Duration = Duration::from_millis(500);
/// Life of the hash after its last change.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long the result of a check is of use to the others.
const CHECK_LIFE: Duration = Duration::from_secs(300);
/// So much later than the replica that made the last check, the others check the provider themselves. So one
/// of them checks it, and another one goes on when that one has ended.
const LATER: Duration = Duration::from_secs(3);

/// Arguments: the number of the last change that is known here, the life of the hash in ms, the most facts;
/// then for each change its field and the milliseconds until its end (0: it has ended early). Returns the
/// number of the last change, then the fields that changed since, each with the milliseconds that are left.
const SCRIPT: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = tonumber(redis.call('HGET', KEYS[1], '#') or '0')
local since = tonumber(ARGV[1])
if #ARGV > 3 then
  last = redis.call('HINCRBY', KEYS[1], '#', 1)
  for i = 4, #ARGV, 2 do
    if redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[3]) or redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
      redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f %.0f', last, now + tonumber(ARGV[i + 1])))
    end
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local answer = {last}
if last == since then return answer end
local facts = redis.call('HGETALL', KEYS[1])
for i = 1, #facts, 2 do
  if facts[i] ~= '#' then
    local number, ends = string.match(facts[i + 1], '^(%d+) (%d+)$')
    if not ends or tonumber(ends) + 60000 < now then
      redis.call('HDEL', KEYS[1], facts[i])
    elseif tonumber(number) > since then
      answer[#answer + 1] = facts[i]
      answer[#answer + 1] = math.max(0, tonumber(ends) - now)
    end
  end
end
return answer
";

/// Where replicas share facts.
#[derive(Clone, Debug)]
pub struct FactExchange {
    pub client: RedisClient,
    /// Begins the name of the hash.
    pub prefix: String,
}

impl FactExchange {
    /// Shares facts until it is dropped. Redis that is away costs nothing; afterwards all is reported anew.
    pub async fn run(self, prober: &Prober) {
        let (script, key) = (RedisScript::new(SCRIPT), format!("{}1:{{facts}}", self.prefix));
        let mut known = KnownFacts::default();
        prober.0.shares_lists.set(true);
        loop {
            sleep(INTERVAL).await;
            if !self.client.is_up() {
                continue;
            }
            self.post_lists(prober, &key).await;
            known.refresh = prober.settings().refresh;
            let now = Moment::now();
            let changes = known.changes(prober.facts(now), now);
            let numbers = [u128::from(known.last), LIFE.as_millis(), MAX_FACTS as u128];
            let mut args: Vec<Vec<u8>> =
                numbers.iter().map(|number| number.to_string().into_bytes()).collect();
            for (field, left) in &changes {
                args.push(field.clone().into_bytes());
                args.push(left.as_millis().to_string().into_bytes());
            }
            match self.client.run(&script, &key, &args).await.ok().and_then(|answer| read(&answer)) {
                Some((last, mut news)) => {
                    // The ends of its own facts are those that it has set, however long the call took.
                    let own: HashSet<&str> = changes.iter().map(|(field, _)| &**field).collect();
                    news.retain(|(field, _)| !own.contains(&**field));
                    let now = Moment::now();
                    for (field, left) in known.take_in(last, news, now) {
                        if let Some(id) = prober.learn(&field, left, now) {
                            self.take_list(prober, &key, &id, now + left).await;
                        }
                    }
                }
                // The changes may have arrived or not; to report them twice changes nothing.
                None => known.clear(),
            }
        }
    }
}

impl FactExchange {
    /// Puts up the lists of models that this replica has read.
    async fn post_lists(&self, prober: &Prober, key: &str) {
        let life = prober.settings().refresh.clamp(Duration::from_secs(1), LIFE);
        for (id, list) in prober.unposted_lists() {
            if self.client.put(&list_key(key, &id), &list, life).await.is_ok() {
                prober.note_posted(&id, &list);
            }
        }
    }

    /// Another replica has read the list of this provider, which is fresh until then.
    async fn take_list(&self, prober: &Prober, key: &str, id: &str, until: Moment) {
        // Without the document the list is read here when it is due.
        if let Ok(Some(document)) = self.client.get(&list_key(key, id)).await
            && let Some(models) = ListedModels::of_document(&document)
        {
            prober.take_list(id, models, until);
        }
    }
}

/// The name of the list of a provider.
fn list_key(key: &str, id: &str) -> String {
    format!("{key}:list:{id}")
}

/// The number of the last change, and the facts with the time that is left to each.
type News = (u64, Vec<(String, Duration)>);

/// `None`: the answer is not the script's.
fn read(answer: &RedisValue) -> Option<News> {
    let RedisValue::Array(values) = answer else { return None };
    let (last, rest) = values.split_first()?;
    let number = |value: &RedisValue| {
        let RedisValue::Int(number) = value else { return None };
        u64::try_from(*number).ok()
    };
    let facts = rest.as_chunks::<2>().0.iter().map(|[field, left]| {
        let RedisValue::BulkString(field) = field else { return None };
        Some((String::from_utf8(field.clone()).ok()?, Duration::from_millis(number(left)?)))
    });
    Some((number(last)?, facts.collect::<Option<_>>()?))
}

fn check_fact(alive: bool, method: SavedMethod) -> &'static str {
    match (alive, method) {
        (true, SavedMethod::Models) => "alive models",
        (true, SavedMethod::Dummy) => "alive dummy",
        (false, _) => "down",
    }
}

impl Prober {
    /// The facts of this replica that others can use, with their ends.
    fn facts(&self, now: Moment) -> BTreeMap<String, Moment> {
        let snapshot = self.0.snapshot.load();
        let (ids, lists) = (self.ids(&snapshot), self.posted_lists());
        let mut facts = BTreeMap::new();
        for (provider, id) in snapshot.providers.iter().zip(&ids) {
            let Some(id) = id else { continue };
            for (fact, until) in provider.standing.shared_facts(now) {
                facts.insert(field(id, None, &fact.to_string()), until);
            }
            if let Some(until) = lists.get(id).filter(|until| **until > now) {
                facts.insert(field(id, None, LISTED), *until);
            }
            let checked = provider.standing.check().filter(|check| check.method != CheckMethod::Traffic);
            if let Some(check) = checked.filter(|check| check.at + CHECK_LIFE > now) {
                let fact = check_fact(check.alive, check.method.into());
                facts.insert(field(id, None, fact), check.at + CHECK_LIFE);
            }
        }
        for (index, stats) in snapshot.catalog.all_stats() {
            if let Some(Some(id)) = ids.get(index) {
                for (fact, until) in stats.shared_facts(now) {
                    facts
                        .insert(field(id, Some(stats.model().unwrap_or_default()), &fact.to_string()), until);
                }
            }
        }
        facts
    }

    /// The identity of each provider of the snapshot. `None`: the prober does not know it yet.
    fn ids(&self, snapshot: &Snapshot) -> Vec<Option<String>> {
        let known = self.0.providers.borrow();
        let id = |target| {
            known.iter().find(|known| Arc::ptr_eq(&known.target, target)).map(|known| known.id.clone())
        };
        snapshot.providers.iter().map(|provider| id(&provider.target)).collect()
    }

    /// Another replica reports this fact, with the time that is left to it; none: that it has ended early.
    /// The provider's identity, if its list is to be taken from there. `now` is the one with which the end is
    /// known, because an end that differs is a fact of this replica, and would be reported as such.
    fn learn(&self, field: &str, left: Duration, now: Moment) -> Option<String> {
        let (id, model, fact) = parts(field)?;
        let snapshot = self.0.snapshot.load();
        let ids = self.ids(&snapshot);
        let index = ids.iter().position(|known| known.as_deref() == Some(&*id))?;
        let until = now + left;
        match (SharedFact::parse(&fact), model) {
            (Some(fact), None) => {
                if let Some(provider) = snapshot.providers.get(index) {
                    provider.standing.learn(fact, until, now);
                }
            }
            (Some(fact), Some(model)) => {
                let is_it = |stats: &CandidateStats| stats.model().unwrap_or_default() == model;
                let found =
                    snapshot.catalog.all_stats().filter(|(place, stats)| *place == index && is_it(stats));
                found.take(1).for_each(|(_, stats)| stats.learn(fact, until, now));
            }
            (None, None) if fact == LISTED => {
                return (left > LATER && self.wants_list(&id, until)).then_some(id);
            }
            (None, None) if left > Duration::ZERO => {
                self.learn_check(&id, &fact, until - CHECK_LIFE);
            }
            (None, _) => {}
        }
        None
    }

    /// Until when the lists are fresh that other replicas can have, by the provider's identity.
    fn posted_lists(&self) -> HashMap<String, Moment> {
        let providers = self.0.providers.borrow();
        let posted = providers.iter().filter(|provider| provider.unposted.is_none());
        posted.filter_map(|provider| Some((provider.id.clone(), provider.listed_until?))).collect()
    }

    fn unposted_lists(&self) -> Vec<(String, Vec<u8>)> {
        let providers = self.0.providers.borrow();
        providers
            .iter()
            .filter_map(|provider| Some((provider.id.clone(), provider.unposted.clone()?)))
            .collect()
    }

    fn note_posted(&self, id: &str, list: &[u8]) {
        let mut providers = self.0.providers.borrow_mut();
        for provider in providers.iter_mut().filter(|provider| provider.id == id) {
            provider.unposted = provider.unposted.take().filter(|newer| newer != list);
        }
    }

    /// Whether another replica's list, fresh until then, is newer than the one here.
    fn wants_list(&self, id: &str, until: Moment) -> bool {
        let same = same_list(self.settings().refresh);
        let providers = self.0.providers.borrow();
        providers.iter().any(|provider| {
            let is_newer = provider.listed_until.is_none_or(|known| known + same < until);
            provider.id == id && provider.schedule.list_due.is_some() && is_newer
        })
    }

    /// Takes the list that another replica has read: it is read here only if that one does not read the next.
    fn take_list(&self, id: &str, models: ListedModels, until: Moment) {
        // It may have been read here meanwhile.
        if !self.wants_list(id, until) {
            return;
        }
        let mut providers = self.0.providers.borrow_mut();
        let Some(provider) = providers.iter_mut().find(|provider| provider.id == id) else { return };
        (provider.listed_until, provider.unposted) = (Some(until), None);
        provider.schedule.list_due = provider.schedule.list_due.map(|_| until + LATER);
        let target = Arc::clone(&provider.target);
        drop(providers);
        self.0.state_file.update(|state, at| state.models.put(id, at, models.names.clone()));
        self.set_models(&target, models.names, models.details, Probe::Refresh);
    }

    /// Another replica has checked this provider: it is not checked here before the next one is due.
    fn learn_check(&self, id: &str, fact: &str, at: Moment) {
        let mut providers = self.0.providers.borrow_mut();
        let Some(provider) = providers.iter_mut().find(|provider| provider.id == id) else { return };
        if provider.busy || provider.schedule.last_probe >= at + LATER {
            return;
        }
        match fact {
            "alive models" => provider.mark_well(CheckMethod::Models, at),
            "alive dummy" => provider.mark_well(CheckMethod::Dummy, at),
            "down" => {
                provider.schedule.failures = provider.schedule.failures.max(1);
                provider.health.record_check(false, provider.method, at);
            }
            _ => return,
        }
        provider.schedule.last_probe = at + LATER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_the_scripts_is_refused() {
        let text = |text: &str| RedisValue::BulkString(text.as_bytes().to_vec());
        let good = RedisValue::Array(vec![RedisValue::Int(3), text("f"), RedisValue::Int(250)]);
        assert_eq!(read(&good), Some((3, vec![("f".to_owned(), Duration::from_millis(250))])));
        for wrong in [
            RedisValue::Nil,
            RedisValue::Array(Vec::new()),
            RedisValue::Array(vec![RedisValue::Int(-1)]),
            RedisValue::Array(vec![RedisValue::Int(3), text("f"), text("250")]),
            RedisValue::Array(vec![RedisValue::Int(3), RedisValue::Int(1), RedisValue::Int(250)]),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }
}
