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

use super::{model_list::ListedModels, runner::Prober, state::SavedMethod};
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
/// Facts that the hash may hold. Clients choose names of models, so it is bounded.
const MAX_FACTS: usize = 4096;
/// Ends of one pause that differ by less are the same: each replica counts from its own clock.
const SAME: Duration = Duration::from_millis(250);
/// How long the result of a check is of use to the others.
const CHECK_LIFE: Duration = Duration::from_secs(300);
/// So much later than the replica that made the last check, the others check the provider themselves. So one
/// of them checks it, and another one goes on when that one has ended.
const LATER: Duration = Duration::from_secs(3);

/// The fact that a provider's list of models has been read and can be had; and how its field ends.
const LISTED: &str = "listed";
const LISTED_FIELD: &str = r#""listed"]"#;
/// How the fields of facts end that replicas find out in turns: lists and results of checks.
const TURN_FIELDS: [&str; 4] = [LISTED_FIELD, r#""alive models"]"#, r#""alive dummy"]"#, r#""down"]"#];

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

/// The facts as all replicas have them.
#[derive(Debug, Default)]
struct KnownFacts {
    /// The number of the last change.
    last: u64,
    ends: HashMap<String, Moment>,
    /// Those that held here at the last report: only they can end here. A replica may not know the provider.
    held: HashSet<String>,
    /// How long a provider's list of models is kept.
    refresh: Duration,
}

impl KnownFacts {
    /// Nothing is known of the others any more, and all facts here are news to them.
    fn clear(&mut self) {
        *self = Self { refresh: self.refresh, ..Self::default() };
    }

    /// Whether the end of a fact here need not be reported: it is known, or that of a newer list is.
    fn is_known(&self, field: &str, until: Moment) -> bool {
        self.ends.get(field).is_some_and(|known| {
            if field.ends_with(LISTED_FIELD) {
                until.since(*known) < same_list(self.refresh)
            } else {
                known.since(until).max(until.since(*known)) < SAME
            }
        })
    }

    /// What to report, if these are the facts here: new ones, those with another end, and those that ended
    /// before their time.
    fn changes(&mut self, current: BTreeMap<String, Moment>, now: Moment) -> Vec<(String, Duration)> {
        let mut changes = Vec::new();
        let is_over = |field: &String, until: &Moment| {
            *until > now + SAME && !current.contains_key(field) && self.held.contains(field)
        };
        changes.extend(
            self.ends
                .iter()
                .filter(|(field, until)| is_over(field, until))
                .map(|(field, _)| (field.clone(), Duration::ZERO)),
        );
        let held = std::mem::replace(&mut self.held, current.keys().cloned().collect());
        let is_kept = |field: &String| current.contains_key(field) || !held.contains(field);
        self.ends.retain(|field, until| *until > now && is_kept(field));
        for (field, until) in current {
            if !self.is_known(&field, until) {
                changes.push((field.clone(), until.since(now)));
                self.ends.insert(field, until);
            }
        }
        changes.truncate(MAX_FACTS);
        changes
    }

    /// Takes in an answer; returns the facts that are news here. Redis that has lost its hash has a smaller
    /// number: then all is reported anew.
    fn take_in(&mut self, last: u64, news: Vec<(String, Duration)>, now: Moment) -> Vec<(String, Duration)> {
        if last < self.last {
            self.clear();
            return Vec::new();
        }
        self.last = last;
        let mut learned = Vec::new();
        for (field, left) in news {
            let until = now + left;
            // Of two replicas that had the same turn at once, the one that reported first leaves the next to
            // the other.
            let is_turn = TURN_FIELDS.iter().any(|turn| field.ends_with(turn));
            let is_own = !is_turn && self.is_known(&field, until);
            if left.is_zero() {
                self.ends.remove(&field);
            } else {
                self.ends.insert(field.clone(), until);
            }
            if !is_own {
                learned.push((field, left));
            }
        }
        learned
    }
}

/// Ends of lists that differ by less are of one reading, or of two that were no turns: the next one is made
/// when the first of them ends, for all.
fn same_list(refresh: Duration) -> Duration {
    (refresh / 8).max(SAME)
}

/// A field of the hash: the provider's identity, the model's name unless the fact concerns all models, the
/// fact.
fn field(provider: &str, model: Option<&str>, fact: &str) -> String {
    serde_json::json!([provider, model, fact]).to_string()
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
        let (id, model, fact): (String, Option<String>, String) = serde_json::from_str(field).ok()?;
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

    const NOW: Moment = Moment(1_000_000_000);

    fn facts(all: &[(&str, u64)]) -> BTreeMap<String, Moment> {
        all.iter().map(|(name, secs)| ((*name).to_owned(), NOW + Duration::from_secs(*secs))).collect()
    }

    fn left(all: &[(&str, u64)]) -> Vec<(String, Duration)> {
        all.iter().map(|(name, secs)| ((*name).to_owned(), Duration::from_secs(*secs))).collect()
    }

    #[test]
    fn only_changes_are_reported() {
        let mut known = KnownFacts::default();
        assert_eq!(known.changes(facts(&[("a", 9), ("b", 5)]), NOW), left(&[("a", 9), ("b", 5)]));
        assert_eq!(known.changes(facts(&[("a", 9), ("b", 5)]), NOW), []);
        // Another end, and an early one.
        assert_eq!(known.changes(facts(&[("a", 20)]), NOW), left(&[("b", 0), ("a", 20)]));
        // One that ends by itself is not reported: the others have its end.
        assert_eq!(known.changes(facts(&[]), NOW + Duration::from_secs(20)), []);
    }

    #[test]
    fn what_others_report_is_learned_once_and_not_reported_back() {
        let mut known = KnownFacts::default();
        assert_eq!(known.changes(facts(&[("own", 9)]), NOW), left(&[("own", 9)]));
        let news = left(&[("own", 9), ("other", 4)]);
        assert_eq!(known.take_in(2, news.clone(), NOW), left(&[("other", 4)]));
        assert_eq!(known.take_in(2, news, NOW), []);
        assert_eq!(known.changes(facts(&[("own", 9), ("other", 4)]), NOW), []);
        // An early end is learned, and a longer pause of one's own is reported.
        assert_eq!(known.take_in(3, left(&[("other", 0)]), NOW), left(&[("other", 0)]));
        assert_eq!(known.changes(facts(&[("own", 9), ("other", 8)]), NOW), left(&[("other", 8)]));
    }

    /// A replica that does not have the provider does not end the pauses that the others report of it.
    #[test]
    fn facts_that_do_not_hold_here_are_not_ended() {
        let mut known = KnownFacts::default();
        assert_eq!(known.take_in(1, left(&[("other", 9)]), NOW), left(&[("other", 9)]));
        assert_eq!(known.changes(facts(&[]), NOW), []);
        assert_eq!(known.changes(facts(&[]), NOW), []);
        assert_eq!(known.changes(facts(&[("other", 9)]), NOW), []);
        assert_eq!(known.changes(facts(&[]), NOW), left(&[("other", 0)]));
    }

    #[test]
    fn redis_that_lost_all_is_given_all_again() {
        let mut known = KnownFacts::default();
        let all = [("a", 9), ("b", 5)];
        let _ = known.changes(facts(&all), NOW);
        let _ = known.take_in(7, Vec::new(), NOW);
        assert_eq!(known.take_in(0, Vec::new(), NOW), []);
        assert_eq!(known.changes(facts(&all), NOW), left(&all));
    }

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
